package boot_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/disk"
)

// launch boots on a real directory, logs a user in and starts an app.
func launch(t *testing.T) (*disk.Dir, *boot.App) {
	t.Helper()
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := boot.Boot(boot.Config{Disk: d, Argon: identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Shutdown()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := s.Launcher()
	if err != nil {
		t.Fatal(err)
	}
	ctx, password := context.Background(), boot.Password([]byte("a password"))
	if err := l.CreateUser(ctx, "alice", password); err != nil {
		t.Fatal(err)
	}
	sid, err := l.StartSession(ctx, "alice", password)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unseal(ctx, sid, password); err != nil {
		t.Fatal(err)
	}
	app, err := l.Launch(ctx, sid, "notes", capability.Put|capability.Get|capability.List)
	if err != nil {
		t.Fatal(err)
	}
	return d, app
}

func TestGetTouchesNoDisk(t *testing.T) {
	d, app := launch(t)
	ctx := context.Background()
	if err := app.Keychain.Put(ctx, "name", secret.Copy([]byte("value"))); err != nil {
		t.Fatal(err)
	}
	before := d.Stats()
	for range 100 {
		if v, err := app.Keychain.Get(ctx, "name"); err != nil || string(v.Expose()) != "value" {
			t.Fatal(err)
		}
	}
	if after := d.Stats(); after != before {
		t.Errorf("100 gets changed the disk's counters from %+v to %+v", before, after)
	}
}

func TestPutsShareSyncs(t *testing.T) {
	const writers, each = 64, 8
	d, app := launch(t)
	ctx := context.Background()
	if err := app.Keychain.Put(ctx, "warm", secret.New(1)); err != nil {
		t.Fatal(err)
	}
	before := d.Stats().Syncs
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := range each {
				name := fmt.Sprintf("w%d-%d", w, i%2)
				if err := app.Keychain.Put(ctx, name, secret.New(300)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done.Wait()
	syncs := d.Stats().Syncs - before
	if syncs >= writers*each {
		t.Errorf("%d puts took %d syncs", writers*each, syncs)
	}
	t.Logf("%d puts took %d syncs", writers*each, syncs)
}
