package ipc_test

import (
	"bytes"
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

// blocked makes a world whose desk serves one request, which holds, so that
// every further one stays in the queue.
func blocked(t *testing.T, seed uint64, depth int) (w *world, held <-chan struct{}) {
	t.Helper()
	w = newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 1, depth: depth})
	c := w.app("holder")
	_, held = c.begin(ipc.Msg{Op: opHold, Body: []byte("held")})
	c.do(func(ctx context.Context) { settle(ctx, c.task) })
	return w, held
}

// fill queues n more requests that echo their number.
func (w *world) fill(c *client, n int, body func(i int) []byte) (all []*outcome, done []<-chan struct{}) {
	for i := range n {
		o, d := c.begin(ipc.Msg{Op: opEcho, Body: body(i), Nonblock: true})
		all, done = append(all, o), append(done, d)
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
	}
	return all, done
}

func number(i int) []byte { return fmt.Append(nil, i) }

// TestDepth fills queues to n−1, n and n+1, for depths within the limits and
// beyond them.
func TestDepth(t *testing.T) {
	for asked, depth := range map[int]int{-1: 1, 0: 1, 1: 1, 7: 7, ipc.MaxDepth - 1: 255, ipc.MaxDepth: 256, ipc.MaxDepth + 1: 256} {
		w, held := blocked(t, 1, asked)
		c := w.app("app")
		all, done := w.fill(c, depth, number)
		c.do(func(ctx context.Context) {
			_, err := c.send(ctx, ipc.Msg{Op: opEcho, Nonblock: true})
			if !errors.Is(err, ipc.QueueFull) {
				t.Errorf("depth %d, one more: %v", asked, err)
			}
		})
		w.open(append(done, held)...)
		for i, o := range all {
			if o.err != nil || o.body != fmt.Sprint(i) {
				t.Errorf("depth %d, request %d: %q, %v", asked, i, o.body, o.err)
			}
		}
	}
}

// TestParallel counts how many requests are served at once.
func TestParallel(t *testing.T) {
	for asked, parallel := range map[int]int{-1: 1, 0: 1, 1: 1, 7: 7, ipc.MaxParallel - 1: 255, ipc.MaxParallel: 256, ipc.MaxParallel + 1: 256} {
		running, most := 0, 0
		w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: asked, depth: ipc.MaxDepth, task: func(ctx context.Context, d *desk, r *ipc.Request) {
			running++
			most = max(most, running)
			_ = d.task.Sleep(ctx, time.Second)
			running--
			_ = r.Reply(ipc.OK, nil)
		}})
		c := w.app("app")
		var all []<-chan struct{}
		for range parallel + 3 {
			_, done := c.begin(ipc.Msg{Op: opTask})
			all = append(all, done)
		}
		w.await(all...)
		if most != parallel {
			t.Errorf("parallel %d: %d at once", asked, most)
		}
	}
}

// TestOwnerBytes fills a sender's share of the budget of one owner, which is
// half of it as long as nobody else takes any, over two endpoints, to n−1, n and
// n+1 bytes. Waiting is no way out of it.
func TestOwnerBytes(t *testing.T) {
	share := ipc.MaxOwnerBytes / 2
	frames := share / ipc.MaxFrame
	for _, last := range []int{ipc.MaxFrame - 1, ipc.MaxFrame} {
		w, held := blocked(t, 1, ipc.MaxDepth)
		c := w.app("app")
		other := w.Connect(c.task, w.Endpoint(w.svc, ipc.EndpointSpec{Depth: 256, Parallel: 1, Ops: deskOps, Takes: true}))
		_, done := w.fill(c, frames-1, func(int) []byte { return make([]byte, ipc.MaxFrame) })
		_, more := w.fill(c, 1, func(int) []byte { return make([]byte, last) })
		if n := w.Kernel.Stats().QueuedBytes; n != share-ipc.MaxFrame+last {
			t.Errorf("%d bytes are queued", n)
		}
		c.do(func(ctx context.Context) {
			room := ipc.MaxFrame - last
			for _, slot := range []ipc.Slot{c.slot, other} {
				for _, nonblock := range []bool{false, true} {
					body, err := c.send(ctx, ipc.Msg{Slot: slot, Op: opEcho, Body: make([]byte, room+1), Nonblock: nonblock})
					want(t, "a byte too many", body, err, ipc.NoSpace)
				}
			}
		})
		_, exact := w.fill(c, 1, func(int) []byte { return make([]byte, ipc.MaxFrame-last) })
		w.open(slices.Concat(done, more, exact, []<-chan struct{}{held})...)
		if n := w.Kernel.Stats().QueuedBytes; n != 0 {
			t.Errorf("%d bytes are queued at the end", n)
		}
	}
}

