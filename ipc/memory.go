package ipc

import "nexus.internal/os/capability"

// memory is an object for what exceeds a frame. It lives as long as there is a
// capability to it, in a table or in flight, and counts as its creator's so long.
type memory struct {
	kernel  *Kernel
	creator *Task
	bytes   []byte
	caps    int // live capabilities to it
}

// Made counts a capability to the object.
func (m *memory) Made(capability.Cap) { m.caps++ }

// Died counts one less. The last one takes the object with it: its bytes are
// wiped and given back to the budgets.
func (m *memory) Died(capability.Cap) {
	m.caps--
	if m.caps > 0 {
		return
	}
	m.creator.memoryBytes -= len(m.bytes)
	m.kernel.memoryBytes -= len(m.bytes)
	delete(m.kernel.memories, m)
	clear(m.bytes)
}

// NewMemory makes a memory object of size zero bytes, 1 to MaxMemory, and puts a
// capability to it with MAP into the task's highest free slot. Another size is
// InvalidArgument. NoSpace means a full table or a full budget: MaxOwnerMemory,
// or the task's fair share of MaxSystemMemory, of which it may have no more than
// it leaves free. The object counts as the task's till the last capability to it
// is gone, wherever that is, and is wiped then.
func (t *Task) NewMemory(size int) (Slot, error) {
	k := t.kernel
	k.lock()
	defer t.done()
	slot, code := k.newMemory(t, size)
	t.traceMemory(SyscallNewMemory, slot, size, code)
	return slot, code.err()
}

func (k *Kernel) newMemory(t *Task, size int) (Slot, Code) {
	own := t.memoryBytes + size
	switch {
	case t.exited:
		return NoSlot, Unavailable
	case size < 1 || size > MaxMemory:
		return NoSlot, InvalidArgument
	case own > MaxOwnerMemory, own > MaxSystemMemory-k.memoryBytes-size:
		return NoSlot, NoSpace
	}
	m := &memory{kernel: k, creator: t}
	slot, err := t.table.Insert(capability.Cap{Kind: capability.KindVMO, Rights: capability.Map, Object: m})
	if err != nil {
		return NoSlot, slotCode(err)
	}
	m.bytes = make([]byte, size)
	k.memories[m] = true
	k.memoryBytes += size
	t.memoryBytes = own
	return slot, OK
}

// ReadOnly makes a read-only alias of the memory object in slot: a child in the
// derivation tree, in the lowest free slot, through which nobody can ever write.
// What is no memory object is PermissionDenied, a full table NoSpace.
func (t *Task) ReadOnly(slot Slot) (Slot, error) {
	t.kernel.lock()
	defer t.done()
	got, err := t.table.Alias(slot)
	t.traceMemory(SyscallReadOnly, slot, 0, slotCode(err))
	return got, slotError(err)
}

// ReadMemory copies the object's bytes from off on into buf, as many as fit and
// as there are, and returns how many. It needs MAP. An off that is not within
// the object or at its end is InvalidArgument.
func (t *Task) ReadMemory(slot Slot, off int, buf []byte) (int, error) {
	t.kernel.lock()
	defer t.done()
	c, err := t.table.Lookup(slot)
	n, code := mapped(c, err).read(off, buf)
	t.traceMemory(SyscallReadMemory, slot, n, code)
	return n, code.err()
}

// WriteMemory copies data into the object at off. It needs MAP, and a capability
// that is no read-only alias: PermissionDenied. What does not lie within the
// object is InvalidArgument, and nothing is written.
func (t *Task) WriteMemory(slot Slot, off int, data []byte) error {
	t.kernel.lock()
	defer t.done()
	c, err := t.table.Lookup(slot)
	code := mapped(c, err).write(off, data)
	t.traceMemory(SyscallWriteMemory, slot, len(data), code)
	return code.err()
}

// MemorySize is how many bytes the object has. It needs MAP.
func (t *Task) MemorySize(slot Slot) (int, error) {
	t.kernel.lock()
	defer t.done()
	c, err := t.table.Lookup(slot)
	w := mapped(c, err)
	t.traceMemory(SyscallMemorySize, slot, len(w.bytes), w.code)
	return len(w.bytes), w.code.err()
}

// ReadMoved is ReadMemory of the object that came along with the request.
func (r *Request) ReadMoved(off int, buf []byte) (int, error) {
	n, err := 0, error(PermissionDenied)
	r.withMoved(func(t *Task, w window, slot Slot) {
		var code Code
		n, code = w.read(off, buf)
		err = code.err()
		t.traceMemory(SyscallReadMemory, slot, n, code)
	})
	return n, err
}

