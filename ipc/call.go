package ipc

import (
	"context"

	"nexus.internal/os/capability"
)

// Msg is one request. Body and Token stay the caller's; they are copied.
type Msg struct {
	Slot Slot
	Op   uint16
	// Token is the (sid, appId) token, where the operation takes one.
	Token *capability.Token
	// Behalf stands instead of Token for a service that acts for a request it
	// is serving: the kernel derives a child of that request's token, which
	// dies with the request.
	Behalf *Request
	// Body is at most MaxFrame bytes.
	Body []byte
	// Move names a capability that travels along, or NoSlot. It leaves the
	// caller's table only if the request is queued.
	Move Slot
	// Nonblock makes a full queue an error instead of a wait.
	Nonblock bool
}

// Reply is the answer to a call.
type Reply struct {
	// Body is in the buffer that the caller gave, or in a new one if that was
	// too small.
	Body []byte
}

type callState uint8

const (
	callFree callState = iota
	callQueued
	callServing
)

// call is a request from the moment it is queued till its handler has
// returned. The caller may leave before that: then caller is nil.
type call struct {
	id      uint64
	state   callState
	caller  *fiber
	sender  Sender
	ep      *endpoint
	op      uint16
	body    []byte
	parcel  *capability.Parcel // a capability in flight
	replied bool               // its handler has used the reply
	ended   bool               // its end is recorded, or left to a fiber that waits for an answer that is lost
	payer   *Task              // whose share of the byte budgets it takes

	reply *capability.Parcel // without a caller: where the answer goes
	nonce uint64             // what correlates that answer

	row      *capability.Row // nil where no token is taken
	session  *session
	stamp    Stamp
	parent   *call // for a child token: the request it was derived for
	parentID uint64

	next             *call // in the queue, or in the free list
	prevSID, nextSID *call // in its session
}

// Call sends a request and waits for its answer, at most till ctx's deadline
// and never longer than DefaultTimeout. The reply's body is appended to out[:0]
// so that a caller with a buffer allocates nothing. The error is nil or a Code:
// the kernel's own, or the one that the service answered with, in which case
// the reply's body is still returned.
func (t *Task) Call(ctx context.Context, m Msg, out []byte) (Reply, error) {
	if len(m.Body) > MaxFrame {
		return Reply{}, TooLarge
	}
	f, deadline, err := t.enter(ctx)
	if err != nil {
		return Reply{}, err
	}
	k := t.kernel
	defer k.guard()
	f.msg, f.out, f.passed = m, out[:0], false
	code := k.send(f, deadline)
	if code != OK && f.waiting == waitNone {
		f.msg, f.out = Msg{}, nil
		k.refused(f)
		return Reply{}, code
	}
	if code == OK {
		k.setTimer(f, deadline)
		code = k.await(ctx, f, f.call.ep.owner)
	} else {
		code = k.park(ctx, f)
	}
	r := Reply{Body: f.out}
	f.msg, f.out = Msg{}, nil
	k.left(f)
	return r, code.err()
}

// await waits for the answer to a request that was just queued at a task. Where
// nobody runs that task, a flow of control of our own runs it itself until it
// has its answer: that saves waking somebody else and being woken again.
// Handlers park and do not block, so that it gets away as soon as its answer
// depends on anything else. A foreign caller may be locked to a thread of the
// machine, on which coroutines cannot run, and so only waits.
func (k *Kernel) await(ctx context.Context, f *fiber, t *Task) Code {
	if f.origin == foreign || t.lender == nil {
		k.wakeTask(t)
		return k.park(ctx, f)
	}
	f.answered.Store(false)
	k.unlock()
	if !t.lender.Lend(&f.answered) {
		t.runner.Wake()
	} else if f.work != nil && f.answered.Load() {
		k.mu.Lock()
		if f.task.resumes.drop(f.work) {
			k.mu.Unlock()
			return f.code
		}
		k.mu.Unlock()
	}
	return k.wait(ctx, f)
}

// send checks a request, stamps it and queues it. With another code than OK the
// fiber may wait all the same, for room or because of an injected fault.
func (k *Kernel) send(f *fiber, deadline Time) Code {
	t, m := f.task, &f.msg
	if t.exited {
		return Unavailable // It waited for room, and its own exit made some.
	}
	ep, code := k.target(t, m)
	if code == OK && ep.inbox && !f.post.oneWay {
		code = Unsupported // Nobody answers there.
	}
	if code != OK {
		return k.refuse(f, ep, code, capability.Accepted)
	}
	var pass grant
	if !ep.inbox {
		var why capability.Refusal
		if pass, why = k.validate(f, ep.ops[m.Op].need); why != capability.Accepted {
			return k.refuse(f, ep, Denied, why)
		}
	}
	if code := k.movable(f, ep); code != OK {
		return k.refuse(f, ep, code, capability.Accepted)
	}
	if code, stopped := k.hinder(f, ep, deadline); stopped {
		return code
	}
	pass.payer = t
	if pass.parent != nil {
		pass.payer = pass.parent.payer
	}
	if code := ep.admits(pass.payer, len(m.Body)); code != OK {
		return k.noRoom(f, ep, deadline, code)
	}
	k.enqueue(f, ep, pass)
	return OK
}

