package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// voiding are the ways in which a token dies while a request carries it.
var voiding = map[string]func(w *world, c *client) error{
	"seal":   func(w *world, _ *client) error { return w.ident.SealSession(w.auth, w.sid) },
	"end":    func(w *world, _ *client) error { return w.ident.EndSession(w.auth, w.sid) },
	"revoke": func(w *world, c *client) error { return w.ident.RevokeToken(w.auth, &c.token) },
}

// TestVoidedInTheQueue: the caller is told at once, and the handler never sees
// the request.
func TestVoidedInTheQueue(t *testing.T) {
	for name, void := range voiding {
		seeds(t, 10, func(t *testing.T, seed uint64) {
			w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 1})
			c, other := w.app("app"), w.app("other")
			held, heldDone := other.begin(ipc.Msg{Op: opHold, Body: []byte("held")})
			other.do(func(ctx context.Context) { settle(ctx, other.task) })
			queued, done := c.begin(ipc.Msg{Op: opGet, Token: &c.token, Body: []byte("queued")})
			var at ipc.Time
			other.do(func(ctx context.Context) {
				settle(ctx, other.task)
				at = other.task.Now()
				if err := void(w, c); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if n := w.Kernel.Stats().QueuedBytes; n != 0 {
					t.Errorf("%s: %d bytes are still queued", name, n)
				}
			})
			w.await(done)
			want(t, name, queued.body, queued.err, ipc.Denied)
			if queued.at != at {
				t.Errorf("%s: told %d ns later", name, queued.at-at)
			}
			w.open(heldDone)
			if held.err != nil || fmt.Sprint(w.served) != "[held open]" {
				t.Errorf("%s: %v, served %q", name, held.err, w.served)
			}
		})
	}
}

// open lets those go that hold, through an endpoint that has room, and waits.
func (w *world) open(all ...<-chan struct{}) {
	w.t.Helper()
	opener := w.Task(ipc.TaskSpec{Name: "opener"})
	side := w.Endpoint(w.svc, ipc.EndpointSpec{Ops: deskOps, Takes: true})
	slot := w.Connect(opener, side)
	w.Do(opener, func(ctx context.Context) {
		if _, err := opener.Call(ctx, ipc.Msg{Slot: slot, Op: opOpen, Move: ipc.NoSlot}, nil); err != nil {
			w.t.Errorf("open: %v", err)
		}
	})
	w.await(all...)
}

// TestVoidedWhileServed: the caller is told at once, and what the handler
// replies then reaches nobody.
func TestVoidedWhileServed(t *testing.T) {
	for name, void := range voiding {
		seeds(t, 10, func(t *testing.T, seed uint64) {
			var replied error
			var gone []bool
			w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{task: func(ctx context.Context, d *desk, r *ipc.Request) {
				gone = append(gone, r.Gone())
				_ = d.task.Sleep(ctx, time.Second)
				gone = append(gone, r.Gone())
				replied = r.Reply(ipc.OK, []byte("the secret"))
			}})
			c := w.app("app")
			o, done := c.begin(ipc.Msg{Op: opTaskGet, Token: &c.token})
			c.do(func(ctx context.Context) {
				_ = c.task.Sleep(ctx, time.Millisecond)
				if err := void(w, c); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
			w.await(done)
			want(t, name, o.body, o.err, ipc.Denied)
			if late := o.at - 1; late > ipc.Time(2*time.Millisecond) {
				t.Errorf("%s: told after %d ns", name, late)
			}
			c.do(func(ctx context.Context) { _ = c.task.Sleep(ctx, time.Second) })
			if !errors.Is(replied, ipc.PeerClosed) || fmt.Sprint(gone) != "[false true]" {
				t.Errorf("%s: the handler's reply: %v, gone: %v", name, replied, gone)
			}
			if n := w.Kernel.Stats().Late; n != 1 {
				t.Errorf("%s: %d late replies", name, n)
			}
		})
	}
}

// TestVoidedWhileWaitingForRoom: a sender that waits for room is told as well.
func TestVoidedWhileWaitingForRoom(t *testing.T) {
	for name, void := range voiding {
		seeds(t, 10, func(t *testing.T, seed uint64) {
			w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 1, depth: 1})
			c, other := w.app("app"), w.app("other")
			var all []<-chan struct{}
			for _, body := range []string{"held", "queued"} {
				_, done := other.begin(ipc.Msg{Op: opHold, Body: []byte(body)})
				all = append(all, done)
				other.do(func(ctx context.Context) { settle(ctx, other.task) })
			}
			waiting, done := c.begin(ipc.Msg{Op: opGet, Token: &c.token, Body: []byte("waiting")})
			other.do(func(ctx context.Context) {
				settle(ctx, other.task)
				if waiting.over {
					t.Errorf("%s: it did not wait: %v", name, waiting.err)
				}
				if err := void(w, c); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				settle(ctx, other.task)
			})
			if !waiting.over {
				t.Fatalf("%s: it still waits", name)
			}
			w.await(done)
			want(t, name, waiting.body, waiting.err, ipc.Denied)
			w.open(all...)
			if slices.Contains(w.served, "waiting") {
				t.Errorf("%s: it was served", name)
			}
		})
	}
}

