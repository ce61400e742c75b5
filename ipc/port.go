package ipc

import (
	"context"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc/frame"
)

// SysFlags change what a send or a receive does, a bit mask.
type SysFlags uint8

// The flags, as the target OS numbers them.
const (
	SysNonblock SysFlags = 1 // fail instead of waiting
	SysTruncate SysFlags = 2 // receive: write what fits
	SysEOF      SysFlags = 4 // receive: PeerClosed when nobody is left who could send
)

// Outgoing is one message as the target OS's send takes it. Payload and Token
// stay the caller's; they are copied.
type Outgoing struct {
	// Slot holds SEND on an inbox, or on an endpoint of a service.
	Slot Slot
	// Header's Src names the capability to move if Flags has frame.CapMove, Dst
	// is not looked at, Type is the opcode, Len must be Payload's length.
	Header  frame.Header
	Payload []byte // at most MaxFrame bytes
	// Token is a token's bytes, where the operation needs one.
	Token    []byte
	Flags    SysFlags // SysNonblock
	Deadline Time     // absolute; 0 means none
}

// Incoming says what was received.
type Incoming struct {
	// Header's Src is the receiver's new slot if Flags has frame.CapMove and 0
	// otherwise, Dst the endpoint's number, Len the payload's length, which
	// with SysTruncate may be more than was written.
	Header  frame.Header
	N       int    // bytes written
	Service uint64 // ServiceID of the sender's name, as it was at send
}

// post is what a fiber sends besides its Msg, if it goes by Send.
type post struct {
	oneWay bool
	misfit bool // the token's bytes are not as many as a token's
	token  capability.Token
}

// receipt is what a fiber receives, and into what.
type receipt struct {
	slot  Slot
	flags SysFlags
	buf   []byte
	in    Incoming
}

// check refuses what cannot be a message, before any slot is looked at.
func (m *Outgoing) check() Code {
	h := &m.Header
	switch {
	case len(m.Payload) > MaxFrame || int64(h.Len) != int64(len(m.Payload)),
		h.Flags&^frame.CapMove != 0, m.Flags&^SysNonblock != 0,
		h.Flags&frame.CapMove != 0 && h.Src >= capability.Slots:
		return InvalidArgument
	}
	return OK
}

// Send queues a message at an inbox, or a request at an endpoint of a service
// whose answer then goes to the inbox for which it brings a capability with
// SEND. What it moves is out of the caller's table once the message is queued,
// and in it if there is an error. It waits for room, first come first served,
// unless the flags say otherwise; over a byte budget it fails at once.
func (t *Task) Send(ctx context.Context, m Outgoing) error {
	if code := m.check(); code != OK {
		return code
	}
	f, deadline, err := t.enterUntil(ctx, m.Deadline)
	if err != nil {
		return err
	}
	k := t.kernel
	defer k.guard()
	f.load(&m)
	code := k.send(f, deadline)
	if f.waiting == waitNone {
		f.unload()
		if code == OK {
			k.leave(f)
		} else {
			k.refused(f)
		}
		return code.err()
	}
	code = k.park(ctx, f)
	f.unload()
	k.left(f)
	return code.err()
}

// load makes the fiber's message of what Send was given.
func (f *fiber) load(m *Outgoing) {
	f.msg = Msg{Slot: m.Slot, Op: m.Header.Type, Body: m.Payload, Move: NoSlot, Nonblock: m.Flags&SysNonblock != 0}
	if m.Header.Flags&frame.CapMove != 0 {
		f.msg.Move = Slot(m.Header.Src)
	}
	f.post.oneWay, f.post.misfit, f.passed = true, false, false
	if m.Token == nil {
		return
	}
	var why capability.Refusal
	f.post.token, why = capability.ParseToken(m.Token)
	f.post.misfit = why != capability.Accepted
	f.msg.Token = &f.post.token
}

func (f *fiber) unload() { f.msg, f.post = Msg{}, post{} }

