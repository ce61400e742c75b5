package ui_v18b_host

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd/simdisk"
)

// soon waits for something that must not need anybody's help.
func soon[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("%s does not come", what)
	}
	return v
}

// TestSessionVoidedInMidRequest locks, and ends, a session while a put of it
// waits for the disk. The caller is told at once; lock and end return when the
// handler is over, and nothing was acknowledged.
func TestSessionVoidedInMidRequest(t *testing.T) {
	for _, end := range []bool{false, true} {
		g := &gated{Disk: simdisk.New()}
		w := start(t, g)
		alice := w.newUser("alice")
		notes := alice.app("notes")
		notes.put("token", "old")
		notes.put("other", "kept")
		bobs := w.newUser("bob").app("notes")
		bobs.put("token", "of bob")

		sync := g.hold(t, "state/identity/alice/vault.kv")
		put := make(chan error, 1)
		go func() { put <- notes.tryPut("token", "new") }()
		soon(t, "the sync", sync.arrived)
		notes.holds("token", "old") // A get waits for no sync, and sees nothing that is not durable.
		bobs.holds("token", "of bob")

		voided := make(chan error, 1)
		go func() {
			if end {
				voided <- w.launcher.End(w.ctx(), alice.sid)
			} else {
				voided <- w.launcher.Lock(w.ctx(), alice.sid)
			}
		}()
		want(t, soon(t, "the put's error", put), ipc.Denied)
		notes.denied("token")
		bobs.put("token", "of bob")
		select {
		case err := <-voided:
			t.Errorf("voided (%v) while the handler still runs", err)
		case <-time.After(50 * time.Millisecond):
		}
		sync.open()
		must(t, soon(t, "the answer to lock", voided))

		if end {
			alice.login()
		}
		alice.unseal()
		again := alice.app("notes")
		if got, err := again.tryGet("token"); err != nil || got != "old" && got != "new" {
			t.Errorf("afterwards: %q, %v", got, err)
		}
		again.holds("other", "kept")
		again.put("token", "newer")
		again.holds("token", "newer")
		bobs.holds("token", "of bob")
		w.end()
	}
}

// TestManyInFlight has many puts at one sync, and locks: each of them is told,
// none is acknowledged, and the console shows those that happened all the same.
func TestManyInFlight(t *testing.T) {
	const writers = 64
	g := &gated{Disk: simdisk.New()}
	w := start(t, g)
	alice := w.newUser("alice")
	notes := alice.app("notes")
	sync := g.hold(t, "state/identity/alice/vault.kv")
	errs := make(chan error, writers)
	for i := range writers {
		go func() { errs <- notes.tryPut(fmt.Sprint("name", i), "v") }()
	}
	soon(t, "the sync", sync.arrived)
	locked := make(chan error, 1)
	go func() { locked <- w.launcher.Lock(w.ctx(), alice.sid) }()
	for range writers {
		want(t, soon(t, "a put's error", errs), ipc.Denied)
	}
	sync.open()
	must(t, soon(t, "the answer to lock", locked))
	alice.unseal()
	names, err := alice.app("notes").Keychain.List(w.ctx())
	must(t, err)
	for i := range writers {
		name := fmt.Sprint("name", i)
		shown := w.console.count("keystore: put (app=notes, key=" + name + ")")
		if there := slices.Contains(names, name); there != (shown == 1) || shown > 1 {
			t.Errorf("%s is there: %v; the console says so %d times", name, there, shown)
		}
	}
}

// TestFirstPutsTogether has many puts at once be an app's first ones: it gets
// one key, and none of them fails.
func TestFirstPutsTogether(t *testing.T) {
	const writers = 64
	w := fresh(t)
	notes := w.newUser("alice").app("notes")
	errs := make(chan error, writers)
	kept := make(map[string]string)
	for i := range writers {
		name := fmt.Sprint("name", i)
		kept[name] = "v"
		go func() { errs <- notes.tryPut(name, "v") }()
	}
	for range writers {
		if err := soon(t, "a put's answer", errs); err != nil {
			t.Error(err)
		}
	}
	notes.isExactly(kept)
}

// TestExitInMidRequest lets an app's task exit while its put waits for the disk.
func TestExitInMidRequest(t *testing.T) {
	g := &gated{Disk: simdisk.New()}
	w := start(t, g)
	alice := w.newUser("alice")
	notes, mail := alice.app("notes"), alice.app("mail")
	sync := g.hold(t, "state/identity/alice/vault.kv")
	put := make(chan error, 1)
	go func() { put <- notes.tryPut("token", "v") }()
	soon(t, "the sync", sync.arrived)
	notes.Exit()
	if err := soon(t, "the put's error", put); err == nil {
		t.Error("a put of a task that exited was acknowledged")
	}
	sync.open()
	mail.put("token", "of mail")
	mail.holds("token", "of mail")
	alice.app("notes").put("after", "v")
}
