//go:build insecure_deterministic

package explore

import (
	"context"
	"flag"
	"strings"
	"testing"

	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/services/rngd"
)

var (
	seeds = flag.Uint64("seeds", 500, "how many seeds to explore")
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

// TestTwice: two runs of one seed have one console, trace and disk, and those
// of different seeds differ.
func TestTwice(t *testing.T) {
	_, failed := Run(context.Background(), Config{First: *first, Count: min(*seeds, 100), Faults: machine.Kinds, Chance: chance, Workers: 2, Twice: true}, func(Totals) {})
	if failed != nil {
		t.Fatalf("seed %d: %v", failed.Seed, failed.Err)
	}
}

// TestShrink makes a failure short, and it still fails in the same way.
func TestShrink(t *testing.T) {
	s := Workload(3, machine.Kinds)
	lines := strings.SplitAfter(s.Script, "\n")
	planted := "create-user dave pin 123456\nunlock dave pin 123456\nput dave/notes x right\nget dave/notes x wrong\n"
	s.Script = lines[0] + planted + strings.Join(lines[1:], "")
	run := Play(s, 3, chance, false)
	if run.Err == nil {
		t.Fatal("the planted mistake does not show")
	}
	short := Shrink(context.Background(), &Failure{Seed: 3, Scenario: s, Err: run.Err}, chance)
	if got, want := short.Script, "boot\n"+planted; got != want {
		t.Errorf("shrunk to\n%s\nwant\n%s", got, want)
	}
	again := Play(short, uint64(short.Machine.Seed), chance, false)
	if again.Err == nil || Way(again.Err) != Way(run.Err) || Way(run.Err) != "mismatch get" {
		t.Errorf("it fails by %v, and did by %v", again.Err, run.Err)
	}
	parsed, err := scenario.Parse("short", short.Format())
	if err != nil || parsed.Script != short.Script || parsed.Machine != short.Machine {
		t.Errorf("as a file it is another one: %v, %+v", err, parsed)
	}
}

// TestWorkloads: every workload can be read as a file, and no two are the same.
func TestWorkloads(t *testing.T) {
	seen := make(map[string]bool)
	for seed := range uint64(300) {
		s := Workload(seed, machine.Kinds)
		if _, err := scenario.Parse(s.Name, s.Format()); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		seen[s.Script] = true
	}
	if len(seen) < 300 {
		t.Errorf("%d workloads of 300 seeds", len(seen))
	}
}

// TestInterrupted: an exploration that is ended returns what it has.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	totals, failed := Run(ctx, Config{First: 1, Count: 1 << 40, Faults: machine.Kinds, Chance: chance, Workers: 2}, func(t Totals) {
		if t.Seeds >= 5 {
			cancel()
		}
	})
	if failed != nil || totals.Seeds < 5 || totals.Seeds > 10 {
		t.Errorf("%d seeds, %v", totals.Seeds, failed)
	}
}
