package model

import (
	"encoding/binary"
	"slices"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
)

// send is Call and Send: a new flow that tries, and may have to wait.
func (m *Model) send(number int, op Op) (Result, bool) {
	t := m.Tasks[op.Task]
	f := &Flow{Number: number, Task: t, Op: op, Body: Payload(number, op.Size)}
	if op.Kind == Call && op.Size > ipc.MaxFrame {
		return code(ipc.TooLarge), false
	}
	if op.Kind == Send && !wellFormed(op) {
		return code(ipc.InvalidArgument), false
	}
	if op.Within != 0 {
		f.Deadline = m.Now + op.Within
	}
	if op.Kind == Call {
		limit := m.Now + uint64(ipc.DefaultTimeout)
		if f.Deadline == 0 || f.Deadline > limit {
			f.Deadline = limit
		}
	}
	c, waits := m.try(f)
	return code(c), waits
}

func wellFormed(op Op) bool {
	return op.Size <= ipc.MaxFrame && op.Misstate == 0 && op.Flags == 0 && op.Sys&^uint8(ipc.SysNonblock) == 0 &&
		(op.Move == ipc.NoSlot || op.Move < capability.Slots)
}

// try is the checks of a send, in their order, and then the queue. It answers
// what the operation answers, or that it waits.
func (m *Model) try(f *Flow) (c ipc.Code, waits bool) {
	if f.Task.Exited {
		return ipc.Unavailable, false
	}
	e, c := m.target(f)
	if c != ipc.OK {
		return c, false
	}
	var token *Token
	if !e.Inbox && needs(f.Op.Type) != 0 {
		if token = m.token(f.Op.Token); !m.passes(token, f.Task, needs(f.Op.Type)) {
			return ipc.Denied, false
		}
	}
	if c := m.mayMove(f, e); c != ipc.OK {
		return c, false
	}
	switch c := m.admits(e, f.Task, f.Op.Size); {
	case c == ipc.QueueFull && f.Op.Sys&uint8(ipc.SysNonblock) == 0 && m.roomWaiters(e, f.Task) < ipc.MaxWaiting:
		m.begin(f, Room, e)
		return ipc.OK, true
	case c != ipc.OK:
		return c, false
	}
	return ipc.OK, m.enqueue(f, e, token)
}

func (m *Model) target(f *Flow) (*Endpoint, ipc.Code) {
	c, why := m.look(f.Task, f.Op.Slot)
	switch {
	case why != ipc.OK:
		return nil, why
	case c.Endpoint == nil || c.Rights&capability.Send == 0:
		return nil, ipc.PermissionDenied
	case c.Endpoint.Closed:
		return nil, ipc.NoSuchEndpoint
	case c.Endpoint.Inbox && f.Op.Kind == Call, !c.Endpoint.Inbox && (f.Op.Type < Echo || f.Op.Type >= numTypes):
		return nil, ipc.Unsupported
	}
	return c.Endpoint, ipc.OK
}

// mayMove checks what is to travel along.
func (m *Model) mayMove(f *Flow, e *Endpoint) ipc.Code {
	moved := m.at(f.Task, f.Op.Move)
	if f.Op.Kind == Send && !e.Inbox {
		switch {
		case f.Op.Move == ipc.NoSlot && e.Raw:
			return ipc.OK // Who serves it knows another way to answer.
		case f.Op.Move == ipc.NoSlot, !e.Raw && f.Op.Size < frame.RequestSize:
			return ipc.InvalidArgument
		case moved == nil, moved.Endpoint == nil, !moved.Endpoint.Inbox, moved.Endpoint.Closed, moved.Rights&capability.Send == 0:
			return ipc.PermissionDenied
		}
		return ipc.OK
	}
	if f.Op.Move != ipc.NoSlot && (moved == nil || fixed(moved.Kind) || !e.Takes && !e.Inbox) {
		return ipc.PermissionDenied
	}
	return ipc.OK
}

func (m *Model) roomWaiters(e *Endpoint, t *Task) (n int) {
	for _, f := range m.waiting(e, Room) {
		if f.Task == t {
			n++
		}
	}
	return n
}

