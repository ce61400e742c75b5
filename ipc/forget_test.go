package ipc_test

import (
	"context"
	"sync/atomic"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// keeper is a service that panics when it is called, and says who has forgotten.
type keeper struct {
	number    int
	forgotten *atomic.Int64 // number of the last instance that has
}

func (k keeper) Start(context.Context) error         { return nil }
func (k keeper) Serve(context.Context, *ipc.Request) { panic("asked to") }
func (k keeper) Forget()                             { k.forgotten.Store(int64(k.number)) }

// TestForget: what a service keeps is wiped before anybody hears of its crash,
// and when its task has exited.
func TestForget(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	var forgotten atomic.Int64
	starts := 0
	task := r.Task(ipc.TaskSpec{Name: "keeper"})
	desk := r.Endpoint(task, ipc.EndpointSpec{Depth: 1, Ops: []ipc.Op{{Code: 1}}})
	if err := r.Engine.Host(task, func() ipc.Service {
		if int(forgotten.Load()) != starts {
			t.Error("the next instance is made before the last one has forgotten")
		}
		starts++
		return keeper{starts, &forgotten}
	}); err != nil {
		t.Fatal(err)
	}
	caller := r.Task(ipc.TaskSpec{Name: "caller"})
	slot := r.Connect(caller, desk)
	r.Do(caller, func(ctx context.Context) {
		for i := range int64(3) {
			if err := caller.AwaitReady(ctx, task); err != nil || forgotten.Load() != i {
				t.Errorf("ready (%v), and instance %d has forgotten", err, forgotten.Load())
			}
			_, err := caller.Call(ctx, ipc.Msg{Slot: slot, Op: 1, Move: ipc.NoSlot}, nil)
			if err != ipc.Unavailable || forgotten.Load() != i+1 {
				t.Errorf("crash %d is known (%v), and instance %d has forgotten", i+1, err, forgotten.Load())
			}
		}
		if err := caller.AwaitReady(ctx, task); err != nil {
			t.Error(err)
		}
	})
	r.Engine.Stop()
	if starts != 4 || forgotten.Load() != 4 {
		t.Errorf("%d starts, and after the exit instance %d has forgotten", starts, forgotten.Load())
	}
}
