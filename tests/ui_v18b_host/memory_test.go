package ui_v18b_host

import (
	"testing"

	"nexus.internal/os/services/secret"
)

// TestNoSecretIsInUseAfterALock counts what is in the pool of secrets of the
// whole system: nothing, whenever no session is unsealed. The two passwords are
// the test's own.
func TestNoSecretIsInUseAfterALock(t *testing.T) {
	before := secret.ReadStats()
	none := func(when string, own int) {
		t.Helper()
		now := secret.ReadStats()
		if n := now.InUse - before.InUse; n != own {
			t.Errorf("%s: %d secrets are in use, %d of them the test's", when, n, own)
		}
		if n := now.Outside - before.Outside; n != 0 {
			t.Errorf("%s: %d secrets are outside the pool", when, n)
		}
	}
	w := fresh(t)
	none("after the boot", 0)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	notes, mail, bobs := alice.app("notes"), alice.app("mail"), bob.app("notes")
	for _, a := range []*app{notes, mail, bobs} {
		a.put("short", "a value")
		a.put("long", long(a.ID))
		a.holds("short", "a value")
		a.holds("long", long(a.ID))
		for op, err := range a.everything("x") {
			if op != "unwrap" && err != nil {
				t.Errorf("%s: %v", op, err)
			}
		}
	}
	all := secret.ReadStats().InUse - before.InUse
	if all < 2+3*3 {
		t.Errorf("%d secrets are in use, of two users and three apps with keys", all)
	}
	alice.lock()
	some := secret.ReadStats().InUse - before.InUse
	if some <= 2 || some >= all {
		t.Errorf("%d secrets are in use of one user, %d were of two", some, all)
	}
	notes.denied("short")
	bob.endSession()
	none("after a lock and an end", 2)
	alice.unseal()
	alice.app("notes").holds("long", long("notes"))
	w.end()
	none("after the shutdown", 2)
	alice.password.Secret.Wipe()
	bob.password.Secret.Wipe()
	none("without the passwords", 0)
}
