package model

import (
	"hash/fnv"
	"slices"
	"strconv"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
)

// Task is a task.
type Task struct {
	Number  int
	Parent  *Task
	Exited  bool
	Service bool // handles requests; otherwise nobody takes them out of its queues
	Guards  bool // its crash seals every session
	Down    bool // it has crashed and not been restarted
}

// Name is what the kernel is told that it is called.
func Name(task int) string { return "t" + strconv.Itoa(task) }

// Where a capability is.
type Where uint8

// The places.
const (
	Held     Where = iota // in a slot
	InFlight              // in a message
	Dead                  // closed or revoked
)

// Cap is one capability, from its making on.
type Cap struct {
	Kind     capability.Kind
	Rights   capability.Rights
	First    capability.Rights // with which it was made
	Endpoint *Endpoint         // nil for other kinds
	Memory   *Memory           // nil for other kinds
	Origin   *Cap              // of which it was made; nil for none
	Parent   *Cap              // whose revocation kills it: Origin, or what took its place
	Where    Where
	Task     *Task // who holds it
	Slot     ipc.Slot
}

// Memory is a memory object. It is there as long as a live capability leads to it.
type Memory struct {
	Creator *Task
	Bytes   []byte
}

// Endpoint is an endpoint of a service, or an inbox.
type Endpoint struct {
	Number          int
	Owner           *Task
	Depth, Parallel int
	Takes           bool
	Inbox, Raw      bool
	Closed          bool
	Queue           []*Message
	Serving         []*Message // in the order of their delivery
}

// Message is a request or a message that was queued.
type Message struct {
	To    *Endpoint
	From  *Task
	Payer *Task // whose share of the budgets it takes
	Type  uint16
	Body  string
	Cap   *Cap     // that travels with it
	Home  ipc.Slot // where that comes from
	Token *Token   // nil where none is needed
	Flow  *Flow    // who waits for the answer
	Reply *Cap     // where the answer goes instead
	Nonce string

	Answer       *Op // that tells its handler to go on, and its number
	AnswerNumber int
}

// Wait says what a flow of control waits for.
type Wait uint8

// The waits.
const (
	Room    Wait = iota // in a full queue
	Reply               // to a call
	Arrival             // of a message
)

// Flow is an operation that waits.
type Flow struct {
	Number   int
	Task     *Task
	Op       Op
	Body     string
	Wait     Wait
	Endpoint *Endpoint
	Deadline uint64 // 0 for none
}

// Session is a session.
type Session struct {
	Number   int
	Epoch    uint32
	Unsealed bool
	Ended    bool
}

// Token is a token.
type Token struct {
	Session *Session
	Epoch   uint32
	Rights  capability.TokenRights
	Holder  *Task
	Expires uint64
	Parent  *Token
	Revoked bool
}

// Model is a kernel. Slices hold everything that was ever made.
type Model struct {
	Now       uint64
	Tasks     []*Task
	Caps      []*Cap
	Endpoints []*Endpoint
	Sessions  []*Session
	Tokens    []*Token
	Flows     []*Flow // those that wait, in the order in which each began to wait for what it waits for
	done      []Done
	delivered []Delivery
}

// Step is what came of something that happened.
type Step struct {
	Blocked   bool // the operation waits
	Result    Result
	Done      []Done // of earlier operations, sorted by number
	Delivered []Delivery
}

// Begin does an operation, which is known by its number from then on, up to
// where its task goes on or waits. What services do about it comes later.
func (m *Model) Begin(number int, op Op) Step {
	r, blocked := m.do(number, op)
	m.recheck()
	return m.took(Step{Blocked: blocked, Result: r}, number)
}

// Turn lets a service take the oldest request of an endpoint that it can take.
func (m *Model) Turn(endpoint int) Step {
	for m.deliver(m.Endpoints[endpoint]) && len(m.delivered) == 0 {
	}
	m.recheck()
	return m.took(Step{}, -1)
}

