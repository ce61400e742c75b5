package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestRestartKeepsTheQueue: a panic costs what is being served and nothing that
// is queued or waits for room; the next instance goes on with those.
func TestRestartKeepsTheQueue(t *testing.T) {
	seeds(t, 10, func(t *testing.T, seed uint64) {
		w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 2, depth: 4})
		c := w.app("app")
		side := w.Connect(c.task, w.Endpoint(w.svc, ipc.EndpointSpec{Ops: deskOps, Takes: true}))
		var served []*outcome
		var all []<-chan struct{}
		begin := func(m ipc.Msg) *outcome {
			o, done := c.begin(m)
			all = append(all, done)
			c.do(func(ctx context.Context) { settle(ctx, c.task) })
			return o
		}
		for range 2 {
			served = append(served, begin(ipc.Msg{Op: opHold}))
		}
		var queued []*outcome
		for i := range 8 { // Four are queued, four wait for room.
			queued = append(queued, begin(ipc.Msg{Op: opGet, Token: &c.token, Body: number(i)}))
		}
		c.do(func(ctx context.Context) {
			at := c.task.Now()
			body, err := c.send(ctx, ipc.Msg{Slot: side, Op: opPanic})
			want(t, "the one that panics", body, err, ipc.Unavailable)
			settle(ctx, c.task)
			for _, o := range served {
				if want(t, "what was served", o.body, o.err, ipc.Unavailable); o.at != at {
					t.Errorf("told %d ns later", o.at-at)
				}
			}
		})
		w.await(all...)
		for i, o := range queued {
			if o.err != nil || o.body != fmt.Sprint(i) {
				t.Errorf("request %d: %q, %v", i, o.body, o.err)
			}
		}
		if w.starts != 2 || w.svc.Generation() != 2 || len(w.Crashes()) != 1 {
			t.Errorf("%d starts, generation %d, %d crashes", w.starts, w.svc.Generation(), len(w.Crashes()))
		}
		if text := w.Crashes()[0].Error(); strings.Contains(text, "nobody may see") || !strings.Contains(text, "world_test.go") {
			t.Errorf("the report says %q", text)
		}
	})
}

// TestTokensOutliveARestart: a service that is no guard and restarts voids
// nothing.
func TestTokensOutliveARestart(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		_, _ = c.send(ctx, ipc.Msg{Op: opPanic})
		if _, err := c.call(ctx, opGet, ""); err != nil {
			t.Errorf("after the restart: %v", err)
		}
	})
}

// TestGuardCrashSealsEverySession: when the holder of session keys panics,
// every session is sealed at once, and its next instance hears of it.
func TestGuardCrashSealsEverySession(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		var heard []ipc.Event
		var generation []uint32
		w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{guards: true, depth: 8, news: func(_ context.Context, d *desk, ev ipc.Event) {
			heard = append(heard, ev)
			generation = append(generation, d.task.Generation())
		}})
		c := w.app("app")
		bob := w.session("bob")
		bobs := w.mint(c.task, ipc.TokenSpec{SID: bob})
		for _, sid := range []uint64{w.sid, bob} {
			if err := w.ident.OpenSession(w.auth, sid); err != nil {
				t.Error(err)
			}
		}
		_, held := c.begin(ipc.Msg{Op: opHold, Body: []byte("held")})
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
		queued, done := c.begin(ipc.Msg{Op: opGet, Token: &bobs, Body: []byte("queued")})
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
		crasher := w.app("crasher")
		side := w.Connect(crasher.task, w.Endpoint(w.svc, ipc.EndpointSpec{Ops: deskOps, Takes: true}))
		crasher.do(func(ctx context.Context) {
			body, err := crasher.send(ctx, ipc.Msg{Slot: side, Op: opPanic})
			want(t, "the one that panics", body, err, ipc.Unavailable)
			for _, token := range []*client{c, crasher} {
				body, err := token.call(c.late(), opGet, "")
				_ = body
				if token == c && !errors.Is(err, ipc.Denied) {
					t.Errorf("an old token: %v", err)
				}
			}
		})
		w.await(held, done)
		want(t, "queued before the crash", queued.body, queued.err, ipc.Denied)
		if slices.Contains(w.served, "queued") {
			t.Error("a request of an old epoch was served")
		}
		c.do(func(ctx context.Context) {
			c.token = w.mint(c.task, ipc.TokenSpec{})
			if _, err := c.call(ctx, opGet, ""); err != nil {
				t.Errorf("a new token: %v", err)
			}
		})
		if len(heard) != 2 || heard[0].SID != w.sid || heard[1].SID != bob || heard[0].Ended || heard[1].Ended || fmt.Sprint(generation) != "[2 2]" {
			t.Errorf("heard %+v in generations %v", heard, generation)
		}
		w.Do(w.ident, func(ctx context.Context) {
			if err := w.ident.DrainSession(ctx, w.auth, bob); err != nil {
				t.Errorf("drain: %v", err)
			}
		})
	})
}

