package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestSlots: a call needs a slot in range that holds an endpoint with SEND.
func TestSlots(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		w := newWorld(t, r, plan{})
		c := w.app("app")
		none, err := w.Init.Derive(w.ep, 0, c.task)
		if err != nil {
			t.Fatal(err)
		}
		receive, err := w.Init.Derive(w.ep, capability.Recv, c.task)
		if err != nil {
			t.Fatal(err)
		}
		both, err := w.Init.Derive(w.ep, capability.Send|capability.Recv, c.task)
		if err != nil {
			t.Fatal(err)
		}
		auth, err := w.Kernel.GrantAuthority(c.task)
		if err != nil {
			t.Fatal(err)
		}
		c.do(func(ctx context.Context) {
			for slot, wanted := range map[ipc.Slot]error{
				c.slot: nil, both: nil,
				none: ipc.PermissionDenied, receive: ipc.PermissionDenied, auth: ipc.PermissionDenied, // Without SEND.
				both + 1: ipc.PermissionDenied, capability.Slots - 2: ipc.PermissionDenied, // Empty.
				capability.Slots: ipc.InvalidArgument, ipc.NoSlot - 1: ipc.InvalidArgument, ipc.NoSlot: ipc.InvalidArgument,
			} {
				got, err := c.task.Call(ctx, ipc.Msg{Slot: slot, Op: opEcho, Body: []byte("x"), Move: ipc.NoSlot}, nil)
				want(t, fmt.Sprint("slot ", slot), strings.TrimPrefix(string(got.Body), "x"), err, wanted)
			}
		})
	})
}

