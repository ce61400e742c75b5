package ipc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// front is a service that acts for its callers at the desk, which only takes
// requests with a token.
type front struct {
	task  *ipc.Task
	slot  ipc.Slot // the desk
	serve func(ctx context.Context, r *ipc.Request)
}

func (f *front) Start(context.Context) error                    { return nil }
func (f *front) Serve(ctx context.Context, r *ipc.Request)      { f.serve(ctx, r) }
func (f *front) act(ctx context.Context, m ipc.Msg) (err error) { _, err = f.ask(ctx, m); return err }
func (f *front) ask(ctx context.Context, m ipc.Msg) (string, error) {
	m.Slot, m.Move = f.slot, ipc.NoSlot
	got, err := f.task.Call(ctx, m, nil)
	return string(got.Body), err
}

// newFront puts a front before the desk and connects a client with it. Every
// operation of the front needs Get or Put.
func newFront(w *world, c *client) (*front, ipc.Slot) {
	f := &front{task: w.Task(ipc.TaskSpec{Name: "front"})}
	either := capability.Get | capability.Put
	ep := w.Endpoint(f.task, ipc.EndpointSpec{Depth: 8, Parallel: 8, Ops: []ipc.Op{{Code: 1, Need: either}, {Code: 2}}})
	f.slot = w.Connect(f.task, w.ep)
	w.Host(f.task, func() ipc.Service { return f })
	return f, w.Connect(c.task, ep)
}

// TestBehalfStamps: the desk sees who asks, and for whom.
func TestBehalfStamps(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		var got ipc.Request
		w := newWorld(t, r, plan{task: func(_ context.Context, _ *desk, r *ipc.Request) {
			got = *r
			_ = r.Reply(ipc.OK, nil)
		}})
		c := w.app("app")
		f, slot := newFront(w, c)
		var first ipc.Stamp
		f.serve = func(ctx context.Context, r *ipc.Request) {
			first = r.Stamp
			want(t, "on behalf", "", f.act(ctx, ipc.Msg{Op: opTaskGet, Behalf: r}), nil)
			_ = r.Reply(ipc.OK, nil)
		}
		c.do(func(ctx context.Context) {
			if _, err := c.send(ctx, ipc.Msg{Slot: slot, Op: 1, Token: &c.token}); err != nil {
				t.Error(err)
			}
		})
		if got.Sender.Name != "front" || got.Sender.Task != f.task.ID() {
			t.Errorf("sender %+v", got.Sender)
		}
		if got.Stamp != first || got.Stamp.App != "notes" || got.Stamp.User != "alice" || got.Stamp.Rights != capability.Get {
			t.Errorf("stamped %+v, the front %+v", got.Stamp, first)
		}
	})
}

// TestBehalfGivesNoMore: neither rights that the request's token lacks, nor
// anything that the front itself has.
func TestBehalfGivesNoMore(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	f, slot := newFront(w, c)
	own := w.mint(f.task, ipc.TokenSpec{App: "front", Rights: capability.AllTokenRights})
	f.serve = func(ctx context.Context, r *ipc.Request) {
		want(t, "a right it has", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: r}), nil)
		want(t, "a right it lacks", "", f.act(ctx, ipc.Msg{Op: opPut, Behalf: r}), ipc.Denied)
		want(t, "the front's token beside it", "", f.act(ctx, ipc.Msg{Op: opPut, Behalf: r, Token: &own}), ipc.Denied)
		want(t, "the front's own token", "", f.act(ctx, ipc.Msg{Op: opPut, Token: &own}), nil)
		want(t, "the app's token", "", f.act(ctx, ipc.Msg{Op: opGet, Token: &c.token}), ipc.Denied)
		_ = r.Reply(ipc.OK, nil)
	}
	c.do(func(ctx context.Context) {
		if _, err := c.send(ctx, ipc.Msg{Slot: slot, Op: 1, Token: &c.token}); err != nil {
			t.Error(err)
		}
	})
}

// TestBehalfOfNothing: a request without a token, none at all, one that is
// over, and a copy of one that is over give nothing.
func TestBehalfOfNothing(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		w := newWorld(t, r, plan{})
		c := w.app("app")
		f, slot := newFront(w, c)
		var kept ipc.Request
		f.serve = func(ctx context.Context, r *ipc.Request) {
			if r.Op == 1 {
				kept = *r
				want(t, "a copy of a live one", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: &kept}), nil)
				_ = r.Reply(ipc.OK, nil)
				want(t, "one that is answered", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: r}), ipc.Denied)
				return
			}
			want(t, "one without a token", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: r}), ipc.Denied)
			want(t, "a blank one", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: &ipc.Request{}}), ipc.Denied)
			want(t, "one made up", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: &ipc.Request{Stamp: kept.Stamp, Sender: kept.Sender}}), ipc.Denied)
			want(t, "one that is over", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: &kept}), ipc.Denied)
			_ = r.Reply(ipc.OK, nil)
		}
		c.do(func(ctx context.Context) {
			for _, op := range []uint16{1, 2} {
				if _, err := c.send(ctx, ipc.Msg{Slot: slot, Op: op, Token: &c.token}); err != nil {
					t.Error(err)
				}
			}
		})
	})
}

