package actors_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// Opcodes of the echo service.
const (
	opEcho uint16 = iota + 1
	opPanic
	opSleep
	opRelay
	opSilent
	opTwice
)

// echo answers what it is asked, in ways that tests need.
type echo struct {
	task   *ipc.Task
	next   ipc.Slot // a service behind it, or NoSlot
	served *atomic.Int64
}

func (e *echo) Start(context.Context) error {
	e.task.Mark("echo: ready")
	return nil
}

func (e *echo) Serve(ctx context.Context, r *ipc.Request) {
	if e.served != nil {
		e.served.Add(1)
	}
	switch r.Op {
	case opPanic:
		panic("the secret is swordfish")
	case opSleep:
		if err := e.task.Sleep(ctx, 50*time.Millisecond); err != nil {
			return
		}
	case opRelay:
		var buf [64]byte
		got, err := e.task.Call(ctx, ipc.Msg{Slot: e.next, Op: opEcho, Body: r.Body, Move: ipc.NoSlot}, buf[:0])
		if err != nil {
			_ = r.Reply(err.(ipc.Code), nil)
			return
		}
		_ = r.Reply(ipc.OK, got.Body)
		return
	case opSilent:
		return
	case opTwice:
		_ = r.Reply(ipc.OK, []byte("one"))
		if err := r.Reply(ipc.OK, []byte("two")); !errors.Is(err, ipc.PermissionDenied) {
			panic("second reply was accepted")
		}
		return
	}
	_ = r.Reply(ipc.OK, r.Body)
}

func serveEcho(r *rig.Rig, name string, next ipc.Slot, served *atomic.Int64) (*ipc.Task, ipc.Slot) {
	t := r.Task(ipc.TaskSpec{Name: name, Marks: []string{"echo:"}})
	ep := r.Endpoint(t, ipc.EndpointSpec{Depth: 64, Parallel: 64, Ops: rig.Ops(8)})
	r.Host(t, func() ipc.Service { return &echo{task: t, next: next, served: served} })
	return t, ep
}

func call(ctx context.Context, t *ipc.Task, slot ipc.Slot, op uint16, body string) (string, error) {
	got, err := t.Call(ctx, ipc.Msg{Slot: slot, Op: op, Body: []byte(body), Move: ipc.NoSlot}, nil)
	return string(got.Body), err
}

func TestCallAndReply(t *testing.T) {
	for _, mode := range []string{"goroutines", "seeded"} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t, mode)
			_, ep := serveEcho(r, "echo", ipc.NoSlot, nil)
			app := r.Task(ipc.TaskSpec{Name: "app"})
			slot := r.Connect(app, ep)
			r.Do(app, func(ctx context.Context) {
				for i := range 100 {
					want := fmt.Sprint("hello ", i)
					if got, err := call(ctx, app, slot, opEcho, want); err != nil || got != want {
						t.Fatalf("got %q, %v", got, err)
					}
				}
			})
		})
	}
}

func newRig(t *testing.T, mode string) *rig.Rig {
	if mode == "seeded" {
		return rig.NewSeeded(t, 1, nil)
	}
	return rig.New(t)
}

func TestRequestsParkAndActorsDoNot(t *testing.T) {
	r := rig.NewSeeded(t, 7, nil)
	_, ep := serveEcho(r, "echo", ipc.NoSlot, nil)
	app := r.Task(ipc.TaskSpec{Name: "app"})
	slot := r.Connect(app, ep)
	var order []string
	slow := make(chan struct{})
	app.Go(func(ctx context.Context) {
		defer close(slow)
		if _, err := call(ctx, app, slot, opSleep, ""); err != nil {
			t.Error(err)
		}
		order = append(order, "slow")
	})
	r.Do(app, func(ctx context.Context) {
		for range 10 {
			if _, err := call(ctx, app, slot, opEcho, ""); err != nil {
				t.Error(err)
			}
		}
		order = append(order, "quick")
	})
	r.Sched.Await(slow, nil)
	if fmt.Sprint(order) != "[quick slow]" {
		t.Errorf("order %v: a parked request held the actor", order)
	}
}

