package ui_v18b_host

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
)

// TestDeniedWhenNotActive uses tokens of a session that has ended, and sids
// under which no session was ever started.
func TestDeniedWhenNotActive(t *testing.T) {
	w := fresh(t)
	alice := w.newUser("alice")
	notes := alice.app("notes")
	notes.put("token", "one")
	ended := alice.sid
	alice.endSession()
	notes.denied("token")
	notes.denied("absent")

	alice.login()
	alice.unseal()
	if alice.sid == ended {
		t.Fatal("a sid was used twice")
	}
	notes.denied("token")
	for what, sid := range map[string]uint64{
		"ended": ended, "never started": alice.sid + 1, "of no boot": 7, "zero": 0, "the largest": ^uint64(0),
	} {
		l, ctx := w.launcher, w.ctx()
		_, err := l.Launch(ctx, sid, "notes", boot.AppRights)
		for op, err := range map[string]error{
			"launch": err, "unseal": l.Unseal(ctx, sid, alice.password), "lock": l.Lock(ctx, sid), "end": l.End(ctx, sid),
		} {
			if !errors.Is(err, ipc.Denied) {
				t.Errorf("%s of a session that is %s: %v", op, what, err)
			}
		}
		if s, err := l.Active(ctx, sid); err != nil || s != (boot.Session{}) {
			t.Errorf("a session that is %s is active: %+v, %v", what, s, err)
		}
	}
	alice.app("notes").lists("token")
}

// TestDeniedWhenNotUnsealed has a session that was never unsealed, one that was
// locked, and tokens from before and after.
func TestDeniedWhenNotUnsealed(t *testing.T) {
	w := fresh(t)
	alice := w.known("alice")
	must(t, w.launcher.CreateUser(w.ctx(), "alice", alice.password))
	alice.login()
	early := alice.app("notes")
	early.sealed("token")
	alice.unseal()
	early.put("token", "one")
	_, err := early.Keychain.Generate(w.ctx(), "key")
	must(t, err)

	alice.lock()
	early.denied("token")
	late := alice.app("notes")
	late.sealed("token")
	late.sealed("absent")
	if s, err := w.launcher.Active(w.ctx(), alice.sid); err != nil || s != (boot.Session{Active: true, User: "alice"}) {
		t.Errorf("a locked session: %+v, %v", s, err)
	}
	want(t, w.launcher.Unseal(w.ctx(), alice.sid, boot.Password([]byte("not the password"))), ipc.BadSecret)
	late.sealed("token")

	alice.unseal()
	early.denied("token")
	late.holds("token", "one")
	alice.lock()
	alice.lock()
	late.denied("token")
}

// sealed says that nothing at all works, because the session is not unsealed.
func (a *app) sealed(name string) {
	a.w.t.Helper()
	for op, err := range a.everything(name) {
		if !errors.Is(err, ipc.Sealed) {
			a.w.t.Errorf("%s: %v, want %v", op, err, ipc.Sealed)
		}
	}
}

func TestCrossAppReadDenied(t *testing.T) {
	w := fresh(t)
	alice := w.newUser("alice")
	notes, mail := alice.app("notes"), alice.app("mail")
	notes.put("token", "of notes")

	mail.lacks("token")
	want(t, mail.Keychain.Delete(w.ctx(), "token"), ipc.NotFound)
	mail.lists()
	mail.stole(notes).denied("token")

	mail.put("token", "of mail")
	notes.holds("token", "of notes")
	mail.holds("token", "of mail")
	mail.delete("token")
	notes.holds("token", "of notes")
	notes.lists("token")
}

func TestOtherUsersDenied(t *testing.T) {
	w := fresh(t)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	hers, his := alice.app("notes"), bob.app("notes")
	hers.put("token", "of alice")
	_, err := hers.Keychain.Generate(w.ctx(), "key")
	must(t, err)

	his.lacks("token")
	his.lists()
	_, err = his.Keychain.Sign(w.ctx(), "key", []byte("a message"))
	want(t, err, ipc.NotFound)
	his.stole(hers).denied("token")
	want(t, w.launcher.Unseal(w.ctx(), alice.sid, bob.password), ipc.BadSecret)
	_, err = w.launcher.StartSession(w.ctx(), "alice", bob.password)
	want(t, err, ipc.BadSecret)

	his.put("token", "of bob")
	bob.lock()
	hers.holds("token", "of alice")
	his.denied("token")
	bob.unseal()
	bob.app("notes").holds("token", "of bob")
	hers.holds("token", "of alice")
}

// TestSessionsOfOneUserShareTheVault has two sessions, of which one ends.
func TestSessionsOfOneUserShareTheVault(t *testing.T) {
	w := fresh(t)
	first := w.newUser("alice")
	second := w.back("alice")
	a, b := first.app("notes"), second.app("notes")
	a.put("token", "one")
	b.holds("token", "one")
	first.lock()
	a.denied("token")
	b.put("token", "two")
	first.unseal()
	first.app("notes").holds("token", "two")
	second.endSession()
	b.denied("token")
	first.app("notes").holds("token", "two")
}

