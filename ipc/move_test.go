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

// luggage gives a client a capability with more than SEND to move: an endpoint
// of its own. It is in the client's slot 1.
func (c *client) luggage() ipc.Slot {
	c.w.t.Helper()
	factory, err := c.w.Kernel.GrantFactory(c.w.Init)
	if err != nil {
		c.w.t.Fatal(err)
	}
	slot, err := c.w.Init.NewEndpoint(factory, c.task, ipc.EndpointSpec{})
	if err != nil {
		c.w.t.Fatal(err)
	}
	slot, err = c.w.Init.Derive(slot, capability.Send|capability.Recv, c.task)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return slot
}

// TestMove: the receiver gets the capability in its lowest free slot, and the
// sender loses it.
func TestMove(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		var moved []ipc.Slot
		w := newWorld(t, r, plan{task: func(_ context.Context, d *desk, r *ipc.Request) {
			moved = append(moved, r.Moved)
			if len(moved) == 2 {
				_ = d.task.Close(0) // The next one lands here again.
			}
			_ = r.Reply(ipc.OK, nil)
		}})
		c := w.app("app")
		slot := c.luggage()
		c.do(func(ctx context.Context) {
			for range 3 {
				twin, err := c.task.Clone(slot)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.send(ctx, ipc.Msg{Op: opTask, Move: twin}); err != nil {
					t.Error(err)
				}
				body, err := c.send(ctx, ipc.Msg{Op: opTask, Move: twin})
				want(t, "what was moved already", body, err, ipc.PermissionDenied)
			}
			if _, err := c.send(ctx, ipc.Msg{Op: opTask}); err != nil {
				t.Error(err)
			}
		})
		if wanted := []ipc.Slot{0, 1, 0, ipc.NoSlot}; !equal(moved, wanted) {
			t.Errorf("moved to %v, want %v", moved, wanted)
		}
		if c.task.Slots() != 2 || w.svc.Slots() != 2 {
			t.Errorf("the sender has %d, the receiver %d", c.task.Slots(), w.svc.Slots())
		}
	})
}

func equal(a, b []ipc.Slot) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestMoveOfTheSlotItself: a capability may travel through itself.
func TestMoveOfTheSlotItself(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	twin, err := c.task.Clone(c.slot)
	if err != nil {
		t.Fatal(err)
	}
	c.do(func(ctx context.Context) {
		if _, err := c.send(ctx, ipc.Msg{Slot: twin, Op: opEcho, Move: twin}); err != nil {
			t.Error(err)
		}
		body, err := c.send(ctx, ipc.Msg{Slot: twin, Op: opEcho})
		want(t, "the moved slot", body, err, ipc.PermissionDenied)
	})
}

// TestMoveFailsEarly: a request that is refused moves nothing.
func TestMoveFailsEarly(t *testing.T) {
	w, held := blocked(t, 1, 1)
	filler := w.app("filler")
	_, queued := w.fill(filler, 1, number)
	c := w.app("app")
	slot := c.luggage()
	receive, err := w.Init.Derive(w.ep, capability.Recv, c.task)
	if err != nil {
		t.Fatal(err)
	}
	forged := c.token
	forged[79] ^= 1
	c.do(func(ctx context.Context) {
		short, cancel := c.task.WithTimeout(ctx, time.Second)
		defer cancel()
		for _, x := range []struct {
			what   string
			ctx    context.Context
			msg    ipc.Msg
			wanted error
		}{
			{"a bad token", ctx, ipc.Msg{Op: opGet, Token: &forged}, ipc.Denied},
			{"no token", ctx, ipc.Msg{Op: opGet}, ipc.Denied},
			{"an unknown opcode", ctx, ipc.Msg{Op: opUnknown}, ipc.Unsupported},
			{"no SEND", ctx, ipc.Msg{Slot: receive, Op: opEcho}, ipc.PermissionDenied},
			{"a slot out of range", ctx, ipc.Msg{Slot: 256, Op: opEcho}, ipc.InvalidArgument},
			{"too large", ctx, ipc.Msg{Op: opEcho, Body: make([]byte, ipc.MaxFrame+1)}, ipc.TooLarge},
			{"a full queue", ctx, ipc.Msg{Op: opEcho, Nonblock: true}, ipc.QueueFull},
			{"no room in time", short, ipc.Msg{Op: opEcho}, ipc.TimedOut},
		} {
			x.msg.Move = slot
			body, err := c.send(x.ctx, x.msg)
			want(t, x.what, body, err, x.wanted)
			c.holds(x.what, slot)
		}
		for _, bad := range []ipc.Slot{99, 256, ipc.NoSlot - 1} {
			body, err := c.send(ctx, ipc.Msg{Op: opEcho, Move: bad})
			want(t, "a slot with nothing to move", body, err, ipc.PermissionDenied)
		}
	})
	w.open(append(queued, held)...)
}

// holds checks that the client has its luggage, with all of its rights.
func (c *client) holds(what string, slot ipc.Slot) {
	c.w.t.Helper()
	twin, err := c.task.Derive(slot, capability.Send|capability.Recv, c.task)
	if err != nil {
		c.w.t.Errorf("%s: the sender has lost it: %v", what, err)
		return
	}
	if err := c.task.Close(twin); err != nil {
		c.w.t.Error(err)
	}
}