// movable checks what travels along.
func (k *Kernel) movable(f *fiber, ep *endpoint) Code {
	if f.post.oneWay && !ep.inbox {
		return k.answerable(f, ep)
	}
	if f.msg.Move == NoSlot {
		return OK
	}
	if held, err := f.task.table.Lookup(f.msg.Move); err != nil || held.Kind.Fixed() || !ep.takes && !ep.inbox {
		return PermissionDenied
	}
	return OK
}

// noRoom lets a sender wait, if room is what it lacks and it may.
func (k *Kernel) noRoom(f *fiber, ep *endpoint, deadline Time, code Code) Code {
	if code == QueueFull && !f.msg.Nonblock && ep.waitingOf(f.task) < MaxWaiting {
		f.waiting, f.endpoint = waitRoom, ep
		ep.room = append(ep.room, f)
		k.setTimer(f, deadline)
		return code
	}
	k.ring.add(TraceEvent{Time: k.now, From: f.task.id, To: ep.owner.id, Endpoint: ep.id, Op: f.msg.Op, Slot: f.msg.Slot,
		Size: uint16(len(f.msg.Body)), Code: code, Kind: TraceRefuse})
	return code
}

// waitingOf counts the flows of control of a task that wait for room.
func (ep *endpoint) waitingOf(t *Task) int {
	n := 0
	for _, f := range ep.room {
		if f.task == t {
			n++
		}
	}
	return n
}

// target finds the endpoint behind a slot and checks right and opcode.
func (k *Kernel) target(t *Task, m *Msg) (*endpoint, Code) {
	c, err := t.table.Lookup(m.Slot)
	if err != nil {
		if m.Slot >= capability.Slots {
			return nil, InvalidArgument
		}
		return nil, PermissionDenied
	}
	ep, ok := c.Object.(*endpoint)
	switch {
	case !ok || c.Rights&capability.Send == 0:
		return nil, PermissionDenied
	case ep.closed:
		return ep, NoSuchEndpoint
	case ep.inbox:
		return ep, OK
	case m.Op >= MaxOps || !ep.ops[m.Op].known:
		return ep, Unsupported
	}
	return ep, OK
}

// grant is what a valid token gives a request.
type grant struct {
	row     *capability.Row
	session *session
	parent  *call
	payer   *Task
}

// validate checks the token of a request at send.
func (k *Kernel) validate(f *fiber, need capability.TokenRights) (grant, capability.Refusal) {
	t, m := f.task, &f.msg
	if need == 0 {
		return grant{}, capability.Accepted
	}
	if f.post.misfit {
		return grant{}, capability.RefusedLength
	}
	if m.Behalf != nil {
		return k.validateChild(t, m.Behalf, need)
	}
	if m.Token == nil {
		return grant{}, capability.RefusedMissing
	}
	return k.checkToken(t, m.Token, need)
}

// validateChild checks the child of a request's token: the request must be one
// that this task is serving now and whose caller still waits.
func (k *Kernel) validateChild(t *Task, r *Request, need capability.TokenRights) (grant, capability.Refusal) {
	c := r.call
	if c == nil || c.id != r.id || c.ep.owner != t || !c.live() || c.row == nil {
		return grant{}, capability.RefusedRequest
	}
	why := k.recheck(c)
	if why == capability.Accepted {
		why = checkSession(c.row, need)
	}
	return grant{row: c.row, session: c.session, parent: c}, why
}

// live says whether a request is being served for somebody who still waits.
func (c *call) live() bool { return c.state == callServing && (c.caller != nil || c.reply != nil) }

func checkSession(row *capability.Row, need capability.TokenRights) capability.Refusal {
	s := row.Session.(*session)
	switch {
	case s.ended || row.Epoch != s.epoch:
		return capability.RefusedStale
	case row.Rights&need == 0:
		return capability.RefusedRight
	}
	return capability.Accepted
}

// recheck asks again, at delivery and at reply, whether a request's token is
// good. It allocates nothing.
func (k *Kernel) recheck(c *call) capability.Refusal {
	if c.row == nil {
		return capability.Accepted
	}
	if p := c.parent; p != nil {
		if p.id != c.parentID || !p.live() {
			return capability.RefusedRequest
		}
		return k.recheck(p)
	}
	why := c.row.Recheck(uint64(c.sender.Task), uint64(k.now))
	if why == capability.Accepted && (c.session.ended || c.row.Epoch != c.session.epoch) {
		why = capability.RefusedStale
	}
	return why
}

