package identityd

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/tests/rig"
)

func TestWellFormed(t *testing.T) {
	for _, c := range []struct {
		name string
		cred *wire.Credential
		ok   bool
	}{
		{"nothing", nil, false},
		{"no kind", &wire.Credential{Secret: []byte("long enough")}, false},
		{"unknown kind", &wire.Credential{Kind: 3, Secret: []byte("long enough")}, false},
		{"negative kind", &wire.Credential{Kind: -1, Secret: []byte("long enough")}, false},
		{"password n-1", password(strings.Repeat("a", MinPassword-1)), false},
		{"password n", password(strings.Repeat("a", MinPassword)), true},
		{"password n+1", password(strings.Repeat("a", MinPassword+1)), true},
		{"password N-1", password(strings.Repeat("a", MaxPassword-1)), true},
		{"password N", password(strings.Repeat("a", MaxPassword)), true},
		{"password N+1", password(strings.Repeat("a", MaxPassword+1)), false},
		{"password with anything in it", password("\x00 \n\U0001f600ä"), true},
		{"password not UTF-8", password("12345678\xff"), false},
		{"pin n-1", pin(strings.Repeat("1", MinPIN-1)), false},
		{"pin n", pin(strings.Repeat("1", MinPIN)), true},
		{"pin n+1", pin(strings.Repeat("1", MinPIN+1)), true},
		{"pin N-1", pin(strings.Repeat("1", MaxPIN-1)), true},
		{"pin N", pin(strings.Repeat("1", MaxPIN)), true},
		{"pin N+1", pin(strings.Repeat("1", MaxPIN+1)), false},
		{"pin with a letter", pin("12345a"), false},
		{"pin with a space", pin("12345 "), false},
		{"pin with a foreign digit", pin("12345\u0661"), false},
	} {
		if wellFormed(c.cred) != c.ok {
			t.Errorf("%s: %v", c.name, !c.ok)
		}
	}
}

// TestStretchVector pins what a secret becomes: another output would lock every
// user out. An independent implementation (noble-hashes) gave the same bytes.
func TestStretchVector(t *testing.T) {
	salt := [userdb.SaltSize]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	out := stretch([]byte("correct horse"), &salt, Params{MemoryKiB: 64, Passes: 3, Lanes: 2})
	const verifier = "6b79642cbc656e6406739ca36500eccd1576745e26cc4cc53335e59a8b3c53e7"
	const auth = "9cc5b2190eded7fc2850802c411e7c5ba91f9eb20cd0a0e0e678076dc2f2e79d"
	if got := hex.EncodeToString(out.verifier[:]); got != verifier {
		t.Errorf("verifier %s", got)
	}
	if got := hex.EncodeToString(out.auth.Expose()); got != auth {
		t.Errorf("auth %s", got)
	}
	if out.auth.Len() != AuthSize || bytes.Equal(out.auth.Expose(), out.verifier[:]) {
		t.Error("the auth token is the verifier")
	}
	if !out.matches(&userdb.Protector{Verifier: out.verifier}) || out.matches(&userdb.Protector{}) {
		t.Error("matches")
	}
	other := salt
	other[15]++
	for name, changed := range map[string]stretched{
		"secret": stretch([]byte("correct horsf"), &salt, Params{MemoryKiB: 64, Passes: 3, Lanes: 2}),
		"salt":   stretch([]byte("correct horse"), &other, Params{MemoryKiB: 64, Passes: 3, Lanes: 2}),
		"memory": stretch([]byte("correct horse"), &salt, Params{MemoryKiB: 72, Passes: 3, Lanes: 2}),
		"passes": stretch([]byte("correct horse"), &salt, Params{MemoryKiB: 64, Passes: 4, Lanes: 2}),
	} {
		if changed.verifier == out.verifier || changed.auth.Equal(out.auth) {
			t.Errorf("another %s, the same output", name)
		}
	}
}

func TestFloorIsTheDefault(t *testing.T) {
	s := New(nil, Config{})
	if s.cfg.Argon != Floor() || !Floor().AtLeast(Floor()) || Floor().Validate() != nil {
		t.Errorf("%+v", s.cfg.Argon)
	}
}

// TestGateLetsThroughInOrder has many requests at a gate of every width: never
// more than the width at once, and in the order of their arrival.
func TestGateLetsThroughInOrder(t *testing.T) {
	eachSeed(t, 20, func(t *testing.T, seed uint64) {
		for width := 1; width <= 3; width++ {
			r := rig.NewSeeded(t, seed, nil)
			task := r.Task(ipc.TaskSpec{Name: "gated"})
			g := newGate(width)
			inside, most := 0, 0
			var came, went []int
			var over []chan struct{}
			for i := range 12 {
				done := make(chan struct{})
				over = append(over, done)
				task.Go(func(ctx context.Context) {
					defer close(done)
					came = append(came, i)
					if err := g.enter(ctx, task); err != nil {
						t.Error(err)
						return
					}
					went = append(went, i)
					inside++
					most = max(most, inside)
					if err := task.Sleep(ctx, time.Millisecond); err != nil {
						t.Error(err)
					}
					inside--
					g.leave()
				})
			}
			for _, done := range over {
				if !r.Sched.Await(done, nil) {
					t.Fatal("somebody waits forever")
				}
			}
			if most != width || !slices.Equal(came, went) || g.free != width || len(g.waiting) != 0 {
				t.Errorf("width %d: %d at once, came %v, went %v", width, most, came, went)
			}
		}
	})
}

// TestGateFillsUp opens a gate for several at once, in whatever order they wake.
func TestGateFillsUp(t *testing.T) {
	eachSeed(t, 20, func(t *testing.T, seed uint64) {
		r := rig.NewSeeded(t, seed, nil)
		task := r.Task(ipc.TaskSpec{Name: "gated"})
		g := newGate(3)
		g.free = 0
		inside := 0
		for range 5 {
			task.Go(func(ctx context.Context) {
				if g.enter(ctx, task) == nil { // Those left over fail when the rig closes.
					inside++
				}
			})
		}
		r.Do(task, func(ctx context.Context) {
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				t.Error(err)
			}
			for range 3 {
				g.leave()
			}
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				t.Error(err)
			}
		})
		if inside != 3 {
			t.Errorf("%d got in", inside)
		}
	})
}
