package ipc_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"nexus.internal/os/actors"
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
)

// yielding counts how often the kernel has somebody let others run.
type yielding struct {
	*actors.Goroutines
	n        atomic.Int64
	now      atomic.Int64 // how many do
	together atomic.Bool  // more than one did
}

func (y *yielding) Yield() {
	if y.now.Add(1) > 1 {
		y.together.Store(true)
	}
	y.n.Add(1)
	runtime.Gosched()
	y.now.Add(-1)
}

// asleep hosts a service that never runs.
type asleep struct{}

func (asleep) Wake() {}

// TestWhoDoesNotWaitYields: a system call that ends at once lets others run, so
// that many flows of control of one task cannot keep the processors to
// themselves by being refused. A message that was sent or received does not:
// that ends with a full queue or an empty one. A service never does.
func TestWhoDoesNotWaitYields(t *testing.T) {
	y := &yielding{Goroutines: actors.NewGoroutines()}
	k := ipc.New(ipc.Config{Executor: y, Boot: 1})
	y.Bind(k)
	t.Cleanup(y.Close)
	task, err := k.NewTask(ipc.TaskSpec{Name: "app"})
	if err != nil {
		t.Fatal(err)
	}
	factory, err := k.GrantFactory(task)
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := task.NewEndpoint(factory, task, ipc.EndpointSpec{Inbox: true, Depth: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	message := ipc.Outgoing{Slot: inbox, Flags: ipc.SysNonblock}
	send := func() error { return task.Send(ctx, message) }
	receive := func() error {
		_, err := task.Receive(ctx, inbox, nil, ipc.SysNonblock, 0)
		return err
	}
	calls := []struct {
		name   string
		do     func() error
		code   ipc.Code
		yields int64
	}{
		{"a refused call", func() error {
			_, err := task.Call(ctx, ipc.Msg{Slot: 9, Move: ipc.NoSlot}, nil)
			return err
		}, ipc.PermissionDenied, 1},
		{"a message", send, ipc.OK, 0},
		{"a message to a full queue", send, ipc.QueueFull, 1},
		{"a receive", receive, ipc.OK, 0},
		{"a receive from an empty queue", receive, ipc.QueueEmpty, 1},
		{"a clone", func() error { _, err := task.Clone(inbox); return err }, ipc.OK, 1},
		{"a derivation", func() error { _, err := task.Derive(inbox, capability.Send, task); return err }, ipc.OK, 1},
		{"a close", func() error { return task.Close(9) }, ipc.PermissionDenied, 1},
		{"a revocation", func() error { _, err := task.Revoke(inbox); return err }, ipc.OK, 1},
		{"a memory object too many", func() error { _, err := task.NewMemory(ipc.MaxMemory + 1); return err }, ipc.InvalidArgument, 1},
		{"a write to no memory object", func() error { return task.WriteMemory(inbox, 0, nil) }, ipc.PermissionDenied, 1},
		{"a read of no memory object", func() error { _, err := task.ReadMemory(inbox, 0, nil); return err }, ipc.PermissionDenied, 1},
		{"a size of no memory object", func() error { _, err := task.MemorySize(inbox); return err }, ipc.PermissionDenied, 1},
		{"an alias of no memory object", func() error { _, err := task.ReadOnly(inbox); return err }, ipc.PermissionDenied, 1},
	}
	for _, serves := range []bool{false, true} {
		for _, c := range calls {
			before := y.n.Load()
			err := c.do()
			if c.code == ipc.OK && err != nil || c.code != ipc.OK && !errors.Is(err, c.code) {
				t.Errorf("%s: %v", c.name, err)
			}
			want := c.yields
			if serves {
				want = 0
			}
			if got := y.n.Load() - before; got != want {
				t.Errorf("%s, of a service %v: %d yields, want %d", c.name, serves, got, want)
			}
		}
		task.Attach(asleep{}, nil)
	}
}

// TestOneOfATaskYields: however many flows of control of a task are refused at
// once, one of them stands among those who want a processor.
func TestOneOfATaskYields(t *testing.T) {
	y := &yielding{Goroutines: actors.NewGoroutines()}
	k := ipc.New(ipc.Config{Executor: y, Boot: 1})
	y.Bind(k)
	t.Cleanup(y.Close)
	task, err := k.NewTask(ipc.TaskSpec{Name: "app"})
	if err != nil {
		t.Fatal(err)
	}
	const flows, times = 32, 100
	var all sync.WaitGroup
	for range flows {
		all.Go(func() {
			for range times {
				if _, err := task.Clone(9); !errors.Is(err, ipc.PermissionDenied) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := y.n.Load(); n != flows*times {
		t.Errorf("%d yields, want %d", n, flows*times)
	}
	if y.together.Load() {
		t.Error("two flows of control of one task yielded at the same time")
	}
}
