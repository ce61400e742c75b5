package trace

import (
	"fmt"
	"strconv"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// Names are what tasks and endpoints are called, as the trace itself says.
type Names struct {
	tasks  map[ipc.TaskID]string
	places map[uint32]string
}

// NewNames knows nobody but the kernel.
func NewNames() Names {
	return Names{tasks: map[ipc.TaskID]string{0: "kernel"}, places: make(map[uint32]string)}
}

// What an endpoint that is an inbox has as its Name, and in its place.
const (
	inboxName  = "inbox"
	inboxPlace = "inbox"
)

// learn takes in what an event says of names. A new boot begins anew.
func (n *Names) learn(e ipc.TraceEvent) {
	switch e.Kind {
	case ipc.TraceTask:
		if e.From == 1 {
			*n = NewNames()
		}
		n.tasks[e.From] = e.Name
	case ipc.TraceEndpoint:
		facet := strconv.Itoa(int(e.Op))
		if e.Name == inboxName {
			facet = inboxPlace + strconv.FormatUint(uint64(e.Endpoint), 10)
		}
		n.places[e.Endpoint] = n.task(e.To) + "." + facet
	}
}

// task is a task's name with its number, because apps have one name.
func (n *Names) task(id ipc.TaskID) string { return label(n.tasks[id], uint64(id)) }

func label(name string, id uint64) string {
	if name == "app" {
		return name + strconv.FormatUint(id, 10)
	}
	return name
}

// place is an endpoint: its owner and its facet. One that is not there, of a
// request that was refused, is the kernel's.
func (n *Names) place(e ipc.TraceEvent) string {
	if place := n.places[e.Endpoint]; place != "" {
		return place
	}
	return n.task(e.To) + ".0"
}

var kinds = map[ipc.EventKind]string{
	ipc.TraceSend: "send", ipc.TraceDeliver: "deliver", ipc.TraceReply: "reply", ipc.TraceRefuse: "refuse",
	ipc.TraceExpire: "expire", ipc.TraceMark: "mark", ipc.TraceStart: "start", ipc.TraceCrash: "crash",
	ipc.TraceExit: "exit", ipc.TraceSession: "session", ipc.TraceToken: "token", ipc.TraceOffload: "offload",
	ipc.TraceFault: "fault", ipc.TraceTask: "task", ipc.TraceEndpoint: "endpoint", ipc.TraceReceive: "receive",
	ipc.TraceSyscall: "syscall", ipc.TraceCancel: "cancel", ipc.TraceLate: "late",
}

// kind is the word for an event: of a kind that has none, its number.
func kind(k ipc.EventKind) string {
	if word := kinds[k]; word != "" {
		return word
	}
	return "kind-" + strconv.Itoa(int(k))
}

var sessionWords = map[uint16]string{
	ipc.SessionStarted: "started", ipc.SessionOpened: "opened", ipc.SessionSealed: "sealed", ipc.SessionEnded: "ended",
}

// Text is an event's line.
func (n *Names) Text(e ipc.TraceEvent) string {
	n.learn(e)
	head := fmt.Sprintf("%d %s", e.Time, kind(e.Kind))
	from, to := n.task(e.From), n.task(e.To)
	switch e.Kind {
	case ipc.TraceTask:
		return fmt.Sprintf("%s %d %s", head, e.From, e.Name)
	case ipc.TraceEndpoint:
		return fmt.Sprintf("%s %d %s", head, e.Endpoint, n.place(e))
	case ipc.TraceSession:
		return fmt.Sprintf("%s %s by %s sid=%d user=%s", head, sessionWords[e.Op], from, e.SID, e.Name)
	case ipc.TraceToken:
		return fmt.Sprintf("%s by %s for %s sid=%d", head, from, to, e.SID)
	case ipc.TraceMark, ipc.TraceStart, ipc.TraceCrash, ipc.TraceExit, ipc.TraceOffload:
		return fmt.Sprintf("%s %s", head, from) + n.call(e)
	case ipc.TraceExpire:
		return fmt.Sprintf("%s %s", head, from) + n.missed(e) + n.call(e)
	case ipc.TraceFault:
		return fmt.Sprintf("%s at %s.%s", head, to, wire.OpName(n.tasks[e.To], e.Op))
	case ipc.TraceReceive:
		return head + " " + n.receipt(e)
	case ipc.TraceSyscall:
		return head + " " + n.syscall(e)
	}
	return head + " " + n.message(e)
}

// missed is where a task waited whose deadline has passed, and for which
// operation, as far as there are such.
func (n *Names) missed(e ipc.TraceEvent) string {
	switch {
	case e.Endpoint == 0:
		return ""
	case e.Op == 0:
		return " at " + n.place(e)
	}
	return fmt.Sprintf(" at %s %s", n.place(e), wire.OpName(n.tasks[e.To], e.Op))
}

// call is the call that an event belongs to which is no message.
func (n *Names) call(e ipc.TraceEvent) string {
	if e.Call == 0 {
		return ""
	}
	return fmt.Sprintf(" call=%d", e.Call)
}

func (n *Names) message(e ipc.TraceEvent) string {
	text := fmt.Sprintf("%d %s>%s %s %d bytes", e.Call, n.task(e.From), n.place(e), wire.OpName(n.tasks[e.To], e.Op), e.Size)
	if e.SID != 0 {
		text += fmt.Sprintf(" sid=%d app=%s", e.SID, e.Name)
	}
	if e.Kind == ipc.TraceRefuse && e.Call == 0 {
		text += slot(e)
	}
	switch e.Kind {
	case ipc.TraceReply, ipc.TraceRefuse, ipc.TraceCancel, ipc.TraceLate:
		text += " " + hyphened(e.Code.Error())
	}
	if e.Refusal != capability.Accepted {
		text += " because=" + hyphened(e.Refusal.String())
	}
	return text
}

// receipt is what a task received: of a message its operation is a number,
// because inboxes take any.
func (n *Names) receipt(e ipc.TraceEvent) string {
	by := fmt.Sprintf("by %s%s", n.task(e.To), slot(e))
	if e.Code != ipc.OK {
		return fmt.Sprintf("%d %s %s", e.Call, by, hyphened(e.Code.Error()))
	}
	return fmt.Sprintf("%d %s>%s %d %d bytes %s", e.Call, n.task(e.From), n.place(e), e.Op, e.Size, by)
}

func (n *Names) syscall(e ipc.TraceEvent) string {
	name := hyphened(ipc.SyscallName(e.Op))
	if name == ipc.SyscallName(0) { // No number of a call: this one has no name either.
		name = strconv.Itoa(int(e.Op))
	}
	text := n.task(e.From) + " " + name + slot(e)
	if e.Endpoint != 0 {
		text += " at " + n.place(e)
	}
	if e.Size != 0 {
		text += fmt.Sprintf(" %d bytes", e.Size)
	}
	return text + " " + hyphened(e.Code.Error())
}

// slot is the one that the caller of a system call named.
func slot(e ipc.TraceEvent) string {
	if e.Slot == ipc.NoSlot {
		return ""
	}
	return fmt.Sprintf(" slot=%d", e.Slot)
}
