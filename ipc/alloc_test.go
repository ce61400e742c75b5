package ipc_test

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/tests/rig"
)

// settled runs rounds of n operations till one of them allocates fewer than one
// object in a hundred operations, and answers how many the best one allocated.
// What is kept for later grows with how many happen to be under way at once, so
// that no number of operations is sure to have warmed everything up; but what an
// operation allocates itself is there in every round.
func settled(t *testing.T, n int, run func(n int) error) uint64 {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // It empties pools.
	least := ^uint64(0)
	for range 20 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := run(n); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
		if least < uint64(n/100) {
			break
		}
	}
	return least
}

// noAllocation says that operations allocate nothing. What a round allocates
// all the same, its goroutines and what belongs to the runtime, is less than one
// object in a hundred operations.
func noAllocation(t *testing.T, n int, run func(n int) error) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if got := settled(t, n, run); got >= uint64(n/100) {
		t.Errorf("%d operations allocate %d objects", n, got)
	}
}

// TestCheckedCallAllocatesNothing: in every cell of the matrix, token included.
func TestCheckedCallAllocatesNothing(t *testing.T) {
	for _, c := range cells() {
		t.Run(c.String(), func(t *testing.T) {
			m := newMatrix(t, c)
			noAllocation(t, 20000, func(n int) error { return m.run(context.Background(), n) })
		})
	}
}

// TestSendAndReceiveAllocateNothing is a message to another task's inbox and
// one back, over and over.
func TestSendAndReceiveAllocateNothing(t *testing.T) {
	p := newPingPong(t)
	noAllocation(t, 20000, p.run)
}

// pingPong is two tasks, each with an inbox and SEND on the other's.
type pingPong struct {
	tasks [2]*ipc.Task
	send  [2]ipc.Slot
	recv  [2]ipc.Slot
}

func newPingPong(tb testing.TB) *pingPong {
	r := rig.New(tb)
	p := &pingPong{tasks: [2]*ipc.Task{r.Task(ipc.TaskSpec{Name: "ping"}), r.Task(ipc.TaskSpec{Name: "pong"})}}
	for i, t := range p.tasks {
		inbox := r.Endpoint(t, ipc.EndpointSpec{Inbox: true, Depth: 4})
		p.send[1-i] = r.Connect(p.tasks[1-i], inbox)
		slot, err := r.Init.Derive(inbox, capability.Recv, t)
		if err != nil {
			tb.Fatal(err)
		}
		p.recv[i] = slot
	}
	return p
}

// run lets n messages go there and back.
func (p *pingPong) run(n int) error {
	errs := make(chan error, 2)
	go func() { errs <- p.play(1, n) }()
	go func() { errs <- p.play(0, n) }()
	if err := <-errs; err != nil {
		return err
	}
	return <-errs
}

// play begins if it is 0 and answers if it is 1.
func (p *pingPong) play(who, n int) error {
	ctx, t := context.Background(), p.tasks[who]
	payload, buf := make([]byte, 64), make([]byte, 64)
	message := ipc.Outgoing{Slot: p.send[who], Payload: payload, Header: frame.Header{Len: uint32(len(payload))}}
	for range n {
		if who == 0 {
			if err := t.Send(ctx, message); err != nil {
				return err
			}
		}
		if _, err := t.Receive(ctx, p.recv[who], buf, 0, 0); err != nil {
			return err
		}
		if who == 1 {
			if err := t.Send(ctx, message); err != nil {
				return err
			}
		}
	}
	return nil
}