// flood queues bodies of n bytes at slot till it is refused, and answers how
// many bytes it got in.
func (c *client) flood(slot ipc.Slot, n int, all *[]<-chan struct{}) int {
	for got := 0; ; got += n {
		o, done := c.begin(ipc.Msg{Slot: slot, Op: opEcho, Body: make([]byte, n)})
		*all = append(*all, done)
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
		if o.over {
			want(c.w.t, "the one too many", o.body, o.err, ipc.NoSpace)
			return got
		}
	}
}

// TestSystemBytes: floods by ever more tasks, each at an owner of its own, stay
// below the budget of the system, and each leaves as much as it took.
func TestSystemBytes(t *testing.T) {
	const size = 4096
	w, held := blocked(t, 1, ipc.MaxDepth)
	all, idle := []<-chan struct{}{held}, []ipc.Slot(nil)
	total := 0
	for i := range 12 {
		owner := w.Task(ipc.TaskSpec{Name: fmt.Sprint("owner", i)}) // It never serves.
		ep := w.Endpoint(owner, ipc.EndpointSpec{Depth: 256, Ops: deskOps})
		idle = append(idle, ep)
		c := w.app(fmt.Sprint("app", i))
		took := c.flood(w.Connect(c.task, ep), size, &all)
		total += took
		free := ipc.MaxSystemBytes - total
		switch limit := ipc.MaxOwnerBytes / 2; {
		case took > limit || took > free:
			t.Errorf("the flood of task %d took %d bytes and left %d", i, took, free)
		case took != limit && took+size <= free-size:
			t.Errorf("the flood of task %d took %d bytes and could have had more of %d", i, took, free)
		}
		if n := w.Kernel.Stats().QueuedBytes; n != total || n > ipc.MaxSystemBytes {
			t.Errorf("%d bytes are queued and %d were sent", n, total)
		}
	}
	late := w.app("late")
	o, done := late.begin(ipc.Msg{Op: opEcho, Body: make([]byte, 512)})
	for _, ep := range idle {
		if err := w.Init.CloseEndpoint(ep); err != nil {
			t.Error(err)
		}
	}
	w.open(append(all, done)...)
	if len(o.body) != 512 || o.err != nil {
		t.Errorf("a request beside twelve floods: %v", o.err)
	}
	if n := w.Kernel.Stats().QueuedBytes; n != 0 {
		t.Errorf("%d bytes are queued at the end", n)
	}
}

