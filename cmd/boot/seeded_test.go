//go:build insecure_deterministic

package boot_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/simdisk"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run this seed only")
	seeds   = flag.Uint64("seeds", 100, "how many seeds to run, twice each")
)

// cheap keeps Argon2id out of the way of what is tested here.
var cheap = identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}

// outcome is everything that one run shows.
type outcome struct {
	trace   [sha256.Size]byte
	disk    [sha256.Size]byte
	console string
	steps   uint64
}

// TestWholeBootBySeed boots, runs several users' apps side by side, locks in
// the middle of it, and shuts down; twice for each seed.
// Replay one with: go test -tags insecure_deterministic ./cmd/boot -run WholeBoot -seed N
func TestWholeBootBySeed(t *testing.T) {
	first, last := uint64(1), *seeds
	if *oneSeed != 0 {
		first, last = *oneSeed, *oneSeed
	}
	traces := make(map[[sha256.Size]byte]uint64)
	for seed := first; seed <= last; seed++ {
		a, b := runSeed(t, seed), runSeed(t, seed)
		if a != b {
			t.Fatalf("seed %d: two runs differ: trace %v, disk %v, console %v, steps %d and %d",
				seed, a.trace == b.trace, a.disk == b.disk, a.console == b.console, a.steps, b.steps)
		}
		if other, seen := traces[a.trace]; seen {
			t.Errorf("seeds %d and %d have one trace", other, seed)
		}
		traces[a.trace] = seed
	}
}

func runSeed(t *testing.T, seed uint64) outcome {
	t.Helper()
	trace := sha256.New()
	var console bytes.Buffer
	disk := simdisk.New()
	sched := seeded.New(seed)
	s, err := boot.Boot(boot.Config{
		Disk: disk, Console: &console, Scheduler: sched, Argon: cheap,
		Chance: func(n uint64) rngd.Source { return rngd.Seeded(seed, n) },
		Tap:    func(e ipc.TraceEvent) { fmt.Fprintln(trace, e) },
		Crash:  func(r *ipc.PanicReport) { t.Errorf("seed %d: %s panicked at %s", seed, r.Task, r.Frames) },
	})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	w := &workload{t: t, seed: seed, system: s}
	w.run()
	s.Shutdown()
	return outcome{[sha256.Size]byte(trace.Sum(nil)), disk.Hash(), console.String(), sched.Steps()}
}

// workload is two users with two apps each, and somebody who locks.
type workload struct {
	t      *testing.T
	seed   uint64
	system *boot.System
}

func (w *workload) run() {
	l, err := w.system.Launcher()
	if err != nil {
		w.t.Fatal(err)
	}
	var sids []uint64
	var apps []*boot.App
	if !w.system.Run(l.Task(), func(ctx context.Context) { sids, apps = w.prepare(ctx, l) }) {
		w.t.Fatalf("seed %d: stuck", w.seed)
	}
	done := make([]chan struct{}, 0, len(apps)+1)
	for i, a := range apps {
		finished := make(chan struct{})
		done = append(done, finished)
		a.Task.Go(func(ctx context.Context) {
			defer close(finished)
			w.use(ctx, i, a)
		})
	}
	locked := make(chan struct{})
	done = append(done, locked)
	l.Task().Go(func(ctx context.Context) {
		defer close(locked)
		rng := rand.New(rand.NewPCG(w.seed, 99))
		if err := l.Task().Sleep(ctx, time.Duration(rng.IntN(2))*time.Millisecond); err != nil {
			w.t.Error(err)
		}
		if err := l.Lock(ctx, sids[0]); err != nil {
			w.t.Errorf("seed %d: lock: %v", w.seed, err)
		}
	})
	for _, d := range done {
		if !w.system.Await(d) {
			w.t.Fatalf("seed %d: somebody waits forever", w.seed)
		}
	}
}

func (w *workload) prepare(ctx context.Context, l *boot.Launcher) (sids []uint64, apps []*boot.App) {
	for _, user := range []string{"alice", "bob"} {
		c := boot.Password([]byte("the password of " + user))
		if err := l.CreateUser(ctx, user, c); err != nil {
			w.t.Errorf("seed %d: create %s: %v", w.seed, user, err)
		}
		sid, err := l.StartSession(ctx, user, c)
		if err != nil {
			w.t.Errorf("seed %d: start %s: %v", w.seed, user, err)
		}
		if err := l.Unseal(ctx, sid, c); err != nil {
			w.t.Errorf("seed %d: unseal %s: %v", w.seed, user, err)
		}
		sids = append(sids, sid)
		for _, id := range []string{"notes", "mail"} {
			a, err := l.Launch(ctx, sid, id, boot.AppRights)
			if err != nil {
				w.t.Fatalf("seed %d: launch: %v", w.seed, err)
			}
			apps = append(apps, a)
		}
	}
	return sids, apps
}

// use runs random operations and compares them with a map. Once it is locked
// out, an app must stay so.
func (w *workload) use(ctx context.Context, n int, a *boot.App) {
	rng := rand.New(rand.NewPCG(w.seed, uint64(n)))
	model := make(map[string]string)
	for range 12 {
		name := fmt.Sprint("name", rng.IntN(4))
		var err error
		switch rng.IntN(4) {
		case 0, 1:
			value := fmt.Sprint("value ", rng.Uint32())
			if err = a.Keychain.Put(ctx, name, secret.Copy([]byte(value))); err == nil {
				model[name] = value
			}
		case 2:
			var got *secret.Bytes
			got, err = a.Keychain.Get(ctx, name)
			want, there := model[name]
			if err == nil && (!there || string(got.Expose()) != want) || errors.Is(err, ipc.NotFound) && there {
				w.t.Errorf("seed %d: app %d: get %s: %v, model has it: %v", w.seed, n, name, err, there)
			}
		case 3:
			if err = a.Keychain.Delete(ctx, name); err == nil {
				delete(model, name)
			}
		}
		if errors.Is(err, ipc.Denied) && n < 2 {
			if _, err := a.Keychain.Get(ctx, name); !errors.Is(err, ipc.Denied) {
				w.t.Errorf("seed %d: app %d: %v after it was denied", w.seed, n, err)
			}
			return
		}
		if err != nil && !errors.Is(err, ipc.NotFound) {
			w.t.Errorf("seed %d: app %d: %v", w.seed, n, err)
			return
		}
	}
}