// TestGuardExitSealsEverySession is the same for one that does not come back.
func TestGuardExitSealsEverySession(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{guards: true, news: func(context.Context, *desk, ipc.Event) {}})
	w.app("app")
	w.svc.Exit()
	if s := w.Kernel.Stats(); s.Tokens != 0 || s.Sessions != 1 {
		t.Errorf("%d tokens, %d sessions", s.Tokens, s.Sessions)
	}
	w.Do(w.ident, func(ctx context.Context) {
		if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
			t.Errorf("drain, with news that nobody will hear: %v", err)
		}
	})
}

// TestAuthorityCrashEndsEverySession: without the holder of the authority
// nobody could end a session, so all of them end.
func TestAuthorityCrashEndsEverySession(t *testing.T) {
	for _, how := range []string{"panic", "exit"} {
		seeds(t, 5, func(t *testing.T, seed uint64) {
			var heard []ipc.Event
			w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{news: func(_ context.Context, _ *desk, ev ipc.Event) { heard = append(heard, ev) }})
			second := w.Task(ipc.TaskSpec{Name: "identityd"})
			auth, err := w.Kernel.GrantAuthority(second)
			if err != nil {
				t.Fatal(err)
			}
			ep := w.Endpoint(second, ipc.EndpointSpec{Ops: deskOps, Takes: true})
			w.Host(second, func() ipc.Service { return &desk{w: w, task: second} })
			c := w.app("app")
			slot := w.Connect(c.task, ep)
			c.do(func(ctx context.Context) {
				if how == "panic" {
					body, err := c.send(ctx, ipc.Msg{Slot: slot, Op: opPanic})
					want(t, "the one that panics", body, err, ipc.Unavailable)
				} else {
					second.Exit()
				}
				body, err := c.call(ctx, opGet, "")
				want(t, "an old token", body, err, ipc.Denied)
				_ = c.task.Sleep(ctx, time.Millisecond)
			})
			if s := w.Kernel.Stats(); s.Sessions != 0 || s.Tokens != 0 {
				t.Errorf("%s: %d sessions, %d tokens", how, s.Sessions, s.Tokens)
			}
			if len(heard) != 1 || !heard[0].Ended || heard[0].SID != w.sid {
				t.Errorf("%s: heard %+v", how, heard)
			}
			if how == "panic" {
				if _, err := second.StartSession(auth, "alice", [16]byte{}); err != nil {
					t.Errorf("the next instance: %v", err)
				}
			}
		})
	}
}

// TestParkedWorkRunsOut: handlers that were parked when their service panicked
// end without being able to call the kernel or to answer.
func TestParkedWorkRunsOut(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		over := make(chan []error, 4)
		w := newWorld(t, r, plan{parallel: 8, depth: 8, task: func(ctx context.Context, d *desk, r *ipc.Request) {
			first := d.task.Sleep(ctx, time.Hour)
			second := d.task.Sleep(ctx, time.Hour)
			_, third := d.task.Call(ctx, ipc.Msg{Op: opEcho, Move: ipc.NoSlot}, nil)
			over <- []error{first, second, third, d.task.Offload(ctx, func() { t.Error("it ran") }), r.Reply(ipc.OK, nil)}
		}})
		c := w.app("app")
		o, done := c.begin(ipc.Msg{Op: opTask})
		for {
			if e, _ := w.Kernel.Trace(); e[len(e)-1].Kind == ipc.TraceDeliver {
				break
			}
			c.do(func(ctx context.Context) { _ = c.task.Sleep(ctx, time.Millisecond) })
		}
		c.do(func(ctx context.Context) { _, _ = c.send(ctx, ipc.Msg{Op: opPanic}) })
		w.await(done)
		want(t, "its caller", o.body, o.err, ipc.Unavailable)
		c.do(func(ctx context.Context) {
			if _, err := c.send(ctx, ipc.Msg{Op: opEcho}); err != nil {
				t.Errorf("the next instance: %v", err)
			}
		})
		for i, err := range <-over {
			if wanted := []error{ipc.Unavailable, ipc.Unavailable, ipc.Unavailable, ipc.Unavailable, ipc.PeerClosed}[i]; !errors.Is(err, wanted) {
				t.Errorf("kernel call %d of a handler that runs out: %v", i, err)
			}
		}
	})
}

