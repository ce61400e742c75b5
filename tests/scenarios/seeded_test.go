//go:build insecure_deterministic

package scenarios

import (
	"crypto/sha256"
	"flag"
	"testing"

	"nexus.internal/os/cmd/explore"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/services/rngd"
)

var (
	oneSeed = flag.Uint64("seed", 0, "play with this seed only")
	seeds   = flag.Uint64("seeds", 10, "how many seeds to play each scenario with, twice each")
)

func chance(seed, boot uint64) rngd.Source { return rngd.Seeded(seed, boot) }

// Every scenario plays by seed: twice the same for each, and different traces
// for different seeds.
// Replay one with: go test -tags insecure_deterministic ./tests/scenarios -run Seeded/NAME -seed N
func TestSeeded(t *testing.T) {
	first, last := uint64(1), *seeds
	if *oneSeed != 0 {
		first, last = *oneSeed, *oneSeed
	}
	for _, s := range load(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			traces := make(map[[sha256.Size]byte]uint64)
			for seed := first; seed <= last; seed++ {
				a, b := play(t, s, seed), play(t, s, seed)
				if a != b {
					t.Fatalf("seed %d: two plays differ", seed)
				}
				if other, seen := traces[a]; seen {
					t.Errorf("seeds %d and %d have one trace", other, seed)
				}
				traces[a] = seed
			}
		})
	}
}

// play answers a digest of markers, outcomes, trace and disk.
func play(t *testing.T, s *scenario.Scenario, seed uint64) [sha256.Size]byte {
	t.Helper()
	p := explore.Play(s, seed, chance, true)
	if p.Err != nil {
		t.Fatalf("seed %d: %v", seed, p.Err)
	}
	return p.Digest
}
