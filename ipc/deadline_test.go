package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestDeadlines: a call ends at its deadline to the nanosecond, whether it is
// queued, waits for room, or is being served, and never later than the default.
func TestDeadlines(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		for _, c := range []struct{ asked, ends time.Duration }{
			{-time.Second, 0}, {0, 0}, {1, 1}, {time.Second, time.Second},
			{ipc.DefaultTimeout - 1, ipc.DefaultTimeout - 1}, {ipc.DefaultTimeout, ipc.DefaultTimeout}, {ipc.DefaultTimeout + 1, ipc.DefaultTimeout},
			{1 << 62, ipc.DefaultTimeout}, {1<<63 - 1, ipc.DefaultTimeout},
		} {
			w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 1, depth: 1})
			var all []<-chan struct{}
			for _, where := range []string{"served", "queued", "without room"} {
				app := w.app(where)
				all = append(all, app.start(func(ctx context.Context) {
					short, cancel := app.task.WithTimeout(ctx, c.asked)
					defer cancel()
					before := app.task.Now()
					body, err := app.send(short, ipc.Msg{Op: opHold})
					want(t, where, body, err, ipc.TimedOut)
					if took := time.Duration(app.task.Now() - before); took != c.ends {
						t.Errorf("%s, %v: ended after %v", where, c.asked, took)
					}
				}))
			}
			w.await(all...)
			if n := w.Kernel.Stats().Expired; n != 3 {
				t.Errorf("%v: %d calls expired", c.asked, n)
			}
			if n := w.Kernel.Timers(); n != 0 {
				t.Errorf("%v: %d timers are left", c.asked, n)
			}
			w.open()
		}
	})
}

// TestDefaultDeadline: a call without a deadline has one.
func TestDefaultDeadline(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		before := c.task.Now()
		body, err := c.send(ctx, ipc.Msg{Op: opHold})
		want(t, "a call", body, err, ipc.TimedOut)
		if took := time.Duration(c.task.Now() - before); took != ipc.DefaultTimeout {
			t.Errorf("ended after %v", took)
		}
	})
	w.open()
}

// TestNestedDeadlines: the earliest of several deadlines counts.
func TestNestedDeadlines(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 4})
	c := w.app("app")
	type key struct{}
	c.do(func(ctx context.Context) {
		for _, x := range []struct{ outer, inner, ends time.Duration }{
			{time.Second, 2 * time.Second, time.Second}, {2 * time.Second, time.Second, time.Second},
		} {
			first, cancel := c.task.WithTimeout(ctx, x.outer)
			second, cancel2 := c.task.WithTimeout(context.WithValue(first, key{}, 1), x.inner)
			before := c.task.Now()
			_, err := c.send(context.WithValue(second, key{}, 2), ipc.Msg{Op: opHold})
			if took := time.Duration(c.task.Now() - before); !errors.Is(err, ipc.TimedOut) || took != x.ends {
				t.Errorf("%v in %v: %v after %v", x.inner, x.outer, err, took)
			}
			cancel2()
			cancel()
		}
		first, cancel := c.task.WithTimeout(ctx, time.Second)
		defer cancel()
		before := c.task.Now()
		_, err := c.send(c.task.Detached(first), ipc.Msg{Op: opHold})
		if took := time.Duration(c.task.Now() - before); !errors.Is(err, ipc.TimedOut) || took != ipc.DefaultTimeout {
			t.Errorf("detached: %v after %v", err, took)
		}
		short, cancel := c.task.WithTimeout(c.task.Detached(first), 2*time.Second)
		defer cancel()
		before = c.task.Now()
		_, err = c.send(short, ipc.Msg{Op: opHold})
		if took := time.Duration(c.task.Now() - before); !errors.Is(err, ipc.TimedOut) || took != 2*time.Second {
			t.Errorf("detached and limited again: %v after %v", err, took)
		}
	})
	w.open()
}

// relay is a service whose handler calls the desk.
type relay struct {
	task   *ipc.Task
	slot   ipc.Slot
	detach bool
	err    error
	took   time.Duration
}

func (s *relay) Start(context.Context) error { return nil }

func (s *relay) Serve(ctx context.Context, r *ipc.Request) {
	if s.detach {
		ctx = s.task.Detached(ctx)
	}
	before := s.task.Now()
	_, s.err = s.task.Call(ctx, ipc.Msg{Slot: s.slot, Op: opHold, Move: ipc.NoSlot}, nil)
	s.took = time.Duration(s.task.Now() - before)
	_ = r.Reply(ipc.OK, nil)
}

