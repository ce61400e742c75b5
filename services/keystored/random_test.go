package keystored_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// TestRandomRuns runs apps of one user side by side by seed, with locks, panics
// of keystored and power cuts, against a model of what was acknowledged.
func TestRandomRuns(t *testing.T) {
	eachSeed(t, 30, randomRun)
}

// fate is what is known of one name: its value, or several that it may have.
type fate map[string]bool // "" stands for absent

func randomRun(t *testing.T, r *rig.Rig, rng *rand.Rand) {
	d := simdisk.New()
	known := map[string]fate{}
	for round := range 3 {
		s := boot(t, r, d, vault.Limits{})
		c := s.session("alice")
		s.must(c.unseal(round == 0))
		for range 2 {
			randomPhase(s, c, rng, known)
			c = s.again()
		}
		if d = d.Reopen(); rng.IntN(2) == 0 {
			d = d.Crash()
		}
		r = rig.NewSeeded(t, rng.Uint64(), nil)
	}
}

// randomPhase runs three apps till they are done or somebody cuts them off.
func randomPhase(s *system, c *session, rng *rand.Rand, known map[string]fate) {
	s.t.Helper()
	var done []<-chan struct{}
	for i := range 3 {
		a := c.app(fmt.Sprint("app", i))
		steps := rng.IntN(25)
		done = append(done, a.background(func(ctx context.Context) {
			for range steps {
				randomStep(ctx, a, fmt.Sprintf("app%d/name-%d", i, rng.IntN(6)), rng, known)
			}
		}))
	}
	if rng.IntN(2) == 0 {
		s.runSteps(rng.IntN(3000))
		if rng.IntN(2) == 0 {
			s.panics.Store(true)
		} else {
			c.lock()
		}
	}
	for _, finished := range done {
		s.await(finished)
	}
	s.panics.Store(false)
	c.lock()
	s.noneLeft()
}

// randomStep does one op and notes what may be true after it.
func randomStep(ctx context.Context, a *app, place string, rng *rand.Rand, known map[string]fate) {
	_, name, _ := strings.Cut(place, "/")
	before := known[place]
	if before == nil {
		before = fate{"": true}
	}
	switch rng.IntN(4) {
	case 0:
		value, err := a.getIn(ctx, name)
		if errors.Is(err, ipc.NotFound) {
			value, err = "", nil
		}
		if err == nil && !before[value] {
			a.s.t.Errorf("%s is %.20q, and can only be one of %d others", place, value, len(before))
		}
		if err == nil {
			known[place] = fate{value: true}
		}
	case 1:
		known[place] = settled(before, "", a.deleteIn(ctx, name), ipc.NotFound)
	default:
		most := 4000
		if rng.IntN(10) == 0 {
			most = 60000 // Now and then one that does not fit a frame.
		}
		value := fmt.Sprint(rng.Uint64(), strings.Repeat("v", rng.IntN(most)))
		known[place] = settled(before, value, a.putIn(ctx, name, value), nil)
	}
}

// settled answers what a name may be after a write that ended with err.
func settled(before fate, value string, err, same error) fate {
	if err == nil || same != nil && errors.Is(err, same) {
		return fate{value: true}
	}
	after := maps.Clone(before)
	after[value] = true
	return after
}
