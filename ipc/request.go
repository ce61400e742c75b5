package ipc

import (
	"context"

	"nexus.internal/os/capability"
)

// Service is one instance of a daemon. Its handlers are straight-line code;
// each kernel call in them may park the request while the task goes on with
// others. Handlers of one service run one at a time, so that its state needs no
// lock, but state may have changed after any kernel call.
type Service interface {
	// Start runs before any request is delivered. An error keeps the service
	// from becoming ready.
	Start(ctx context.Context) error
	// Serve answers one request through req.Reply. req and its body are the
	// kernel's again, and wiped, when Serve returns.
	Serve(ctx context.Context, req *Request)
}

// EventHandler is a Service that wants the kernel's news.
type EventHandler interface {
	Event(ctx context.Context, ev Event)
}

// Forgetter is a Service that has secrets in memory. Forget wipes them when the
// instance is over: it has crashed, before anybody is told, or its task has
// exited. It is called with nothing of the service running, perhaps more than
// once, and must not call the kernel. Handlers that were parked run out after
// it, and have no kernel calls either.
type Forgetter interface {
	Forget()
}

// Event is news from the kernel, delivered in order and never dropped. Sealing
// a session is not complete before its handlers have returned.
type Event struct {
	SID     uint64
	Epoch   uint32 // the epoch that is over
	Ended   bool   // the session is gone; otherwise it is sealed
	session *session
}

// Sender is who sent a request: stamped by the kernel, whatever the request says.
type Sender struct {
	Task    TaskID
	Name    string
	Service uint64 // ServiceID of the name; never a namespace
}

// Stamp is the namespace of a request, taken by the kernel from its token.
type Stamp struct {
	SID         uint64
	User        string
	Incarnation [16]byte // of the user: another one of the same name differs
	App         string
	Epoch       uint32
	Unsealed    bool // at delivery
	Rights      capability.TokenRights
}

// Request is a request being served. It is also the one-shot capability to
// reply to it. It must not be kept after Serve returned.
type Request struct {
	Op     uint16
	Facet  uint8 // which of the service's endpoints it came through
	Body   []byte
	Sender Sender
	Stamp  Stamp
	// Moved is the slot, in the service's table, of a capability that came
	// along, or NoSlot. It is the service's to close. Who revokes it empties the
	// slot, and another request's may come into it: what parks and goes on uses
	// the methods of Request, which know that capability and no other.
	Moved Slot

	kernel *Kernel
	call   *call
	moved  capability.Held
	id     uint64 // of the call, which by now may be another one
}

// Reply answers the request. The body is copied. It works once: a second reply
// is refused with PermissionDenied and counted. If the token is void by now the
// caller gets Denied instead, and Reply says so; if the caller left, nothing
// happens and Reply returns PeerClosed. A body over MaxFrame is TooLarge and
// the reply is still owed.
func (r *Request) Reply(code Code, body []byte) error {
	crash, err := r.reply(code, body)
	if crash {
		sabotage()
	}
	return err
}

// reply is Reply, but for a panic that was asked for, which is the service's own.
func (r *Request) reply(code Code, body []byte) (crash bool, err error) {
	if len(body) > MaxFrame || !code.Valid() {
		return false, TooLarge
	}
	k, c := r.kernel, r.call
	if c == nil {
		return false, PermissionDenied
	}
	k.lock()
	defer k.unlock()
	if c.id != r.id || c.state != callServing || c.replied {
		k.stats.Repeated++
		return false, PermissionDenied
	}
	fault, _ := k.inject(AtReply, c.sender.Name, c.ep, c.op)
	if fault == FaultCrash {
		return true, nil
	}
	c.replied = true
	f := c.caller
	if f == nil && c.reply == nil {
		k.stats.Late++
		if c.ended {
			k.traceCall(TraceLate, c, len(body), code, capability.Accepted)
		} else {
			k.end(TraceCancel, c, 0, PeerClosed)
		}
		return false, PeerClosed
	}
	if why := k.recheck(c); why != capability.Accepted {
		k.stats.Late++
		why = k.denyCall(StageReply, c, why)
		k.traceCall(TraceRefuse, c, len(body), Denied, why)
		k.answer(c, Denied)
		return false, Denied
	}
	if f == nil {
		return false, k.post(c, code, body, fault == FaultDrop).err()
	}
	c.caller = nil
	if fault == FaultDrop {
		k.stats.Late++
		deadline := f.expires
		k.clearTimer(f)
		c.ended = true
		k.lose(f, deadline, TraceEvent{Call: c.id, From: f.task.id, To: c.ep.owner.id, SID: c.stamp.SID,
			Endpoint: c.ep.id, Op: c.op, Name: c.stamp.App})
		return false, nil
	}
	f.out = append(f.out, body...)
	k.stats.Replies++
	k.end(TraceReply, c, len(body), code)
	k.ready(f, code)
	return false, nil
}

// Gone says whether nobody waits for the answer any more.
func (r *Request) Gone() bool {
	k, c := r.kernel, r.call
	if c == nil {
		return true
	}
	k.lock()
	defer k.unlock()
	return c.id != r.id || !c.live()
}