// TestOffloadSurvivesACrash: the caller is told at once, but offloaded work is
// waited for, because it may still write what it captured, and only then does
// the next instance start.
func TestOffloadSurvivesACrash(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var written atomic.Bool
	w := newWorld(t, rig.New(t), plan{parallel: 8, depth: 8, task: func(ctx context.Context, d *desk, r *ipc.Request) {
		_ = d.task.Offload(ctx, func() {
			close(entered)
			<-release
			written.Store(true)
		})
		_ = r.Reply(ipc.OK, nil)
	}})
	c := w.app("app")
	o, done := c.begin(ipc.Msg{Op: opTask})
	<-entered
	c.do(func(ctx context.Context) { _, _ = c.send(ctx, ipc.Msg{Op: opPanic}) })
	w.await(done)
	want(t, "its caller", o.body, o.err, ipc.Unavailable)
	next := c.start(func(ctx context.Context) {
		if _, err := c.send(ctx, ipc.Msg{Op: opEcho}); err != nil || !written.Load() {
			t.Errorf("the next instance: %v, after the work was done: %v", err, written.Load())
		}
	})
	select {
	case <-next:
		t.Error("the next instance did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	w.await(next)
}

// TestOffloadPanic is a panic of the handler that asked for it.
func TestOffloadPanic(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		w := newWorld(t, r, plan{task: func(ctx context.Context, d *desk, r *ipc.Request) {
			_ = d.task.Offload(ctx, func() { panic("a value that nobody may see") })
			t.Error("the handler went on")
		}})
		c := w.app("app")
		c.do(func(ctx context.Context) {
			body, err := c.send(ctx, ipc.Msg{Op: opTask})
			want(t, "the caller", body, err, ipc.Unavailable)
			if _, err := c.send(ctx, ipc.Msg{Op: opEcho}); err != nil {
				t.Errorf("the next instance: %v", err)
			}
		})
		if all := w.Crashes(); len(all) != 1 || all[0].Task != "desk" || strings.Contains(all[0].Error(), "nobody may see") {
			t.Errorf("reports: %v", all)
		}
	})
}

// failing is a service whose start fails or panics.
type failing struct{ start func() error }

func (f failing) Start(context.Context) error         { return f.start() }
func (f failing) Serve(context.Context, *ipc.Request) {}

// TestStartFailure: whoever waits for a service learns why it does not start.
func TestStartFailure(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		cause := errors.New("nothing to serve")
		bad := r.Task(ipc.TaskSpec{Name: "bad"})
		if err := r.Engine.Host(bad, func() ipc.Service { return failing{func() error { return cause }} }); err != nil {
			t.Fatal(err)
		}
		never := r.Task(ipc.TaskSpec{Name: "never"})
		r.Do(r.Init, func(ctx context.Context) {
			if err := r.Init.AwaitReady(ctx, bad); !errors.Is(err, cause) || !errors.Is(bad.StartError(), cause) {
				t.Errorf("told %v, %v", err, bad.StartError())
			}
			short, cancel := r.Init.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if err := r.Init.AwaitReady(short, never); !errors.Is(err, ipc.TimedOut) {
				t.Errorf("one that never starts: %v", err)
			}
			r.Init.Go(func(ctx context.Context) {
				_ = r.Init.Sleep(ctx, time.Millisecond)
				never.Exit()
			})
			if err := r.Init.AwaitReady(ctx, never); !errors.Is(err, ipc.Unavailable) {
				t.Errorf("one that goes: %v", err)
			}
			if err := r.Init.AwaitReady(ctx, never); !errors.Is(err, ipc.Unavailable) {
				t.Errorf("one that is gone: %v", err)
			}
		})
	})
}