// TestDeriveGoesDownOneStep: to oneself and to direct children, no further.
func TestDeriveGoesDownOneStep(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	child := w.app("child").task
	grandchild, err := w.Kernel.NewTask(ipc.TaskSpec{Name: "grandchild", Parent: child.ID()})
	if err != nil {
		t.Fatal(err)
	}
	sibling := w.app("sibling").task
	for _, c := range []struct {
		what     string
		from, to *ipc.Task
		slot     ipc.Slot
		rights   capability.Rights
		wanted   error
	}{
		{"to oneself", child, child, 0, capability.Send, nil},
		{"to a child", child, grandchild, 0, capability.Send, nil},
		{"to a grandchild", w.Init, grandchild, w.ep, capability.Send, ipc.PermissionDenied},
		{"to a sibling", child, sibling, 0, capability.Send, ipc.PermissionDenied},
		{"to the parent", child, w.Init, 0, capability.Send, ipc.PermissionDenied},
		{"more than one has", child, grandchild, 0, capability.Send | capability.Recv, ipc.PermissionDenied},
		{"close authority", w.Init, child, w.ep, capability.Manage, ipc.PermissionDenied},
		{"an empty slot", child, grandchild, 99, capability.Send, ipc.PermissionDenied},
		{"a slot out of range", child, grandchild, 256, capability.Send, ipc.InvalidArgument},
	} {
		before := c.to.Slots()
		_, err := c.from.Derive(c.slot, c.rights, c.to)
		if !errors.Is(err, c.wanted) || (c.to.Slots() != before) != (err == nil) {
			t.Errorf("%s: %v, %d slots, then %d", c.what, err, before, c.to.Slots())
		}
	}
	for child.Slots() < capability.Slots {
		if _, err := child.Clone(0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := child.Clone(0); !errors.Is(err, ipc.NoSpace) {
		t.Errorf("clone into a full table: %v", err)
	}
	if _, err := w.Init.Derive(w.ep, capability.Send, child); !errors.Is(err, ipc.NoSpace) {
		t.Errorf("derive into a full table: %v", err)
	}
	grandchild.Exit()
	if _, err := child.Derive(0, capability.Send, grandchild); !errors.Is(err, ipc.PermissionDenied) {
		t.Errorf("derive to a task that is gone: %v", err)
	}
}

// TestFactoryRules: who holds the factory makes endpoints for itself and for
// direct children; nobody else makes any, and the factory cannot be passed on.
func TestFactoryRules(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	factory, err := w.Kernel.GrantFactory(w.Init)
	if err != nil {
		t.Fatal(err)
	}
	child := w.app("child").task
	grandchild, err := w.Kernel.NewTask(ipc.TaskSpec{Name: "grandchild", Parent: child.ID()})
	if err != nil {
		t.Fatal(err)
	}
	gone := w.app("gone").task
	gone.Exit()
	for _, c := range []struct {
		what   string
		by     *ipc.Task
		slot   ipc.Slot
		owner  *ipc.Task
		wanted error
	}{
		{"for oneself", w.Init, factory, w.Init, nil},
		{"for a child", w.Init, factory, child, nil},
		{"for a grandchild", w.Init, factory, grandchild, ipc.PermissionDenied},
		{"for a child that is gone", w.Init, factory, gone, ipc.NoSuchEndpoint},
		{"without a factory", child, 0, child, ipc.PermissionDenied},
		{"with an endpoint for a factory", w.Init, w.ep, child, ipc.PermissionDenied},
		{"with an empty slot", w.Init, 100, child, ipc.PermissionDenied},
		{"with a slot out of range", w.Init, 256, child, ipc.PermissionDenied},
	} {
		before := w.Kernel.Stats().Endpoints
		_, err := c.by.NewEndpoint(c.slot, c.owner, ipc.EndpointSpec{})
		if !errors.Is(err, c.wanted) || (w.Kernel.Stats().Endpoints != before) != (err == nil) {
			t.Errorf("%s: %v, %d endpoints, then %d", c.what, err, before, w.Kernel.Stats().Endpoints)
		}
	}
	for _, rights := range []capability.Rights{0, capability.Manage} {
		if _, err := w.Init.Derive(factory, rights, child); !errors.Is(err, ipc.PermissionDenied) {
			t.Errorf("the factory was passed on: %v", err)
		}
	}
}

// TestFixedKindsDoNotTravel: neither factory nor authority moves with a call.
func TestFixedKindsDoNotTravel(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	factory, err := w.Kernel.GrantFactory(c.task)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := w.Kernel.GrantAuthority(c.task)
	if err != nil {
		t.Fatal(err)
	}
	c.do(func(ctx context.Context) {
		for _, slot := range []ipc.Slot{factory, authority} {
			body, err := c.send(ctx, ipc.Msg{Op: opEcho, Move: slot})
			want(t, "a fixed capability", body, err, ipc.PermissionDenied)
		}
	})
	if c.task.Slots() != 3 || w.svc.Slots() != 0 || len(w.served) != 0 {
		t.Errorf("%d and %d slots, served %q", c.task.Slots(), w.svc.Slots(), w.served)
	}
}

// TestAuthorityIsAsked: every session call needs the authority's own slot.
func TestAuthorityIsAsked(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	empty := w.auth - 1
	for what, slot := range map[string]ipc.Slot{"an endpoint": c.slot, "an empty slot": empty, "a slot out of range": 256, "no slot": ipc.NoSlot} {
		for _, sid := range []uint64{w.sid, 999} { // Whether the session exists shows nowhere.
			_, start := c.task.StartSession(slot, "bob", [16]byte{})
			_, mint := c.task.MintToken(slot, ipc.TokenSpec{SID: sid, App: "notes", Holder: c.task.ID(), Rights: capability.AllTokenRights})
			for call, err := range map[string]error{
				"start": start, "mint": mint,
				"open": c.task.OpenSession(slot, sid), "seal": c.task.SealSession(slot, sid), "end": c.task.EndSession(slot, sid),
				"revoke": c.task.RevokeToken(slot, &c.token), "drain": c.task.DrainSession(c.flow(), slot, sid),
			} {
				if !errors.Is(err, ipc.PermissionDenied) {
					t.Errorf("%s with %s: %v", call, what, err)
				}
			}
		}
	}
	c.do(func(ctx context.Context) {
		if _, err := c.call(ctx, opGet, ""); err != nil {
			t.Errorf("the session was harmed: %v", err)
		}
	})
}

// flow is a context of the client's own for calls that do not park.
func (c *client) flow() (out context.Context) {
	c.do(func(ctx context.Context) { out = ctx })
	return out
}

// TestRevokeOfASlot kills what was derived, through every generation, and
// leaves alone what went through it before.
func TestRevokeOfASlot(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 1, depth: 8})
		c := w.app("app")
		child, err := w.Kernel.NewTask(ipc.TaskSpec{Name: "child", Parent: c.task.ID()})
		if err != nil {
			t.Fatal(err)
		}
		slot, err := c.task.Derive(c.slot, capability.Send, child)
		if err != nil {
			t.Fatal(err)
		}
		grand := &client{w: w, task: child, slot: slot}
		served, servedDone := c.begin(ipc.Msg{Op: opHold, Body: []byte("served")})
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
		queued, queuedDone := grand.begin(ipc.Msg{Op: opEcho, Body: []byte("queued")})
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
		if n, err := w.Init.Revoke(w.ep); err != nil || n < 2 {
			t.Errorf("revoke killed %d, %v", n, err)
		}
		for _, x := range []*client{c, grand} {
			x.do(func(ctx context.Context) {
				body, err := x.send(ctx, ipc.Msg{Op: opEcho})
				want(t, "a revoked slot", body, err, ipc.PermissionDenied)
			})
		}
		w.open(servedDone, queuedDone)
		if served.err != nil || queued.err != nil {
			t.Errorf("what was under way: %v, %v", served.err, queued.err)
		}
	})
}

