package explore

import (
	"context"
	"slices"
	"strings"

	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/services/rngd"
)

// Limits of shrinking.
const (
	maxTries = 600 // runs in all
	tryings  = 3   // seeds for each candidate: with fewer lines, another one may be needed
)

// shrinker makes a failing scenario shorter.
type shrinker struct {
	way    string
	chance func(seed, boot uint64) rngd.Source
	best   *scenario.Scenario
	tries  int
	ctx    context.Context
}

// Shrink takes away lines for as long as what is left fails in the same way. It
// ends at a scenario from which no single line can go, or after maxTries runs,
// or with ctx.
func Shrink(ctx context.Context, f *Failure, chance func(seed, boot uint64) rngd.Source) *scenario.Scenario {
	sh := &shrinker{way: Way(f.Err), chance: chance, best: f.Scenario, ctx: ctx}
	lines := strings.Split(strings.TrimSuffix(f.Scenario.Script, "\n"), "\n")
	for size := len(lines) / 2; size > 0; {
		shorter, found := sh.without(lines, size)
		if found {
			lines = shorter
			size = min(size, len(lines)/2)
			continue
		}
		size /= 2
	}
	return sh.best
}

// without looks for runs of size lines that can go, from the end to the
// beginning.
func (sh *shrinker) without(lines []string, size int) (shorter []string, found bool) {
	for at := len(lines) - size; at >= 0; at -= size {
		candidate := slices.Delete(slices.Clone(lines), at, at+size)
		if sh.fails(candidate) {
			lines, found = candidate, true
		}
	}
	return lines, found
}

// fails says whether the lines still fail in the same way, under one of a few
// seeds, and remembers them if they do.
func (sh *shrinker) fails(lines []string) bool {
	for i := range int64(tryings) {
		if sh.tries++; sh.tries > maxTries || sh.ctx.Err() != nil {
			return false
		}
		s := *sh.best
		s.Script = strings.Join(lines, "\n") + "\n"
		s.Machine.Seed = sh.best.Machine.Seed + i
		if run := Play(&s, uint64(s.Machine.Seed), sh.chance, false); run.Err != nil && Way(run.Err) == sh.way {
			sh.best = &s
			return true
		}
	}
	return false
}
