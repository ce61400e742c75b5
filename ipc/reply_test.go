package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestReplyIsOneShot: the first reply counts, every other one is refused and
// counted, and none at all is an error for the caller.
func TestReplyIsOneShot(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		w := newWorld(t, r, plan{task: func(_ context.Context, _ *desk, r *ipc.Request) {
			for i := range int(r.Body[0] - '0') {
				err := r.Reply(ipc.Code(i), fmt.Append(nil, "reply ", i))
				if i == 0 && err != nil || i > 0 && !errors.Is(err, ipc.PermissionDenied) {
					t.Errorf("reply %d: %v", i, err)
				}
			}
		}})
		c := w.app("app")
		c.do(func(ctx context.Context) {
			body, err := c.send(ctx, ipc.Msg{Op: opTask, Body: []byte("0")})
			want(t, "no reply", body, err, ipc.Unavailable)
			for _, n := range []string{"1", "2", "5"} {
				if body, err := c.send(ctx, ipc.Msg{Op: opTask, Body: []byte(n)}); err != nil || body != "reply 0" {
					t.Errorf("%s replies: %q, %v", n, body, err)
				}
			}
		})
		if n := w.Kernel.Stats().Repeated; n != 5 {
			t.Errorf("%d repeated replies", n)
		}
	})
}

// TestReplyCodes: a service's code and its body reach the caller; what is no
// code is refused, and the reply is still owed.
func TestReplyCodes(t *testing.T) {
	code, refused := ipc.OK, error(nil)
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{task: func(_ context.Context, _ *desk, r *ipc.Request) {
		refused = r.Reply(code, []byte("where"))
	}})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		for code = ipc.OK; code.Valid(); code++ {
			body, err := c.send(ctx, ipc.Msg{Op: opTask})
			if body != "where" || code != ipc.OK && !errors.Is(err, code) || code == ipc.OK && err != nil || refused != nil {
				t.Errorf("code %v: %q, %v, %v", code, body, err, refused)
			}
		}
		for _, code = range []ipc.Code{code, 0xffff} {
			body, err := c.send(ctx, ipc.Msg{Op: opTask})
			want(t, "no code", body, err, ipc.Unavailable)
			if refused == nil {
				t.Error("a reply with no code was taken")
			}
		}
	})
}

// TestStaleRequest: a request that was kept beyond its handler does nothing, to
// whomever it belonged and whatever is served by then.
func TestStaleRequest(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		var kept []ipc.Request
		w := newWorld(t, r, plan{parallel: 4, task: func(ctx context.Context, d *desk, r *ipc.Request) {
			for i := range kept {
				if err := kept[i].Reply(ipc.OK, []byte("stale")); !errors.Is(err, ipc.PermissionDenied) {
					t.Errorf("a stale reply: %v", err)
				}
				if !kept[i].Gone() {
					t.Error("somebody waits for a stale reply")
				}
			}
			kept = append(kept, *r)
			if r.Gone() {
				t.Error("nobody waits for a live reply")
			}
			_ = r.Reply(ipc.OK, r.Body)
			if !r.Gone() {
				t.Error("somebody waits for a second reply")
			}
		}})
		c := w.app("app")
		c.do(func(ctx context.Context) {
			for i := range 4 {
				if body, err := c.send(ctx, ipc.Msg{Op: opTask, Body: number(i)}); err != nil || body != fmt.Sprint(i) {
					t.Errorf("request %d: %q, %v", i, body, err)
				}
			}
		})
		for i := range kept { // Nothing is served now.
			if err := kept[i].Reply(ipc.OK, []byte("stale")); !errors.Is(err, ipc.PermissionDenied) || !kept[i].Gone() {
				t.Errorf("a stale reply: %v", err)
			}
		}
		blank := new(ipc.Request)
		if err := blank.Reply(ipc.OK, nil); !errors.Is(err, ipc.PermissionDenied) || !blank.Gone() {
			t.Errorf("a reply to nothing: %v", err)
		}
	})
}

