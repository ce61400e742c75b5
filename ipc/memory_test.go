package ipc_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestCallAllocatesNothing: a checked call and its reply, in a warm system,
// from any goroutine and from a task's own flow of control. What the whole
// process allocates meanwhile counts.
func TestCallAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newWorld(t, rig.New(t), plan{})
	echo := w.Task(ipc.TaskSpec{Name: "echo"})
	ep := w.Endpoint(echo, ipc.EndpointSpec{Ops: []ipc.Op{{Code: opGet, Need: capability.Get}}})
	w.Host(echo, func() ipc.Service {
		return handler(func(_ context.Context, r *ipc.Request) { _ = r.Reply(ipc.OK, r.Body) })
	})
	c := w.app("app")
	slot := w.Connect(c.task, ep)
	for _, size := range []int{0, 64, 256, 4096, ipc.MaxFrame} {
		body, out := make([]byte, size), make([]byte, 0, size)
		measure := func(ctx context.Context) {
			call := func() {
				if _, err := c.task.Call(ctx, ipc.Msg{Slot: slot, Op: opGet, Token: &c.token, Body: body, Move: ipc.NoSlot}, out); err != nil {
					t.Error(err)
				}
			}
			for range 200 {
				call()
			}
			if n := testing.AllocsPerRun(1000, call); n >= 1 {
				t.Errorf("%d bytes: %v allocations for a call", size, n)
			}
		}
		measure(context.Background())
		c.do(measure)
	}
}

// TestRefusalAllocatesNothing: neither does one that is refused.
func TestRefusalAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newWorld(t, rig.New(t), plan{})
	c := w.app("app")
	forged := c.token
	forged[50] ^= 1
	ctx := context.Background()
	for name, token := range map[string]*capability.Token{"forged": &forged, "missing": nil} {
		n := testing.AllocsPerRun(1000, func() {
			if _, err := c.task.Call(ctx, ipc.Msg{Slot: c.slot, Op: opGet, Token: token, Move: ipc.NoSlot}, nil); err == nil {
				t.Error("it was not refused")
			}
		})
		if n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// canary is what must not be found once a call is over.
var canary = []byte("canary-7d1f2e66")

// TestBuffersAreWiped: however a request ends, nothing of its payload stays in
// the kernel's buffers or in the slice that the handler saw.
func TestBuffersAreWiped(t *testing.T) {
	for name, run := range map[string]func(w *world, c *client){
		"answered": func(w *world, c *client) {
			c.do(func(ctx context.Context) { _, _ = c.call(ctx, opTaskGet, secretBody(200)) })
		},
		"not answered": func(w *world, c *client) {
			c.do(func(ctx context.Context) { _, _ = c.call(ctx, opTask, secretBody(1500)) })
		},
		"panic": func(w *world, c *client) {
			c.do(func(ctx context.Context) { _, _ = c.call(ctx, opPanic, secretBody(40)) })
		},
		"refused": func(w *world, c *client) {
			c.do(func(ctx context.Context) { _, _ = c.call(ctx, opPut, secretBody(8000)) })
		},
		"sealed in the queue": func(w *world, c *client) {
			_, held := c.begin(ipc.Msg{Op: opHold, Body: []byte(secretBody(100))})
			c.do(func(ctx context.Context) { settle(ctx, c.task) })
			_, queued := c.begin(ipc.Msg{Op: opGet, Token: &c.token, Body: []byte(secretBody(100))})
			c.do(func(ctx context.Context) { settle(ctx, c.task) })
			w.seal(w.sid)
			w.open(held, queued)
		},
		"sealed while served": func(w *world, c *client) {
			_, held := c.begin(ipc.Msg{Op: opHoldGet, Token: &c.token, Body: []byte(secretBody(100))})
			c.do(func(ctx context.Context) { settle(ctx, c.task) })
			w.seal(w.sid)
			w.open(held)
		},
		"out of time": func(w *world, c *client) {
			_, held := c.begin(ipc.Msg{Op: opHold, Body: []byte(secretBody(100))})
			_, queued := c.begin(ipc.Msg{Op: opEcho, Body: []byte(secretBody(100))})
			c.do(func(ctx context.Context) { _ = c.task.Sleep(ctx, time.Minute) })
			w.open(held, queued)
		},
		"endpoint closed": func(w *world, c *client) {
			_, held := c.begin(ipc.Msg{Op: opHold, Body: []byte(secretBody(100))})
			_, queued := c.begin(ipc.Msg{Op: opEcho, Body: []byte(secretBody(100))})
			c.do(func(ctx context.Context) { settle(ctx, c.task) })
			_ = w.Init.CloseEndpoint(w.ep)
			w.open(held, queued)
		},
	} {
		var seen [][]byte
		w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 1, depth: 8, task: func(_ context.Context, _ *desk, r *ipc.Request) {
			seen = append(seen, r.Body, r.Body[:cap(r.Body)])
			if r.Op == opTaskGet {
				_ = r.Reply(ipc.OK, r.Body)
			}
		}})
		c := w.app("app")
		run(w, c)
		for _, b := range slices.Concat(w.Kernel.FreeBuffers(), seen) {
			if bytes.Contains(b, canary[:8]) || slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) {
				t.Errorf("%s: a buffer of %d bytes was not wiped", name, len(b))
			}
		}
		if name != "refused" && len(w.Kernel.FreeBuffers()) == 0 {
			t.Errorf("%s: there is no buffer to look at", name)
		}
		if !w.Kernel.FreeCallsAreBlank() {
			t.Errorf("%s: a request that is over left something behind", name)
		}
	}
}

