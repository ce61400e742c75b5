package actors

import (
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"nexus.internal/os/ipc"
)

const (
	idle int32 = iota
	scheduled
)

// mailbox is a protoactor mailbox whose user messages come from the kernel: a
// turn takes work from the task. What others post as user messages is refused.
type mailbox struct {
	task    *ipc.Task
	host    *host
	refused *atomic.Uint64

	state      atomic.Int32
	woken      atomic.Bool
	registered atomic.Bool
	stopped    atomic.Bool

	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
	suspended  bool // used in the actor's turn only

	mu      sync.Mutex
	system  []any
	waiting atomic.Int32 // system messages
	run     func()       // turn, made once
}

// PostUserMessage refuses what did not come through the kernel. The message is
// dropped without being looked at.
func (m *mailbox) PostUserMessage(any) { m.refused.Add(1) }

// PostSystemMessage queues supervision's messages.
func (m *mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	m.system = append(m.system, message)
	m.waiting.Add(1)
	m.mu.Unlock()
	m.schedule()
}

// RegisterHandlers is protoactor's way to say who runs the turns.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.invoker, m.dispatcher = invoker, dispatcher
	m.registered.Store(true)
}

// Start has nothing to start.
func (m *mailbox) Start() { m.schedule() }

// UserMessageCount is 0: user messages wait in the kernel.
func (m *mailbox) UserMessageCount() int { return 0 }

// Wake says that the task has work.
func (m *mailbox) Wake() {
	m.woken.Store(true)
	m.schedule()
}

func (m *mailbox) schedule() {
	if m.registered.Load() && m.state.CompareAndSwap(idle, scheduled) {
		m.dispatcher.Schedule(m.run)
	}
}

// Lend runs the actor's turn on the caller's time, if nobody runs it and the
// dispatcher leaves the order of things to whoever comes first.
func (m *mailbox) Lend(until *atomic.Bool) bool {
	if !m.registered.Load() || !m.dispatcher.(Dispatcher).Lends() || !m.state.CompareAndSwap(idle, scheduled) {
		return false
	}
	m.work(until)
	m.rest()
	return true
}

// turn does some work.
func (m *mailbox) turn() {
	m.work(&never)
	m.rest()
}

// never is the flag of a turn that nobody waits for.
var never atomic.Bool

// rest ends a turn and asks for another one if there is more to do.
func (m *mailbox) rest() {
	suspended := m.suspended
	m.state.Store(idle)
	if m.woken.Load() && !suspended || m.systemWaits() {
		m.schedule()
	}
}

func (m *mailbox) systemWaits() bool { return m.waiting.Load() > 0 }

// work runs system messages, which go first, and then the task's work: until
// the flag is set, or nothing is left, or the dispatcher's throughput is used.
func (m *mailbox) work(until *atomic.Bool) {
	for range max(1, m.dispatcher.Throughput()) {
		for m.systemWaits() {
			m.invokeSystem(m.popSystem())
		}
		if m.suspended {
			return
		}
		if until.Load() && !m.stopped.Load() { // A stopped one has its end still to come to.
			m.woken.Store(false)
			if m.task.More() {
				m.woken.Store(true)
			}
			return
		}
		m.woken.Store(false)
		w := m.task.Next()
		if w == nil {
			m.retire()
			return
		}
		m.invoke(w)
	}
	m.woken.Store(true) // There may be more; the next turn finds out.
}

func (m *mailbox) popSystem() any {
	m.mu.Lock()
	defer m.mu.Unlock()
	msg := m.system[0]
	m.waiting.Add(-1)
	m.system[0] = nil
	m.system = m.system[1:]
	return msg
}

func (m *mailbox) invokeSystem(msg any) {
	switch msg.(type) {
	case *actor.SuspendMailbox:
		m.suspended = true
	case *actor.ResumeMailbox:
		m.suspended = false
	default:
		defer m.escalate()
		m.invoker.InvokeSystemMessage(msg)
	}
}

func (m *mailbox) invoke(w *ipc.Work) {
	if m.stopped.Load() {
		m.runOut(w)
		return
	}
	defer m.escalate()
	m.invoker.InvokeUserMessage(w)
}

// escalate hands a panic to the supervisor, with a report instead of the
// panic's value and without the message.
func (m *mailbox) escalate() {
	if r := recover(); r != nil {
		m.invoker.EscalateFailure(m.host.crashed(r), nil)
	}
}

// stop makes the mailbox run out what is left after the actor has stopped.
func (m *mailbox) stop() {
	m.stopped.Store(true)
	m.suspended = false
	m.woken.Store(true)
}

// runOut lets parked work of a stopped task come to its end.
func (m *mailbox) runOut(w *ipc.Work) {
	defer func() {
		if r := recover(); r != nil {
			m.host.crashed(r)
		}
	}()
	_ = w.Run() // The start of a stopped service concerns nobody any more.
}

func (m *mailbox) retire() {
	if !m.stopped.Load() || !m.task.Retire() {
		return
	}
	select {
	case <-m.host.retired:
	default:
		close(m.host.retired)
	}
}