// TestDeadlineInheritance: the calls that a handler makes end with the request
// that it serves, unless it says that they are for others as well.
func TestDeadlineInheritance(t *testing.T) {
	for _, detach := range []bool{false, true} {
		w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 2})
		s := &relay{task: w.Task(ipc.TaskSpec{Name: "relay"}), detach: detach}
		ep := w.Endpoint(s.task, ipc.EndpointSpec{Depth: 4, Parallel: 4, Ops: rig.Ops(1)})
		s.slot = w.Connect(s.task, w.ep)
		w.Host(s.task, func() ipc.Service { return s })
		c := w.app("app")
		slot := w.Connect(c.task, ep)
		c.do(func(ctx context.Context) {
			short, cancel := c.task.WithTimeout(ctx, time.Second)
			defer cancel()
			before := c.task.Now()
			body, err := c.send(short, ipc.Msg{Slot: slot, Op: 1})
			want(t, "the caller", body, err, ipc.TimedOut)
			if took := time.Duration(c.task.Now() - before); took != time.Second {
				t.Errorf("the caller waited %v", took)
			}
			_ = c.task.Sleep(ctx, time.Minute)
		})
		wanted := time.Second
		if detach {
			wanted = ipc.DefaultTimeout
		}
		if !errors.Is(s.err, ipc.TimedOut) || s.took != wanted {
			t.Errorf("detached %v: the handler's call: %v after %v", detach, s.err, s.took)
		}
		w.open()
	}
}

// TestSleep: to the nanosecond, and not at all for nothing or less.
func TestSleep(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		for _, d := range []time.Duration{-time.Hour, 0, 1, time.Hour, 24 * time.Hour} {
			before := c.task.Now()
			if err := c.task.Sleep(ctx, d); err != nil || time.Duration(c.task.Now()-before) != max(0, d) {
				t.Errorf("slept %v for %v, %v", time.Duration(c.task.Now()-before), d, err)
			}
		}
	})
	if n := w.Kernel.Stats().Expired; n != 0 {
		t.Errorf("%d sleeps count as expired calls", n)
	}
}

// TestTimeAdd: no sum of a time and a duration is "none", and none wraps.
func TestTimeAdd(t *testing.T) {
	for _, c := range []struct {
		at   ipc.Time
		d    time.Duration
		want ipc.Time
	}{
		{5, 3, 8}, {5, 0, 5}, {5, -3, 2}, {5, -4, 1}, {5, -5, 1}, {5, -6, 1}, {5, -1 << 63, 1},
		{^ipc.Time(0) - 1, 1, ^ipc.Time(0)}, {^ipc.Time(0), 1, ^ipc.Time(0)}, {^ipc.Time(0), 1<<63 - 1, ^ipc.Time(0)},
	} {
		if got := c.at.Add(c.d); got != c.want {
			t.Errorf("%d + %d is %d, want %d", c.at, c.d, got, c.want)
		}
	}
}

// chain makes calls that stand one behind the other: a first one that is queued
// for two seconds, then one that waits for room and will be refused once there
// is room, and whatever else waits was there before both.
func chain(t *testing.T, w *world, first, refused *client) []<-chan struct{} {
	t.Helper()
	queue := func(c *client, d time.Duration) <-chan struct{} {
		done := c.start(func(ctx context.Context) {
			short, cancel := c.task.WithTimeout(ctx, d)
			defer cancel()
			_, _ = c.send(short, ipc.Msg{Op: opEcho})
		})
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
		return done
	}
	filler := w.app("filler")
	all := []<-chan struct{}{queue(filler, time.Second), queue(first, 2*time.Second), queue(refused, 5*time.Second)}
	filler.do(func(ctx context.Context) { _ = filler.task.Sleep(ctx, 1500*time.Millisecond) })
	// The filler has left, first has its place, refused still waits for room.
	if err := refused.task.Close(refused.slot); err != nil {
		t.Error(err)
	}
	return all
}

// TestExpiryReachesEverybody: that an expiring call lets another one in, which
// fails, makes nobody else's deadline forgotten.
func TestExpiryReachesEverybody(t *testing.T) {
	w, held := blocked(t, 1, 1)
	sleeper, first, refused := w.app("sleeper"), w.app("first"), w.app("refused")
	var slept ipc.Time
	begun := sleeper.task.Now()
	all := []<-chan struct{}{sleeper.start(func(ctx context.Context) {
		_ = sleeper.task.Sleep(ctx, 10*time.Second)
		slept = sleeper.task.Now()
	})}
	sleeper.do(func(ctx context.Context) { settle(ctx, sleeper.task) })
	all = append(all, chain(t, w, first, refused)...)
	w.await(all...)
	if took := time.Duration(slept - begun); took != 10*time.Second {
		t.Errorf("slept %v", took)
	}
	if n := w.Kernel.Stats().Expired; n != 2 {
		t.Errorf("%d calls expired, want 2", n)
	}
	w.open(held)
}