func secretBody(n int) string { return string(bytes.Repeat(canary, n/len(canary)+1)[:n]) }

// TestBuffersAreBounded: a flood leaves no more behind than the pool keeps.
func TestBuffersAreBounded(t *testing.T) {
	w, held := blocked(t, 1, ipc.MaxDepth)
	c := w.app("app")
	var all []<-chan struct{}
	for range 200 {
		_, done := c.begin(ipc.Msg{Op: opEcho, Body: make([]byte, 1000), Nonblock: true})
		all = append(all, done)
	}
	c.do(func(ctx context.Context) { settle(ctx, c.task) })
	w.open(append(all, held)...)
	if n := len(w.Kernel.FreeBuffers()); n < 10 || n > 4*64 {
		t.Errorf("%d buffers are kept", n)
	}
}

// TestNoPayloadInTheTrace: the ring says that something happened, not what.
func TestNoPayloadInTheTrace(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		for range ipc.TraceEntries { // Three events each.
			if _, err := c.call(ctx, opGet, "payload"); err != nil {
				t.Fatal(err)
			}
		}
	})
	events, total := w.Kernel.Trace()
	if len(events) != ipc.TraceEntries || total < 3*ipc.TraceEntries {
		t.Errorf("%d events of %d", len(events), total)
	}
	for i, e := range events {
		if i > 0 && e.Time < events[i-1].Time {
			t.Fatalf("event %d is older than the one before", i)
		}
	}
	last := trace{events}
	if e := last.last(ipc.TraceSend); e.From != c.task.ID() || e.To != w.svc.ID() || e.Op != opGet || e.Size != 7 || e.SID != w.sid || e.Call == 0 {
		t.Errorf("a call is recorded as %+v", e)
	}
}

// TestTraceRing fills the ring to n−1, n and n+1.
func TestTraceRing(t *testing.T) {
	for _, n := range []int{ipc.TraceEntries - 1, ipc.TraceEntries, ipc.TraceEntries + 1} {
		tapped := 0
		k := ipc.New(ipc.Config{Executor: still{}, Boot: 1, Tap: func(ipc.TraceEvent) { tapped++ }})
		task, err := k.NewTask(ipc.TaskSpec{Name: "desk", Marks: []string{"desk:"}})
		if err != nil {
			t.Fatal(err)
		}
		for range n - 1 { // The making of the task is one.
			task.Mark("desk: x")
		}
		if events, total := k.Trace(); len(events) != min(n, ipc.TraceEntries) || total != uint64(n) || tapped != n {
			t.Errorf("%d events: %d kept, %d counted, %d tapped", n, len(events), total, tapped)
		}
	}
}