// Answered lets a handler go on that a certain Answer has told to.
func (m *Model) Answered(number int) Step {
	for _, t := range m.Tasks {
		for _, q := range m.Held(t.Number) {
			if q.Answer != nil && q.AnswerNumber == number {
				m.goOn(q)
			}
		}
	}
	m.recheck()
	return m.took(Step{}, -1)
}

// Settle lets everything happen that can at the present time.
func (m *Model) Settle() Step {
	m.settle()
	return m.took(Step{}, -1)
}

// Tick lets time pass till then; nobody waits for a turn for longer than no time.
func (m *Model) Tick(then uint64) Step {
	for {
		next := then
		for _, f := range m.Flows {
			if f.Deadline != 0 {
				next = min(next, f.Deadline)
			}
		}
		m.Now = max(m.Now, next)
		expired := slices.IndexFunc(m.Flows, func(f *Flow) bool { return f.Deadline != 0 && f.Deadline <= m.Now })
		if expired < 0 {
			return m.took(Step{}, -1)
		}
		m.leave(m.Flows[expired], ipc.TimedOut)
		m.settle()
	}
}

// took takes what has ended. An operation that waited and got its answer at
// once has not blocked.
func (m *Model) took(s Step, number int) Step {
	for _, d := range m.done {
		if d.Op == number {
			s.Blocked, s.Result = false, d.Result
		} else {
			s.Done = append(s.Done, d)
		}
	}
	slices.SortFunc(s.Done, func(a, b Done) int { return a.Op - b.Op })
	s.Delivered = m.delivered
	m.done, m.delivered = nil, nil
	return s
}

func (m *Model) do(number int, op Op) (Result, bool) {
	switch op.Kind {
	case NewTask:
		return m.newTask(op), false
	case Grant:
		return m.grant(op), false
	case NewEndpoint:
		return m.newEndpoint(op), false
	case CloseEndpoint:
		return m.closeEndpoint(op), false
	case Clone, Derive:
		return m.derive(op), false
	case Close:
		return m.close(op), false
	case Revoke:
		return m.revoke(op), false
	case Exit:
		m.exit(m.Tasks[op.Task])
		return Result{}, false
	case Call, Send:
		return m.send(number, op)
	case Receive:
		return m.receive(number, op)
	case NewMemory:
		return m.newMemory(op), false
	case ReadOnly:
		return m.readOnly(op), false
	case ReadMemory, WriteMemory:
		return m.useMemory(number, op), false
	case Answer:
		return m.answerHeld(number, op), false
	case Restart:
		return m.restart(op), false
	case StartSession, OpenSession, SealSession, EndSession:
		return m.session(op), false
	case MintToken:
		return m.mint(op), false
	case DeriveToken:
		return m.deriveToken(op), false
	case RevokeToken:
		return m.revokeToken(op), false
	}
	return Result{}, false
}

func code(c ipc.Code) Result { return Result{Code: c} }

// finish ends a flow's wait.
func (m *Model) finish(f *Flow, r Result) {
	if i := slices.Index(m.Flows, f); i >= 0 {
		m.Flows = slices.Delete(m.Flows, i, i+1)
		m.done = append(m.done, Done{f.Number, r})
	}
}

// waiting lists who waits for something at an endpoint, first come first.
func (m *Model) waiting(e *Endpoint, w Wait) []*Flow {
	var all []*Flow
	for _, f := range m.Flows {
		if f.Endpoint == e && f.Wait == w {
			all = append(all, f)
		}
	}
	return all
}

// begin lets a flow wait, behind everybody who waits already.
func (m *Model) begin(f *Flow, w Wait, e *Endpoint) {
	if i := slices.Index(m.Flows, f); i >= 0 {
		m.Flows = slices.Delete(m.Flows, i, i+1)
	}
	f.Wait, f.Endpoint = w, e
	m.Flows = append(m.Flows, f)
}

// serviceID is FNV-1a-64 of a task's name.
func serviceID(t *Task) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(Name(t.Number))) // A hash takes every write.
	return h.Sum64()
}
