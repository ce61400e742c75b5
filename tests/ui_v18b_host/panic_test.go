package ui_v18b_host

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/policyd"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// The real services panic on no input. What panics here is what they call
// outside: the console, the disk and the hook for audit records.

// trapped is a disk that panics at the next sync, once.
type trapped struct {
	disk.Disk
	now atomic.Bool
}

func (d *trapped) Sync(path string) error {
	if d.now.Swap(false) {
		panic("disk: the test asked for it")
	}
	return d.Disk.Sync(path)
}

// crashedOnce says that this service panicked, and only once, and that the
// report of it tells no value. It returns when the service is there again.
func (w *world) crashedOnce(service string) {
	w.t.Helper()
	var all []*ipc.PanicReport
	for end := time.Now().Add(patience); len(all) == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		all = w.panics() // The caller is told before the report is written.
	}
	if len(all) != 1 || all[0].Task != service {
		w.t.Fatalf("panics: %+v, want one of %s", all, service)
	}
	if strings.Contains(all[0].Error(), "asked for it") || !strings.Contains(all[0].Frames, "_test.go") {
		w.t.Errorf("the report says %q", all[0].Error())
	}
	must(w.t, w.launcher.Task().AwaitReady(w.ctx(), w.Task(service)))
	line := strings.Replace(service, "keystored", "keystore", 1) + ": ready"
	w.console.restarted = append(w.console.restarted, line)
}

// TestKeystoredPanics panics between the sync of a put and its answer.
func TestKeystoredPanics(t *testing.T) {
	w := fresh(t)
	alice := w.newUser("alice")
	notes := alice.app("notes")
	notes.put("token", "old")
	notes.put("other", "kept")
	w.console.failAt("key=token")
	want(t, notes.tryPut("token", "new"), ipc.Unavailable)
	w.crashedOnce("keystored")
	notes.holds("other", "kept")
	notes.holds("token", "new") // Durable, though not acknowledged.
	notes.put("token", "newer")
	notes.holds("token", "newer")
	notes.lists("other", "token")
	alice.lock()
	notes.denied("token")
	alice.unseal()
	alice.app("notes").holds("token", "newer")
}

// TestStatefsdPanics panics between a write and its sync.
func TestStatefsdPanics(t *testing.T) {
	d := &trapped{Disk: simdisk.New()}
	w := start(t, d)
	alice := w.newUser("alice")
	notes := alice.app("notes")
	notes.put("token", "old")
	notes.put("other", "kept")
	d.now.Store(true)
	if err := notes.tryPut("token", "new"); !errors.Is(err, ipc.IOError) && !errors.Is(err, ipc.Unavailable) {
		t.Errorf("put: %v", err)
	}
	w.crashedOnce("statefsd")
	notes.holds("token", "old")
	notes.put("token", "newer")
	notes.holds("token", "newer")
	notes.holds("other", "kept")
	w.end()

	notes = start(t, d).back("alice").app("notes")
	notes.holds("token", "newer")
	notes.holds("other", "kept")
}

// TestIdentitydPanics panics in a login. Every session is gone, at once; no
// secret is.
func TestIdentitydPanics(t *testing.T) {
	w := fresh(t)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	hers, his := alice.app("notes"), bob.app("notes")
	hers.put("token", "of alice")
	his.put("token", "of bob")
	w.console.failAt("identity: session start")
	_, err := w.launcher.StartSession(w.ctx(), "alice", alice.password)
	want(t, err, ipc.Unavailable)
	w.crashedOnce("identityd")
	hers.denied("token")
	his.denied("token")
	for _, sid := range []uint64{alice.sid, bob.sid} {
		if s, err := w.launcher.Active(w.ctx(), sid); err != nil || s.Active {
			t.Errorf("session %d: %+v, %v", sid, s, err)
		}
	}
	w.back("alice").app("notes").holds("token", "of alice")
	w.back("bob").app("notes").holds("token", "of bob")
}

// TestPolicydPanics panics in a decision: nobody gets a token from that.
func TestPolicydPanics(t *testing.T) {
	var trap atomic.Bool
	w := start(t, simdisk.New(), func(c *boot.Config) {
		c.Audit = func(policyd.Record) {
			if trap.Swap(false) {
				panic("audit: the test asked for it")
			}
		}
	})
	alice := w.newUser("alice")
	notes := alice.app("notes")
	notes.put("token", "v")
	trap.Store(true)
	_, err := w.launcher.Launch(w.ctx(), alice.sid, "notes", boot.AppRights)
	want(t, err, ipc.Unavailable)
	w.crashedOnce("policyd")
	notes.holds("token", "v")
	alice.app("notes").holds("token", "v")
}