// TestFrames: a payload of 8,192 bytes travels both ways, one more byte not.
func TestFrames(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		var replied []error
		w := newWorld(t, r, plan{task: func(_ context.Context, _ *desk, r *ipc.Request) {
			replied = append(replied, r.Reply(ipc.OK, make([]byte, ipc.MaxFrame+1)), r.Reply(ipc.OK, make([]byte, ipc.MaxFrame)))
		}})
		c := w.app("app")
		c.do(func(ctx context.Context) {
			for _, n := range []int{0, 1, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, ipc.MaxFrame - 1, ipc.MaxFrame} {
				body := bytes.Repeat([]byte{byte(n)}, n)
				if got, err := c.send(ctx, ipc.Msg{Op: opEcho, Body: body}); err != nil || got != string(body) {
					t.Errorf("%d bytes: %d came back, %v", n, len(got), err)
				}
			}
			body, err := c.send(ctx, ipc.Msg{Op: opEcho, Body: make([]byte, ipc.MaxFrame+1)})
			want(t, "a byte too many", body, err, ipc.TooLarge)
			if got, err := c.send(ctx, ipc.Msg{Op: opTask}); err != nil || len(got) != ipc.MaxFrame {
				t.Errorf("a full reply: %d bytes, %v", len(got), err)
			}
			if len(replied) != 2 || !errors.Is(replied[0], ipc.TooLarge) || replied[1] != nil {
				t.Errorf("a reply with a byte too many, then a full one: %v", replied)
			}
		})
	})
}

// TestOpcodes: what the endpoint does not list is unsupported.
func TestOpcodes(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		for _, op := range []uint16{0, opUnknown, ipc.MaxOps - 1, ipc.MaxOps, ipc.MaxOps + 1, 0xffff} {
			body, err := c.call(ctx, op, "x")
			want(t, fmt.Sprint("opcode ", op), body, err, ipc.Unsupported)
		}
	})
	if len(w.served) != 0 {
		t.Errorf("served %q", w.served)
	}
}

// TestWaitersAreFIFO: senders wait for room in the order in which they came,
// and one that does not want to wait never overtakes them.
func TestWaitersAreFIFO(t *testing.T) {
	seeds(t, 10, func(t *testing.T, seed uint64) {
		w, held := blocked(t, seed, 2)
		c, other := w.app("app"), w.app("other")
		all := []<-chan struct{}{held}
		for i := range 8 {
			_, done := c.begin(ipc.Msg{Op: opEcho, Body: number(i)})
			all = append(all, done)
			c.do(func(ctx context.Context) { settle(ctx, c.task) })
		}
		other.do(func(ctx context.Context) {
			body, err := other.send(ctx, ipc.Msg{Op: opEcho, Body: []byte("pushy"), Nonblock: true})
			want(t, "not waiting", body, err, ipc.QueueFull)
		})
		w.open(all...)
		order := slices.DeleteFunc(slices.Clone(w.served), func(s string) bool { return s == "held" || s == "open" })
		if strings.Join(order, "") != "01234567" {
			t.Errorf("served in the order %v", order)
		}
	})
}

// TestWaiterIsCheckedAgain: what was right when a sender began to wait for room
// may not be so any more when there is room.
func TestWaiterIsCheckedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, c *client)
		wanted error
	}{
		"slot closed":     {func(w *world, c *client) { _ = c.task.Close(c.slot) }, ipc.PermissionDenied},
		"slot revoked":    {func(w *world, c *client) { _, _ = w.Init.Revoke(w.ep) }, ipc.PermissionDenied},
		"nothing changed": {func(w *world, c *client) {}, nil},
	} {
		w, held := blocked(t, 1, 1)
		filler, app := w.app("filler"), w.app("app")
		_, queued := w.fill(filler, 1, number)
		waiting, done := app.begin(ipc.Msg{Op: opGet, Token: &app.token, Body: []byte("waiting")})
		app.do(func(ctx context.Context) { settle(ctx, app.task) })
		c.change(w, app)
		w.open(append(queued, held, done)...)
		if !errors.Is(waiting.err, c.wanted) {
			t.Errorf("%s: %v", name, waiting.err)
		}
	}
}

