// Package rig builds small systems for tests: a kernel, an engine, an init task
// that makes endpoints and passes capabilities on. It runs on goroutines or by
// seed, so that one test can do both.
package rig

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"nexus.internal/os/actors"
	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
)

// Rig is a kernel under test.
type Rig struct {
	Kernel *ipc.Kernel
	Engine *actors.Engine
	Init   *ipc.Task
	Sched  actors.Scheduler
	Seeded *seeded.Executor // nil on goroutines
	tb     testing.TB
	factor ipc.Slot

	mu      sync.Mutex
	console bytes.Buffer
	crashes []*ipc.PanicReport
}

// New makes a rig on goroutines. It is torn down with the test.
func New(tb testing.TB) *Rig { return build(tb, actors.NewGoroutines(), nil, nil) }

// NewSeeded makes a rig whose order is drawn from seed. tap may be nil.
func NewSeeded(tb testing.TB, seed uint64, tap func(ipc.TraceEvent)) *Rig {
	e := seeded.New(seed)
	return build(tb, e, e, tap)
}

func build(tb testing.TB, sched actors.Scheduler, s *seeded.Executor, tap func(ipc.TraceEvent)) *Rig {
	r := &Rig{Sched: sched, Seeded: s, tb: tb}
	cfg := ipc.Config{Executor: sched, Boot: 1, Console: r, Tap: tap}
	copy(cfg.TokenKey[:], "a key for tests, not from rngd..")
	r.Kernel = ipc.New(cfg)
	sched.Bind(r.Kernel)
	r.Engine = actors.New(sched, r.crashed)
	r.Init = r.Task(ipc.TaskSpec{Name: "init", Marks: []string{"init:"}})
	slot, err := r.Kernel.GrantFactory(r.Init)
	if err != nil {
		tb.Fatal(err)
	}
	r.factor = slot
	tb.Cleanup(func() {
		r.Engine.Stop()
		sched.Close()
	})
	return r
}

// Write is the console.
func (r *Rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.console.Write(p)
}

// Console returns the marker lines so far.
func (r *Rig) Console() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Split(strings.TrimSuffix(r.console.String(), "\n"), "\n")
}

func (r *Rig) crashed(p *ipc.PanicReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.crashes = append(r.crashes, p)
}

// Crashes returns the panics of services so far.
func (r *Rig) Crashes() []*ipc.PanicReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*ipc.PanicReport(nil), r.crashes...)
}

// Task makes a task that is init's child.
func (r *Rig) Task(spec ipc.TaskSpec) *ipc.Task {
	r.tb.Helper()
	if r.Init != nil {
		spec.Parent = r.Init.ID()
	}
	t, err := r.Kernel.NewTask(spec)
	if err != nil {
		r.tb.Fatal(err)
	}
	return t
}

// Endpoint makes an endpoint of a service and returns init's slot for it.
func (r *Rig) Endpoint(owner *ipc.Task, spec ipc.EndpointSpec) ipc.Slot {
	r.tb.Helper()
	slot, err := r.Init.NewEndpoint(r.factor, owner, spec)
	if err != nil {
		r.tb.Fatal(err)
	}
	return slot
}

// Connect gives a task SEND on one of init's endpoints.
func (r *Rig) Connect(to *ipc.Task, endpoint ipc.Slot) ipc.Slot {
	r.tb.Helper()
	slot, err := r.Init.Derive(endpoint, capability.Send, to)
	if err != nil {
		r.tb.Fatal(err)
	}
	return slot
}

// Host starts a service and waits till it is ready.
func (r *Rig) Host(t *ipc.Task, factory func() ipc.Service) {
	r.tb.Helper()
	if err := r.Engine.Host(t, factory); err != nil {
		r.tb.Fatal(err)
	}
	r.Do(r.Init, func(ctx context.Context) {
		if err := r.Init.AwaitReady(ctx, t); err != nil {
			r.tb.Errorf("%s did not start: %v", t.Name(), err)
		}
	})
}

// Do runs fn as a flow of control of t and waits for it.
func (r *Rig) Do(t *ipc.Task, fn func(ctx context.Context)) {
	r.tb.Helper()
	done := make(chan struct{})
	t.Go(func(ctx context.Context) {
		defer close(done)
		fn(ctx)
	})
	if !r.Sched.Await(done, nil) {
		r.tb.Fatal("nobody can run and somebody waits")
	}
}

// Ops are n operations without a token, numbered from 1.
func Ops(n int) []ipc.Op {
	ops := make([]ipc.Op, n)
	for i := range ops {
		ops[i].Code = uint16(i + 1)
	}
	return ops
}
