//go:build insecure_deterministic

package flood

import (
	"context"
	"flag"
	"fmt"
	"testing"

	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/services/rngd"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run this seed only")
	seeds   = flag.Uint64("seeds", 20, "how many seeds to run")
)

// TestFloodStopsNobodyBySeed is the same in virtual time, one at a time, in the
// order of a seed. Replay one with
//
//	go test -tags insecure_deterministic ./tests/flood -run BySeed -seed N
func TestFloodStopsNobodyBySeed(t *testing.T) {
	first, last := uint64(1), *seeds
	if *oneSeed != 0 {
		first, last = *oneSeed, *oneSeed
	}
	for n := first; n <= last; n++ {
		t.Run(fmt.Sprint("seed=", n), func(t *testing.T) {
			w := start(t, func(c *boot.Config) {
				c.Scheduler = seeded.New(n)
				c.Chance = func(boot uint64) rngd.Source { return rngd.Seeded(n, boot) }
			})
			// Whoever does not wait is not interrupted by anybody; this is to wait
			// till one is drawn again. It fails when the task has exited, and then
			// the flow of control ends too.
			f := begin(w.flooder, 12, n, func(ctx context.Context) { _ = w.flooder.Task.Offload(ctx, func() {}) })
			w.wait(w.others(2)...)
			w.endFlood(f)
		})
	}
}