// TestWaiterRunsIntoTheByteBudget: room in the queue is not yet room for bytes.
func TestWaiterRunsIntoTheByteBudget(t *testing.T) {
	for _, short := range []int{0, 1} {
		w, held := blocked(t, 1, 1)
		side := w.Endpoint(w.svc, ipc.EndpointSpec{Depth: 256, Parallel: 1, Ops: deskOps, Takes: true})
		all, free := []<-chan struct{}{held}, ipc.MaxOwnerBytes
		first := w.app("first")
		_, holding := first.begin(ipc.Msg{Slot: w.Connect(first.task, side), Op: opHold})
		first.do(func(ctx context.Context) { settle(ctx, first.task) })
		all = append(all, holding)
		for free > ipc.MaxFrame {
			c := w.app("filler")
			free -= c.flood(w.Connect(c.task, side), ipc.MaxFrame, &all)
		}
		// At the desk's own endpoint one request waits for a second, and then the
		// next one takes its place, if its bytes have room.
		leaving := first.start(func(ctx context.Context) {
			brief, cancel := first.task.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := first.send(brief, ipc.Msg{Op: opEcho})
			want(t, "the one that leaves", "", err, ipc.TimedOut)
		})
		first.do(func(ctx context.Context) { settle(ctx, first.task) })
		app := w.app("app")
		waiting, done := app.begin(ipc.Msg{Op: opEcho, Body: make([]byte, free/2+1-short)})
		app.do(func(ctx context.Context) { settle(ctx, app.task) })
		if waiting.over {
			t.Fatalf("it did not wait: %v", waiting.err)
		}
		w.await(leaving)
		app.do(func(ctx context.Context) { settle(ctx, app.task) })
		if fits := short == 1; fits == waiting.over || !fits && !errors.Is(waiting.err, ipc.NoSpace) {
			t.Errorf("%d bytes into room for %d: over %v, %v", free/2+1-short, free/2, waiting.over, waiting.err)
		}
		w.open(append(all, done)...)
		if n := w.Kernel.Stats().QueuedBytes; n != 0 {
			t.Errorf("%d bytes are queued at the end", n)
		}
	}
}

// TestMaxWaiting: one task can have so many flows of control wait for room, and
// the next is told; another task may still wait.
func TestMaxWaiting(t *testing.T) {
	w, held := blocked(t, 1, 1)
	flood, app := w.app("flood"), w.app("app")
	_, all := w.fill(flood, 1, number)
	for i := range ipc.MaxWaiting + 1 {
		o, done := flood.begin(ipc.Msg{Op: opEcho})
		all = append(all, done)
		flood.do(func(ctx context.Context) { settle(ctx, flood.task) })
		if full := i == ipc.MaxWaiting; full != o.over || full && !errors.Is(o.err, ipc.QueueFull) {
			t.Errorf("the one that waits after %d others: over %v, %v", i, o.over, o.err)
		}
	}
	waiting, done := app.begin(ipc.Msg{Op: opEcho, Body: []byte("waits")})
	app.do(func(ctx context.Context) { settle(ctx, app.task) })
	if waiting.over {
		t.Errorf("another task does not wait: %v", waiting.err)
	}
	w.open(append(all, held, done)...)
	if waiting.body != "waits" || waiting.err != nil {
		t.Errorf("it came to %q, %v", waiting.body, waiting.err)
	}
}

// TestTurnsOfEndpoints: a flood at one endpoint does not starve another one.
func TestTurnsOfEndpoints(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 1, depth: 256})
	side := w.Endpoint(w.svc, ipc.EndpointSpec{Depth: 8, Parallel: 1, Ops: deskOps, Takes: true})
	flood, quiet := w.app("flood"), w.app("quiet")
	slot := w.Connect(quiet.task, side)
	_, held := flood.begin(ipc.Msg{Op: opHold, Body: []byte("held")})
	flood.do(func(ctx context.Context) { settle(ctx, flood.task) })
	all := []<-chan struct{}{held}
	_, done := w.fill(flood, 100, number)
	all = append(all, done...)
	_, mine := quiet.begin(ipc.Msg{Slot: slot, Op: opOpen, Body: []byte("quiet")})
	w.await(append(all, mine)...)
	if at := slices.Index(w.served, "quiet"); at != 1 {
		t.Errorf("the quiet request came as number %d", at)
	}
}