// admits says whether n more bytes of a payer fit: depth first, then the byte
// budgets. Of those that are shared, a payer has at most what is left free.
func (m *Model) admits(e *Endpoint, payer *Task, n int) ipc.Code {
	if len(e.Queue) >= e.Depth {
		return ipc.QueueFull
	}
	here, owner, system, own := n, n, n, n
	for _, other := range m.Endpoints {
		for _, q := range other.Queue {
			if other == e {
				here += len(q.Body)
			}
			if other.Owner == e.Owner {
				owner += len(q.Body)
			}
			if q.Payer == payer {
				own += len(q.Body)
			}
			system += len(q.Body)
		}
	}
	if here > e.Depth*ipc.MaxFrame || owner+own > ipc.MaxOwnerBytes || system+own > ipc.MaxSystemBytes {
		return ipc.NoSpace
	}
	return ipc.OK
}

// enqueue queues a message and says whether its sender waits for an answer.
func (m *Model) enqueue(f *Flow, e *Endpoint, token *Token) bool {
	q := &Message{To: e, From: f.Task, Payer: f.Task, Type: f.Op.Type, Body: f.Body, Token: token}
	if c := m.at(f.Task, f.Op.Move); f.Op.Move != ipc.NoSlot {
		c.Where = InFlight
		q.Cap, q.Home = c, f.Op.Move
	}
	e.Queue = append(e.Queue, q)
	if f.Op.Move != ipc.NoSlot {
		defer m.recheck() // Somebody may wait through what has moved.
	}
	if f.Op.Kind == Call {
		q.Flow = f
		m.begin(f, Reply, e)
		return true
	}
	if !e.Inbox { // A request whose answer goes to an inbox.
		q.Reply, q.Cap = q.Cap, nil
		if !e.Raw {
			q.Nonce, q.Body = q.Body[:frame.RequestSize], q.Body[frame.RequestSize:]
		}
	}
	if slices.Contains(m.Flows, f) {
		m.finish(f, Result{}) // It had waited for room.
	}
	if e.Inbox {
		m.match(e)
	}
	return false
}

// admit lets senders that wait for room in, first come first served. Everything
// about them is checked again.
func (m *Model) admit(e *Endpoint) {
	for {
		waiting := m.waiting(e, Room)
		if len(waiting) == 0 || len(e.Queue) >= e.Depth {
			return
		}
		f := waiting[0]
		if c, waits := m.try(f); !waits {
			m.finish(f, code(c))
		}
	}
}

// reject ends a request that no handler got: its capability goes back to a
// caller who waits, and the answer to whoever it is for.
func (m *Model) reject(q *Message, c ipc.Code) {
	if q.Flow != nil {
		m.giveBack(q)
	}
	m.respond(q, c, "")
	m.forget(q)
}

// giveBack returns a capability in flight to the slot that it came from.
func (m *Model) giveBack(q *Message) {
	if q.Cap == nil || q.Cap.Where != InFlight {
		return
	}
	if m.at(q.From, q.Home) != nil {
		m.drop(q.Cap)
		return
	}
	q.Cap.Where, q.Cap.Task, q.Cap.Slot = Held, q.From, q.Home
	q.Cap = nil
}

// forget is the end of a message that is in no queue any more: what is still in
// flight with it dies, and there may be room.
func (m *Model) forget(q *Message) {
	for _, c := range []*Cap{q.Cap, q.Reply} {
		if c != nil && c.Where == InFlight {
			m.drop(c)
		}
	}
	m.admit(q.To)
}

// respond answers a request, if anybody is left to answer to.
func (m *Model) respond(q *Message, c ipc.Code, body string) {
	if f := q.Flow; f != nil {
		q.Flow = nil
		m.finish(f, Result{Code: c, Body: body})
	}
	if q.Reply != nil {
		m.post(q, c, body)
	}
}

// post sends an answer to its inbox, or loses it.
func (m *Model) post(q *Message, c ipc.Code, body string) {
	reply := q.Reply
	q.Reply = nil
	if reply.Where == InFlight && !reply.Endpoint.Closed && (!q.To.Raw || c == ipc.OK || body != "") {
		if !q.To.Raw {
			if frame.AnswerSize+len(body) > ipc.MaxFrame {
				c, body = ipc.TooLarge, ""
			}
			body = q.Nonce + string(binary.LittleEndian.AppendUint16(nil, uint16(c))) + body
		}
		in := reply.Endpoint
		if m.admits(in, q.Payer, len(body)) == ipc.OK {
			in.Queue = append(in.Queue, &Message{To: in, From: q.To.Owner, Payer: q.Payer, Type: q.Type, Body: body})
			m.match(in)
		}
	}
	if reply.Where == InFlight {
		m.drop(reply)
	}
}

