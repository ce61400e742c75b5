package ui_v18b_host

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// fill puts, replaces and deletes, and answers what is left of each app.
func fill(a *app) map[string]string {
	a.w.t.Helper()
	left := make(map[string]string)
	for i := range 40 {
		name := fmt.Sprint("name", i%13)
		if i%7 == 6 {
			if _, there := left[name]; there {
				a.delete(name)
				delete(left, name)
			}
			continue
		}
		left[name] = strings.Repeat(fmt.Sprint(a.ID, i, " "), i)
		a.put(name, left[name])
	}
	return left
}

// TestPersistsOverRestart boots on one real directory again, in which the first
// system's services have ended their sessions.
func TestPersistsOverRestart(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.Open(dir)
	must(t, err)
	w := start(t, d)
	kept := make(map[string]map[string]string)
	for _, name := range []string{"alice", "bob"} {
		u := w.newUser(name)
		for _, id := range []string{"notes", "mail"} {
			kept[name+"/"+id] = fill(u.app(id))
		}
	}
	w.end()
	must(t, d.Close())
	for n := range 2 {
		d, err := disk.Open(dir)
		must(t, err)
		w := start(t, d)
		if w.Boot != uint64(n)+2 {
			t.Errorf("boot number %d, want %d", w.Boot, n+2)
		}
		for _, name := range []string{"alice", "bob"} {
			u := w.back(name)
			for _, id := range []string{"notes", "mail"} {
				u.app(id).isExactly(kept[name+"/"+id])
			}
		}
		w.end()
		must(t, d.Close())
	}
}

// isExactly says that the app has these secrets and no others.
func (a *app) isExactly(secrets map[string]string) {
	a.w.t.Helper()
	names, err := a.Keychain.List(a.w.ctx())
	must(a.w.t, err)
	if len(names) != len(secrets) {
		a.w.t.Errorf("%s has the names %.200q, want %d", a.ID, names, len(secrets))
	}
	for name, value := range secrets {
		a.holds(name, value)
	}
}

// TestPersistsOverPowerCut cuts the power, again and again, while the system
// runs: whatever was acknowledged by then is there.
func TestPersistsOverPowerCut(t *testing.T) {
	d := simdisk.New()
	kept := make(map[string]string)
	for n := range 6 {
		w := start(t, d)
		var alice *user
		if n == 0 {
			alice = w.newUser("alice")
		} else {
			alice = w.back("alice")
		}
		notes := alice.app("notes")
		notes.isExactly(kept)
		for i := range 30 {
			name, value := fmt.Sprint("name", i%17), strings.Repeat(fmt.Sprint(n, i), 50)
			notes.put(name, value)
			kept[name] = value
		}
		notes.delete("name3")
		delete(kept, "name3")
		d = d.Crash() // The system runs on upon the disk that has no more say.
	}
	notes := start(t, d).back("alice").app("notes")
	notes.isExactly(kept)
}

// TestPowerCutInTheMiddle cuts the power between an append and its sync, at
// which somebody waits.
func TestPowerCutInTheMiddle(t *testing.T) {
	inner := simdisk.New()
	g := &gated{Disk: inner}
	w := start(t, g)
	notes := w.newUser("alice").app("notes")
	notes.put("token", "acknowledged")
	sync := g.hold(t, "state/identity/alice/vault.kv")
	done := make(chan error, 1)
	go func() { done <- notes.tryPut("token", "never acknowledged") }()
	soon(t, "the sync", sync.arrived)
	for _, cut := range []*simdisk.Disk{inner.Crash(), inner.Reopen()} {
		v := start(t, cut)
		got, err := v.back("alice").app("notes").tryGet("token")
		if err != nil || got != "acknowledged" && got != "never acknowledged" {
			t.Errorf("after the cut: %q, %v", got, err)
		}
	}
	sync.open()
	must(t, <-done)
	notes.holds("token", "never acknowledged")
}

// TestFirstBootCutShort cuts the power before each disk access of the first
// boot and of the creation of a user: the next boot works, and the user is
// there, or can be created.
func TestFirstBootCutShort(t *testing.T) {
	cut := errors.New("the power is off")
	for n := uint64(1); ; n++ {
		d := simdisk.New()
		d.SetFault(simdisk.FailFrom(n, cut))
		sys, err := boot.Boot(boot.Config{Disk: d, Argon: cheap})
		created := false
		if err == nil {
			l, err := sys.Launcher()
			must(t, err)
			created = l.CreateUser(t.Context(), "alice", boot.Password([]byte("the password of alice"))) == nil
			sys.Shutdown()
		}
		w := start(t, d.Crash())
		alice := w.known("alice")
		if err := w.launcher.CreateUser(w.ctx(), "alice", alice.password); err != nil || created {
			want(t, err, ipc.Exists) // At the least it was done, and the answer was lost.
		}
		alice.login()
		alice.unseal()
		alice.app("notes").put("token", "v")
		w.end()
		if d.Calls() < n {
			return
		}
	}
}
