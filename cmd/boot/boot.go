package boot

import (
	"context"
	_ "embed" // for the shipped policy
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"nexus.internal/os/actors"
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/policyd"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/statefsd/bootrec"
	"nexus.internal/os/services/statefsd/disk"
)

//go:embed policy.toml
var shippedPolicy []byte

// Config says what to boot. Only Disk is required.
type Config struct {
	// Disk is the state directory, real or simulated. Shutdown does not close it.
	Disk disk.Disk
	// Console receives marker lines. Nil discards them.
	Console io.Writer
	// Scheduler runs everything; nil means goroutines and the machine's clock.
	// Shutdown closes it.
	Scheduler actors.Scheduler
	// Chance is the source of entropy for a number of this boot. Nil means the
	// system's; a build without the deterministic tag has no other.
	Chance func(boot uint64) rngd.Source
	// Policy is TOML; nil means the shipped one.
	Policy []byte
	// Argon holds the parameters for new credentials; the zero value means the
	// shipped ones, below which a shipped binary does not go.
	Argon identityd.Params
	// Floor is what Argon must not be below. Shipped binaries set it to
	// identityd.Floor(); the zero value is no floor, for tests.
	Floor identityd.Params
	// Report hears one line about what was skipped in the policy. Nil discards.
	Report func(line string)
	// Crash hears of each panic of a service: places in the source, no values.
	Crash func(*ipc.PanicReport)
	// Audit hears of each decision of policyd.
	Audit func(policyd.Record)
	// Denied hears of each request that the kernel refuses, as Tap of each event.
	Denied func(ipc.Denial)
	// Tap sees every event of the kernel's trace, in order.
	Tap func(ipc.TraceEvent)
	// Cut is closed when the power is cut. From then on nobody is waited for;
	// who closes it makes sure that nothing reaches disk and console any more.
	Cut <-chan struct{}
	// Injector makes things go wrong on purpose.
	Injector ipc.Injector
	// Quotas are those of vaults; a zero field means the shipped one, and
	// none can be larger.
	Quotas vault.Limits
	// Daemons are services beside the system's own, in the order of their
	// start, which is after those.
	Daemons []Daemon
}

// ErrFloor says that Argon is below Floor.
var ErrFloor = errors.New("boot: Argon2id parameters below the floor")

// ErrPowerCut says that the power was cut before the system was up.
var ErrPowerCut = errors.New("boot: the power was cut")

// System is a booted system.
type System struct {
	Kernel *ipc.Kernel
	// Boot is the number of this boot on this state directory.
	Boot uint64
	// Audit holds policyd's newest records.
	Audit *policyd.AuditLog

	cfg     Config
	rows    []row
	sched   actors.Scheduler
	engine  *actors.Engine
	init    *ipc.Task
	factory ipc.Slot
	tasks   map[string]*ipc.Task
	facets  map[Edge]ipc.Slot // init's slots
	router  *router
	nonce   [policyd.DigestKeySize]byte
	booted  bool
	down    sync.Once

	launching sync.Mutex // guards what follows
	launcher  *Launcher
	inspector *Inspector
}

// Boot starts every service on cfg.Disk and returns when all are ready. If it
// fails, nothing runs any more; unless the disk was new, nothing on it has
// changed.
func Boot(cfg Config) (*System, error) {
	mode, err := bootrec.ParseMode(rngd.Mode)
	if err != nil {
		return nil, err
	}
	if cfg.Argon != (identityd.Params{}) && !cfg.Argon.AtLeast(cfg.Floor) {
		return nil, ErrFloor
	}
	count, first, err := bootrec.Load(cfg.Disk, mode)
	if err != nil {
		return nil, err
	}
	if count >= math.MaxUint32 {
		return nil, errors.New("boot: the boot count is used up")
	}
	count++
	rules, err := parsePolicy(&cfg)
	if err != nil {
		return nil, err
	}
	rows, err := cfg.rows()
	if err != nil {
		return nil, err
	}
	if first {
		// The mode must be on record before the first secret is made in it.
		if err := bootrec.Commit(cfg.Disk, mode, count); err != nil {
			return nil, err
		}
	}
	s, err := assemble(cfg, count)
	if err != nil {
		return nil, err
	}
	s.rows = rows
	if err := s.start(rules); err != nil {
		s.Shutdown()
		return nil, err
	}
	if !first {
		if err := bootrec.Commit(cfg.Disk, mode, count); err != nil {
			s.Shutdown()
			return nil, err
		}
	}
	s.booted = true
	return s, nil
}

