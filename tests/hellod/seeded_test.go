//go:build insecure_deterministic

package hellod

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"path/filepath"
	"testing"

	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/rngd"
)

var (
	oneSeed = flag.Uint64("seed", 0, "play with this seed only, and show what happens")
	seeds   = flag.Uint64("seeds", 20, "how many seeds to play each scenario with, twice each")
)

func chance(seed, boot uint64) rngd.Source { return rngd.Seeded(seed, boot) }

// By seed, a scenario plays twice the same, and otherwise with another seed.
func TestSeeded(t *testing.T) {
	first, last := uint64(1), *seeds
	if *oneSeed != 0 {
		first, last = *oneSeed, *oneSeed
	}
	for _, s := range scenarios(t) {
		t.Run(filepath.Base(s.Name), func(t *testing.T) {
			t.Parallel()
			traces := make(map[[sha256.Size]byte]uint64)
			for seed := first; seed <= last; seed++ {
				a, b := play(t, s, seed, *oneSeed != 0), play(t, s, seed, false)
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

// play answers a digest of markers, trace and disk. With show, it logs what each
// line of the script came to, and the markers.
func play(t *testing.T, s *scenario.Scenario, seed uint64, show bool) [sha256.Size]byte {
	t.Helper()
	st := scenario.BySeed(seed, s, chance)
	withHellod(&st.Stage)
	h := sha256.New()
	st.Marker = func(line string) {
		fmt.Fprintln(h, line)
		if show {
			t.Log(line)
		}
	}
	st.Event = func(e ipc.TraceEvent) { fmt.Fprintln(h, e) }
	st.Result = func(r script.Result) {
		if show {
			t.Logf("line %d: %s %v: %q %v", r.Line, r.Verb, r.Args, r.Text, r.Err)
		}
	}
	if o := s.Play(st.Stage); o.Err != nil {
		t.Fatalf("seed %d: %v", seed, o.Err)
	}
	disk := st.DiskHash()
	h.Write(disk[:])
	return [sha256.Size]byte(h.Sum(nil))
}