// TestFloodLeavesRoomForOthers: one app that keeps every place of an endpoint
// taken neither stops others from waiting their turn nor touches other services.
func TestFloodLeavesRoomForOthers(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		w := newWorld(t, r, plan{depth: 4, parallel: 2})
		flood := w.app("flood")
		var all []<-chan struct{}
		for range 16 {
			all = append(all, flood.start(func(ctx context.Context) {
				for range 50 {
					if _, err := flood.call(ctx, opGet, "flood"); err != nil {
						t.Errorf("flood: %v", err)
					}
				}
			}))
		}
		victim := w.app("victim")
		victim.do(func(ctx context.Context) {
			for range 20 {
				if _, err := victim.call(ctx, opGet, "victim"); err != nil {
					t.Errorf("victim: %v", err)
				}
			}
		})
		w.await(all...)
	})
}

func TestEndpointLimits(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	factory, err := r.Kernel.GrantFactory(r.Init)
	if err != nil {
		t.Fatal(err)
	}
	var owner *ipc.Task
	for n := range ipc.MaxEndpoints + 1 {
		if n%ipc.MaxOwnerEndpoints == 0 {
			if owner != nil {
				if _, err := r.Init.NewEndpoint(factory, owner, ipc.EndpointSpec{}); !errors.Is(err, ipc.NoSpace) {
					t.Errorf("endpoint %d: %v", n, err)
				}
			}
			owner = r.Task(ipc.TaskSpec{Name: fmt.Sprint("owner", n)})
		}
		slot, err := r.Init.NewEndpoint(factory, owner, ipc.EndpointSpec{})
		if n == ipc.MaxEndpoints {
			if !errors.Is(err, ipc.NoSpace) {
				t.Errorf("endpoint %d of the system: %v", n+1, err)
			}
			break
		}
		if err != nil {
			t.Fatalf("endpoint %d: %v", n+1, err)
		}
		if err := r.Init.Close(slot); err != nil { // The endpoint lives on without it.
			t.Fatal(err)
		}
	}
	if n := r.Kernel.Stats().Endpoints; n != ipc.MaxEndpoints {
		t.Errorf("%d endpoints", n)
	}
	owner.Exit()
	if n := r.Kernel.Stats().Endpoints; n != ipc.MaxEndpoints && n != ipc.MaxEndpoints-ipc.MaxOwnerEndpoints {
		t.Errorf("%d endpoints after an exit", n)
	}
}

// TestFacetNumbersAreNotReused: endpoints that were closed keep their numbers,
// and there are no more numbers than fit.
func TestFacetNumbersAreNotReused(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	factory, err := r.Kernel.GrantFactory(r.Init)
	if err != nil {
		t.Fatal(err)
	}
	owner := r.Task(ipc.TaskSpec{Name: "owner"})
	for n := range 300 {
		slot, err := r.Init.NewEndpoint(factory, owner, ipc.EndpointSpec{})
		if n > 0xff {
			if !errors.Is(err, ipc.NoSpace) {
				t.Fatalf("endpoint %d of one task: %v", n+1, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("endpoint %d: %v", n+1, err)
		}
		if err := r.Init.CloseEndpoint(slot); err != nil {
			t.Fatal(err)
		}
		if err := r.Init.Close(slot); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEndpointSpecs(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	factory, err := r.Kernel.GrantFactory(r.Init)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		op     ipc.Op
		wanted error
	}{
		{ipc.Op{Code: 0}, nil}, {ipc.Op{Code: ipc.MaxOps - 1}, nil}, {ipc.Op{Code: ipc.MaxOps}, ipc.InvalidArgument},
		{ipc.Op{Code: 1, Need: capability.AllTokenRights}, nil}, {ipc.Op{Code: 1, Need: capability.AllTokenRights + 1}, ipc.InvalidArgument},
	} {
		if _, err := r.Init.NewEndpoint(factory, r.Init, ipc.EndpointSpec{Ops: []ipc.Op{c.op}}); !errors.Is(err, c.wanted) {
			t.Errorf("%+v: %v", c.op, err)
		}
	}
}
