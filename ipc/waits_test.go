package ipc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// Cases that the model of tests/model has found, each in the few steps that it takes.

// TestLastSenderIsOnesOwn: who waits with SysEOF through the very capability that
// was the last with SEND has lost what he waits through, and is told that.
func TestLastSenderIsOnesOwn(t *testing.T) {
	for what, end := range map[string]func(b *box, own ipc.Slot) error{
		"closed":  func(b *box, own ipc.Slot) error { return b.receiver.Close(own) },
		"revoked": func(b *box, own ipc.Slot) error { _, err := b.Init.Revoke(b.master); return err },
	} {
		b := newBox(t, 1)
		own := b.give(b.receiver, b.master, capability.Send|capability.Recv)
		master, err := b.Init.Derive(b.master, capability.Recv, b.Init) // Without SEND, and no child of what is revoked.
		if err != nil || b.sender.Close(b.send) != nil || b.Init.Close(master) != nil {
			t.Fatalf("%s: the other senders stay: %v", what, err)
		}
		if what == "closed" {
			if err := b.Init.Close(b.master); err != nil {
				t.Fatal(err)
			}
		}
		b.recv = own
		g, done := b.later(ipc.SysEOF, 0)
		if g.over {
			t.Fatalf("%s: it did not wait: %v", what, g.err)
		}
		if err := end(b, own); err != nil {
			t.Fatal(err)
		}
		b.await(done)
		if !errors.Is(g.err, ipc.PermissionDenied) {
			t.Errorf("%s: %v", what, g.err)
		}
	}
}

// TestExitLetsNobodyOfItsOwnIn: a task's exit takes its call out of a queue; the
// room that it makes is not for a message of the same task that waits for some.
func TestExitLetsNobodyOfItsOwnIn(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{depth: 1, parallel: 1})
	c := w.app("app")
	inbox := w.Endpoint(c.task, ipc.EndpointSpec{Inbox: true, Depth: 1})
	c.begin(ipc.Msg{Op: opHold, Body: []byte("served")})
	settleAll(w)
	c.begin(ipc.Msg{Op: opEcho, Body: []byte("queued")})
	settleAll(w)
	other := w.Task(ipc.TaskSpec{Name: "other"})
	home := w.Connect(other, inbox)
	first := w.Connect(other, w.ep)
	waiting, queued := make(chan error, 1), make(chan error, 1)
	other.Go(func(ctx context.Context) { // The first that waits is let in when the app's call times out.
		_, err := other.Call(ctx, ipc.Msg{Slot: first, Op: opEcho, Move: ipc.NoSlot}, nil)
		queued <- err
	})
	settleAll(w)
	other.Go(func(ctx context.Context) { waiting <- other.Send(ctx, moving(first, "12345678late", home)) })
	settleAll(w)
	c.task.Exit()
	settleAll(w)
	before := w.Kernel.Stats().Calls
	other.Exit()
	settleAll(w)
	if err := <-queued; !errors.Is(err, ipc.Unavailable) {
		t.Errorf("the call that was queued: %v", err)
	}
	if err := <-waiting; !errors.Is(err, ipc.Unavailable) {
		t.Errorf("the message that waited for room: %v", err)
	}
	if n := w.Kernel.Stats().Calls - before; n != 0 {
		t.Errorf("a task that has exited queued %d messages", n)
	}
}

func settleAll(w *world) { w.Do(w.Init, func(ctx context.Context) { settle(ctx, w.Init) }) }

// TestGrantToTheDead: boot's grants do not fill the table of a task that is gone.
func TestGrantToTheDead(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	gone := w.Task(ipc.TaskSpec{Name: "gone"})
	gone.Exit()
	if _, err := w.Kernel.GrantFactory(gone); !errors.Is(err, ipc.Unavailable) || len(w.Kernel.Held(gone)) != 0 {
		t.Errorf("%v, and it holds %v", err, w.Kernel.Held(gone))
	}
}

// TestExpireNamesTheCall: who follows a trace learns whose call has timed out.
func TestExpireNamesTheCall(t *testing.T) {
	var tr trace
	w := newWorld(t, rig.NewSeeded(t, 1, tr.tap), plan{depth: 1, parallel: 1})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		short, cancel := c.task.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := c.send(short, ipc.Msg{Op: opHold, Body: []byte("x")})
		want(t, "held", "", err, ipc.TimedOut)
	})
	sent, expired := tr.last(ipc.TraceSend), tr.last(ipc.TraceExpire)
	if sent.Call == 0 || expired.Call != sent.Call || expired.Endpoint != sent.Endpoint || expired.From != sent.From {
		t.Errorf("sent %+v, expired %+v", sent, expired)
	}
}

// TestPass: virtual time goes by deadline by deadline, and not past its end.
func TestPass(t *testing.T) {
	e := seeded.New(1)
	k := ipc.New(ipc.Config{Executor: e})
	e.Bind(k)
	task, err := k.NewTask(ipc.TaskSpec{Name: "sleeper"})
	if err != nil {
		t.Fatal(err)
	}
	var woken []ipc.Time
	for _, d := range []time.Duration{5, 2, 9} {
		task.Go(func(ctx context.Context) {
			if task.Sleep(ctx, d) == nil {
				woken = append(woken, task.Now())
			}
		})
	}
	e.Settle()
	if len(woken) != 0 || k.Now() != 1 {
		t.Errorf("%v woke, and it is %d", woken, k.Now())
	}
	e.Pass(8)
	if len(woken) != 2 || woken[0] != 3 || woken[1] != 6 || k.Now() != 9 {
		t.Errorf("%v woke, and it is %d", woken, k.Now())
	}
	task.Exit()
	e.Settle()
	e.Close()
}
