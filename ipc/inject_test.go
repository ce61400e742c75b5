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

// once injects one fault, at the first occasion, and notes what it was asked.
type once struct {
	at    ipc.Point
	fault ipc.Fault
	delay time.Duration
	asked []ipc.Passage
}

func (o *once) Inject(p ipc.Passage) (ipc.Fault, time.Duration) {
	o.asked = append(o.asked, p)
	if p.Point != o.at {
		return ipc.FaultNone, 0
	}
	o.at = 0
	return o.fault, o.delay
}

// TestInjectedFaults: each fault does what it says, once, and leaves nothing.
func TestInjectedFaults(t *testing.T) {
	for _, c := range []struct {
		name    string
		inject  once
		err     error
		took    time.Duration
		crashes int
	}{
		{"a request is lost", once{at: ipc.AtSend, fault: ipc.FaultDrop}, ipc.TimedOut, time.Second, 0},
		{"a reply is lost", once{at: ipc.AtReply, fault: ipc.FaultDrop}, ipc.TimedOut, time.Second, 0},
		{"a request is late", once{at: ipc.AtSend, fault: ipc.FaultDelay, delay: time.Second / 2}, nil, time.Second / 2, 0},
		{"a request is too late", once{at: ipc.AtSend, fault: ipc.FaultDelay, delay: time.Second}, ipc.TimedOut, time.Second, 0},
		{"a budget is used up", once{at: ipc.AtSend, fault: ipc.FaultExhaust}, ipc.NoSpace, 0, 0},
		{"a panic before the handler", once{at: ipc.AtDeliver, fault: ipc.FaultCrash}, ipc.Unavailable, 0, 1},
		{"a panic before the reply", once{at: ipc.AtReply, fault: ipc.FaultCrash}, ipc.Unavailable, 0, 1},
		{"a fault where it does nothing", once{at: ipc.AtDeliver, fault: ipc.FaultDelay, delay: time.Second}, nil, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rig.NewSeeded(t, 1, nil)
			w := newWorld(t, r, plan{})
			inject := c.inject
			w.Kernel.SetInjector(&inject)
			app := w.app("app")
			app.do(func(ctx context.Context) {
				short, cancel := app.task.WithTimeout(ctx, time.Second)
				defer cancel()
				before := app.task.Now()
				_, err := app.call(short, opEcho, "payload")
				if !errors.Is(err, c.err) || time.Duration(app.task.Now()-before) != c.took {
					t.Errorf("%v after %v, want %v after %v", err, time.Duration(app.task.Now()-before), c.err, c.took)
				}
				if body, err := app.call(ctx, opEcho, "again"); err != nil {
					t.Errorf("the next request: %q, %v", body, err)
				}
			})
			crashes := r.Crashes()
			if len(crashes) != c.crashes {
				t.Fatalf("%d crashes, want %d", len(crashes), c.crashes)
			}
			for _, p := range crashes {
				if !p.Asked || p.Task != "desk" {
					t.Errorf("the report is %+v", p)
				}
			}
			if err := w.Kernel.Check(); err != nil || !w.Kernel.Quiet() || w.Kernel.Timers() != 0 {
				t.Errorf("afterwards: %v, quiet %v, %d timers", err, w.Kernel.Quiet(), w.Kernel.Timers())
			}
			first := inject.asked[0]
			if first != (ipc.Passage{Point: ipc.AtSend, From: "app", To: "desk", Op: opEcho}) {
				t.Errorf("asked about %+v", first)
			}
		})
	}
}

// TestLateRequestIsCheckedAgain: a request whose session is sealed while it is
// on its way is denied when it arrives.
func TestLateRequestIsCheckedAgain(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	w.Kernel.SetInjector(&once{at: ipc.AtSend, fault: ipc.FaultDelay, delay: time.Second})
	app := w.app("app")
	done := app.start(func(ctx context.Context) {
		before := app.task.Now()
		_, err := app.call(ctx, opGet, "payload")
		if !errors.Is(err, ipc.Denied) || app.task.Now()-before != ipc.Time(time.Second) {
			t.Errorf("%v after %v", err, time.Duration(app.task.Now()-before))
		}
	})
	other := w.app("other")
	other.do(func(ctx context.Context) { settle(ctx, other.task) })
	w.seal(w.sid)
	w.await(done)
}

// TestAskedPanic: a service that is asked to panics, and runs again.
func TestAskedPanic(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		w := newWorld(t, r, plan{})
		app := w.app("app")
		for range 2 {
			before := w.svc.Generation()
			w.svc.Panic()
			for w.svc.Generation() == before {
				app.do(func(ctx context.Context) { _ = app.task.Sleep(ctx, time.Millisecond) })
			}
		}
		app.do(func(ctx context.Context) {
			if _, err := app.call(ctx, opEcho, "payload"); err != nil {
				t.Error(err)
			}
		})
		app.task.Panic() // It is no service: nothing happens.
	})
}

// TestCheckFindsMiscounts: a kernel whose books are wrong says so.
func TestCheckFindsMiscounts(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	w.app("app").object(8) // So that there is a token, and memory.
	if err := w.Kernel.Check(); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"queued", "owner", "memory", "owner's memory", "capabilities", "serving", "depth", "epoch"} {
		undo := w.Kernel.Miscount(what)
		if err := w.Kernel.Check(); !errors.Is(err, ipc.ErrInconsistent) {
			t.Errorf("%s: %v", what, err)
		}
		undo()
		if err := w.Kernel.Check(); err != nil {
			t.Errorf("%s, undone: %v", what, err)
		}
	}
}

// TestView shows who waits where, and who may send.
func TestView(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 1})
	a, b := w.app("a"), w.app("b")
	held := a.start(func(ctx context.Context) { _, _ = a.call(ctx, opHold, "12345") })
	settled := b.start(func(ctx context.Context) {
		settle(ctx, b.task)
		_, _ = b.call(ctx, opEcho, "123")
	})
	c := w.app("c")
	c.do(func(ctx context.Context) { settle(ctx, c.task); settle(ctx, c.task); settle(ctx, c.task) })
	v := w.Kernel.View()
	desk := v.Endpoints[0]
	if desk.Owner != "desk" || len(desk.Serving) != 1 || desk.Serving[0].From != "a" || desk.Serving[0].Size != 5 ||
		len(desk.Queued) != 1 || desk.Queued[0].From != "b" || desk.Queued[0].Op != opEcho {
		t.Errorf("the desk is %+v", desk)
	}
	if len(v.Timers) != 2 || v.Timers[0].For != "reply" || v.Timers[0].At > v.Timers[1].At {
		t.Errorf("timers are %+v", v.Timers)
	}
	if len(v.Sessions) != 1 || v.Sessions[0].SID != w.sid || v.Sessions[0].Tokens != 3 {
		t.Errorf("sessions are %+v", v.Sessions)
	}
	if w.Kernel.Quiet() {
		t.Error("it is quiet while somebody waits")
	}
	w.open()
	w.await(held, settled)
}

// TestSound: a table and its tokens find what cannot be.
func TestSound(t *testing.T) {
	var table capability.Table
	slot, err := table.Insert(capability.Cap{Kind: capability.KindEndpoint, Rights: capability.AllRights})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if slot, err = table.Clone(slot); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Sound(); err != nil {
		t.Errorf("a table in order: %v", err)
	}
}