// WriteMoved is WriteMemory into the object that came along with the request, as
// a part of its answer: like Reply it is refused once the token is void (Denied)
// or nobody waits any more (PeerClosed), so that nothing reaches an object of an
// app whose session was sealed meanwhile.
func (r *Request) WriteMoved(off int, data []byte) error {
	err := error(PermissionDenied)
	r.withMoved(func(t *Task, w window, slot Slot) {
		switch {
		case !r.call.live():
			w.code = PeerClosed
		case t.kernel.recheck(r.call) != capability.Accepted:
			w.code = Denied
		}
		code := w.write(off, data)
		err = code.err()
		t.traceMemory(SyscallWriteMemory, slot, len(data), code)
	})
	return err
}

// CloseMoved drops the capability that came along, if the service still has it,
// and makes Moved NoSlot. It may be called when there is none.
func (r *Request) CloseMoved() {
	r.Moved = NoSlot
	r.withMoved(func(t *Task, _ window, slot Slot) {
		if slot != NoSlot {
			_ = t.table.Close(slot) // It was found there under the same lock.
			t.kernel.recheckPorts()
			t.syscall(SyscallClose, slot, nil, OK)
		}
	})
}

// withMoved calls fn, under the kernel's lock, with what came along with a
// request that is being served: that very capability, whatever else has its slot
// by now. fn is not called if nothing came; what is gone is NoSlot.
func (r *Request) withMoved(fn func(t *Task, w window, slot Slot)) {
	if r.call == nil || r.moved == (capability.Held{}) {
		return
	}
	r.kernel.lock()
	defer r.kernel.unlock()
	if r.call.id != r.id || r.call.state != callServing {
		return
	}
	t := r.call.ep.owner
	if held, slot, ok := r.moved.Cap(&t.table); ok {
		fn(t, mapped(held, nil), slot)
	} else {
		fn(t, window{code: PermissionDenied}, NoSlot)
	}
}

// window is what a capability lets its holder see of a memory object, or why
// nothing.
type window struct {
	bytes    []byte
	writable bool
	code     Code
}

// mapped looks through a capability, or the error of not finding one.
func mapped(c capability.Cap, err error) window {
	if err != nil {
		return window{code: slotCode(err)}
	}
	m, ok := c.Object.(*memory)
	if !ok || c.Rights&capability.Map == 0 {
		return window{code: PermissionDenied}
	}
	return window{bytes: m.bytes, writable: c.Kind == capability.KindVMO}
}

func (w window) read(off int, buf []byte) (int, Code) {
	switch {
	case w.code != OK:
		return 0, w.code
	case off < 0 || off > len(w.bytes):
		return 0, InvalidArgument
	}
	return copy(buf, w.bytes[off:]), OK
}

func (w window) write(off int, data []byte) Code {
	switch {
	case w.code != OK:
		return w.code
	case !w.writable:
		return PermissionDenied
	case off < 0 || off > len(w.bytes) || len(data) > len(w.bytes)-off:
		return InvalidArgument
	}
	copy(w.bytes[off:], data)
	return OK
}

// traceMemory records a system call on a memory object: how many bytes it was
// about, and never which. The kernel's lock is held.
func (t *Task) traceMemory(number uint16, slot Slot, size int, code Code) {
	t.record(TraceEvent{Time: t.kernel.now, From: t.id, Op: number, Slot: slot,
		Size: uint16(max(0, min(size, 0xffff))), Code: code, Kind: TraceSyscall})
	t.deny(number, slot, code, 0)
}

// checkMemory recounts the memory objects: their capabilities in tables and in
// flight, and the bytes that each creator and the system answer for.
func (k *Kernel) checkMemory() error {
	caps := make(map[*memory]int)
	count := func(_ Slot, c capability.Cap) {
		if m, ok := c.Object.(*memory); ok {
			caps[m]++
		}
	}
	bytes := make(map[*Task]int)
	for _, t := range k.tasks {
		t.table.Each(count)
		bytes[t] = 0
		t.eachQueued(func(c *call) {
			if held, ok := c.parcel.Cap(); ok {
				count(NoSlot, held)
			}
		})
	}
	total := 0
	for m := range k.memories {
		if m.caps != caps[m] || m.caps < 1 {
			return inconsistent("a memory object of %s: %d capabilities to it and %d counted", m.creator.name, caps[m], m.caps)
		}
		delete(caps, m)
		bytes[m.creator] += len(m.bytes)
		total += len(m.bytes)
	}
	if len(caps) > 0 || total != k.memoryBytes {
		return inconsistent("%d bytes of memory and %d counted, %d freed objects are held", total, k.memoryBytes, len(caps))
	}
	for t, n := range bytes {
		if n != t.memoryBytes {
			return inconsistent("%s: %d bytes of memory and %d counted", t.name, n, t.memoryBytes)
		}
	}
	return nil
}

// eachQueued calls fn for every request that waits at the task's endpoints.
func (t *Task) eachQueued(fn func(*call)) {
	for _, list := range [...][]*endpoint{t.facets, t.inboxes} {
		for _, ep := range list {
			for c := ep.first; c != nil; c = c.next {
				fn(c)
			}
		}
	}
}
