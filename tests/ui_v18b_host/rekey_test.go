package ui_v18b_host

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/epochs"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/keymintd"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
)

func (u *user) rekey() error { return u.w.launcher.Rekey(u.w.ctx(), u.name, u.password) }

// changePassword sets another one.
func (u *user) changePassword(word string) {
	u.w.t.Helper()
	set := boot.Password([]byte(word))
	must(u.w.t, u.w.launcher.SetCredential(u.w.ctx(), u.name, u.password, set))
	u.password = set
}

// thief opens a user's keys in files that he has, with a password that he knows.
func thief(t *testing.T, files map[string][]byte, user, word string) *keymintd.Offline {
	t.Helper()
	db, err := userdb.Decode(files["state/identity/users.db"])
	must(t, err)
	id, auth, err := identityd.ProveOffline(db, user, userdb.Password, []byte(word))
	must(t, err)
	defer auth.Wipe()
	u, _ := db.Live(user)
	file := func(path string) []byte { return files["state/"+strings.TrimPrefix(path, "state:/")] }
	o, err := keymintd.OpenOffline(file, user, u.Incarnation, id, auth.Expose())
	must(t, err)
	for path, data := range files {
		if strings.HasPrefix(path, "state/identity/"+user+"/") && strings.HasSuffix(path, ".ring") {
			_, err := o.OpenRing("state:/"+strings.TrimPrefix(path, "state/"), data)
			must(t, err)
		}
	}
	return o
}

// liveRecords are the live records of a vault whose segments o opens, with their apps.
func liveRecords(t *testing.T, o *keymintd.Offline, kv []byte) map[string]vault.Record {
	t.Helper()
	found := make(map[string]vault.Record)
	apps := o.Apps()
	for _, stretch := range vault.Survey(kv, nil) {
		for _, s := range stretch.Segments {
			body, err := o.OpenSegment(s.Header, s.Sealed)
			must(t, err)
			list, err := vault.DecodeBody(body)
			must(t, err)
			for _, r := range list {
				if r.Kind == vault.Put {
					found[fmt.Sprint(apps[r.Key], " ", r.Sequence)] = r
				}
			}
		}
	}
	return found
}

// TestRekeyLocksTheThiefOut: somebody has a former password and all files of the
// time when it held. After a rekey he reads nothing of the vault with what he has,
// not even if he gets all files again; and no file of before has its place any more.
func TestRekeyLocksTheThiefOut(t *testing.T) {
	d := simdisk.New()
	w := household(t, d)
	alice := w.known("alice")
	alice.login()
	alice.unseal()
	long := strings.Repeat("long ", 13000)
	alice.app("mail").put("long", long)
	w.end()
	before := contents(t, d)
	w = start(t, d)
	alice = w.back("alice")
	alice.changePassword("another password of alice")
	must(t, alice.rekey())
	alice.unseal()
	alice.app("notes").put("late", "not for the thief")
	w.end()
	after := contents(t, d)

	old, now := thief(t, before, "alice", "the password of alice"), thief(t, after, "alice", "another password of alice")
	defer old.Wipe()
	defer now.Wipe()
	kv := after["state/identity/alice/epoch-1/vault.kv"]
	if kv == nil || now.Epoch() != 1 || old.Epoch() != 0 {
		t.Fatalf("epochs %d and %d, and a vault of %d bytes", old.Epoch(), now.Epoch(), len(kv))
	}
	for _, stretch := range vault.Survey(kv, nil) {
		for _, s := range stretch.Segments {
			_, err := old.OpenSegment(s.Header, s.Sealed)
			want(t, err, ipc.Damaged)
		}
	}
	all := liveRecords(t, now, kv)
	if len(all) != 4 {
		t.Errorf("%d records", len(all))
	}
	for text, r := range all {
		app, _, _ := strings.Cut(text, " ")
		_, value, err := now.OpenRecord(app, r.Sequence, uint8(vault.Put), r.Sealed)
		must(t, err)
		value.Wipe()
		for _, id := range []string{"mail", "notes"} {
			_, _, err := old.OpenRecord(id, r.Sequence, uint8(vault.Put), r.Sealed)
			want(t, err, ipc.Damaged)
		}
	}
	for path, data := range after {
		if strings.HasPrefix(path, "state/identity/alice/") && !strings.Contains(path, "/epoch-1/") && !strings.HasSuffix(path, "/root.keys") {
			t.Errorf("%s is left", path)
		}
		if bytes.Equal(data, before[path]) && strings.HasPrefix(path, "state/identity/alice/") {
			t.Errorf("%s is as it was", path)
		}
	}

	w = start(t, d)
	alice, bob := w.known("alice"), w.back("bob")
	alice.password = boot.Password([]byte("another password of alice"))
	alice.login()
	alice.unseal()
	alice.app("notes").holds("late", "not for the thief")
	alice.app("notes").holds("token", "of notes")
	alice.app("mail").holds("long", long)
	w.others(alice, bob)
}

