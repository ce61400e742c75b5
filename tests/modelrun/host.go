package modelrun

import (
	"context"
	"slices"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/model"
)

// host runs one service by seed. It is the smallest ipc.Runner: a turn does one
// piece of work, and a service that panicked stays down till it is restarted.
type host struct {
	world     *World
	number    int
	task      *ipc.Task
	scheduled bool
	down      bool // it panicked, and was not restarted since
	held      []*held
	gate      ipc.Cond
}

// held is a request that waits for an Answer.
type held struct {
	facet  uint8
	answer *model.Op
	number int // of the Answer
}

func (w *World) host(number int, t *ipc.Task) {
	h := &host{world: w, number: number, task: t}
	w.hosts[number] = h
	t.Attach(h, func() ipc.Service { return script{h} })
	t.Restart()
}

// Wake asks for a turn.
func (h *host) Wake() {
	if !h.scheduled {
		h.scheduled = true
		h.world.exec.Dispatcher().Schedule(h.turn)
	}
}

func (h *host) turn() {
	h.scheduled = false
	if work := h.task.Next(); work != nil {
		h.run(work)
		h.Wake()
	}
}

// run lets a panic of the service, of which the kernel knows, pass.
func (h *host) run(work *ipc.Work) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(*ipc.PanicReport); !ok {
				panic(r)
			}
			h.down = true
		}
	}()
	_ = work.Run() // The script's start has no error.
}

// restart begins a service again that is down, and leaves another alone.
func (w *World) restart(number int) {
	if h := w.hosts[number]; h != nil && h.down {
		h.down = false
		h.task.Restart()
	}
}

// script is the service that model's opcodes describe.
type script struct{ *host }

func (s script) Start(context.Context) error { return nil }

func (s script) Serve(ctx context.Context, r *ipc.Request) {
	s.note(r)
	switch r.Op {
	case model.Echo, model.EchoGet:
		_ = r.Reply(ipc.OK, r.Body) // Whether anybody is left to hear it, the model says too.
	case model.Fail:
		_ = r.Reply(ipc.NotFound, r.Body) // The same.
	case model.Crash:
		panic("asked for")
	case model.Hold, model.HoldPut:
		s.hold(ctx, r)
	}
}

// note tells the world of a delivery.
func (s script) note(r *ipc.Request) {
	w := s.world
	d := &model.Delivery{
		To: s.number, From: slices.IndexFunc(w.tasks, func(t *ipc.Task) bool { return t.ID() == r.Sender.Task }),
		Type: r.Op, Body: string(r.Body), Moved: r.Moved, Service: r.Sender.Service, Session: -1,
	}
	if r.Stamp.SID != 0 {
		d.Session, d.Epoch = slices.Index(w.sids, r.Stamp.SID), r.Stamp.Epoch
		d.Rights, d.Unsealed = r.Stamp.Rights, r.Stamp.Unsealed
	}
	w.order = append(w.order, turn{op: -1, answers: -1, delivered: d, endpoint: w.facets[s.number][r.Facet]})
}

// hold waits for an Answer.
func (s script) hold(ctx context.Context, r *ipc.Request) {
	h := &held{facet: r.Facet}
	s.held = append(s.held, h)
	defer func() {
		s.host.held = slices.DeleteFunc(s.host.held, func(other *held) bool { return other == h })
	}()
	for h.answer == nil {
		if s.gate.Wait(ctx, s.task) != nil {
			return
		}
	}
	s.world.order = append(s.world.order, turn{op: -1, answers: h.number})
	_ = r.Reply(h.answer.Code, []byte(model.Payload(h.number, h.answer.Size))) // The model says too who hears it.
}

// answer tells a held request of a service to go on. One that was told already
// is not held any more.
func (w *World) answer(n int, op model.Op) {
	h := w.hosts[op.Task]
	if h == nil {
		return
	}
	var open []*held
	for _, other := range h.held {
		if other.answer == nil {
			open = append(open, other)
		}
	}
	if len(open) == 0 {
		return
	}
	slices.SortStableFunc(open, func(a, b *held) int { return int(a.facet) - int(b.facet) })
	chosen := open[op.N%len(open)]
	chosen.answer, chosen.number = &op, n
	h.gate.Broadcast()
}
