// Package explore looks for seeds under which the system does not do what it
// promises: it makes up a workload for each, plays it by that seed, and has the
// oracle judge. A seed that fails is shrunk to a short scenario that fails in
// the same way.
//
// It touches no file and prints nothing; it does start goroutines, one for each
// processor, each of which plays whole runs by itself. A run has no goroutine.
package explore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/oracle"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/rngd"
)

// Config says what to explore.
type Config struct {
	// First is the first seed, Count how many there are.
	First, Count uint64
	// Faults are the kinds that may come; none means a world without faults.
	Faults []machine.Kind
	// Chance is the seeded source of a build that has one. Required.
	Chance func(seed, boot uint64) rngd.Source
	// Workers is how many runs are played at a time.
	Workers int
	// Twice plays every seed twice and compares.
	Twice bool
}

// Totals counts what was explored.
type Totals struct {
	Seeds   uint64
	Boots   uint64
	Steps   uint64
	Virtual uint64 // nanoseconds of the machines' time
	Fired   map[machine.Kind]int
	// Undecided counts users' histories that were too hard to judge.
	Undecided int
}

// Failure is a seed under which a promise was not kept.
type Failure struct {
	Seed     uint64
	Scenario *scenario.Scenario
	Err      error
}

// ErrTwice says that two runs of one seed differ.
var ErrTwice = errors.New("two runs of one seed differ")

// explorer is one exploration.
type explorer struct {
	Config
	next atomic.Uint64

	mu     sync.Mutex
	totals Totals
	failed *Failure // of the lowest seed
	traces map[[sha256.Size]byte]uint64
}

// Run explores till all seeds are through, one has failed, or ctx ends; then it
// returns what there is. progress hears of the totals after each seed. Of
// several seeds that fail, the lowest one is returned: which it is does not
// depend on who was quicker.
func Run(ctx context.Context, cfg Config, progress func(Totals)) (Totals, *Failure) {
	e := &explorer{Config: cfg, traces: make(map[[sha256.Size]byte]uint64)}
	e.totals.Fired = make(map[machine.Kind]int)
	var all sync.WaitGroup
	for range max(1, cfg.Workers) {
		all.Go(func() {
			for ctx.Err() == nil && e.one() {
				e.mu.Lock()
				progress(e.totals)
				e.mu.Unlock()
			}
		})
	}
	all.Wait()
	return e.totals, e.failed
}

// one plays the next seed, if it has to be played.
func (e *explorer) one() bool {
	seed := e.First + e.next.Add(1) - 1
	if seed-e.First >= e.Count || e.overtaken(seed) {
		return false
	}
	s := Workload(seed, e.Faults)
	run := Play(s, seed, e.Chance, e.Twice)
	if e.Twice && run.Err == nil {
		if again := Play(s, seed, e.Chance, true); again.Digest != run.Digest {
			run.Err = ErrTwice
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.totals.add(run)
	if e.Twice && run.Err == nil {
		if other, seen := e.traces[run.Digest]; seen {
			run.Err = fmt.Errorf("seeds %d and %d have one and the same trace", other, seed)
		}
		e.traces[run.Digest] = seed
	}
	if run.Err != nil && (e.failed == nil || seed < e.failed.Seed) {
		e.failed = &Failure{Seed: seed, Scenario: s, Err: run.Err}
	}
	return true
}

// overtaken says whether a lower seed has failed.
func (e *explorer) overtaken(seed uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed != nil && e.failed.Seed < seed
}

func (t *Totals) add(r Played) {
	t.Seeds++
	t.Boots += uint64(r.Boots)
	t.Steps += r.Steps
	t.Virtual += r.Virtual
	t.Undecided += r.Undecided
	for k, n := range r.Fired {
		t.Fired[k] += n
	}
}

// Played is one run of one scenario.
type Played struct {
	scenario.Outcome
	Steps   uint64
	Virtual uint64
	Digest  [sha256.Size]byte // of console, outcomes, trace and disk, if asked for
}

// Play plays a scenario by a seed.
func Play(s *scenario.Scenario, seed uint64, chance func(seed, boot uint64) rngd.Source, digest bool) (r Played) {
	st := scenario.BySeed(seed, s, chance)
	h := sha256.New()
	if digest {
		st.Marker = func(line string) { fmt.Fprintln(h, "marker", line) }
		st.Result = func(r script.Result) { fmt.Fprintln(h, "result", r.Line, r.Text, script.Kind(r.Err)) }
		st.Event = func(e ipc.TraceEvent) { fmt.Fprintln(h, "event", e) }
	}
	r.Outcome = s.Play(st.Stage)
	r.Steps, r.Virtual = st.Steps(), st.VirtualTime()
	if digest {
		disk := st.DiskHash()
		h.Write(disk[:])
		r.Digest = [sha256.Size]byte(h.Sum(nil))
	}
	return r
}

// Way is how a run failed, in words that do not change while it is shrunk: the
// check of the oracle, or the kind of failure and the verb.
func Way(err error) string {
	var v *oracle.Violation
	if errors.As(err, &v) {
		return v.Check
	}
	var f *script.Failure
	if errors.As(err, &f) {
		return script.Kind(f.Err) + " " + f.Verb
	}
	return script.Kind(err)
}