// TestMoveFailsInTheQueue: whatever takes a request out of the queue gives the
// capability back.
func TestMoveFailsInTheQueue(t *testing.T) {
	for name, x := range map[string]struct {
		hit    func(w *world, c *client)
		wanted error
	}{
		"deadline": {func(w *world, c *client) { c.do(func(ctx context.Context) { _ = c.task.Sleep(ctx, 2*time.Second) }) }, ipc.TimedOut},
		"seal":     {func(w *world, c *client) { w.seal(w.sid) }, ipc.Denied},
		"revoke":   {func(w *world, c *client) { _ = w.ident.RevokeToken(w.auth, &c.token) }, ipc.Denied},
		"close":    {func(w *world, c *client) { _ = w.Init.CloseEndpoint(w.ep) }, ipc.NoSuchEndpoint},
		"exit":     {func(w *world, c *client) { w.svc.Exit() }, ipc.NoSuchEndpoint},
	} {
		w, held := blocked(t, 1, 8)
		c := w.app("app")
		slot := c.luggage()
		var err error
		done := c.start(func(ctx context.Context) {
			short, cancel := c.task.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err = c.send(short, ipc.Msg{Op: opGet, Token: &c.token, Move: slot})
		})
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
		if c.task.Slots() != 1 {
			t.Errorf("%s: a queued capability is still in its table", name)
		}
		x.hit(w, c)
		w.await(done)
		if !errors.Is(err, x.wanted) {
			t.Errorf("%s: %v", name, err)
		}
		c.holds(name, slot)
		if name == "exit" {
			w.await(held)
			continue
		}
		w.open(held)
		if w.svc.Slots() != 0 {
			t.Errorf("%s: the receiver got it", name)
		}
	}
}

// TestMoveToAFullTable: the call fails and the sender has it back, all of it.
func TestMoveToAFullTable(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{})
		for w.svc.Slots() < capability.Slots {
			w.Connect(w.svc, w.ep)
		}
		c := w.app("app")
		slot := c.luggage()
		c.do(func(ctx context.Context) {
			body, err := c.send(ctx, ipc.Msg{Op: opEcho, Move: slot, Body: []byte("full")})
			want(t, "a full table", body, err, ipc.NoSpace)
			c.holds("a full table", slot)
			if _, err := c.send(ctx, ipc.Msg{Op: opEcho, Body: []byte("next")}); err != nil {
				t.Errorf("the next request: %v", err)
			}
			if err := w.svc.Close(77); err != nil {
				t.Error(err)
			}
			if _, err := c.send(ctx, ipc.Msg{Op: opEcho, Move: slot}); err != nil {
				t.Errorf("with one slot free: %v", err)
			}
		})
		if w.svc.Slots() != capability.Slots || len(w.served) != 2 {
			t.Errorf("%d slots, served %q", w.svc.Slots(), w.served)
		}
	})
}

// TestMoveRevokedInTheQueue: the request arrives and the capability does not.
func TestMoveRevokedInTheQueue(t *testing.T) {
	var moved []ipc.Slot
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 1, depth: 8, task: func(_ context.Context, _ *desk, r *ipc.Request) {
		moved = append(moved, r.Moved)
		_ = r.Reply(ipc.OK, nil)
	}})
	holder, c := w.app("holder"), w.app("app")
	_, held := holder.begin(ipc.Msg{Op: opHold})
	holder.do(func(ctx context.Context) { settle(ctx, holder.task) })
	twin, err := c.task.Clone(c.luggage())
	if err != nil {
		t.Fatal(err)
	}
	o, done := c.begin(ipc.Msg{Op: opTask, Move: twin})
	c.do(func(ctx context.Context) { settle(ctx, c.task) })
	if n, err := c.task.Revoke(1); err != nil || n != 1 {
		t.Errorf("revoke in flight killed %d, %v", n, err)
	}
	w.open(held, done)
	if o.err != nil || !equal(moved, []ipc.Slot{ipc.NoSlot}) || w.svc.Slots() != 0 {
		t.Errorf("%v, moved to %v, %d slots", o.err, moved, w.svc.Slots())
	}
}

// TestMoveReturnsToATakenSlot: if the sender's slot was filled meanwhile there
// is nowhere to return it to, and it is closed.
func TestMoveReturnsToATakenSlot(t *testing.T) {
	w, held := blocked(t, 1, 8)
	c := w.app("app")
	slot := c.luggage()
	_, done := c.begin(ipc.Msg{Op: opGet, Token: &c.token, Move: slot})
	c.do(func(ctx context.Context) { settle(ctx, c.task) })
	if got := w.Connect(c.task, w.ep); got != slot {
		t.Fatalf("slot %d was filled, not %d", got, slot)
	}
	w.seal(w.sid)
	w.open(held, done)
	if _, err := c.task.Derive(slot, capability.Recv, c.task); err == nil || c.task.Slots() != 2 {
		t.Errorf("%v, %d slots", err, c.task.Slots())
	}
}

// TestMoveIsRefusedWhereNoneIsExpected: an endpoint that takes no capabilities
// leaves them where they are, and its service's table cannot be filled.
func TestMoveIsRefusedWhereNoneIsExpected(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	slot := c.luggage()
	shut := w.Connect(c.task, w.Endpoint(w.svc, ipc.EndpointSpec{Ops: rig.Ops(4)}))
	before := w.svc.Slots()
	w.Do(c.task, func(ctx context.Context) {
		for range 3 {
			_, err := c.task.Call(ctx, ipc.Msg{Slot: shut, Op: 1, Move: slot}, nil)
			if !errors.Is(err, ipc.PermissionDenied) {
				t.Errorf("got %v", err)
			}
		}
	})
	if w.svc.Slots() != before {
		t.Error("the service's table has changed")
	}
	if err := c.task.Close(slot); err != nil {
		t.Errorf("the sender has lost it: %v", err)
	}
}