// TestOthersAreLeftAlone: sealing one session touches no request of another
// one, and none without a token.
func TestOthersAreLeftAlone(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 8, depth: 8})
	c := w.app("app")
	bobs := w.mint(c.task, ipc.TokenSpec{SID: w.session("bob")})
	plain, plainDone := c.begin(ipc.Msg{Op: opHold, Body: []byte("plain")})
	bob, bobDone := c.begin(ipc.Msg{Op: opHoldGet, Token: &bobs, Body: []byte("bob")})
	alice, aliceDone := c.begin(ipc.Msg{Op: opHoldGet, Token: &c.token, Body: []byte("alice")})
	c.do(func(ctx context.Context) {
		settle(ctx, c.task)
		w.seal(w.sid)
		if _, err := c.call(ctx, opOpen, ""); err != nil {
			t.Error(err)
		}
	})
	w.await(plainDone, bobDone, aliceDone)
	if plain.err != nil || bob.err != nil || !errors.Is(alice.err, ipc.Denied) {
		t.Errorf("plain %v, bob %v, alice %v", plain.err, bob.err, alice.err)
	}
}

// newsLog has the desk take a while over each event and note what it hears.
type newsLog struct {
	heard []ipc.Event
	over  int
}

func (n *newsLog) handle(ctx context.Context, d *desk, ev ipc.Event) {
	n.heard = append(n.heard, ev)
	_ = d.task.Sleep(ctx, time.Second)
	n.over++
}

// TestDrain waits for running handlers and for the handlers of events.
func TestDrain(t *testing.T) {
	for _, ended := range []bool{false, true} {
		for _, handler := range []time.Duration{0, time.Millisecond, 3 * time.Second} {
			seeds(t, 5, func(t *testing.T, seed uint64) {
				var news newsLog
				running := false
				w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{news: news.handle, task: func(ctx context.Context, d *desk, r *ipc.Request) {
					running = true
					pause(ctx, d, r)
					running = false
				}})
				c := w.app("app")
				if handler > 0 {
					c.begin(ipc.Msg{Op: opTaskGet, Token: &c.token, Body: []byte(handler.String())})
				}
				w.Do(w.ident, func(ctx context.Context) {
					settle(ctx, w.ident)
					before := w.ident.Now()
					if err := w.void(w.sid, ended); err != nil {
						t.Error(err)
					}
					if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
						t.Error(err)
					}
					if running || news.over != 1 || len(news.heard) != 1 {
						t.Errorf("drained while a handler runs (%v) and %d of %d events are over", running, news.over, len(news.heard))
					}
					least := max(time.Second, handler-time.Millisecond)
					if took := time.Duration(w.ident.Now() - before); took < least || took > least+time.Second {
						t.Errorf("drained after %v", took)
					}
					if w.Kernel.KnownSession(w.sid) == ended {
						t.Errorf("ended %v, and known %v", ended, !ended)
					}
				})
				if ev := news.heard[0]; ev.SID != w.sid || ev.Epoch != 1 || ev.Ended != ended {
					t.Errorf("heard %+v", ev)
				}
			})
		}
	}
}

func (w *world) void(sid uint64, ended bool) error {
	if ended {
		return w.ident.EndSession(w.auth, sid)
	}
	return w.ident.SealSession(w.auth, sid)
}

// TestDrainAfterQueuedRequests: that a request of the session was queued when
// it ended does not make its news forgotten.
func TestDrainAfterQueuedRequests(t *testing.T) {
	for _, ended := range []bool{false, true} {
		var news newsLog
		w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 1, news: news.handle})
		c, other := w.app("app"), w.app("other")
		_, held := other.begin(ipc.Msg{Op: opHold, Body: []byte("held")})
		other.do(func(ctx context.Context) { settle(ctx, other.task) })
		_, queued := c.begin(ipc.Msg{Op: opGet, Token: &c.token})
		w.Do(w.ident, func(ctx context.Context) {
			settle(ctx, w.ident)
			if err := w.void(w.sid, ended); err != nil {
				t.Error(err)
			}
			if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
				t.Error(err)
			}
			if news.over != 1 {
				t.Errorf("ended %v: drained with %d of %d events handled", ended, news.over, len(news.heard))
			}
		})
		w.open(held, queued)
	}
}