// TestExitReachesEverybody is the same for a task that exits.
func TestExitReachesEverybody(t *testing.T) {
	w, held := blocked(t, 1, 1)
	first, refused := w.app("first"), w.app("refused")
	var slept error
	sleeping := first.start(func(ctx context.Context) { slept = first.task.Sleep(ctx, time.Hour) })
	first.do(func(ctx context.Context) { settle(ctx, first.task) })
	all := chain(t, w, first, refused)
	at := w.Kernel.Now()
	first.task.Exit()
	w.await(append(all, sleeping)...)
	if !errors.Is(slept, ipc.Unavailable) || w.Kernel.Now() != at {
		t.Errorf("told %v after %d ns", slept, w.Kernel.Now()-at)
	}
	w.open(held)
}

// TestManyDeadlines lets calls with random deadlines end at their times, while
// requests come and go.
func TestManyDeadlines(t *testing.T) {
	seeds(t, 20, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 2, depth: 2, task: pause})
		var all []<-chan struct{}
		for i := range 12 {
			c := w.app(fmt.Sprint("app", i))
			limit := time.Duration(1+rng.IntN(50)) * time.Millisecond
			work := fmt.Sprintf("%dms", rng.IntN(20))
			all = append(all, c.start(func(ctx context.Context) {
				for range 10 {
					short, cancel := c.task.WithTimeout(ctx, limit)
					before := c.task.Now()
					_, err := c.send(short, ipc.Msg{Op: opTask, Body: []byte(work)})
					took := time.Duration(c.task.Now() - before)
					if took > limit || err == nil && took == 0 && work != "0ms" || err != nil && (!errors.Is(err, ipc.TimedOut) || took != limit) {
						t.Errorf("%v after %v of %v", err, took, limit)
					}
					cancel()
				}
			}))
		}
		w.await(all...)
		// Handlers whose callers left have still to end.
		idler := w.app("idler")
		idler.do(func(ctx context.Context) { _ = idler.task.Sleep(ctx, time.Second) })
		if n := w.Kernel.Timers(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
		if !w.Kernel.FreeCallsAreBlank() {
			t.Error("a request that is over left something behind")
		}
	})
}

// TestForeignContexts: the machine's contexts count on goroutines.
func TestForeignContexts(t *testing.T) {
	w := newWorld(t, rig.New(t), plan{parallel: 4})
	c := w.app("app")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	body, err := c.send(cancelled, ipc.Msg{Op: opEcho})
	want(t, "cancelled before", body, err, ipc.Canceled)
	past, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	body, err = c.send(past, ipc.Msg{Op: opEcho})
	want(t, "too late before", body, err, ipc.TimedOut)
	live, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() {
		_, err := c.send(live, ipc.Msg{Op: opHold})
		result <- err
	}()
	for w.Kernel.Stats().Calls == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-result; !errors.Is(err, ipc.Canceled) {
		t.Errorf("cancelled while served: %v", err)
	}
	soon, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = c.send(soon, ipc.Msg{Op: opHold})
	if !errors.Is(err, ipc.TimedOut) && !errors.Is(err, ipc.Canceled) {
		t.Errorf("too late while served: %v", err)
	}
	w.open()
}

// TestFlowIsAContext: kernel time does not show in a flow's context, and what
// wraps it stands for the same flow. What a wrapper says of time and
// cancellation the kernel does not hear: the machine's clock is not its own.
func TestFlowIsAContext(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		short, cancel := c.task.WithTimeout(ctx, time.Second)
		defer cancel()
		for _, flow := range []context.Context{ctx, short, c.task.Detached(short)} {
			at, ok := flow.Deadline()
			if !at.IsZero() || ok || flow.Done() != nil || flow.Err() != nil || flow.Value("key") != nil {
				t.Errorf("%T shows something", flow)
			}
			wrapped, cancel := context.WithCancel(flow)
			cancel()
			if _, err := c.send(wrapped, ipc.Msg{Op: opEcho}); err != nil {
				t.Errorf("%T, wrapped: %v", flow, err)
			}
		}
	})
}

// TestForeignDeadlines: a foreign context gets the machine's timeout, and
// detaching it takes that away.
func TestForeignDeadlines(t *testing.T) {
	w := newWorld(t, rig.New(t), plan{})
	c := w.app("app")
	past, cancel := c.task.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	if _, ok := past.Deadline(); !ok {
		t.Error("no deadline")
	}
	body, err := c.send(past, ipc.Msg{Op: opEcho})
	want(t, "too late", body, err, ipc.TimedOut)
	if _, err := c.send(c.task.Detached(past), ipc.Msg{Op: opEcho}); err != nil {
		t.Errorf("detached: %v", err)
	}
}