// answerable checks that a request which comes by Send has somewhere for its
// answer to go, and a nonce where there is to be one.
func (k *Kernel) answerable(f *fiber, ep *endpoint) Code {
	if f.msg.Move == NoSlot && ep.raw {
		return OK // Who serves it knows another way.
	}
	if f.msg.Move == NoSlot || !ep.raw && len(f.msg.Body) < frame.RequestSize {
		return InvalidArgument
	}
	held, err := f.task.table.Lookup(f.msg.Move)
	if err != nil {
		return PermissionDenied
	}
	if inbox, ok := held.Object.(*endpoint); !ok || !inbox.inbox || inbox.closed || held.Rights&capability.Send == 0 {
		return PermissionDenied
	}
	return OK
}

// consign makes a request of a message to a service: what came along is where
// its answer goes, and the nonce comes off the body.
func (k *Kernel) consign(c *call, f *fiber) {
	if c.ep.inbox {
		return
	}
	c.reply, c.parcel = c.parcel, nil
	if !c.ep.raw {
		nonce, body, err := frame.ParseRequest(c.body)
		if err == nil { // answerable has seen to that.
			c.nonce = nonce
			n := copy(c.body, body)
			clear(c.body[n:])
			c.body = c.body[:n]
		}
	}
}

// arrived hands what was just queued on: to who waits for it, or to the host of
// the service.
func (k *Kernel) arrived(ep *endpoint) {
	if !ep.inbox {
		k.wakeTask(ep.owner)
		return
	}
	for ep.first != nil && len(ep.receivers) > 0 {
		f := ep.receivers[0]
		ep.receivers = remove(ep.receivers, f)
		f.waiting = waitNone
		k.ready(f, k.take(f, ep))
	}
}

// post sends the answer of a request without a caller to its inbox, if it still
// can. Nobody waits for that: what finds no room is lost, and counted. The bytes
// count as the requester's, so that one who reads no answers uses up no share
// but its own.
func (k *Kernel) post(c *call, code Code, body []byte, lost bool) Code {
	reply := c.reply
	c.reply = nil
	defer reply.Drop()
	held, ok := reply.Cap()
	inbox, _ := held.Object.(*endpoint)
	if !ok || inbox.closed || lost || c.ep.raw && code != OK && len(body) == 0 {
		return k.undelivered(c, PeerClosed)
	}
	m := k.answerTo(c, code, body)
	m.ep = inbox
	if room := inbox.admits(c.payer, len(m.body)); room != OK {
		k.buffers.give(m.body)
		*m = call{next: k.freeCalls}
		k.freeCalls = m
		return k.undelivered(c, room)
	}
	k.stats.Replies++
	k.end(TraceReply, c, len(body), code)
	inbox.push(m)
	k.traceCall(TraceSend, m, len(m.body), OK, capability.Accepted)
	k.arrived(inbox)
	return OK
}

// undelivered counts an answer that was lost.
func (k *Kernel) undelivered(c *call, why Code) Code {
	k.stats.Undelivered++
	k.end(TraceReply, c, 0, why)
	return why
}

// answerTo makes the message that answers a request. Its sender is the service.
func (k *Kernel) answerTo(c *call, code Code, body []byte) *call {
	m := k.takeCall()
	k.lastCall++
	owner := c.ep.owner
	*m = call{id: k.lastCall, state: callQueued, op: c.op, payer: c.payer,
		sender: Sender{Task: owner.id, Name: owner.name, Service: owner.ident}}
	if c.ep.raw {
		m.body = k.buffers.take(len(body))
		copy(m.body, body)
		return m
	}
	if frame.AnswerSize+len(body) > MaxFrame {
		code, body = TooLarge, nil
	}
	m.body = k.buffers.take(frame.AnswerSize + len(body))
	frame.AppendAnswer(m.body[:0], c.nonce, uint16(code), body)
	return m
}

