package identityd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
)

var (
	number = pin("123456")
	fresh  = password("battery staple")
)

// step is one operation that changes what is durable.
type step struct {
	name string
	do   func(ctx context.Context, w *world) error
	// The credentials of alice that may hold afterwards if it failed, and that
	// hold if it did not. None means that she is gone.
	failed, done []*wire.Credential
	mayBeGone    bool // if it failed
}

func unsealAlice(by *wire.Credential) func(ctx context.Context, w *world) error {
	return func(ctx context.Context, w *world) error {
		sid, err := w.start(ctx, "alice", by)
		if err != nil {
			return err
		}
		return w.unseal(ctx, sid, by)
	}
}

// history is what the steps build on: each begins where the one before ended.
var history = []step{
	{
		name:   "create",
		do:     func(ctx context.Context, w *world) error { return w.create(ctx, "alice", right) },
		failed: []*wire.Credential{right}, done: []*wire.Credential{right}, mayBeGone: true,
	},
	{
		name:   "first unseal",
		do:     unsealAlice(right),
		failed: []*wire.Credential{right}, done: []*wire.Credential{right},
	},
	{
		name:   "set a PIN",
		do:     func(ctx context.Context, w *world) error { return w.set(ctx, "alice", right, number) },
		failed: []*wire.Credential{right, number}, done: []*wire.Credential{right, number},
	},
	{
		name:   "change the password",
		do:     func(ctx context.Context, w *world) error { return w.set(ctx, "alice", number, fresh) },
		failed: []*wire.Credential{right, number, fresh}, done: []*wire.Credential{number, fresh},
	},
	{
		name: "make a recovery key",
		do: func(ctx context.Context, w *world) error {
			_, err := w.recovery(ctx, "alice", fresh)
			return err
		},
		failed: []*wire.Credential{number, fresh}, done: []*wire.Credential{number, fresh},
	},
	{
		name: "remove the PIN with itself",
		do: func(ctx context.Context, w *world) error {
			return w.removeCredential(ctx, "alice", number, number.Kind, false)
		},
		failed: []*wire.Credential{number, fresh}, done: []*wire.Credential{fresh},
	},
	{
		name:   "remove",
		do:     func(ctx context.Context, w *world) error { return w.remove(ctx, "alice", fresh) },
		failed: []*wire.Credential{fresh}, mayBeGone: true,
	},
	{
		name:   "create anew",
		do:     func(ctx context.Context, w *world) error { return w.create(ctx, "alice", right) },
		failed: []*wire.Credential{right}, done: []*wire.Credential{right}, mayBeGone: true,
	},
}

// TestEveryStepCutEverywhere does every operation, with the n-th change of the
// disk failing, for all n: before or after it happened, with the power gone or
// the system running on. Then the system, and the one booted after it, must be
// whole: the operation is done or not, whoever is there can unseal with what
// holds, and nothing is left of who is not.
func TestEveryStepCutEverywhere(t *testing.T) {
	base := newDisk()
	boot := newWorld(t, 1, base) // A system that has another user from the start.
	boot.do(func(ctx context.Context) { expect(t, "create bob", boot.create(ctx, "bob", right), nil) })
	for _, first := range []bool{true, false} {
		d := base.reboot()
		if first {
			d = newDisk()
			newWorld(t, 1, d) // TestFirstStart cuts this one.
			d = d.reboot()
		}
		for _, s := range history {
			for _, after := range []bool{false, true} {
				for _, power := range []bool{false, true} {
					cutEverywhere(t, fmt.Sprintf("first=%v,%s,after=%v,power=%v", first, s.name, after, power), d, s, after, power)
				}
			}
			w := newWorld(t, 1, d)
			w.do(func(ctx context.Context) { expect(t, s.name, s.do(ctx, w), nil) })
			d = d.reboot()
		}
	}
}

func cutEverywhere(t *testing.T, name string, d *disk, s step, after, power bool) {
	for n := 1; ; n++ {
		reached := true
		t.Run(fmt.Sprintf("%s,n=%d", name, n), func(t *testing.T) {
			broken := d.reboot()
			broken.cut, broken.after, broken.power = n, after, power
			w := newWorld(t, uint64(n), broken)
			var err error
			w.do(func(ctx context.Context) { err = s.do(ctx, w) })
			if reached = broken.made >= n; !reached {
				expect(t, "undisturbed", err, nil)
				return
			}
			var works []*wire.Credential
			if !power {
				works = w.whole(s, err)
			}
			again := newWorld(t, uint64(n), broken.reboot())
			expect(t, "the next boot", again.startErr, nil)
			for _, c := range again.whole(s, err) {
				// What held in the running system holds in the next one.
				works = slices.DeleteFunc(works, func(w *wire.Credential) bool { return w == c })
			}
			if len(works) > 0 {
				t.Errorf("%d credentials held before the boot and not after it", len(works))
			}
			again.clean()
		})
		if !reached {
			return
		}
	}
}

