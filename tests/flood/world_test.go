package flood

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/statefsd/simdisk"
)

// cheap keeps Argon2id out of the way of what is tested here.
var cheap = identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}

// world is a booted system with three users: alice, of whose two apps one will
// flood, bob with an app, and carol, whose session is locked and ended.
type world struct {
	*boot.System
	tb       testing.TB
	launcher *boot.Launcher
	sids     map[string]uint64
	flooder  *boot.App // alice's notes
	mail     *boot.App // alice's mail
	bob      *boot.App // bob's notes

	mu     sync.Mutex
	failed []error
}

// bare is all that a boot needs.
func bare() boot.Config { return boot.Config{Disk: simdisk.New(), Argon: cheap} }

func start(tb testing.TB, change func(*boot.Config)) *world {
	tb.Helper()
	w := &world{tb: tb, sids: make(map[string]uint64)}
	cfg := bare()
	cfg.Crash = func(r *ipc.PanicReport) { tb.Errorf("%s panicked at %s", r.Task, r.Frames) }
	change(&cfg)
	var err error
	if w.System, err = boot.Boot(cfg); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.Shutdown)
	if w.launcher, err = w.Launcher(); err != nil {
		tb.Fatal(err)
	}
	w.wait(w.as(w.launcher.Task(), w.prepare))
	return w
}

func (w *world) prepare(ctx context.Context) error {
	for _, user := range []string{"alice", "bob", "carol"} {
		if err := w.launcher.CreateUser(ctx, user, password(user)); err != nil {
			return fmt.Errorf("create %s: %w", user, err)
		}
		if err := w.login(ctx, user); err != nil {
			return err
		}
	}
	for _, a := range []struct {
		user, id string
		app      **boot.App
	}{{"alice", "notes", &w.flooder}, {"alice", "mail", &w.mail}, {"bob", "notes", &w.bob}} {
		var err error
		if *a.app, err = w.launcher.Launch(ctx, w.sids[a.user], a.id, boot.AppRights); err != nil {
			return fmt.Errorf("launch %s's %s: %w", a.user, a.id, err)
		}
	}
	return nil
}

func password(user string) boot.Credential { return boot.Password([]byte("the password of " + user)) }

// login starts a session and unseals it.
func (w *world) login(ctx context.Context, user string) error {
	sid, err := w.launcher.StartSession(ctx, user, password(user))
	if err != nil {
		return fmt.Errorf("log %s in: %w", user, err)
	}
	w.sids[user] = sid
	if err := w.launcher.Unseal(ctx, sid, password(user)); err != nil {
		return fmt.Errorf("unseal %s: %w", user, err)
	}
	return nil
}

// as runs fn as a flow of control of a task. What it returns fails the test, in
// wait.
func (w *world) as(t *ipc.Task, fn func(ctx context.Context) error) (done chan struct{}) {
	done = make(chan struct{})
	t.Go(func(ctx context.Context) {
		defer close(done)
		if err := fn(ctx); err != nil {
			w.mu.Lock()
			w.failed = append(w.failed, err)
			w.mu.Unlock()
		}
	})
	return done
}

// wait waits for flows of control, and fails the test if one has failed.
func (w *world) wait(all ...chan struct{}) {
	w.tb.Helper()
	for _, done := range all {
		if !w.Await(done) {
			w.tb.Fatal("somebody waits forever")
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.failed {
		w.tb.Error(err)
	}
	if len(w.failed) > 0 {
		w.tb.FailNow()
	}
}
