package ipc_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// ringSwitch names the two states of the trace ring in a benchmark.
var ringSwitch = map[bool]string{true: "on", false: "off"}

// BenchmarkTraceRing is the checked call of 64 bytes with the trace ring, which
// is always on, and without it, which is for this benchmark alone. A call leaves
// three events: sent, delivered, answered. A refused one leaves one.
func BenchmarkTraceRing(b *testing.B) {
	for _, on := range []bool{true, false} {
		b.Run(fmt.Sprintf("ring=%s", ringSwitch[on]), func(b *testing.B) {
			s := newSystem(b)
			s.Kernel.SwitchTrace(on)
			s.benchmarkOwn(b)
		})
	}
}

// TestTraceRingCosts: a call leaves its three events and allocates nothing, with the ring as
// without it; without it, it leaves none.
func TestTraceRingCosts(t *testing.T) {
	for _, on := range []bool{true, false} {
		s := newSystem(t)
		s.Kernel.SwitchTrace(on)
		s.Do(s.app, func(ctx context.Context) {
			checked := s.checked(ctx)
			call := func() {
				if err := checked(); err != nil {
					t.Error(err)
				}
			}
			for range 200 { // Buffers and coroutines are there afterwards.
				call()
			}
			_, before := s.Kernel.Trace()
			call()
			_, after := s.Kernel.Trace()
			if want := map[bool]uint64{true: 3, false: 0}[on]; after-before != want {
				t.Errorf("ring %s: a call leaves %d events, want %d", ringSwitch[on], after-before, want)
			}
			if n := testing.AllocsPerRun(1000, call); n >= 1 && !raceEnabled {
				t.Errorf("ring %s: a call allocates %v times", ringSwitch[on], n)
			}
		})
	}
}

// What the kernel refuses is traced with the slot that was named and the size.
func TestTraceOfRefusal(t *testing.T) {
	s := newSystem(t)
	if _, err := s.app.Call(context.Background(), ipc.Msg{Slot: 77, Op: 1, Body: make([]byte, 5), Move: ipc.NoSlot}, nil); err != ipc.PermissionDenied {
		t.Fatal(err)
	}
	events, _ := s.Kernel.Trace()
	if e := events[len(events)-1]; e.Kind != ipc.TraceRefuse || e.Slot != 77 || e.Size != 5 || e.Refusal != capability.Accepted {
		t.Errorf("the refusal is traced as %+v", e)
	}
}

// A deadline that passes is traced with the call that it ended.
func TestTraceOfExpiry(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		body, err := c.send(ctx, ipc.Msg{Op: opHold})
		want(t, "a call", body, err, ipc.TimedOut)
	})
	w.open()
	var sent, expired []uint64
	events, _ := w.Kernel.Trace()
	for _, e := range events {
		switch {
		case e.Kind == ipc.TraceSend && e.Op == opHold:
			sent = append(sent, e.Call)
		case e.Kind == ipc.TraceExpire:
			expired = append(expired, e.Call)
		}
	}
	if len(sent) != 1 || sent[0] == 0 || !slices.Equal(sent, expired) {
		t.Errorf("sent were %v, expired are %v", sent, expired)
	}
}
