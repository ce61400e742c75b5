package modelrun

import (
	"errors"
	"flag"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"nexus.internal/os/tests/model"
)

// walk draws a world and what happens in it. A failure prints the steps, and
// rapid how to replay it: -rapid.seed=N, or -rapid.failfile=testdata/rapid/….
func walk(t *rapid.T) *World {
	return New(rapid.Uint64().Draw(t, "seed"))
}

func by(t *rapid.T) Draw {
	return func(n int) int { return rapid.IntRange(0, max(1, n)-1).Draw(t, "n") }
}

// TestWalk: whatever several tasks do, in whatever order, some of it at the same
// time, the kernel does what the model does.
// Replay one with: go test ./tests/modelrun -run TestWalk -rapid.seed=N
func TestWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, draw := walk(t), by(t)
		must(t, w.Town(draw))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			must(t, w.Do(w.Ops(draw)...))
		}
		must(t, w.Close())
	})
}

// TestMachine is the same as a state machine, one kind of operation an action, so
// that every kind comes as often as any other.
// Replay one with: go test ./tests/modelrun -run TestMachine -rapid.seed=N
func TestMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := walk(t)
		must(t, w.Town(by(t)))
		actions := make(map[string]func(*rapid.T))
		for kind := range model.Kinds {
			actions[kind.String()] = func(t *rapid.T) { must(t, w.Do(w.Op(kind, by(t)))) }
		}
		actions["two at once"] = func(t *rapid.T) { must(t, w.Do(w.Op(AnyKind(by(t)), by(t)), w.Op(AnyKind(by(t)), by(t)))) }
		t.Repeat(actions)
		must(t, w.Close())
	})
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var longSeed = flag.Uint64("long", 0, "the one seed of TestLongWalks")

// TestLongWalks goes on where tables and queues fill.
// Replay one with: go test ./tests/modelrun -run TestLongWalks -long=SEED
func TestLongWalks(t *testing.T) {
	seeds := []uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()}
	if *longSeed != 0 {
		seeds = []uint64{*longSeed}
	}
	for _, seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 0))
		w := New(seed)
		err := w.Town(rng.IntN)
		for n := 0; n < 1000 && err == nil; n++ {
			err = w.Do(w.Ops(rng.IntN)...)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestRouter: random bytes, and none, are an input; the same ones do the same.
func TestRouter(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for size := range 40 {
		input := make([]byte, size*size)
		for i := range input {
			input[i] = byte(rng.Uint32())
		}
		if err := (Router{}).Run(input); err != nil {
			t.Fatalf("seed %d, %d bytes: %v", seed, len(input), err)
		}
	}
}

// TestDisagreement: a kernel that does anything else is found out. The model is
// given a capability that the kernel has not.
func TestDisagreement(t *testing.T) {
	w := New(1)
	rng := rand.New(rand.NewPCG(1, 1))
	if err := w.Town(rng.IntN); err != nil {
		t.Fatal(err)
	}
	w.Model.Table(2)[0].Rights = 0
	w.Model.Table(2)[0].First = 0
	if err := w.Do(model.Op{Kind: model.Pass}); !errors.Is(err, ErrDisagree) {
		t.Errorf("a right too few in the model: %v", err)
	}
}