// TestEndpointClose wakes everybody who waits at it, and only those; what is
// being served may still be answered.
func TestEndpointClose(t *testing.T) {
	closing := map[string]func(w *world) error{
		"close": func(w *world) error { return w.Init.CloseEndpoint(w.ep) },
		"owner's exit": func(w *world) error {
			w.svc.Exit()
			return nil
		},
	}
	for name, shut := range closing {
		seeds(t, 10, func(t *testing.T, seed uint64) {
			w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 1, depth: 2})
			c := w.app("app")
			served, servedDone := c.begin(ipc.Msg{Op: opHold, Body: []byte("served")})
			c.do(func(ctx context.Context) { settle(ctx, c.task) })
			var rest []*outcome
			var all []<-chan struct{}
			for range 6 { // Two are queued, four wait for room.
				o, done := c.begin(ipc.Msg{Op: opEcho, Body: []byte("late")})
				rest, all = append(rest, o), append(all, done)
			}
			var at ipc.Time
			c.do(func(ctx context.Context) {
				settle(ctx, c.task)
				if err := shut(w); err != nil {
					t.Error(err)
				}
				at = c.task.Now()
				body, err := c.send(ctx, ipc.Msg{Op: opEcho})
				want(t, name+", a later call", body, err, ipc.NoSuchEndpoint)
			})
			w.await(all...)
			for _, o := range rest {
				want(t, name, o.body, o.err, ipc.NoSuchEndpoint)
				if o.at != at {
					t.Errorf("%s: told %d ns later", name, o.at-at)
				}
			}
			if name == "close" {
				w.open()
			}
			w.await(servedDone)
			wanted := error(nil)
			if name != "close" {
				wanted = ipc.Unavailable
			}
			want(t, name+", the served one", strings.TrimPrefix(served.body, "served"), served.err, wanted)
			if slices.Contains(w.served, "late") {
				t.Errorf("%s: served %q", name, w.served)
			}
			if n := w.Kernel.Stats().QueuedBytes; n != 0 {
				t.Errorf("%s: %d bytes are queued", name, n)
			}
		})
	}
}

func TestCloseNeedsManage(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	factory, err := w.Kernel.GrantFactory(w.Init)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.task.CloseEndpoint(c.slot); !errors.Is(err, ipc.PermissionDenied) {
		t.Errorf("with SEND alone: %v", err)
	}
	if err := w.Init.CloseEndpoint(factory); !errors.Is(err, ipc.PermissionDenied) {
		t.Errorf("with a factory: %v", err)
	}
	if err := w.Init.CloseEndpoint(99); !errors.Is(err, ipc.PermissionDenied) {
		t.Errorf("an empty slot: %v", err)
	}
	if err := w.Init.CloseEndpoint(256); !errors.Is(err, ipc.InvalidArgument) {
		t.Errorf("a slot out of range: %v", err)
	}
	for range 2 {
		if err := w.Init.CloseEndpoint(w.ep); err != nil {
			t.Errorf("with every right: %v", err)
		}
	}
	if err := c.task.Close(c.slot); err != nil || c.task.Slots() != 0 {
		t.Errorf("one's own capability: %v, %d slots", err, c.task.Slots())
	}
	if err := c.task.Close(c.slot); !errors.Is(err, ipc.PermissionDenied) {
		t.Errorf("twice: %v", err)
	}
}