func parsePolicy(cfg *Config) (*policyd.Rules, error) {
	text := cfg.Policy
	if text == nil {
		text = shippedPolicy
	}
	rules, reports, err := policyd.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if cfg.Report != nil {
		for _, r := range reports {
			cfg.Report(fmt.Sprintf("policy: line %d: %q is not [allow]: skipped", r.Line, r.Key))
		}
	}
	return rules, nil
}

// assemble makes the kernel, the engine and init.
func assemble(cfg Config, count uint64) (*System, error) {
	if cfg.Scheduler == nil {
		cfg.Scheduler = actors.NewGoroutines()
	}
	if cfg.Chance == nil {
		cfg.Chance = defaultChance
	}
	s := &System{
		Boot: count, Audit: new(policyd.AuditLog), cfg: cfg, sched: cfg.Scheduler,
		tasks: make(map[string]*ipc.Task), facets: make(map[Edge]ipc.Slot),
	}
	kcfg := ipc.Config{Executor: s.sched, Boot: uint32(count), Console: cfg.Console, Tap: cfg.Tap, Injector: cfg.Injector, Denied: cfg.Denied}
	if err := s.draw(kcfg.TokenKey[:], s.nonce[:], kcfg.AuditKey[:]); err != nil {
		s.sched.Close()
		return nil, err
	}
	s.Kernel = ipc.New(kcfg)
	clear(kcfg.TokenKey[:])
	clear(kcfg.AuditKey[:])
	s.sched.Bind(s.Kernel)
	s.engine = actors.New(s.sched, cfg.Crash)
	if err := s.makeInit(); err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// draw takes the router's and policyd's share of chance before rngd runs.
func (s *System) draw(into ...[]byte) error {
	source := s.cfg.Chance(s.Boot)
	for _, p := range into {
		if err := source.Read("init", p); err != nil {
			return fmt.Errorf("boot: no entropy: %w", err)
		}
	}
	return nil
}

func (s *System) makeInit() (err error) {
	s.init, err = s.Kernel.NewTask(ipc.TaskSpec{Name: initName, Marks: []string{"init:"}})
	if err != nil {
		return err
	}
	if s.factory, err = s.Kernel.GrantFactory(s.init); err != nil {
		return err
	}
	s.router = &router{system: s, clients: make(map[ipc.TaskID]*client)}
	s.facets[controlEdge], err = s.init.NewEndpoint(s.factory, s.init, control.spec())
	return err
}

// start makes every task and endpoint, connects them, and then starts the
// services one by one.
func (s *System) start(rules *policyd.Rules) error {
	s.init.Mark("init: start")
	for _, r := range s.rows {
		if err := s.declare(r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	var failed error
	done := make(chan struct{})
	s.init.Go(func(ctx context.Context) {
		defer close(done)
		failed = s.startAll(ctx, rules)
	})
	switch {
	case s.Await(done):
		return failed
	case s.Cut():
		return ErrPowerCut
	}
	return errors.New("boot: a service waits forever")
}

func (s *System) declare(r row) error {
	t, err := s.Kernel.NewTask(ipc.TaskSpec{Name: r.name, Parent: s.init.ID(), Marks: r.marks, Guards: r.guards})
	if err != nil {
		return err
	}
	s.tasks[r.name] = t
	for i, f := range r.facets {
		slot, err := s.init.NewEndpoint(s.factory, t, f.spec())
		if err != nil {
			return err
		}
		s.facets[Edge{r.name, uint8(i)}] = slot
	}
	return nil
}

func (f Facet) spec() ipc.EndpointSpec {
	return ipc.EndpointSpec{Depth: f.Depth, Parallel: f.Parallel, Raw: f.Raw, Takes: f.Takes, Ops: f.Ops}
}

// startTimeout bounds the start of one service, in kernel time.
const startTimeout = 25 * time.Second

func (s *System) startAll(ctx context.Context, rules *policyd.Rules) error {
	for _, r := range s.rows {
		t := s.tasks[r.name]
		slots, err := s.connect(t, r.calls)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		factory, err := s.factoryOf(t, slots, rules)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if err := s.host(ctx, t, factory); err != nil {
			return err
		}
	}
	return s.startRouter(ctx)
}

// host starts a service and waits till it is ready.
func (s *System) host(ctx context.Context, t *ipc.Task, factory func() ipc.Service) error {
	if err := s.engine.Host(t, factory); err != nil {
		return fmt.Errorf("%s: %w", t.Name(), err)
	}
	ready, cancel := s.init.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.init.AwaitReady(ready, t); err != nil {
		return fmt.Errorf("%s does not start: %w", t.Name(), err)
	}
	return nil
}

// connect gives a task SEND on the facets that it may call.
func (s *System) connect(t *ipc.Task, calls []Edge) (map[Edge]ipc.Slot, error) {
	slots := make(map[Edge]ipc.Slot, len(calls))
	for _, e := range calls {
		slot, err := s.init.Derive(s.facets[e], capability.Send, t)
		if err != nil {
			return nil, err
		}
		slots[e] = slot
	}
	return slots, nil
}

// Task returns a service's task, for tests that look at a system from outside.
func (s *System) Task(name string) *ipc.Task { return s.tasks[name] }

// Services lists the names of the services, in the order of their start.
func (s *System) Services() []string {
	names := make([]string, len(s.rows))
	for i, r := range s.rows {
		names[i] = r.name
	}
	return names
}

// Refused counts messages that were sent past the kernel.
func (s *System) Refused() uint64 { return s.engine.Refused() }

// Run runs fn as a flow of control of t, one of the system's tasks, and waits
// for it. It reports false if that can never end, which only a run by seed can
// tell. It must not be called by a flow of control.
func (s *System) Run(t *ipc.Task, fn func(ctx context.Context)) bool {
	done := make(chan struct{})
	t.Go(func(ctx context.Context) {
		defer close(done)
		fn(ctx)
	})
	return s.Await(done)
}

// Go starts a flow of control that is nobody's: it can wait for those of tasks,
// and end when they do.
func (s *System) Go(fn func(parker ipc.Parker)) { s.sched.Go(fn) }

// Await waits till done is closed, as Run waits for its fn. It reports false
// also if the power is cut before.
func (s *System) Await(done <-chan struct{}) bool { return s.sched.Await(done, s.cfg.Cut) }

// Cut says whether the power was cut.
func (s *System) Cut() bool {
	select {
	case <-s.cfg.Cut:
		return true
	default:
		return false
	}
}

// Advance puts the machine's clock forward, where there is one; virtual time
// moves when somebody sleeps.
func (s *System) Advance(d time.Duration) { s.sched.Advance(d) }

// Shutdown stops every service, the last one first, and everything that was
// started for them. Sessions end: what has to be written for that is written,
// unless the power was cut. Doing it again does nothing.
func (s *System) Shutdown() { s.down.Do(s.shutdown) }

func (s *System) shutdown() {
	if s.booted && !s.Cut() {
		s.endSessions()
	}
	s.engine.Stop()
	s.Kernel.Halt() // So that no app sleeps on, and keeps the scheduler from closing.
	s.sched.Close()
}
