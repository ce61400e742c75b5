package keystored

import (
	"context"
	"slices"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// places bounds how many memory objects this service has made at a time, so that
// they fit its budget and its table whatever is asked of it. Requests take turns
// in the order in which they came: an app that floods delays the others and does
// not keep them out.
type places struct {
	line    []*place // the first MaxObjects have one
	changed ipc.Cond
}

// place is one request's. It has a size, so that no two of them are the same.
type place struct{ _ byte }

// enter waits for a place. leave must follow.
func (p *places) enter(ctx context.Context, t *ipc.Task) (*place, error) {
	me := new(place)
	p.line = append(p.line, me)
	for slices.Index(p.line, me) >= MaxObjects {
		if err := p.changed.Wait(ctx, t); err != nil {
			p.leave(me)
			return nil, err
		}
	}
	return me, nil
}

func (p *places) leave(me *place) {
	at := slices.Index(p.line, me)
	p.line = slices.Delete(p.line, at, at+1)
	p.changed.Broadcast()
}

// lend makes a call with a memory object that has data at its beginning and room
// for the answer, and answers what the service left there: as many bytes as the
// call says. They are the caller's to wipe.
func (s *service) lend(ctx context.Context, data []byte, room int, call func(object ipc.Slot) (size uint32, err error)) ([]byte, error) {
	me, err := s.places.enter(ctx, s.task)
	if err != nil {
		return nil, err
	}
	defer s.places.leave(me)
	loan, err := wire.Lend(s.task, data, room)
	if err != nil {
		return nil, err
	}
	defer loan.End()
	size, err := call(loan.Object)
	if err != nil {
		return nil, err
	}
	return loan.Read(size)
}