// TestEveryStepFailingTwice has a change of the disk fail, and the power cut
// when the step is tried again.
func TestEveryStepFailingTwice(t *testing.T) {
	d := newDisk()
	for _, s := range history {
		for _, after := range []bool{false, true} {
			for n := 1; n <= 4; n++ {
				m, reached := 1, true
				for ; reached; m++ {
					reached = failTwice(t, fmt.Sprintf("%s,after=%v,n=%d,m=%d", s.name, after, n, m), d, s, after, n, m)
				}
			}
		}
		w := newWorld(t, 1, d)
		w.do(func(ctx context.Context) { expect(t, s.name, s.do(ctx, w), nil) })
		d = d.reboot()
	}
}

// failTwice reports whether both failures came about.
func failTwice(t *testing.T, name string, d *disk, s step, after bool, n, m int) (reached bool) {
	t.Run(name, func(t *testing.T) {
		broken := d.reboot()
		broken.cut, broken.after = n, after
		w := newWorld(t, 1, broken)
		var err error
		w.do(func(ctx context.Context) {
			if err = s.do(ctx, w); err != nil {
				broken.cut, broken.after, broken.power = broken.made+m, true, true
				err = s.do(ctx, w)
				reached = broken.dead
			}
		})
		again := newWorld(t, 1, broken.reboot())
		expect(t, "the next boot", again.startErr, nil)
		again.whole(s, err)
		again.clean()
	})
	return reached
}

// whole checks the system after a step that ended with err, and returns the
// credentials that hold.
func (w *world) whole(s step, err error) (holds []*wire.Credential) {
	w.t.Helper()
	holds = w.holding(s, err)
	w.do(func(ctx context.Context) {
		if u, live := w.svc.db.Live("alice"); live && len(u.Protectors) != len(w.disk.roots["alice"].wraps) {
			w.t.Errorf("%d protectors, %d wraps", len(u.Protectors), len(w.disk.roots["alice"].wraps))
		}
	})
	return holds
}

// holding logs in with every credential, and checks which hold after a step
// that ended with err.
func (w *world) holding(s step, err error) (holds []*wire.Credential) {
	w.t.Helper()
	w.do(func(ctx context.Context) {
		may := s.done
		if err != nil {
			may = s.failed
		}
		for _, c := range []*wire.Credential{right, number, fresh} {
			w.rest(ctx)
			sid, err := w.start(ctx, "alice", c)
			if errors.Is(err, ipc.BadSecret) {
				continue
			}
			expect(w.t, "start", err, nil)
			expect(w.t, "unseal", w.unseal(ctx, sid, c), nil)
			expect(w.t, "end", w.end(ctx, sid), nil)
			holds = append(holds, c)
			if !slices.Contains(may, c) {
				w.t.Errorf("after %v a credential holds that must not", err)
			}
		}
		listed := slices.Contains(w.users(ctx), "alice")
		if listed != (len(holds) > 0) {
			w.t.Errorf("listed: %v, %d credentials", listed, len(holds))
		}
		if err == nil && len(holds) != len(s.done) || err != nil && len(holds) == 0 && !s.mayBeGone {
			w.t.Errorf("after %v, %d credentials hold", err, len(holds))
		}
	})
	return holds
}

// clean checks that the next change leaves nothing but live users.
func (w *world) clean() {
	w.t.Helper()
	w.do(func(ctx context.Context) {
		expect(w.t, "create carol", w.create(ctx, "carol", right), nil)
		users := w.users(ctx)
		if w.svc.db.Len() != len(users) || len(w.disk.roots) != len(users) {
			w.t.Errorf("%d entries and %d roots of %d users", w.svc.db.Len(), len(w.disk.roots), len(users))
		}
		for path := range w.disk.files {
			user, _, _ := strings.Cut(strings.TrimPrefix(path, folder), "/")
			if path != dbPath && path != guessesPath && !slices.Contains(users, user) {
				w.t.Errorf("%s is left", path)
			}
		}
		if !slices.Contains(users, "alice") {
			expect(w.t, "create alice", w.create(ctx, "alice", right), nil)
			expect(w.t, "unseal", unsealAlice(right)(ctx, w), nil)
		}
	})
}

// TestStartDestroysKeysOfRemovedUsers boots on a database that a crash left in
// the middle of a removal: the keys go at once, the vault with the next change.
func TestStartDestroysKeysOfRemovedUsers(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		expect(t, "unseal", unsealAlice(right)(ctx, w), nil)
		w.disk.cut, w.disk.after, w.disk.power = w.disk.made+3, true, true // behind the guess, counted and right
		expect(t, "remove", w.remove(ctx, "alice", right), ipc.IOError)
	})
	if w.disk.roots["alice"] == nil || w.disk.files[vaultFile("alice")] == nil {
		t.Fatal("the crash came too late for this test")
	}
	again := newWorld(t, 1, w.disk.reboot())
	expect(t, "start", again.startErr, nil)
	if again.disk.roots["alice"] != nil || again.disk.files[vaultFile("alice")] == nil {
		t.Error("keys are left, or the vault is gone already")
	}
	if u, _ := again.svc.db.Find("alice"); u.State != userdb.Removing {
		t.Errorf("state %d", u.State)
	}
	again.clean()
}