// Receive takes the oldest message from the inbox on which slot has RECV, and
// writes its payload to buf. Without a message it waits, first come first
// served, till there is one, the deadline (absolute; 0 means none) passes, the
// inbox closes or the capability is gone. A message that does not fit buf is
// InvalidArgument without SysTruncate; one whose capability finds no free slot
// is NoSpace: in both cases it stays where it is.
func (t *Task) Receive(ctx context.Context, slot Slot, buf []byte, flags SysFlags, deadline Time) (Incoming, error) {
	if flags&^(SysNonblock|SysTruncate|SysEOF) != 0 {
		return Incoming{}, InvalidArgument
	}
	f, until, err := t.enterUntil(ctx, deadline)
	if err != nil {
		return Incoming{}, err
	}
	k := t.kernel
	defer k.guard()
	f.recv = receipt{slot: slot, flags: flags, buf: buf}
	code := k.receive(f, until)
	if f.waiting == waitNone {
		t.deny(SyscallReceive, slot, code, 0)
	}
	if f.waiting == waitReceive {
		code = k.park(ctx, f)
		k.lock()
	}
	if code != OK {
		k.ring.add(TraceEvent{Time: k.now, To: t.id, Slot: slot, Code: code, Kind: TraceReceive})
	}
	in := f.recv.in
	f.recv = receipt{}
	if code == OK {
		k.leave(f)
	} else {
		k.refused(f)
	}
	return in, code.err()
}

// receive takes a message, or lets the fiber wait for one.
func (k *Kernel) receive(f *fiber, deadline Time) Code {
	ep, code := k.source(f)
	switch {
	case code != OK:
		return code
	case ep.first != nil:
		return k.take(f, ep)
	case f.recv.flags&SysEOF != 0 && ep.deserted():
		return PeerClosed
	case f.recv.flags&SysNonblock != 0:
		return QueueEmpty
	}
	f.waiting, f.endpoint = waitReceive, ep
	ep.receivers = append(ep.receivers, f)
	k.setTimer(f, deadline)
	return OK
}

// source finds the inbox from which a fiber receives.
func (k *Kernel) source(f *fiber) (*endpoint, Code) {
	c, err := f.task.table.Lookup(f.recv.slot)
	ep, ok := c.Object.(*endpoint)
	switch {
	case err != nil:
		return nil, slotCode(err)
	case !ok || c.Rights&capability.Recv == 0:
		return nil, PermissionDenied
	case ep.closed:
		return nil, NoSuchEndpoint
	case !ep.inbox:
		return nil, Unsupported
	}
	return ep, OK
}

// take gives a fiber the oldest message of an inbox, with what came along.
func (k *Kernel) take(f *fiber, ep *endpoint) Code {
	c := ep.first
	if len(c.body) > len(f.recv.buf) && f.recv.flags&SysTruncate == 0 {
		return InvalidArgument
	}
	in := Incoming{Service: c.sender.Service}
	in.Header = frame.Header{Dst: ep.id, Type: c.op, Len: uint32(len(c.body))}
	if c.parcel != nil {
		switch slot, err := f.task.table.Receive(c.parcel); err {
		case nil:
			in.Header.Src, in.Header.Flags = uint32(slot), frame.CapMove
		case capability.ErrFull:
			return NoSpace
		default: // It was revoked on its way.
		}
	}
	in.N = copy(f.recv.buf, c.body)
	f.recv.in = in
	e := TraceEvent{Time: k.now, Call: c.id, From: c.sender.Task, To: f.task.id, Endpoint: ep.id, Op: c.op,
		Slot: f.recv.slot, Size: uint16(len(c.body)), Kind: TraceReceive}
	k.ring.add(e)
	k.release(ep.pop())
	return OK
}

// recheckPorts tells those who wait for room or for a message through a
// capability that is gone.
func (k *Kernel) recheckPorts() {
	for f := k.timers; f != nil; {
		following := f.timerNext
		switch f.waiting {
		case waitRoom:
			if ep, code := k.target(f.task, &f.msg); code != OK || ep != f.endpoint {
				if code != OK {
					k.denySend(f, ep, PermissionDenied, capability.Accepted)
				}
				k.abort(f, PermissionDenied)
			}
		case waitReceive:
			if ep, code := k.source(f); code != OK || ep != f.endpoint {
				f.task.deny(SyscallReceive, f.recv.slot, PermissionDenied, 0)
				k.abort(f, PermissionDenied)
			}
		}
		f = following
	}
}

// needs says which token rights an operation asks for.
func (ep *endpoint) needs(op uint16) capability.TokenRights {
	if ep.inbox || op >= MaxOps {
		return 0
	}
	return ep.ops[op].need
}
