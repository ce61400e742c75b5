package keymintd

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// uninstall destroys the app's ring.
func (a *app) uninstall(ctx context.Context) error {
	return a.w.call(ctx, a.w.admin, wire.OpRemoveApp, a.token, &wire.RemoveAppRequest{}, &wire.RemoveAppReply{})
}

// stocked is a disk with two apps of alice's that have keys.
func stocked(t *testing.T) *simdisk.Disk {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		for _, name := range []string{"demo", "other"} {
			_, err := s.app(name).generate(ctx, "key")
			expect(t, "generate", err, nil)
		}
	})
	return d
}

// ringsOf are the files of alice's rings.
func ringsOf(t *testing.T, d disk.Disk) map[string]string {
	rings := onDisk(t, d)
	for path := range rings {
		if len(path) < len("state/identity/alice/apps/") || path[:len("state/identity/alice/apps/")] != "state/identity/alice/apps/" {
			delete(rings, path)
		}
	}
	return rings
}

// TestUninstallEverywhere lets every change of the disk fail, and the power go
// with it: the app has its keys or none, nothing is an alarm, and it can be
// uninstalled. The other app has its keys.
func TestUninstallEverywhere(t *testing.T) {
	before := stocked(t)
	cut := errors.New("the power is off")
	for n := uint64(1); ; n++ {
		d := before.Clone()
		w := boot(t, n, d)
		acknowledged, over := false, false
		w.do(func(ctx context.Context) {
			a := w.unsealed(ctx, alice).app("demo")
			calls := d.Calls()
			d.SetFault(simdisk.FailFrom(calls+n, cut))
			acknowledged = a.uninstall(ctx) == nil
			over = d.Calls() < calls+n
		})
		w = boot(t, n, d.Crash())
		w.do(func(ctx context.Context) {
			s := w.unsealed(ctx, alice)
			a := s.app("demo")
			names, err := a.list(ctx, "")
			expect(t, "list", err, nil)
			if acknowledged && len(names) > 0 {
				t.Errorf("%d: keys %q of an app that was uninstalled", n, names)
			}
			expect(t, "uninstall", a.uninstall(ctx), nil)
			_, err = a.sign(ctx, "key", nil)
			expect(t, "sign", err, ipc.NotFound)
			_, err = a.generate(ctx, "key")
			expect(t, "generate", err, nil)
			_, err = s.app("other").sign(ctx, "key", nil)
			expect(t, "sign with the other app's", err, nil)
		})
		if over {
			t.Logf("%d calls", n-1)
			return
		}
	}
}

// TestRingPutBack: the ring of an app that was uninstalled opens nothing, however
// old it is, before and after there is another one.
func TestRingPutBack(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	var copies []map[string]string // by age
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		for i := range 4 {
			_, err := a.generate(ctx, fmt.Sprint("key", i))
			expect(t, "generate", err, nil)
			copies = append(copies, ringsOf(t, d))
		}
		expect(t, "uninstall", a.uninstall(ctx), nil)
	})
	if rings := ringsOf(t, d); len(rings) != 0 {
		t.Fatalf("%d rings are left", len(rings))
	}
	for age, rings := range copies {
		for path, content := range rings {
			for _, again := range []bool{false, true} {
				d := d.Clone()
				if again {
					w := boot(t, 1, d)
					w.do(func(ctx context.Context) {
						_, err := w.unsealed(ctx, alice).app("demo").generate(ctx, "another")
						expect(t, "generate", err, nil)
					})
				}
				if err := d.Replace(path, []byte(content)); err != nil {
					t.Fatal(err)
				}
				w := boot(t, 1, d)
				w.do(func(ctx context.Context) {
					a := w.unsealed(ctx, alice).app("demo")
					_, err := a.sign(ctx, "key0", nil)
					want := error(ipc.RolledBack)
					if !again && age >= len(copies)-1 {
						want = ipc.NotFound // As a crash leaves it.
					}
					expect(t, fmt.Sprintf("sign with copy %d of %d, another ring there: %v", age+1, len(copies), again), err, want)
				})
			}
		}
	}
}

// TestLimitOfUsersKeys: at the edge, over a boot and an uninstall, whichever
// app's they are.
func TestLimitOfUsersKeys(t *testing.T) {
	d := simdisk.New()
	limits := Limits{UserSigningKeys: 3}
	begin := func() *world { return bootWith(t, rig.NewSeeded(t, 1, nil), d, &testChance{}, limits) }
	w := begin()
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a, b := s.app("demo"), s.app("other")
		for _, c := range []struct {
			app  *app
			name string
			want error
		}{
			{a, "1", nil}, {b, "1", nil}, {a, "2", nil}, {a, "3", ipc.LimitReached}, {b, "2", ipc.LimitReached}, {a, "2", ipc.Exists},
		} {
			_, err := c.app.generate(ctx, c.name)
			expect(t, "generate "+c.name, err, c.want)
		}
		expect(t, "delete", a.delete(ctx, "1"), nil)
		_, err := b.generate(ctx, "2")
		expect(t, "generate in the place of another's", err, nil)
		_, err = w.unsealed(ctx, bob).app("demo").generate(ctx, "1")
		expect(t, "generate another user's", err, nil)
	})
	w = begin()
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a, b := s.app("demo"), s.app("other")
		_, err := a.generate(ctx, "3")
		expect(t, "generate after a boot", err, ipc.LimitReached)
		expect(t, "uninstall", b.uninstall(ctx), nil)
		for _, name := range []string{"3", "4"} {
			_, err = a.generate(ctx, name)
			expect(t, "generate after an uninstall", err, nil)
		}
		_, err = b.generate(ctx, "1")
		expect(t, "generate one too many", err, ipc.LimitReached)
	})
}

// TestAppsAfterUninstalls: an app that was uninstalled makes room for another.
func TestAppsAfterUninstalls(t *testing.T) {
	w := bootWith(t, rig.NewSeeded(t, 1, nil), simdisk.New(), &testChance{}, Limits{Apps: 3})
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		for i := range 10 {
			a := s.app(fmt.Sprint("demo", i))
			_, err := a.key(ctx)
			expect(t, "key", err, nil)
			if i >= 2 {
				_, err := s.app("one-more").key(ctx)
				expect(t, "key of one more", err, ipc.LimitReached)
				expect(t, "uninstall", a.uninstall(ctx), nil)
			}
		}
	})
}