// leave is a flow giving up, for whatever reason.
func (m *Model) leave(f *Flow, c ipc.Code) {
	m.finish(f, code(c))
	if f.Wait != Reply {
		return
	}
	for _, q := range slices.Concat(f.Endpoint.Queue, f.Endpoint.Serving) {
		if q.Flow != f {
			continue
		}
		q.Flow = nil
		if i := slices.Index(f.Endpoint.Queue, q); i >= 0 {
			f.Endpoint.Queue = slices.Delete(f.Endpoint.Queue, i, i+1)
			m.giveBack(q)
			m.forget(q)
		}
	}
}

// receive takes a message, or waits for one.
func (m *Model) receive(number int, op Op) (Result, bool) {
	t := m.Tasks[op.Task]
	if op.Sys&^uint8(ipc.SysNonblock|ipc.SysTruncate|ipc.SysEOF) != 0 {
		return code(ipc.InvalidArgument), false
	}
	if t.Exited {
		return code(ipc.Unavailable), false
	}
	e, c := m.source(t, op.Slot)
	if c != ipc.OK {
		return code(c), false
	}
	f := &Flow{Number: number, Task: t, Op: op}
	if op.Within != 0 {
		f.Deadline = m.Now + op.Within
	}
	left, ever := m.sender(e)
	switch {
	case len(e.Queue) > 0:
		return m.take(f, e), false
	case op.Sys&uint8(ipc.SysEOF) != 0 && ever && !left:
		return code(ipc.PeerClosed), false
	case op.Sys&uint8(ipc.SysNonblock) != 0:
		return code(ipc.QueueEmpty), false
	}
	m.begin(f, Arrival, e)
	return Result{}, true
}

func (m *Model) source(t *Task, slot ipc.Slot) (*Endpoint, ipc.Code) {
	c, why := m.look(t, slot)
	switch {
	case why != ipc.OK:
		return nil, why
	case c.Endpoint == nil || c.Rights&capability.Recv == 0:
		return nil, ipc.PermissionDenied
	case c.Endpoint.Closed:
		return nil, ipc.NoSuchEndpoint
	case !c.Endpoint.Inbox:
		return nil, ipc.Unsupported
	}
	return c.Endpoint, ipc.OK
}

// take gives a receiver the oldest message, or says why it stays queued.
func (m *Model) take(f *Flow, e *Endpoint) Result {
	q := e.Queue[0]
	if len(q.Body) > f.Op.Size && f.Op.Sys&uint8(ipc.SysTruncate) == 0 {
		return code(ipc.InvalidArgument)
	}
	n := min(len(q.Body), f.Op.Size)
	r := Result{N: n, Body: q.Body[:n], Dst: e.Number, Type: q.Type, Len: uint32(len(q.Body)), From: serviceID(q.From)}
	if q.Cap != nil && q.Cap.Where == InFlight {
		slot, ok := m.lowestFree(f.Task)
		if !ok {
			return code(ipc.NoSpace)
		}
		m.arrive(q.Cap, f.Task, slot)
		r.Slot, r.Flags = slot, frame.CapMove
	}
	e.Queue = e.Queue[1:]
	m.forget(q)
	return r
}

// arrive puts what was in flight into a slot, without MANAGE, which never travels.
func (m *Model) arrive(c *Cap, t *Task, slot ipc.Slot) {
	c.Where, c.Task, c.Slot = Held, t, slot
	c.Rights &^= capability.Manage
}

// match gives queued messages to those who wait for one.
func (m *Model) match(e *Endpoint) {
	for len(e.Queue) > 0 {
		waiting := m.waiting(e, Arrival)
		if len(waiting) == 0 {
			return
		}
		f := waiting[0]
		i := slices.Index(m.Flows, f)
		m.Flows = slices.Delete(m.Flows, i, i+1) // Whoever is let in meanwhile must not find it waiting.
		m.done = append(m.done, Done{f.Number, m.take(f, e)})
	}
}

// recheck tells those who wait through a capability that is gone, and those who
// want to know it that nobody is left who could send.
func (m *Model) recheck() {
	for _, f := range slices.Clone(m.Flows) {
		switch f.Wait {
		case Room:
			if e, _ := m.target(f); e != f.Endpoint {
				m.leave(f, ipc.PermissionDenied)
			}
		case Arrival:
			left, ever := m.sender(f.Endpoint)
			if e, _ := m.source(f.Task, f.Op.Slot); e != f.Endpoint {
				m.leave(f, ipc.PermissionDenied)
			} else if f.Op.Sys&uint8(ipc.SysEOF) != 0 && ever && !left {
				m.leave(f, ipc.PeerClosed)
			}
		}
	}
}
