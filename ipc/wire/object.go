package wire

import "nexus.internal/os/ipc"

// Loan is a memory object that a task has made to lend it to a service for one
// call. Its maker ends it, whatever came of the call.
type Loan struct {
	// Object is what moves along with the call.
	Object ipc.Slot

	task *ipc.Task
	own  ipc.Slot
}

// Lend makes an object with data at its beginning and at least room bytes, into
// which the service may write. NoSpace means that a budget or the table is full.
func Lend(t *ipc.Task, data []byte, room int) (*Loan, error) {
	return lend(t, data, room, t.Clone)
}

// LendReadOnly makes an object of data which the service cannot change.
func LendReadOnly(t *ipc.Task, data []byte) (*Loan, error) {
	return lend(t, data, 0, t.ReadOnly)
}

func lend(t *ipc.Task, data []byte, room int, share func(own ipc.Slot) (ipc.Slot, error)) (*Loan, error) {
	own, err := t.NewMemory(max(room, len(data)))
	if err != nil {
		return nil, err
	}
	l := &Loan{task: t, own: own}
	if err = t.WriteMemory(own, 0, data); err == nil {
		l.Object, err = share(own)
	}
	if err != nil {
		l.End()
		return nil, err
	}
	return l, nil
}

// Read answers a copy of the object's first n bytes, the caller's to wipe. A
// service that says that it wrote more than there is room for is Malformed.
func (l *Loan) Read(n uint32) ([]byte, error) {
	size, err := l.task.MemorySize(l.own)
	if err != nil {
		return nil, err
	}
	if int64(n) > int64(size) {
		return nil, ipc.Malformed
	}
	b := make([]byte, n)
	_, err = l.task.ReadMemory(l.own, 0, b)
	return b, err
}

// End takes the object back from wherever it is by now, and frees it: the kernel
// wipes it. Ending nil does nothing.
func (l *Loan) End() {
	if l != nil {
		_, _ = l.task.Revoke(l.own) // The slot is the loan's own: neither can fail,
		_ = l.task.Close(l.own)     // but after the task's exit, which did the same.
	}
}

// Payload answers the bytes that a request brought: those of its own field, or,
// if it says a size, so many of the object that came along, at most most. They
// are the caller's to wipe. Both at once, or an object that is missing or too
// short, is Malformed; a size over most is TooLarge.
func Payload(r *ipc.Request, inline []byte, size uint32, most int) ([]byte, error) {
	switch {
	case size == 0:
		return inline, nil
	case len(inline) > 0:
		return nil, ipc.Malformed
	case int64(size) > int64(most):
		return nil, ipc.TooLarge
	}
	b := make([]byte, size)
	if n, err := r.ReadMoved(0, b); err != nil || n != len(b) {
		clear(b)
		return nil, ipc.Malformed
	}
	return b, nil
}

// Deliver is the way back: it answers what the reply's bytes field and its size
// are to be. With an object the data is written there and wiped here. An error
// means that it is not there: the object is too small, or gone, or may not be
// written, or the request may not be answered any more.
func Deliver(r *ipc.Request, data []byte, object bool) (inline []byte, size uint32, err error) {
	if !object {
		return data, 0, nil
	}
	defer clear(data)
	if err := r.WriteMoved(0, data); err != nil {
		return nil, 0, err
	}
	return nil, uint32(len(data)), nil
}
