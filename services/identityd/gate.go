package identityd

import (
	"context"
	"slices"

	"nexus.internal/os/ipc"
)

// gate lets a fixed number of requests of one task through at once, in the
// order of their arrival. It needs no lock: those requests run one at a time.
type gate struct {
	free    int
	last    uint64
	waiting []uint64 // tickets, in order
	moved   ipc.Cond
}

func newGate(width int) *gate { return &gate{free: width} }

// enter parks till it is the caller's turn. Without an error the caller leaves
// later.
func (g *gate) enter(ctx context.Context, t *ipc.Task) error {
	g.last++
	ticket := g.last
	g.waiting = append(g.waiting, ticket)
	for g.free == 0 || g.waiting[0] != ticket {
		if err := g.moved.Wait(ctx, t); err != nil {
			g.waiting = slices.DeleteFunc(g.waiting, func(w uint64) bool { return w == ticket })
			g.moved.Broadcast()
			return err
		}
	}
	g.waiting = g.waiting[1:]
	g.free--
	g.moved.Broadcast() // There may be room for the next one as well.
	return nil
}

func (g *gate) leave() {
	g.free++
	g.moved.Broadcast()
}