// TestBehalfByAnother: only the task that serves a request acts for it.
func TestBehalfByAnother(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, thief := w.app("app"), w.app("thief")
	f, slot := newFront(w, c)
	f.serve = func(ctx context.Context, r *ipc.Request) {
		w.await() // The request is live for as long as this takes.
		stolen := *r
		done := thief.start(func(ctx context.Context) {
			for what, b := range map[string]*ipc.Request{"the request": r, "a copy": &stolen} {
				body, err := thief.send(ctx, ipc.Msg{Op: opGet, Behalf: b})
				want(t, what, body, err, ipc.Denied)
			}
		})
		settle(ctx, f.task)
		select {
		case <-done:
		default:
			t.Error("the thief is not done")
		}
		want(t, "its own", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: r}), nil)
		_ = r.Reply(ipc.OK, nil)
	}
	c.do(func(ctx context.Context) {
		if _, err := c.send(ctx, ipc.Msg{Slot: slot, Op: 1, Token: &c.token}); err != nil {
			t.Error(err)
		}
	})
}

// TestBehalfDiesWithTheRequest: when the caller leaves or its token dies, what
// was asked for it is refused wherever it is by then.
func TestBehalfDiesWithTheRequest(t *testing.T) {
	ends := map[string]func(w *world, c *client){
		"seal":     func(w *world, c *client) { w.seal(w.sid) },
		"end":      func(w *world, c *client) { _ = w.ident.EndSession(w.auth, w.sid) },
		"revoke":   func(w *world, c *client) { _ = w.ident.RevokeToken(w.auth, &c.token) },
		"exit":     func(w *world, c *client) { c.task.Exit() },
		"deadline": func(w *world, c *client) {}, // By itself, after a second.
	}
	for _, where := range []string{"queued", "served", "without room"} {
		for name, end := range ends {
			seeds(t, 3, func(t *testing.T, seed uint64) {
				w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 1, depth: 1})
				c, other := w.app("app"), w.app("other")
				f, slot := newFront(w, c)
				var child, later error
				var at ipc.Time
				f.serve = func(ctx context.Context, r *ipc.Request) {
					ctx = f.task.Detached(ctx) // Else the deadline itself would end it.
					child = f.act(ctx, ipc.Msg{Op: opHoldGet, Behalf: r, Body: []byte("child")})
					at = f.task.Now()
					later = f.act(ctx, ipc.Msg{Op: opGet, Behalf: r, Nonblock: true})
					_ = r.Reply(ipc.OK, []byte("the secret"))
				}
				var all []<-chan struct{}
				for range map[string]int{"served": 0, "queued": 1, "without room": 2}[where] {
					_, done := other.begin(ipc.Msg{Op: opHold})
					all = append(all, done)
					other.do(func(ctx context.Context) { settle(ctx, other.task) })
				}
				o := new(outcome)
				called := c.start(func(ctx context.Context) {
					short, cancel := c.task.WithTimeout(ctx, time.Second)
					defer cancel()
					o.body, o.err = c.send(short, ipc.Msg{Slot: slot, Op: 1, Token: &c.token})
				})
				other.do(func(ctx context.Context) { _ = other.task.Sleep(ctx, time.Millisecond) })
				end(w, c)
				ended := w.Kernel.Now()
				w.await(called)
				if name == "deadline" {
					ended = w.Kernel.Now()
				}
				if o.err == nil || o.body != "" {
					t.Errorf("%s, %s: the caller got %q, %v", where, name, o.body, o.err)
				}
				w.open(all...)
				w.Do(w.Init, func(ctx context.Context) { _ = w.Init.Sleep(ctx, time.Minute) })
				if !errors.Is(child, ipc.Denied) || !errors.Is(later, ipc.Denied) {
					t.Errorf("%s, %s: the child got %v, the next one %v", where, name, child, later)
				}
				if voids := name == "seal" || name == "end" || name == "revoke"; voids && at != ended {
					t.Errorf("%s, %s: told %d ns later", where, name, at-ended)
				}
			})
		}
	}
}

// TestBehalfOfBehalf: a child's child dies with the first request.
func TestBehalfOfBehalf(t *testing.T) {
	var last error
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	middle, slot := newFront(w, c)
	far := &front{task: w.Task(ipc.TaskSpec{Name: "far"}), slot: ipc.NoSlot}
	farEP := w.Endpoint(far.task, ipc.EndpointSpec{Depth: 8, Parallel: 8, Ops: []ipc.Op{{Code: 1, Need: capability.Get}}})
	far.slot = w.Connect(far.task, w.ep)
	w.Host(far.task, func() ipc.Service { return far })
	middle.slot = w.Connect(middle.task, farEP)
	middle.serve = func(ctx context.Context, r *ipc.Request) {
		_, _ = middle.ask(middle.task.Detached(ctx), ipc.Msg{Op: 1, Behalf: r})
		_ = r.Reply(ipc.OK, nil)
	}
	far.serve = func(ctx context.Context, r *ipc.Request) {
		if err := far.act(ctx, ipc.Msg{Op: opGet, Behalf: r}); err != nil {
			t.Errorf("the child's child: %v", err)
		}
		_ = far.task.Sleep(ctx, time.Second)
		last = far.act(far.task.Detached(ctx), ipc.Msg{Op: opGet, Behalf: r})
		_ = r.Reply(ipc.OK, nil)
	}
	c.do(func(ctx context.Context) {
		short, cancel := c.task.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := c.send(short, ipc.Msg{Slot: slot, Op: 1, Token: &c.token})
		want(t, "the caller", "", err, ipc.TimedOut)
		_ = c.task.Sleep(ctx, time.Minute)
	})
	if !errors.Is(last, ipc.Denied) {
		t.Errorf("after the caller left: %v", last)
	}
}
