package script

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"nexus.internal/os/actors"
	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/statefsd/simdisk"
)

// world is a system on a disk in memory, and a runner on it.
type world struct {
	system   *boot.System
	shutdown func() // the test's end does it otherwise
	runner   *Runner
	results  []Result
	heard    func(Result) // hears of each result as well, if set
}

// newWorld boots on goroutines, or in the order of a seed.
func newWorld(t *testing.T, sched actors.Scheduler) *world {
	t.Helper()
	w := new(world)
	console := NewConsole(nil)
	s, err := boot.Boot(boot.Config{
		Disk: simdisk.New(), Console: console, Scheduler: sched,
		Argon: identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}, // Nothing here guesses.
		Crash: func(r *ipc.PanicReport) { t.Errorf("%s panicked at %s", r.Task, r.Frames) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.system, w.shutdown = s, sync.OnceFunc(s.Shutdown)
	t.Cleanup(w.shutdown)
	w.runner, err = NewRunner(s, console, func(r Result) {
		w.results = append(w.results, r)
		if w.heard != nil {
			w.heard(r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// bySeed is an order in which virtual time passes only when nobody can run.
func bySeed() actors.Scheduler { return seeded.New(1) }

// run runs a script that must succeed.
func (w *world) run(t *testing.T, text string) {
	t.Helper()
	if err := w.runner.Run("test", strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// fail runs a script that must fail, and returns its failure.
func (w *world) fail(t *testing.T, text string) *Failure {
	t.Helper()
	err := w.runner.Run("test", strings.NewReader(text))
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("%q: got %v, want a failure", text, err)
	}
	return f
}