// TestExitEndsTheTasksOwnWaits: every flow of control of a task that exits is
// told at once, whatever it waits for, in every order.
func TestExitEndsTheTasksOwnWaits(t *testing.T) {
	seeds(t, 30, func(t *testing.T, seed uint64) {
		w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 1, depth: 1})
		c, other := w.app("app"), w.app("other")
		idle := w.Task(ipc.TaskSpec{Name: "idle"})
		_, held := other.begin(ipc.Msg{Op: opHold})
		other.do(func(ctx context.Context) { settle(ctx, other.task) })
		var all []<-chan struct{}
		var ended []error
		wait := func(fn func(ctx context.Context) error) {
			all = append(all, c.start(func(ctx context.Context) { ended = append(ended, fn(ctx)) }))
		}
		for range 4 {
			wait(func(ctx context.Context) error { _, err := c.send(ctx, ipc.Msg{Op: opEcho}); return err })
			wait(func(ctx context.Context) error { return c.task.Sleep(ctx, time.Hour) })
			wait(func(ctx context.Context) error { return c.task.AwaitReady(ctx, idle) })
		}
		others, othersDone := other.begin(ipc.Msg{Op: opEcho})
		var at ipc.Time
		other.do(func(ctx context.Context) {
			settle(ctx, other.task)
			at = other.task.Now()
			c.task.Exit()
			c.task.Exit() // Twice is once.
			settle(ctx, other.task)
		})
		if len(ended) != len(all) {
			t.Errorf("%d of %d flows ended", len(ended), len(all))
		}
		for _, err := range ended {
			if !errors.Is(err, ipc.Unavailable) {
				t.Errorf("told %v", err)
			}
		}
		w.await(all...)
		w.open(held, othersDone)
		if others.err != nil || others.at < at {
			t.Errorf("another task's call: %v", others.err)
		}
		if _, err := c.task.Call(c.late(), ipc.Msg{Op: opEcho, Move: ipc.NoSlot}, nil); !errors.Is(err, ipc.Unavailable) {
			t.Errorf("a call after the exit: %v", err)
		}
		if n := w.Kernel.Stats().Tokens; n != 1 {
			t.Errorf("%d tokens outlived their holder", n-1)
		}
	})
}

// late is a flow of control that begins after its task has exited.
func (c *client) late() (out context.Context) {
	done := make(chan struct{})
	c.task.Go(func(ctx context.Context) {
		out = ctx
		close(done)
	})
	c.w.await(done)
	return out
}

// TestForeignFlow: a task's context is worth nothing to another task.
func TestForeignFlow(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	a, b := w.app("a"), w.app("b")
	a.do(func(ctx context.Context) {
		body, err := b.call(ctx, opGet, "")
		want(t, "another task's context", body, err, ipc.InvalidArgument)
	})
}

func TestTaskNamesAndCount(t *testing.T) {
	k := rig.NewSeeded(t, 1, nil).Kernel
	for n, wanted := range map[int]error{0: ipc.InvalidArgument, 1: nil, ipc.MaxTaskName - 1: nil, ipc.MaxTaskName: nil, ipc.MaxTaskName + 1: ipc.InvalidArgument} {
		if _, err := k.NewTask(ipc.TaskSpec{Name: strings.Repeat("x", n)}); !errors.Is(err, wanted) {
			t.Errorf("a name of %d bytes: %v", n, err)
		}
	}
	seen := make(map[ipc.TaskID]bool)
	var last *ipc.Task
	for k.Stats().Tasks < ipc.MaxTasks {
		task, err := k.NewTask(ipc.TaskSpec{Name: "x"})
		if err != nil || seen[task.ID()] {
			t.Fatalf("task %d: %v", k.Stats().Tasks, err)
		}
		seen[task.ID()], last = true, task
	}
	if _, err := k.NewTask(ipc.TaskSpec{Name: "x"}); !errors.Is(err, ipc.NoSpace) {
		t.Errorf("one task too many: %v", err)
	}
	last.Exit()
	again, err := k.NewTask(ipc.TaskSpec{Name: "x"})
	if err != nil || seen[again.ID()] {
		t.Errorf("after an exit: %v, number %d", err, again.ID())
	}
}
