package ui_v18b_host

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

func TestUnsealPutGetDelete(t *testing.T) {
	d, err := disk.Open(t.TempDir())
	must(t, err)
	w := start(t, d)
	notes := w.newUser("alice").app("notes")

	notes.lists()
	notes.lacks("token")
	notes.put("token", "one")
	notes.holds("token", "one")
	notes.put("token", "two")
	notes.holds("token", "two")
	notes.put("empty", "")
	notes.holds("empty", "")
	notes.put("zeros", strings.Repeat("\x00", 4096))
	notes.holds("zeros", strings.Repeat("\x00", 4096))
	notes.lists("empty", "token", "zeros")

	notes.delete("token")
	notes.lacks("token")
	want(t, notes.Keychain.Delete(w.ctx(), "token"), ipc.NotFound)
	notes.lists("empty", "zeros")
	notes.put("token", "three")
	notes.holds("token", "three")

	w.end()
	must(t, d.Close())
	for line, n := range map[string]int{
		"identity: user created (user=alice)":   1,
		"keystore: put (app=notes, key=token)":  3,
		"keystore: put (app=notes, key=empty)":  1,
		"keystore: put (app=notes, key=absent)": 0,
	} {
		if got := w.console.count(line); got != n {
			t.Errorf("%q was printed %d times, want %d", line, got, n)
		}
	}
}

// TestListShowsOwnOnly has names that fill several answers.
func TestListShowsOwnOnly(t *testing.T) {
	w := fresh(t)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	notes, mail, bobs := alice.app("notes"), alice.app("mail"), bob.app("notes")
	var long []string
	for c := 'a'; c <= 'z'; c++ {
		for _, d := range "12" {
			name := strings.Repeat(string(c), 255) + string(d)
			notes.put(name, "v")
			long = append(long, name)
		}
	}
	mail.put("mails", "v")
	bobs.put("bobs", "v")
	notes.lists(long...)
	mail.lists("mails")
	bobs.lists("bobs")
	alice.app("calendar").lists()
}

// TestSignWithAKeyThatStays makes keys, signs, and takes one through a blob.
func TestSignWithAKeyThatStays(t *testing.T) {
	d := simdisk.New()
	w := start(t, d)
	a := w.newUser("alice").app("wallet")
	ctx, message := w.ctx(), []byte("pay nobody")
	public, err := a.Keychain.Generate(ctx, "spend")
	must(t, err)
	signature, err := a.Keychain.Sign(ctx, "spend", message)
	must(t, err)
	if !ed25519.Verify(public, message, signature) || ed25519.Verify(public, []byte("pay everybody"), signature) {
		t.Fatal("the signature is not one of that message")
	}
	_, err = a.Keychain.Generate(ctx, "spend")
	want(t, err, ipc.Exists)
	blob, err := a.Keychain.Detach(ctx, "spend")
	must(t, err)
	_, err = a.Keychain.Sign(ctx, "spend", message)
	want(t, err, ipc.NotFound)

	w.end()
	w = start(t, d)
	a = w.back("alice").app("wallet")
	again, err := a.Keychain.Unwrap(w.ctx(), "spend again", blob)
	want(t, err, ipc.Malformed)
	if again != nil {
		t.Error("a refused unwrap answers a key")
	}
	again, err = a.Keychain.Unwrap(w.ctx(), "spend-again", blob)
	must(t, err)
	signature, err = a.Keychain.Sign(w.ctx(), "spend-again", message)
	must(t, err)
	if string(again) != string(public) || !ed25519.Verify(public, message, signature) {
		t.Error("the key that came back is another one")
	}
}

// TestBlobIsWorthNothingElsewhere gives a wrapped key to others, and changes it.
func TestBlobIsWorthNothingElsewhere(t *testing.T) {
	w := fresh(t)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	wallet := alice.app("wallet")
	_, err := wallet.Keychain.Generate(w.ctx(), "spend")
	must(t, err)
	blob, err := wallet.Keychain.Wrap(w.ctx(), "spend")
	must(t, err)
	for who, other := range map[string]*app{"another app": alice.app("mail"), "another user": bob.app("wallet")} {
		_, err = other.Keychain.Generate(w.ctx(), "own")
		must(t, err)
		if _, err := other.Keychain.Unwrap(w.ctx(), "spend", blob); !errors.Is(err, ipc.Denied) {
			t.Errorf("%s unwraps: %v", who, err)
		}
	}
	for i := range blob {
		blob[i] ^= 0x10
		if _, err := wallet.Keychain.Unwrap(w.ctx(), "other", blob); !errors.Is(err, ipc.Denied) && (i > 0 || !errors.Is(err, ipc.Malformed)) {
			t.Fatalf("with byte %d changed: %v", i, err)
		}
		blob[i] ^= 0x10
	}
	keys, err := wallet.Keychain.Keys(w.ctx())
	must(t, err)
	if len(keys) != 1 {
		t.Errorf("keys %q", keys)
	}
}

// TestShippedParameters runs Argon2id as it ships.
func TestShippedParameters(t *testing.T) {
	d := simdisk.New()
	w := start(t, d, func(c *boot.Config) { c.Argon = identityd.Params{} })
	notes := w.newUser("alice").app("notes")
	notes.put("token", "hunter2")
	_, err := w.launcher.StartSession(w.ctx(), "alice", boot.Password([]byte("not the password")))
	want(t, err, ipc.BadSecret)
	w.end()

	w = start(t, d, func(c *boot.Config) { c.Argon = identityd.Params{} })
	w.back("alice").app("notes").holds("token", "hunter2")
	db, err := userdb.Decode(contents(t, d)["state/identity/users.db"])
	must(t, err)
	for _, u := range db.Users() {
		for _, p := range u.Protectors {
			if p.Cost != identityd.Floor() {
				t.Errorf("%s has a credential of cost %+v", u.ID, p.Cost)
			}
		}
	}
	if db.Len() != 1 {
		t.Errorf("%d users in the database", db.Len())
	}
}
