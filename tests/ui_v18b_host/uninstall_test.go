package ui_v18b_host

import (
	"errors"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
)

func (u *user) uninstall(app string) error { return u.w.launcher.Uninstall(u.w.ctx(), u.sid, app) }

// household is two users with apps, of which one is to go.
func household(t *testing.T, d *simdisk.Disk) *world {
	w := start(t, d)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	for _, a := range []*app{alice.app("notes"), alice.app("mail"), bob.app("notes")} {
		a.put("token", "of "+a.ID)
		_, err := a.Keychain.Generate(w.ctx(), "key")
		must(t, err)
	}
	return w
}

// others have everything that household gave them.
func (w *world) others(alice, bob *user) {
	w.t.Helper()
	for _, a := range []*app{alice.app("mail"), bob.app("notes")} {
		a.holds("token", "of "+a.ID)
		_, err := a.Keychain.Sign(w.ctx(), "key", []byte("message"))
		must(w.t, err)
	}
}

// fresh is an app that was never there.
func (a *app) fresh() {
	a.w.t.Helper()
	a.lists()
	a.lacks("token")
	keys, err := a.Keychain.Keys(a.w.ctx())
	must(a.w.t, err)
	if len(keys) > 0 {
		a.w.t.Errorf("keys %q", keys)
	}
}

// TestUninstalledAppIsGone: no token of the app passes any more, in whatever
// session of the user, and all that it had is gone, over a boot as well.
func TestUninstalledAppIsGone(t *testing.T) {
	d := simdisk.New()
	w := household(t, d)
	alice, bob := w.known("alice"), w.known("bob")
	alice.login()
	alice.unseal() // A second session, beside the first one's.
	bob.login()
	bob.unseal()
	first, second := alice.app("notes"), alice.app("notes")
	first.holds("token", "of notes")
	must(t, alice.uninstall("notes"))
	first.refusedAlike("of an app that was uninstalled")
	second.refusedAlike("of an app that was uninstalled")
	alice.app("notes").fresh()
	w.others(alice, bob)
	rings, err := d.List("state/identity/alice/apps/")
	must(t, err)
	if len(rings) != 1 {
		t.Errorf("rings %q", rings)
	}
	w.end()
	w = start(t, d)
	alice, bob = w.back("alice"), w.back("bob")
	alice.app("notes").fresh()
	w.others(alice, bob)
	alice.app("notes").put("token", "of the next one")
}

// TestUninstallNeeds: an unsealed session, and an app id that apps can have.
func TestUninstallNeeds(t *testing.T) {
	w := household(t, simdisk.New())
	alice := w.known("alice")
	alice.login()
	want(t, alice.uninstall("notes"), ipc.Sealed)
	alice.unseal()
	want(t, alice.uninstall("nexus"), ipc.Denied)
	want(t, alice.uninstall("nexus.identityd"), ipc.Denied)
	want(t, alice.uninstall("not an app"), ipc.Malformed)
	want(t, alice.uninstall(""), ipc.Malformed)
	must(t, alice.uninstall("never.there"))
	alice.lock()
	want(t, alice.uninstall("notes"), ipc.Sealed)
	alice.unseal()
	alice.app("notes").holds("token", "of notes")
	alice.endSession()
	want(t, alice.uninstall("notes"), ipc.Denied)
}

// TestOldVaultOfUninstalledApp puts back the vault and the head of before, with
// the key files of today and the right credential: nothing of the app opens, and
// what others stored by then does.
func TestOldVaultOfUninstalledApp(t *testing.T) {
	d := simdisk.New()
	w := household(t, d)
	w.end()
	before := contents(t, d)
	w = start(t, d)
	alice := w.back("alice")
	must(t, alice.uninstall("notes"))
	alice.app("mail").put("more", "than there was")
	w.end()
	for _, name := range []string{"vault.kv", "vault.head"} {
		must(t, d.Replace("state/identity/alice/"+name, before["state/identity/alice/"+name]))
	}
	w = start(t, d)
	alice = w.back("alice")
	bob := w.back("bob")
	notes := alice.app("notes")
	_, err := notes.tryGet("token")
	want(t, err, ipc.Damaged)
	_, err = notes.Keychain.List(w.ctx())
	want(t, err, ipc.Damaged)
	want(t, notes.tryPut("other", "v"), ipc.Damaged)
	_, err = notes.Keychain.Sign(w.ctx(), "key", []byte("message"))
	want(t, err, ipc.NotFound)
	w.others(alice, bob)
	must(t, alice.uninstall("notes")) // What cannot be read can be got rid of.
	alice.app("notes").fresh()
	w.others(alice, bob)
}

// TestUninstallCutShort cuts the power before each disk access of it: afterwards
// the app has all of its secrets or none, and its keys, and can be uninstalled;
// once that was acknowledged it has nothing. Nobody else loses anything.
func TestUninstallCutShort(t *testing.T) {
	stocked := simdisk.New()
	household(t, stocked).end()
	cut := errors.New("the power is off")
	for n := uint64(1); ; n++ {
		d := stocked.Clone()
		w := start(t, d)
		alice := w.back("alice")
		calls := d.Calls()
		d.SetFault(simdisk.FailFrom(calls+n, cut))
		acknowledged := alice.uninstall("notes") == nil
		over := d.Calls() < calls+n
		w.end()
		w = start(t, d.Crash())
		alice, bob := w.back("alice"), w.back("bob")
		notes := alice.app("notes")
		if _, err := notes.tryGet("token"); err == nil && !acknowledged {
			notes.holds("token", "of notes")
			_, err := notes.Keychain.Sign(w.ctx(), "key", []byte("message"))
			must(t, err)
		} else {
			notes.lists()
		}
		if acknowledged {
			notes.fresh()
		}
		must(t, alice.uninstall("notes"))
		alice.app("notes").fresh()
		w.others(alice, bob)
		w.end()
		if over {
			t.Logf("%d disk accesses", n-1)
			return
		}
	}
}

// TestUninstallAmidPuts: whatever the app's requests that were under way come
// to, nothing of theirs is left, and they are denied or were done.
func TestUninstallAmidPuts(t *testing.T) {
	w := household(t, simdisk.New())
	alice := w.back("alice")
	notes := alice.app("notes")
	const puts = 32
	done := make(chan error, puts)
	for range puts {
		go func() { done <- notes.tryPut("amid", "v") }()
	}
	must(t, alice.uninstall("notes"))
	for range puts {
		if err := <-done; err != nil {
			want(t, err, ipc.Denied)
		}
	}
	alice.app("notes").fresh()
}

// TestUninstallGivesQuotaBack fills an app's quota, to the byte, three times.
func TestUninstallGivesQuotaBack(t *testing.T) {
	w := fresh(t)
	alice := w.newUser("alice")
	for range 3 {
		notes := alice.app("notes")
		notes.stuff(vault.AppBytes)
		want(t, notes.tryPut("n", "v"), ipc.Quota)
		must(t, alice.uninstall("notes"))
	}
}