func TestPanicIsContained(t *testing.T) {
	for _, mode := range []string{"goroutines", "seeded"} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t, mode)
			svc, ep := serveEcho(r, "echo", ipc.NoSlot, nil)
			app := r.Task(ipc.TaskSpec{Name: "app"})
			slot := r.Connect(app, ep)
			r.Do(app, func(ctx context.Context) {
				for range 3 {
					if _, err := call(ctx, app, slot, opPanic, ""); !errors.Is(err, ipc.Unavailable) {
						t.Fatalf("got %v", err)
					}
					if got, err := call(ctx, app, slot, opEcho, "again"); err != nil || got != "again" {
						t.Fatalf("after the restart: %q, %v", got, err)
					}
				}
			})
			if g := svc.Generation(); g != 4 {
				t.Errorf("generation %d", g)
			}
			for _, c := range r.Crashes() {
				if strings.Contains(c.Error(), "swordfish") || !strings.Contains(c.Error(), "actors_test.go") {
					t.Errorf("report %q", c.Error())
				}
			}
		})
	}
}

func TestCallersInFlightLearnOfAPanicAtOnce(t *testing.T) {
	r := rig.NewSeeded(t, 3, nil)
	_, ep := serveEcho(r, "echo", ipc.NoSlot, nil)
	app := r.Task(ipc.TaskSpec{Name: "app"})
	slot := r.Connect(app, ep)
	var waited ipc.Time
	slept := make(chan struct{})
	app.Go(func(ctx context.Context) {
		defer close(slept)
		before := app.Now()
		if _, err := call(ctx, app, slot, opSleep, ""); !errors.Is(err, ipc.Unavailable) {
			t.Errorf("got %v", err)
		}
		waited = app.Now() - before
	})
	r.Do(app, func(ctx context.Context) {
		if err := app.Sleep(ctx, time.Millisecond); err != nil {
			t.Error(err)
		}
		_, _ = call(ctx, app, slot, opPanic, "")
	})
	r.Sched.Await(slept, nil)
	if waited > ipc.Time(2*time.Millisecond) {
		t.Errorf("waited %d ns of virtual time", waited)
	}
}

// A service that panics too often is stopped for good: callers are told, and
// the engine can stop without it. On goroutines it is the caller that runs the
// service's last turn.
func TestTooManyPanicsStopTheService(t *testing.T) {
	for name, r := range map[string]*rig.Rig{"seeded": rig.NewSeeded(t, 5, nil), "goroutines": rig.New(t)} {
		t.Run(name, func(t *testing.T) {
			_, ep := serveEcho(r, "echo", ipc.NoSlot, nil)
			app := r.Task(ipc.TaskSpec{Name: "app"})
			slot := r.Connect(app, ep)
			r.Do(app, func(ctx context.Context) {
				for range 10 {
					if _, err := call(ctx, app, slot, opPanic, ""); !errors.Is(err, ipc.Unavailable) {
						t.Errorf("got %v", err)
					}
				}
				_, _ = call(ctx, app, slot, opPanic, "")
				if _, err := call(ctx, app, slot, opEcho, ""); !errors.Is(err, ipc.NoSuchEndpoint) {
					t.Errorf("got %v", err)
				}
			})
			stopped := make(chan struct{})
			if name == "seeded" {
				r.Engine.Stop()
				return
			}
			go func() {
				defer close(stopped)
				r.Engine.Stop()
			}()
			select {
			case <-stopped:
			case <-time.After(30 * time.Second):
				t.Error("the engine waits for a service that was stopped for good")
			}
		})
	}
}

func TestRelayAndDeadline(t *testing.T) {
	r := rig.NewSeeded(t, 11, nil)
	back, backEP := serveEcho(r, "back", ipc.NoSlot, nil)
	_ = back
	front := r.Task(ipc.TaskSpec{Name: "front", Marks: []string{"echo:"}})
	frontEP := r.Endpoint(front, ipc.EndpointSpec{Depth: 8, Parallel: 8, Ops: rig.Ops(8)})
	next := r.Connect(front, backEP)
	r.Host(front, func() ipc.Service { return &echo{task: front, next: next} })
	app := r.Task(ipc.TaskSpec{Name: "app"})
	slot := r.Connect(app, frontEP)
	r.Do(app, func(ctx context.Context) {
		if got, err := call(ctx, app, slot, opRelay, "through"); err != nil || got != "through" {
			t.Errorf("got %q, %v", got, err)
		}
		short, cancel := app.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		before := app.Now()
		if _, err := call(short, app, slot, opSleep, ""); !errors.Is(err, ipc.TimedOut) {
			t.Errorf("got %v", err)
		}
		if d := app.Now() - before; d != ipc.Time(10*time.Millisecond) {
			t.Errorf("deadline after %d ns", d)
		}
	})
}

