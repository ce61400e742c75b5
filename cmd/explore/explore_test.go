//go:build insecure_deterministic

package explore

import (
	"context"
	"flag"
	"testing"

	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/services/rngd"
)

var (
	seeds = flag.Uint64("seeds", 200, "how many seeds to explore")
	first = flag.Uint64("seed", 1, "the first of them")
)

func chance(seed, boot uint64) rngd.Source { return rngd.Seeded(seed, boot) }

// TestExplore finds no seed under which a promise is not kept.
func TestExplore(t *testing.T) {
	totals, failed := Run(context.Background(), Config{First: *first, Count: *seeds, Faults: machine.Kinds, Chance: chance, Workers: 2}, func(Totals) {})
	t.Logf("%d seeds, %d boots, %d steps, faults %v", totals.Seeds, totals.Boots, totals.Steps, totals.Fired)
	if failed != nil {
		s := Shrink(context.Background(), failed, chance)
		t.Fatalf("seed %d: %v\n%s", failed.Seed, failed.Err, s.Format())
	}
}
