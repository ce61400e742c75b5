package modelrun

import (
	"math/rand/v2"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/model"
)

// TestBudgets fills the byte budgets and those of memory objects, of owners and of
// the system: twelve tasks, each of which can send to each one's inbox, send what is
// large, make memory objects, and now and then take something away again. The model
// adds everything up from what is there, and says of each whether it still fits.
func TestBudgets(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	w := New(seed)
	const tasks = 12
	for range tasks {
		do(t, w, model.Op{Kind: model.NewTask})
	}
	w.quiet = true
	for n := 1; n <= tasks; n++ {
		do(t, w, model.Op{Kind: model.NewEndpoint, Slot: w.Factory, To: n, Depth: ipc.MaxDepth, Inbox: true})
		for to := 1; to <= tasks; to++ {
			do(t, w, model.Op{Kind: model.Derive, Slot: w.Auth - ipc.Slot(n), To: to, Rights: capability.Send | capability.Recv})
		}
	}
	refused := make(map[model.Kind]int)
	for step := range 900 {
		op := model.Op{Kind: model.Send, Task: 1 + rng.IntN(tasks), Slot: ipc.Slot(rng.IntN(tasks)), Move: ipc.NoSlot, Token: -1,
			Size: ipc.MaxFrame - rng.IntN(2)*rng.IntN(ipc.MaxFrame), Sys: uint8(ipc.SysNonblock)}
		switch rng.IntN(16) {
		case 0:
			op.Kind, op.Size = model.Receive, ipc.MaxFrame
		case 1:
			op.Kind, op.Slot = model.Close, ipc.Slot(capability.Slots-1-rng.IntN(8)) // A memory object, if there is one.
		case 2, 3, 4, 5, 6:
			op.Kind, op.Size = model.NewMemory, ipc.MaxMemory-rng.IntN(2)*rng.IntN(ipc.MaxMemory)
		}
		w.quiet = step%8 != 0
		do(t, w, op)
		if w.Last().Code == ipc.NoSpace {
			refused[op.Kind]++
		}
	}
	if refused[model.Send] == 0 || refused[model.NewMemory] == 0 {
		t.Errorf("seed %d: no budget was full: %v", seed, refused)
	}
	w.quiet = false
	if err := w.Close(); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
}