// TestFormerRootKeysPutBack puts root.keys of before a rekey in the place of the new
// one: that is an alarm, no file is touched, and all is there when the right one is.
func TestFormerRootKeysPutBack(t *testing.T) {
	d := simdisk.New()
	w := household(t, d)
	w.end()
	before := contents(t, d)
	w = start(t, d)
	alice := w.back("alice")
	must(t, alice.rekey())
	alice.unseal()
	w.end()
	after := contents(t, d)
	const root = "state/identity/alice/root.keys"
	must(t, d.Replace(root, before[root]))
	w = start(t, d)
	alice = w.known("alice")
	alice.login()
	err := w.launcher.Unseal(w.ctx(), alice.sid, alice.password)
	want(t, err, ipc.Damaged)
	var f *wire.Fault
	if !errors.As(err, &f) || f.File != "state:/identity/alice/keys.head" {
		t.Errorf("it names %v", f)
	}
	want(t, alice.rekey(), ipc.Damaged)
	w.end()
	for path, data := range contents(t, d) {
		if path != root && strings.HasPrefix(path, "state/identity/alice/") && !bytes.Equal(data, after[path]) {
			t.Errorf("%s was touched", path)
		}
	}
	must(t, d.Replace(root, after[root]))
	w = start(t, d)
	w.others(w.back("alice"), w.back("bob"))
}

// TestRekeyTakesEveryCredential: with one missing or wrong nothing happens, but for
// the guess.
func TestRekeyTakesEveryCredential(t *testing.T) {
	d := simdisk.New()
	w := household(t, d)
	alice := w.known("alice")
	pin := boot.PIN([]byte("271828"))
	must(t, w.launcher.SetCredential(w.ctx(), "alice", alice.password, pin))
	text, err := w.launcher.CreateRecovery(w.ctx(), "alice", alice.password)
	must(t, err)
	paper := boot.Recovery(text.Expose())
	alice.login()
	alice.unseal()
	rekey := func(all ...boot.Credential) error { return w.launcher.Rekey(w.ctx(), "alice", all...) }
	root := contents(t, d)["state/identity/alice/root.keys"]
	want(t, rekey(), ipc.Malformed)
	want(t, rekey(pin, pin), ipc.Malformed)
	want(t, rekey(alice.password), ipc.Exists)
	want(t, rekey(alice.password, pin), ipc.Exists)
	want(t, rekey(alice.password, boot.PIN([]byte("314159")), paper), ipc.BadSecret)
	want(t, w.launcher.Rekey(w.ctx(), "nobody", alice.password), ipc.BadSecret)
	want(t, w.launcher.Rekey(w.ctx(), "bob", alice.password), ipc.BadSecret)
	if !bytes.Equal(contents(t, d)["state/identity/alice/root.keys"], root) {
		t.Error("root.keys has changed")
	}
	alice.app("mail").holds("token", "of mail") // Nobody was locked.
	must(t, rekey(paper, alice.password, pin))
	for _, c := range []boot.Credential{alice.password, pin, paper} {
		must(t, w.launcher.Lock(w.ctx(), alice.sid))
		must(t, w.launcher.Unseal(w.ctx(), alice.sid, c))
		alice.app("mail").holds("token", "of mail")
	}
}

