package script

import (
	"errors"
	"strings"
	"testing"

	"nexus.internal/os/actors"
	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
)

// world is a system on a disk in memory, and a runner on it.
type world struct {
	machine  *machine.Machine
	shutdown func() // the test's end does it otherwise
	runner   *Runner
	results  []Result
	heard    func(Result) // hears of each result as well, if set
}

// newWorld boots on goroutines, or in the order of a seed.
func newWorld(t *testing.T, sched func(n int) actors.Scheduler) *world {
	t.Helper()
	w := new(world)
	console := NewConsole(nil)
	w.machine = machine.New(machine.Config{
		Boot: boot.Config{
			Console: console,
			Argon:   identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}, // Nothing here guesses.
			Crash: func(r *ipc.PanicReport) {
				if !r.Asked {
					t.Errorf("%s panicked at %s", r.Task, r.Frames)
				}
			},
		},
		Storage:   machine.NewMemory(nil),
		Scheduler: sched,
	})
	if err := w.machine.Boot(); err != nil {
		t.Fatal(err)
	}
	w.shutdown = func() { _ = w.machine.Shutdown() }
	t.Cleanup(w.shutdown)
	w.runner = NewRunner(w.machine, console, func(r Result) {
		w.results = append(w.results, r)
		if w.heard != nil {
			w.heard(r)
		}
	})
	return w
}

// bySeed is an order in which virtual time passes only when nobody can run.
func bySeed(n int) actors.Scheduler { return seeded.New(uint64(n)) }

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
