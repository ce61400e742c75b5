package ipc

import (
	"cmp"
	"maps"
	"slices"

	"nexus.internal/os/capability"
)

// View is what is going on in a kernel: who waits where, for what, till when.
// It holds no payload.
type View struct {
	Now       Time
	Denials   uint64         // audit records of this boot, those that are not kept any more included
	Tasks     []TaskView     // in the order in which they were made
	Endpoints []EndpointView // in the order in which they were made
	Timers    []TimerView    // the next one first
	Sessions  []SessionView
}

// EndpointView is one endpoint: its queue, and who may send to it.
type EndpointView struct {
	ID      uint32
	Owner   string
	Facet   uint8
	Inbox   bool
	Queued  []CallView
	Serving []CallView
	Room    int      // senders that wait for room
	Waiting int      // receivers that wait
	Holders []string // tasks with SEND, in the order of their making
}

// CallView is one request.
type CallView struct {
	ID   uint64
	From string
	Op   uint16
	Size int
}

// TimerView is a flow of control that waits, and till when at most.
type TimerView struct {
	Task string
	For  string
	At   Time
}

// SessionView is one session.
type SessionView struct {
	SID      uint64
	Epoch    uint32
	Unsealed bool
	Tokens   int
}

var waitText = [...]string{
	waitNone: "nothing", waitReply: "reply", waitRoom: "room", waitCond: "condition", waitSleep: "sleep",
	waitDrain: "drain", waitReady: "ready", waitOffload: "offload", waitTransit: "transit", waitLost: "lost reply",
	waitReceive: "message",
}

// View looks at the kernel as it is now. It is for debuggers that have the
// kernel at hand; a task needs the inspector capability (Inspect).
func (k *Kernel) View() View {
	k.lock()
	defer k.unlock()
	return k.view()
}

func (k *Kernel) view() View {
	v := View{Now: k.now, Denials: k.audit.total, Tasks: k.viewTasks()}
	ids := slices.Sorted(maps.Keys(k.tasks))
	holders := make(map[*endpoint][]string)
	for _, id := range ids {
		t := k.tasks[id]
		t.table.Each(func(_ Slot, c capability.Cap) {
			if ep, ok := c.Object.(*endpoint); ok && c.Rights&capability.Send != 0 {
				holders[ep] = append(holders[ep], t.name)
			}
		})
	}
	for _, id := range ids {
		t := k.tasks[id]
		for _, ep := range slices.Concat(t.facets, t.inboxes) {
			v.Endpoints = append(v.Endpoints, ep.view(holders[ep]))
		}
	}
	for f := k.timers; f != nil; f = f.timerNext {
		v.Timers = append(v.Timers, TimerView{Task: f.task.name, For: waitText[f.waiting], At: f.expires})
	}
	slices.Reverse(v.Timers) // The list has the newest first.
	slices.SortStableFunc(v.Timers, func(a, b TimerView) int { return cmp.Compare(a.At, b.At) })
	for _, sid := range slices.Sorted(maps.Keys(k.sessions)) {
		s := k.sessions[sid]
		v.Sessions = append(v.Sessions, SessionView{SID: sid, Epoch: s.epoch, Unsealed: s.unsealed, Tokens: len(s.rows)})
	}
	return v
}

func (ep *endpoint) view(holders []string) EndpointView {
	v := EndpointView{ID: ep.id, Owner: ep.owner.name, Facet: ep.facet, Inbox: ep.inbox, Room: len(ep.room), Waiting: len(ep.receivers), Holders: holders}
	for c := ep.first; c != nil; c = c.next {
		v.Queued = append(v.Queued, c.view())
	}
	for _, w := range ep.owner.active {
		if w.job == jobServe && w.call.ep == ep {
			v.Serving = append(v.Serving, w.call.view())
		}
	}
	return v
}

func (c *call) view() CallView {
	return CallView{ID: c.id, From: c.sender.Name, Op: c.op, Size: len(c.body)}
}