// TestSpoiledRequest: what a handler does to its view of the request is its own
// affair.
func TestSpoiledRequest(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		w := newWorld(t, r, plan{task: func(_ context.Context, _ *desk, r *ipc.Request) {
			for i := range r.Body {
				r.Body[i] = 0
			}
			*r = ipc.Request{}
			if err := r.Reply(ipc.OK, []byte("x")); !errors.Is(err, ipc.PermissionDenied) {
				t.Errorf("a reply to nothing: %v", err)
			}
		}})
		c := w.app("app")
		c.do(func(ctx context.Context) {
			for range 3 {
				body, err := c.send(ctx, ipc.Msg{Op: opTask, Body: []byte("mine")})
				want(t, "the call", body, err, ipc.Unavailable)
			}
			if body, err := c.send(ctx, ipc.Msg{Op: opEcho, Body: []byte("next")}); err != nil || body != "next" {
				t.Errorf("the next call: %q, %v", body, err)
			}
		})
	})
}

// TestReplyToNobody: if the caller left, replying says so and does nothing.
func TestReplyToNobody(t *testing.T) {
	var replied error
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{task: func(ctx context.Context, d *desk, r *ipc.Request) {
		_ = d.task.Sleep(ctx, time.Minute)
		if !r.Gone() {
			t.Error("somebody still waits")
		}
		replied = r.Reply(ipc.OK, []byte("late"))
	}})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		body, err := c.send(ctx, ipc.Msg{Op: opTask})
		want(t, "the caller", body, err, ipc.TimedOut)
		if body, err := c.send(ctx, ipc.Msg{Op: opEcho, Body: []byte("next")}); err == nil || body == "late" {
			t.Errorf("the next call got %q, %v", body, err) // It waits its turn in vain: 30 s.
		}
		_ = c.task.Sleep(ctx, time.Minute)
		if body, err := c.send(ctx, ipc.Msg{Op: opEcho, Body: []byte("next")}); err != nil || body != "next" {
			t.Errorf("the next call but one got %q, %v", body, err)
		}
	})
	if !errors.Is(replied, ipc.PeerClosed) || w.Kernel.Stats().Late != 1 {
		t.Errorf("%v, %d late replies", replied, w.Kernel.Stats().Late)
	}
}

// TestReplyBuffer: the reply's body goes into the caller's buffer if it fits,
// and never beyond what the caller gave.
func TestReplyBuffer(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		for size := range 9 {
			backing := []byte("________________")
			got, err := c.task.Call(ctx, ipc.Msg{Slot: c.slot, Op: opEcho, Body: []byte("1234"), Move: ipc.NoSlot}, backing[:0:size])
			if err != nil || string(got.Body) != "1234" {
				t.Errorf("room for %d: %q, %v", size, got.Body, err)
			}
			inPlace := string(backing[:4]) == "1234"
			if inPlace != (size >= 4) || string(backing[8:]) != "________" {
				t.Errorf("room for %d: the buffer is %q", size, backing)
			}
		}
	})
}

// TestHandlersOfOneTaskTakeTurns: what a handler does between two kernel calls
// is not interrupted by another one.
func TestHandlersOfOneTaskTakeTurns(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		inside, parked, most := 0, 0, 0
		w := newWorld(t, r, plan{parallel: 64, depth: 64, task: func(ctx context.Context, d *desk, r *ipc.Request) {
			for range 3 {
				inside++
				if inside != 1 {
					t.Errorf("%d handlers at once", inside)
				}
				parked++
				most = max(most, parked)
				inside--
				_ = d.task.Sleep(ctx, time.Millisecond)
				parked--
			}
			_ = r.Reply(ipc.OK, nil)
		}})
		c := w.app("app")
		var all []<-chan struct{}
		for range 32 {
			_, done := c.begin(ipc.Msg{Op: opTask})
			all = append(all, done)
		}
		w.await(all...)
		if most < 2 {
			t.Errorf("at most %d handlers were parked at once", most)
		}
	})
}
