//go:build insecure_deterministic

package conform

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/explore"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/services/rngd"
)

var (
	first = flag.Uint64("seed", 1, "the first seed")
	seeds = flag.Uint64("seeds", 3, "how many seeds to play each scenario with")
	boots = flag.Uint64("explore", 200, "how many made-up scenarios to play, with every kind of fault")
)

func chance(seed, boot uint64) rngd.Source { return rngd.Seeded(seed, boot) }

// bounds are those of the shipped system. Of what is not in its table, nothing is known.
func bounds(owner string, facet uint8) (depth, parallel int) {
	if facets := boot.Facets(owner); int(facet) < len(facets) {
		return facets[facet].Depth, facets[facet].Parallel
	}
	return 256, 256
}

// follow plays a scenario by a seed and checks its trace.
func follow(t *testing.T, s *scenario.Scenario, seed uint64) int {
	t.Helper()
	c := New(bounds)
	st := scenario.BySeed(seed, s, chance)
	st.Event = c.Event
	if o := s.Play(st.Stage); o.Err != nil {
		t.Fatalf("%s, seed %d: %v", s.Name, seed, o.Err)
	}
	if err := c.Verdict(); err != nil {
		t.Fatalf("%s, seed %d: %v", s.Name, seed, err)
	}
	return c.Events()
}

// TestScenarios: whatever the shipped system does in the shipped scenarios is a
// behaviour of the model.
// Replay one with: go test -tags insecure_deterministic ./tests/conform -run Scenarios/NAME -seed N -seeds 1
func TestScenarios(t *testing.T) {
	names, err := filepath.Glob("../scenarios/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no scenarios: %v", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := scenario.Parse(filepath.Base(name), text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			for seed := *first; seed < *first+*seeds; seed++ {
				if n := follow(t, s, seed); n < 100 {
					t.Errorf("seed %d: only %d events were looked at", seed, n)
				}
			}
		})
	}
}

// TestExplored: the same of scenarios that are made up, with every kind of fault.
// Replay one with: go test -tags insecure_deterministic ./tests/conform -run Explored -seed N -explore 1
func TestExplored(t *testing.T) {
	events := 0
	for seed := *first; seed < *first+*boots; seed++ {
		events += follow(t, explore.Workload(seed, machine.Kinds), seed)
	}
	t.Logf("%d made-up scenarios, %d events", *boots, events)
}
