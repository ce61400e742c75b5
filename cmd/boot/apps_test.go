package boot_test

import (
	"context"
	"errors"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/statefsd/simdisk"
)

// manyApps is how many apps docs/IPC.md says can run at the same time, beside
// the launcher: each has two inboxes.
const manyApps = 185

// TestManyApps launches apps till there is no room, and one more when one exits.
func TestManyApps(t *testing.T) {
	s, err := boot.Boot(boot.Config{Disk: simdisk.New(), Argon: identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
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
	others := s.Kernel.Stats().Endpoints
	var apps []*boot.App
	for {
		app, err := l.Launch(ctx, sid, "notes", capability.Get)
		if err != nil {
			if !errors.Is(err, ipc.NoSpace) {
				t.Fatal(err)
			}
			break
		}
		apps = append(apps, app)
	}
	if len(apps) != manyApps || len(apps) != (ipc.MaxEndpoints-others)/2 {
		t.Errorf("%d apps run beside %d endpoints, want %d", len(apps), others, manyApps)
	}
	apps[0].Exit()
	if _, err := l.Launch(ctx, sid, "notes", capability.Get); err != nil {
		t.Errorf("in the place of one that has exited: %v", err)
	}
}