// TestRekeyAmidRequests: all sessions are locked, what is under way is done or
// denied, an unseal meanwhile is told to come again, and what was acknowledged is
// there.
func TestRekeyAmidRequests(t *testing.T) {
	w := household(t, simdisk.New())
	alice, second := w.back("alice"), w.back("alice")
	notes, other := alice.app("notes"), second.app("notes")
	stop, done := make(chan struct{}), [2]chan int{make(chan int, 1), make(chan int, 1)}
	for i, a := range []*app{notes, other} {
		go func() {
			n := 0
			for ; a.tryPut(fmt.Sprint("name-", i), fmt.Sprint(n+1)) == nil; n++ {
			}
			done[i] <- n
		}()
	}
	unsealed := make(chan struct{})
	go func() {
		defer close(unsealed)
		for {
			err := w.launcher.Unseal(w.ctx(), second.sid, second.password)
			if err != nil && !errors.Is(err, ipc.Unavailable) && !errors.Is(err, ipc.Sealed) {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for range 3 {
		must(t, alice.rekey())
	}
	close(stop)
	<-unsealed
	notes.denied("token")
	other.denied("token")
	alice.unseal()
	fresh := alice.app("notes")
	fresh.holds("token", "of notes")
	for i := range done {
		acknowledged := <-done[i]
		value, err := fresh.tryGet(fmt.Sprint("name-", i))
		if errors.Is(err, ipc.NotFound) {
			value, err = "0", nil
		}
		must(t, err)
		// What the lock has denied may have become durable.
		if n, _ := strconv.Atoi(value); n != acknowledged && n != acknowledged+1 {
			t.Errorf("name-%d is %q, and %d puts were acknowledged", i, value, acknowledged)
		}
	}
}

// TestRekeyCutShort cuts the power before each disk access of it: everything is
// there afterwards, whichever root key holds, and a rekey then leaves no file of
// another epoch.
func TestRekeyCutShort(t *testing.T) {
	stocked := simdisk.New()
	household(t, stocked).end()
	cut := errors.New("the power is off")
	for n := uint64(1); ; n++ {
		d := stocked.Clone()
		w := start(t, d)
		alice := w.back("alice")
		calls := d.Calls()
		d.SetFault(simdisk.FailFrom(calls+n, cut))
		acknowledged := alice.rekey() == nil
		over := d.Calls() < calls+n
		w.end()
		after := d.Crash()
		w = start(t, after)
		alice, bob := w.back("alice"), w.back("bob")
		alice.app("notes").holds("token", "of notes")
		w.others(alice, bob)
		if acknowledged && len(contents(t, after)["state/identity/alice/epoch-1/vault.kv"]) == 0 {
			t.Error("a rekey was acknowledged that is undone")
		}
		must(t, alice.rekey())
		alice.unseal()
		alice.app("notes").holds("token", "of notes")
		w.others(alice, bob)
		onlyOneEpoch(t, after)
		w.end()
		if t.Failed() {
			t.Fatalf("cut at disk access %d", n)
		}
		if over {
			t.Logf("%d disk accesses", n-1)
			return
		}
	}
}

// onlyOneEpoch fails if alice has files of several epochs.
func onlyOneEpoch(t *testing.T, d *simdisk.Disk) {
	t.Helper()
	of := make(map[uint32]bool)
	for path := range contents(t, d) {
		epoch, name, ours := epochs.Split("alice", "state:/"+strings.TrimPrefix(path, "state/"))
		if ours && name != "root.keys" {
			of[epoch] = true
		}
	}
	if len(of) != 1 {
		t.Errorf("files of the epochs %v", of)
	}
}

// TestRekeyWithoutAVault: a user who has never unsealed has nothing to write anew.
func TestRekeyWithoutAVault(t *testing.T) {
	w := fresh(t)
	alice := w.known("alice")
	must(t, w.launcher.CreateUser(w.ctx(), "alice", alice.password))
	must(t, alice.rekey())
	alice.login()
	alice.unseal()
	alice.app("notes").fresh()
	alice.app("notes").put("token", "v")
	must(t, alice.rekey())
	alice.unseal()
	alice.app("notes").holds("token", "v")
}

// TestRekeyOfADamagedVault names the place, and leaves everything as it is; the
// user can be unsealed as before.
func TestRekeyOfADamagedVault(t *testing.T) {
	d := simdisk.New()
	w := household(t, d)
	w.end()
	const kv = "state/identity/alice/vault.kv"
	good := contents(t, d)[kv]
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 1
	must(t, d.Replace(kv, bad))
	w = start(t, d)
	alice := w.known("alice")
	err := alice.rekey()
	want(t, err, ipc.Damaged)
	var f *wire.Fault
	if !errors.As(err, &f) || f.File != "state:/identity/alice/vault.kv" {
		t.Errorf("it names %v", f)
	}
	if !bytes.Equal(contents(t, d)[kv], bad) {
		t.Error("the damaged vault has changed")
	}
	w.end()
	must(t, d.Replace(kv, good))
	w = start(t, d)
	w.others(w.back("alice"), w.back("bob"))
}