func TestDrainEdges(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	w.Do(w.ident, func(ctx context.Context) {
		if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
			t.Errorf("an idle session: %v", err)
		}
		if err := w.ident.DrainSession(ctx, w.auth, 999); err != nil {
			t.Errorf("an unknown session: %v", err)
		}
		if err := w.ident.DrainSession(ctx, w.auth+1, w.sid); !errors.Is(err, ipc.PermissionDenied) {
			t.Errorf("without authority: %v", err)
		}
		if _, err := w.ident.MintToken(w.auth, ipc.TokenSpec{SID: 999, App: "a", Holder: c.task.ID(), Rights: 1}); !errors.Is(err, ipc.NotFound) {
			t.Errorf("a token of an unknown session: %v", err)
		}
	})
	_, done := c.begin(ipc.Msg{Op: opHoldGet, Token: &c.token})
	w.Do(w.ident, func(ctx context.Context) {
		settle(ctx, w.ident)
		if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
			t.Errorf("a handler of the current epoch: %v", err)
		}
		w.seal(w.sid)
		short, cancel := w.ident.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := w.ident.DrainSession(short, w.auth, w.sid); !errors.Is(err, ipc.TimedOut) {
			t.Errorf("a handler that does not end: %v", err)
		}
	})
	w.open(done)
	w.Do(w.ident, func(ctx context.Context) {
		if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
			t.Errorf("a handler that has ended: %v", err)
		}
	})
}

// audit checks from the trace that nothing of an old epoch goes on.
type audit struct {
	t       *testing.T
	sealing bool // from the first seal on
	sent    map[uint64]bool
	old     map[uint64]bool
	caught  int // in the queue or while being served
}

func (a *audit) tap(e ipc.TraceEvent) {
	switch e.Kind {
	case ipc.TraceSend:
		if e.SID != 0 {
			a.sent[e.Call] = true
		}
	case ipc.TraceSession:
		if a.sealing {
			for call := range a.sent {
				a.old[call] = true
			}
		}
	case ipc.TraceDeliver:
		if a.old[e.Call] {
			a.t.Errorf("call %d of an old epoch was delivered", e.Call)
		}
	case ipc.TraceReply:
		if a.old[e.Call] && e.Code == ipc.OK {
			a.t.Errorf("call %d of an old epoch was answered", e.Call)
		}
		if e.Code == ipc.Denied {
			a.caught++
		}
	}
}

// callersThroughSeals starts four apps that make n calls each, and get a new
// token where a seal took theirs. The channels are their ends.
func (w *world) callersThroughSeals(t *testing.T, n int) (ends []<-chan struct{}) {
	for i := range 4 {
		c := w.app(fmt.Sprint("app", i))
		ends = append(ends, c.start(func(ctx context.Context) {
			for range n {
				_, err := c.call(ctx, opTaskGet, "")
				if errors.Is(err, ipc.Denied) {
					c.token = w.mint(c.task, ipc.TokenSpec{})
				} else if err != nil {
					t.Errorf("a call: %v", err)
				}
			}
		}))
	}
	return ends
}