// enqueue copies a checked request into the kernel. Who waits for it wakes the
// receiver.
func (k *Kernel) enqueue(f *fiber, ep *endpoint, g grant) {
	m := &f.msg
	c := k.takeCall()
	k.lastCall++
	c.id, c.state, c.ep, c.op, c.payer = k.lastCall, callQueued, ep, m.Op, g.payer
	c.sender = Sender{Task: f.task.id, Name: f.task.name, Service: f.task.ident}
	c.body = k.buffers.take(len(m.Body))
	copy(c.body, m.Body)
	if m.Move != NoSlot {
		c.parcel = f.task.table.Send(m.Move)
	}
	if f.post.oneWay {
		k.consign(c, f)
	} else {
		c.caller, f.waiting, f.call = f, waitReply, c
	}
	c.row, c.session, c.parent = g.row, g.session, g.parent
	if g.parent != nil {
		c.parentID = g.parent.id
	}
	if g.session != nil {
		g.session.stamp(c)
		g.session.link(c)
	}
	ep.push(c)
	k.stats.Calls++
	k.traceCall(TraceSend, c, len(c.body), OK, capability.Accepted)
	if f.post.oneWay {
		k.arrived(ep)
	}
	if m.Move != NoSlot {
		k.recheckPorts() // Somebody may wait through what has moved.
	}
}

// refuse counts and traces a request that did not pass.
func (k *Kernel) refuse(f *fiber, ep *endpoint, code Code, why capability.Refusal) Code {
	k.stats.Refused++
	why = k.denySend(f, ep, code, why)
	e := TraceEvent{Time: k.now, From: f.task.id, Op: f.msg.Op, Slot: f.msg.Slot, Size: uint16(min(len(f.msg.Body), 0xffff)),
		Code: code, Kind: TraceRefuse, Refusal: why}
	if ep != nil {
		e.To, e.Endpoint = ep.owner.id, ep.id
	}
	k.ring.add(e)
	return code
}

// answer gives a request's caller its code and no body, if the caller still
// waits. What has nobody to answer to, as a message, has its end here. The
// request itself stays where it is.
func (k *Kernel) answer(c *call, code Code) {
	f := c.caller
	if f == nil {
		switch {
		case c.reply != nil:
			_ = k.post(c, code, nil, false) // What cannot be delivered is counted there.
		case !c.ended:
			k.end(TraceCancel, c, 0, code)
		}
		return
	}
	c.caller = nil
	k.end(TraceReply, c, 0, code)
	k.ready(f, code)
}

// reject ends a request that was never served: its caller gets the code, and
// the capability that travelled with it back.
func (k *Kernel) reject(c *call, code Code) {
	if c.caller != nil {
		c.caller.task.table.Return(c.parcel)
	}
	k.answer(c, code)
	k.release(c)
}

// abandon is the caller leaving: a queued request disappears, one that is being
// served goes on without anybody to answer to.
func (k *Kernel) abandon(c *call) {
	f := c.caller
	c.caller = nil
	if c.state == callQueued {
		c.ep.unqueue(c)
		f.task.table.Return(c.parcel)
		k.release(c)
	}
}

// release wipes a request that is neither queued nor served any more and
// admits the next sender that waits for room.
func (k *Kernel) release(c *call) {
	ep, s := c.ep, c.session
	c.parcel.Drop()
	c.reply.Drop()
	k.buffers.give(c.body)
	if s != nil {
		s.unlink(c)
	}
	*c = call{next: k.freeCalls}
	k.freeCalls = c
	if s != nil {
		k.drained(s)
	}
	k.admitWaiting(ep)
}

// admitWaiting lets senders that wait for room in, first come first served.
// Everything about them is checked again.
func (k *Kernel) admitWaiting(ep *endpoint) {
	for len(ep.room) > 0 && (ep.closed || ep.queued < ep.depth) {
		f := ep.room[0]
		ep.room = remove(ep.room, f)
		deadline := f.expires
		k.clearTimer(f)
		k.sendAgain(f, deadline)
	}
}

// sendAgain is a second try for who waited: it is queued, waits for something
// else, or is told why not.
func (k *Kernel) sendAgain(f *fiber, deadline Time) {
	f.waiting, f.endpoint = waitNone, nil
	switch code := k.send(f, deadline); {
	case f.waiting == waitReply:
		k.setTimer(f, deadline)
		k.wakeTask(f.call.ep.owner)
	case f.waiting == waitNone:
		k.ready(f, code)
	}
}

func (k *Kernel) takeCall() *call {
	c := k.freeCalls
	if c == nil {
		return new(call)
	}
	k.freeCalls = c.next
	c.next = nil
	return c
}