// Names, and app ids, of which one begins with another or could be taken for it.
var (
	nameTwins = []string{"a", "a.x", "a/", "a/b", "ab", "a*", "A", "a%00", "a\\x00", ".", "..", "../a", "-", "~"}
	appTwins  = []string{"a", "a.x", "a-x", "a_x", "ab", "a.x.y", "aa"}
)

func TestPrefixTwinsStayApart(t *testing.T) {
	w := fresh(t)
	alice := w.newUser("alice")
	apps := make([]*app, len(appTwins))
	value := func(a *app, name string) string { return fmt.Sprintf("%s of %s", name, a.ID) }
	for i, id := range appTwins {
		apps[i] = alice.app(id)
		for _, name := range nameTwins {
			apps[i].put(name, value(apps[i], name))
		}
	}
	sorted := slices.Sorted(slices.Values(nameTwins))
	for i, name := range nameTwins {
		gone := apps[i%len(apps)]
		gone.delete(name)
		for _, a := range apps {
			if a == gone {
				a.lacks(name)
				a.lists(slices.DeleteFunc(slices.Clone(sorted), func(n string) bool { return n == name })...)
				continue
			}
			a.holds(name, value(a, name))
		}
		gone.put(name, value(gone, name))
	}
	for _, name := range []string{"", "a\x00", "a ", " a", "a\n", "ä", "a\xff"} {
		for _, a := range apps {
			_, err := a.tryGet(name)
			want(t, err, ipc.Malformed)
		}
	}
}

// TestUserTwinsStayApart has users of which one's id begins with another's.
func TestUserTwinsStayApart(t *testing.T) {
	w := fresh(t)
	var notes []*app
	for _, id := range appTwins {
		a := w.newUser(id).app("notes")
		a.put("token", id)
		notes = append(notes, a)
	}
	must(t, w.launcher.RemoveUser(w.ctx(), "a", w.known("a").password))
	notes[0].denied("token")
	for i, a := range notes[1:] {
		a.holds("token", appTwins[i+1])
	}
}

// TestRightsAreThoseOfTheToken starts apps with one right each.
func TestRightsAreThoseOfTheToken(t *testing.T) {
	w := fresh(t)
	alice := w.newUser("alice")
	all := alice.app("notes")
	all.put("token", "one")
	_, err := all.Keychain.Generate(w.ctx(), "token")
	must(t, err)
	allowed := map[capability.TokenRights][]string{
		capability.Put: {"put"}, capability.Get: {"get"}, capability.Del: {"delete"}, capability.List: {"list"},
		capability.Generate: {"generate", "public", "keys", "rotate", "revoke", "delete key"},
		capability.Sign:     {"sign", "public", "keys"},
		capability.Wrap:     {"wrap", "unwrap"},
	}
	for right, ops := range allowed {
		a := alice.appWith("notes", right)
		for op, err := range a.everything("other") {
			if got := !errors.Is(err, ipc.Denied); got != slices.Contains(ops, op) {
				t.Errorf("right %#x: %s: %v", uint16(right), op, err)
			}
		}
	}
	sealer := alice.appWith("notes", capability.Seal)
	_, err = sealer.Keychain.Seal(w.ctx(), secret.Copy([]byte("data")), nil)
	must(t, err)
	_, err = all.Keychain.Seal(w.ctx(), secret.Copy([]byte("data")), nil)
	want(t, err, ipc.Denied)
	_, err = w.launcher.Launch(w.ctx(), alice.sid, "demo.reader", capability.Put)
	want(t, err, ipc.Denied)
	for _, rights := range []capability.TokenRights{0, 1 << 8, 1 << 15, boot.AppRights | 1<<9} {
		_, err = w.launcher.Launch(w.ctx(), alice.sid, "notes", rights)
		want(t, err, ipc.Malformed)
	}
	all.holds("token", "one")
}

// TestOneSpelling tries other spellings of ids.
func TestOneSpelling(t *testing.T) {
	w := fresh(t)
	alice := w.newUser("alice")
	for _, id := range []string{
		"", "Notes", "notes ", " notes", "notes\n", "notes\x00", "no/tes", "../notes", "notes.", ".notes", "a..b", "a.-b", "1notes",
		"nötes", "n\xc3\x28", "notes\x1b[2J", "%6eotes",
	} {
		_, err := w.launcher.Launch(w.ctx(), alice.sid, id, boot.AppRights)
		want(t, err, ipc.Malformed)
		want(t, w.launcher.CreateUser(w.ctx(), id, alice.password), ipc.Malformed)
		_, err = w.launcher.StartSession(w.ctx(), id, alice.password)
		if !errors.Is(err, ipc.BadSecret) && !errors.Is(err, ipc.Malformed) {
			t.Errorf("login as %q: %v", id, err)
		}
	}
	for _, id := range []string{"nexus", "nexus.identityd", "nexus.x", "keystored", "identityd", "init", "launcher"} {
		_, err := w.launcher.Launch(w.ctx(), alice.sid, id, boot.AppRights)
		want(t, err, ipc.Denied)
	}
	users, err := w.launcher.ListUsers(w.ctx())
	must(t, err)
	if !slices.Equal(users, []string{"alice"}) {
		t.Errorf("users %q", users)
	}
}