// TestSealInterleavings seals in the middle of traffic, under many seeds: from
// the moment that SealSession returns, nothing of the old epoch is delivered or
// answered, every caller has its answer, and Drain leaves no old handler.
func TestSealInterleavings(t *testing.T) {
	caught := 0
	seeds(t, 200, func(t *testing.T, seed uint64) {
		a := &audit{t: t, sent: make(map[uint64]bool), old: make(map[uint64]bool)}
		rng := rand.New(rand.NewPCG(seed, 1))
		running := make(map[uint32]int)
		var news newsLog
		w := newWorld(t, rig.NewSeeded(t, seed, a.tap), plan{
			depth: 1 + rng.IntN(4), parallel: 1 + rng.IntN(4), news: news.handle,
			task: func(ctx context.Context, d *desk, r *ipc.Request) {
				epoch := r.Stamp.Epoch // The request is the kernel's again at the end.
				running[epoch]++
				defer func() { running[epoch]-- }()
				for range rng.IntN(4) {
					_ = d.task.Sleep(ctx, time.Duration(rng.IntN(3))*time.Millisecond)
				}
				_ = r.Reply(ipc.OK, nil)
			}})
		all := w.callersThroughSeals(t, 8)
		w.Do(w.ident, func(ctx context.Context) {
			for epoch := uint32(1); epoch <= 3; epoch++ {
				_ = w.ident.Sleep(ctx, time.Duration(rng.IntN(4))*time.Millisecond)
				a.sealing = true
				w.seal(w.sid)
				a.sealing = false
				if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
					t.Error(err)
				}
				if running[epoch] != 0 || news.over != int(epoch) {
					t.Errorf("epoch %d: %d handlers run, %d events are over", epoch, running[epoch], news.over)
				}
			}
		})
		w.await(all...)
		caught += a.caught
	})
	if caught < 200 && os.Getenv("NEXUS_SEED") == "" {
		t.Errorf("only %d calls were caught: the seals are not in the middle of anything", caught)
	}
}

// TestSealAmongGoroutines is the same with real concurrency, on a trace that
// fits the ring.
func TestSealAmongGoroutines(t *testing.T) {
	w := newWorld(t, rig.New(t), plan{depth: 2, parallel: 2, news: func(context.Context, *desk, ipc.Event) {}, task: func(ctx context.Context, d *desk, r *ipc.Request) {
		_ = d.task.Sleep(ctx, 50*time.Microsecond)
		_ = r.Reply(ipc.OK, nil)
	}})
	all := w.callersThroughSeals(t, 60)
	w.Do(w.ident, func(ctx context.Context) {
		for range 20 {
			_ = w.ident.Sleep(ctx, 300*time.Microsecond)
			w.seal(w.sid)
			if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
				t.Error(err)
			}
		}
	})
	w.await(all...)
	events, total := w.Kernel.Trace()
	if total > ipc.TraceEntries {
		t.Fatalf("%d events: the ring has lost some", total)
	}
	a := &audit{t: t, sealing: true, sent: make(map[uint64]bool), old: make(map[uint64]bool)}
	for _, e := range events {
		a.tap(e)
	}
}

// TestSealWithoutDelay: after a seal a new token of the same app works at once,
// and its requests are of the next epoch.
func TestSealWithoutDelay(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		w := newWorld(t, r, plan{})
		c := w.app("app")
		c.do(func(ctx context.Context) {
			for range 20 {
				old := c.token
				w.seal(w.sid)
				body, err := c.call(ctx, opGet, "x")
				want(t, "the old token", body, err, ipc.Denied)
				c.token = w.mint(c.task, ipc.TokenSpec{})
				if _, err := c.call(ctx, opGet, "x"); err != nil {
					t.Errorf("the new token: %v", err)
				}
				fields, err := c.token.Fields()
				before, _ := old.Fields()
				if err != nil || fields.Epoch != before.Epoch+1 || fields.SID != before.SID || fields.App != before.App || fields.Serial == before.Serial {
					t.Errorf("the new token says %+v, %v; the old one %+v", fields, err, before)
				}
			}
		})
	})
}

// TestRevokeOne: revoking one token leaves the holder's others alone.
func TestRevokeOne(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	second := w.mint(c.task, ipc.TokenSpec{})
	forged := second
	forged[50] ^= 1
	for _, bad := range []*capability.Token{{}, &forged} {
		if err := w.ident.RevokeToken(w.auth, bad); !errors.Is(err, ipc.Denied) {
			t.Errorf("revoke of a token that is none: %v", err)
		}
	}
	if err := w.ident.RevokeToken(w.auth+1, &second); !errors.Is(err, ipc.PermissionDenied) {
		t.Errorf("revoke without authority: %v", err)
	}
	if err := w.ident.RevokeToken(w.auth, &c.token); err != nil {
		t.Error(err)
	}
	if err := w.ident.RevokeToken(w.auth, &c.token); !errors.Is(err, ipc.Denied) {
		t.Errorf("revoke twice: %v", err)
	}
	c.do(func(ctx context.Context) {
		body, err := c.call(ctx, opGet, "")
		want(t, "the revoked one", body, err, ipc.Denied)
		if _, err := c.send(ctx, ipc.Msg{Op: opGet, Token: &second}); err != nil {
			t.Errorf("the other one: %v", err)
		}
	})
	if n := w.Kernel.Stats().Tokens; n != 1 {
		t.Errorf("%d live tokens", n)
	}
}
