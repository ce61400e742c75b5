package ipc

import "nexus.internal/os/capability"

// EventKind says what a trace event is about.
type EventKind uint8

// The kinds of trace event.
const (
	TraceSend EventKind = iota + 1
	TraceDeliver
	TraceReply
	TraceRefuse
	TraceExpire
	TraceMark
	TraceStart
	TraceCrash
	TraceExit
	TraceSession
	TraceToken
	TraceOffload
	TraceFault    // injected
	TraceTask     // a task was made: From, with its Name
	TraceEndpoint // an endpoint of To was made: Op is its facet; Name is "inbox" if it is one
	TraceReceive  // To received what From had sent, or was told Code
	TraceSyscall  // another system call of From: Op says which
	TraceCancel   // a call ended without an answer: its caller left, or there never was anybody to answer to
	TraceLate     // an answer to a call that had ended: it reached nobody
)

// Every call that was sent, which is one TraceSend, ends with exactly one event:
// TraceReply, TraceExpire, TraceCancel or, of a message in an inbox,
// TraceReceive. A TraceRefuse that has a call says why its TraceReply is Denied.

// Which system call a TraceSyscall is, in its Op.
const (
	SyscallClone uint16 = iota + 1
	SyscallDerive
	SyscallClose
	SyscallRevoke
	SyscallCloseEndpoint
	SyscallNewMemory
	SyscallReadOnly
	SyscallReadMemory
	SyscallWriteMemory
	SyscallMemorySize
	// Those that follow are in audit records only.
	SyscallReceive
	SyscallNewEndpoint
	SyscallStartSession
	SyscallOpenSession
	SyscallSealSession
	SyscallEndSession
	SyscallDrainSession
	SyscallMintToken
	SyscallRevokeToken
	SyscallDeriveToken
	SyscallInspect
	numSyscalls
)

var syscallText = [...]string{
	SyscallClone: "clone", SyscallDerive: "derive", SyscallClose: "close", SyscallRevoke: "revoke",
	SyscallCloseEndpoint: "close endpoint",
	SyscallNewMemory:     "new memory", SyscallReadOnly: "read-only", SyscallReadMemory: "read memory",
	SyscallWriteMemory: "write memory", SyscallMemorySize: "memory size",
	SyscallReceive: "receive", SyscallNewEndpoint: "new endpoint", SyscallStartSession: "start session",
	SyscallOpenSession: "open session", SyscallSealSession: "seal session", SyscallEndSession: "end session",
	SyscallDrainSession: "drain session", SyscallMintToken: "mint token", SyscallRevokeToken: "revoke token",
	SyscallDeriveToken: "derive token", SyscallInspect: "inspect",
}

// SyscallName says in a word which system call a number stands for.
func SyscallName(n uint16) string {
	if int(n) < len(syscallText) && n > 0 {
		return syscallText[n]
	}
	return "unknown"
}

// What a TraceSession is about, in its Op.
const (
	SessionStarted uint16 = iota + 1
	SessionOpened
	SessionSealed
	SessionEnded
)

// TraceEvent is one system call or its consequence. It never holds a payload.
type TraceEvent struct {
	Time     Time
	Call     uint64 // the call it belongs to, 0 for none
	From     TaskID
	To       TaskID
	SID      uint64
	Endpoint uint32
	Op       uint16
	Size     uint16
	Code     Code
	Slot     Slot // of the caller, that it named
	Kind     EventKind
	Refusal  capability.Refusal
	Name     string // of a TraceTask the task's, of a TraceSession the user's, of a request with a token the app's
}

// ring keeps the last TraceEntries events. The kernel's lock guards it.
type ring struct {
	events [TraceEntries]TraceEvent
	total  uint64
	tap    func(TraceEvent)
	off    bool // only in a benchmark, which shows what the ring costs
}

func (r *ring) add(e TraceEvent) {
	if r.off {
		return
	}
	r.events[r.total%TraceEntries] = e
	r.total++
	if r.tap != nil {
		r.tap(e)
	}
}

// Trace returns the events still in the ring, oldest first, and how many there
// have been in all.
func (k *Kernel) Trace() ([]TraceEvent, uint64) {
	k.lock()
	defer k.unlock()
	n := min(k.ring.total, TraceEntries)
	out := make([]TraceEvent, 0, n)
	for i := k.ring.total - n; i < k.ring.total; i++ {
		out = append(out, k.ring.events[i%TraceEntries])
	}
	return out, k.ring.total
}

// syscall records a system call that is no message, and a refusal of it. The kernel's lock is held.
func (t *Task) syscall(number uint16, slot Slot, ep *endpoint, code Code) {
	e := TraceEvent{Time: t.kernel.now, From: t.id, Op: number, Slot: slot, Code: code, Kind: TraceSyscall}
	if ep != nil {
		e.To, e.Endpoint = ep.owner.id, ep.id
	}
	t.record(e)
	if number != SyscallDerive { // Which says itself what it asked for.
		t.deny(number, slot, code, 0)
	}
}

// record adds an event of a task's own doing. A task that has exited does
// nothing any more: its flows of control, as they run out, only give back what
// they do not have.
func (t *Task) record(e TraceEvent) {
	if !t.exited {
		t.kernel.ring.add(e)
	}
}

// end records the one event with which a call ends.
func (k *Kernel) end(kind EventKind, c *call, size int, code Code) {
	c.ended = true
	k.traceCall(kind, c, size, code, capability.Accepted)
}

// quit records that a flow of control waits no more: the end of its call, if it
// waited for an answer, or else a deadline that has passed.
func (k *Kernel) quit(f *fiber, code Code) {
	kind := TraceCancel
	if code == TimedOut {
		kind = TraceExpire
	}
	if f.waiting == waitReply {
		k.end(kind, f.call, 0, code)
		return
	}
	e := TraceEvent{From: f.task.id, Slot: NoSlot}
	switch {
	case f.lost != nil:
		e = *f.lost
	case f.waiting == waitReceive:
		e.to(f.endpoint)
		e.Slot = f.recv.slot
	case f.endpoint != nil:
		e.to(f.endpoint)
		e.Op, e.Slot = f.msg.Op, f.msg.Slot
	}
	if e.Call != 0 || kind == TraceExpire {
		e.Time, e.Code, e.Kind = k.now, code, kind
		k.ring.add(e)
	}
}

// to names the endpoint that an event is about.
func (e *TraceEvent) to(ep *endpoint) { e.To, e.Endpoint = ep.owner.id, ep.id }

// traceCall records an event of a call. The kernel's lock is held.
func (k *Kernel) traceCall(kind EventKind, c *call, size int, code Code, why capability.Refusal) {
	k.ring.add(TraceEvent{
		Time: k.now, Call: c.id, From: c.sender.Task, To: c.ep.owner.id, SID: c.stamp.SID,
		Endpoint: c.ep.id, Op: c.op, Size: uint16(min(size, 0xffff)), Code: code, Kind: kind, Refusal: why,
		Name: c.stamp.App,
	})
}