func TestReplyIsOneShotAndOwed(t *testing.T) {
	r := rig.New(t)
	_, ep := serveEcho(r, "echo", ipc.NoSlot, nil)
	app := r.Task(ipc.TaskSpec{Name: "app"})
	slot := r.Connect(app, ep)
	ctx := context.Background()
	if got, err := call(ctx, app, slot, opTwice, ""); err != nil || got != "one" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := call(ctx, app, slot, opSilent, ""); !errors.Is(err, ipc.Unavailable) {
		t.Errorf("got %v", err)
	}
	if n := r.Kernel.Stats().Repeated; n != 1 {
		t.Errorf("repeated replies: %d", n)
	}
}

func TestForeignContexts(t *testing.T) {
	r := rig.New(t)
	_, ep := serveEcho(r, "echo", ipc.NoSlot, nil)
	app := r.Task(ipc.TaskSpec{Name: "app"})
	slot := r.Connect(app, ep)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(5*time.Millisecond, cancel)
	if _, err := call(ctx, app, slot, opSleep, ""); !errors.Is(err, ipc.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := call(ctx, app, slot, opEcho, ""); !errors.Is(err, ipc.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if _, err := call(ctx, app, slot, opSleep, ""); !errors.Is(err, ipc.TimedOut) && !errors.Is(err, ipc.Canceled) {
		t.Errorf("timed out: %v", err)
	}
	s := rig.NewSeeded(t, 1, nil)
	_, sep := serveEcho(s, "echo", ipc.NoSlot, nil)
	sapp := s.Task(ipc.TaskSpec{Name: "app"})
	if _, err := call(context.Background(), sapp, s.Connect(sapp, sep), opEcho, ""); err == nil {
		t.Error("a seeded run took a foreign context")
	}
}

func TestManyCallers(t *testing.T) {
	r := rig.New(t)
	var served atomic.Int64
	_, ep := serveEcho(r, "echo", ipc.NoSlot, &served)
	var wg sync.WaitGroup
	for i := range 32 {
		app := r.Task(ipc.TaskSpec{Name: fmt.Sprint("app", i)})
		slot := r.Connect(app, ep)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 200 {
				want := fmt.Sprint(i, "-", j)
				if got, err := call(context.Background(), app, slot, opEcho, want); err != nil || got != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
					return
				}
			}
		}()
	}
	wg.Wait()
	if n := served.Load(); n != 32*200 {
		t.Errorf("served %d", n)
	}
}

func TestShutdownLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("system", func(t *testing.T) {
		r := rig.New(t)
		_, ep := serveEcho(r, "echo", ipc.NoSlot, nil)
		app := r.Task(ipc.TaskSpec{Name: "app"})
		slot := r.Connect(app, ep)
		for range 8 {
			app.Go(func(ctx context.Context) { _, _ = call(ctx, app, slot, opSleep, "") })
		}
		if _, err := call(context.Background(), app, slot, opEcho, ""); err != nil {
			t.Error(err)
		}
	})
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
}

func TestSameSeedSameTrace(t *testing.T) {
	traces := make(map[uint64]bool)
	for seed := range uint64(50) {
		first, second := traceOf(t, seed), traceOf(t, seed)
		if first != second {
			t.Fatalf("seed %d: traces differ", seed)
		}
		traces[first] = true
	}
	if len(traces) < 45 {
		t.Errorf("50 seeds gave only %d traces", len(traces))
	}
}

func traceOf(t *testing.T, seed uint64) uint64 {
	h := fnv.New64a()
	t.Run("", func(t *testing.T) {
		r := rig.NewSeeded(t, seed, func(e ipc.TraceEvent) { fmt.Fprintln(h, e) })
		_, ep := serveEcho(r, "echo", ipc.NoSlot, nil)
		var done []chan struct{}
		for i := range 6 {
			app := r.Task(ipc.TaskSpec{Name: fmt.Sprint("app", i)})
			slot := r.Connect(app, ep)
			finished := make(chan struct{})
			done = append(done, finished)
			app.Go(func(ctx context.Context) {
				defer close(finished)
				for j := range 5 {
					op := opEcho
					if (i+j)%4 == 0 {
						op = opSleep
					}
					if i == 5 && j == 2 {
						op = opPanic
					}
					_, _ = call(ctx, app, slot, op, fmt.Sprint(i, j))
				}
			})
		}
		for _, d := range done {
			if !r.Sched.Await(d, nil) {
				t.Fatal("somebody waits forever")
			}
		}
	})
	return h.Sum64()
}

func TestHostingUnderATakenName(t *testing.T) {
	r := rig.New(t)
	serveEcho(r, "echo", ipc.NoSlot, nil)
	twin := r.Task(ipc.TaskSpec{Name: "echo"})
	if err := r.Engine.Host(twin, func() ipc.Service { return &echo{task: twin} }); err == nil {
		t.Error("two actors have one name")
	}
}
