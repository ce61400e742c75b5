package actors

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"nexus.internal/os/ipc"
)

// Limits of supervision: a service that panics more often than MaxRestarts
// times in RestartWindow of kernel time is stopped for good.
const (
	MaxRestarts   = 10
	RestartWindow = 10 * time.Second
	FirstDelay    = time.Millisecond       // before the second restart in a window
	MaxDelay      = 256 * time.Millisecond // before the tenth
)

// ErrStopped is returned by Host after Stop.
var ErrStopped = errors.New("actors: engine is stopped")

// Dispatcher runs an actor's turns, at most one at a time for each actor.
type Dispatcher interface {
	Schedule(turn func())
	// Throughput is how many pieces of work one turn may do.
	Throughput() int
	// Lends says whether a caller that waits for the actor may run its turn.
	Lends() bool
}

// Scheduler is an executor that can also run actors.
type Scheduler interface {
	ipc.Executor
	// Bind tells the scheduler whose deadlines its alarms are for.
	Bind(k Ticker)
	// Dispatcher returns what runs the turns of one actor.
	Dispatcher() Dispatcher
	// Await runs, or lets run, until done or, if that is not nil, cut is
	// closed. It reports whether done is.
	Await(done, cut <-chan struct{}) bool
	// Advance puts a clock forward by d that does not wait for sleepers.
	Advance(d time.Duration)
	// Close stops everything the scheduler started, and waits for it.
	Close()
}

// Ticker is the part of the kernel that an alarm calls.
type Ticker interface{ Tick() }

// Engine hosts services.
type Engine struct {
	ground  *ground
	sched   Scheduler
	onCrash func(report *ipc.PanicReport)
	refused atomic.Uint64

	mu      sync.Mutex
	hosts   []*host
	byPID   map[string]*host
	stopped bool
}

// New makes an engine. onCrash, which may be nil, hears of every panic of a
// service; the report names places in the source and no values.
func New(sched Scheduler, onCrash func(report *ipc.PanicReport)) *Engine {
	e := &Engine{sched: sched, onCrash: onCrash, byPID: make(map[string]*host)}
	e.ground = groundFor(e)
	return e
}

// quiet keeps protoactor from logging at all: its records carry whole messages
// and panic values. What has to be known of a crash, the kernel's trace and
// onCrash say. The dead-letter throttle is off because it reads the clock.
func quiet(c *actor.Config) {
	c.LoggerFactory = func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }
	c.DeadLetterThrottleCount = 0
	c.DeadLetterRequestLogging = false
}

// Refused counts messages that were sent to an actor's PID past the kernel.
func (e *Engine) Refused() uint64 { return e.refused.Load() }

// Host makes t a service and starts its first instance.
func (e *Engine) Host(t *ipc.Task, factory func() ipc.Service) error {
	h := &host{engine: e, task: t, retired: make(chan struct{})}
	h.mailbox = &mailbox{task: t, refused: &e.refused, host: h}
	h.mailbox.run = h.mailbox.turn
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		return ErrStopped
	}
	e.hosts = append(e.hosts, h)
	e.mu.Unlock()
	t.Attach(h.mailbox, factory)
	props := actor.PropsFromProducer(func() actor.Actor { return h },
		actor.WithMailbox(func() actor.Mailbox { return h.mailbox }),
		actor.WithDispatcher(e.sched.Dispatcher()),
		actor.WithOnInit(func(ctx actor.Context) { e.register(ctx.Self(), h) }))
	if _, err := e.ground.system.Root.WithGuardian(e.ground).SpawnNamed(props, t.Name()); err != nil {
		e.forget(h)
		return err
	}
	return nil
}

// forget drops a host that was never spawned.
func (e *Engine) forget(h *host) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hosts = slices.DeleteFunc(e.hosts, func(other *host) bool { return other == h })
}

func (e *Engine) register(pid *actor.PID, h *host) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h.self = pid
	e.byPID[pid.Id] = h
}

func (e *Engine) hostOf(pid string) *host {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.byPID[pid]
}

// handleFailure restarts an actor that panicked, unless that happens too often,
// and says never a word about why.
func (e *Engine) handleFailure(s actor.Supervisor, child *actor.PID) {
	h := e.hostOf(child.Id)
	if h == nil || h.mayRestart() {
		s.RestartChildren(child)
		return
	}
	s.StopChildren(child)
}

// Stop ends every service, the last one first, and waits till nothing of them
// is left. Parked requests run out; nobody is left without an answer. Doing it
// again does nothing.
func (e *Engine) Stop() {
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		return
	}
	e.stopped = true
	hosts := e.hosts
	e.hosts = nil
	e.mu.Unlock()
	clean := true
	for i := len(hosts) - 1; i >= 0; i-- {
		h := hosts[i]
		e.ground.system.Root.Stop(h.self)
		clean = e.sched.Await(h.retired, nil) && clean
	}
	e.ground.release(clean)
}

// host is the actor of one service.
type host struct {
	engine   *Engine
	task     *ipc.Task
	mailbox  *mailbox
	self     *actor.PID
	restarts []ipc.Time // the recent ones; used in the actor's own turn only
	retired  chan struct{}
}

// Receive is called in the actor's turn only.
func (h *host) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		h.start()
	case *ipc.Work:
		if err := m.Run(); err != nil && h.task.Generation() > 1 {
			// A service that cannot start again is as good as one that panicked.
			h.task.Crash()
			panic(&ipc.PanicReport{Task: h.task.Name(), Frames: "restart failed", Start: true})
		}
	case *actor.Stopped:
		h.task.Exit()
		h.mailbox.stop()
	}
}

// start starts the service: at once the first time and after a first panic, and
// then after ever longer delays, so that what made it fail has time to pass.
func (h *host) start() {
	n := len(h.restarts)
	if n < 2 {
		h.task.Restart()
		return
	}
	delay := min(FirstDelay<<(n-2), MaxDelay)
	h.task.Go(func(ctx context.Context) {
		if h.task.Sleep(ctx, delay) == nil {
			h.task.Restart()
		}
	})
}

func (h *host) mayRestart() bool {
	now := h.task.Now()
	recent := h.restarts[:0]
	for _, at := range h.restarts {
		if now-at < ipc.Time(RestartWindow) {
			recent = append(recent, at)
		}
	}
	h.restarts = append(recent, now)
	return len(h.restarts) <= MaxRestarts
}

// crashed tells whoever wants to know about a panic, and the kernel if it was
// not in the service's own code, of which the kernel knows.
func (h *host) crashed(reason any) *ipc.PanicReport {
	report, ok := reason.(*ipc.PanicReport)
	if !ok {
		report = &ipc.PanicReport{Task: h.task.Name(), Frames: "outside of a handler"}
		h.task.Crash()
	}
	if h.engine.onCrash != nil {
		h.engine.onCrash(report)
	}
	return report
}
