package ui_v18b_host

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/guesses"
	"nexus.internal/os/services/statefsd/simdisk"
)

// loginSlot is where the launcher finds the first capability that is its own.
const loginSlot = boot.SlotAnswers + 1

// asLauncher sends bytes as the launcher.
func (w *world) asLauncher(op uint16, body []byte) answer {
	w.t.Helper()
	r, err := w.launcher.Task().Call(w.ctx(), ipc.Msg{Slot: loginSlot, Op: op, Body: body, Move: ipc.NoSlot}, nil)
	code := ipc.OK
	if err != nil && !errors.As(err, &code) {
		w.t.Fatalf("an error that is no code: %v", err)
	}
	return answer{code, string(r.Body)}
}

func credential(kind wire.CredentialKind, word string) *wire.Credential {
	return &wire.Credential{Kind: kind, Secret: []byte(word)}
}

// TestUnknownUserLooksLikeWrongSecret compares what a wrong secret of a user
// costs and answers with that of nobody, for everything that proves one, till
// there were too many.
func TestUnknownUserLooksLikeWrongSecret(t *testing.T) {
	const password, pin = wire.CredentialKind_CREDENTIAL_KIND_PASSWORD, wire.CredentialKind_CREDENTIAL_KIND_PIN
	for _, what := range []struct {
		name string
		op   uint16
		q    func(user string, c *wire.Credential) proto.Message
	}{
		{"start session", wire.OpStartSession, func(u string, c *wire.Credential) proto.Message {
			return &wire.StartSessionRequest{User: u, Credential: c}
		}},
		{"remove user", wire.OpRemoveUser, func(u string, c *wire.Credential) proto.Message {
			return &wire.RemoveUserRequest{User: u, Credential: c}
		}},
		{"set credential", wire.OpSetCredential, func(u string, c *wire.Credential) proto.Message {
			return &wire.SetCredentialRequest{User: u, Have: c, Set: credential(pin, "123456")}
		}},
	} {
		w := fresh(t)
		w.newUser("alice")
		for i, c := range []*wire.Credential{
			credential(password, "not the password"), credential(pin, "000000"), credential(password, "x"),
			credential(password, "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"), credential(password, strings.Repeat("x", 129)),
			credential(0, "the password of alice"), credential(7, "the password of alice"),
		} {
			var wrong, unknown answer
			hers := frame(t, what.q("alice", c))
			nobodys := frame(t, what.q("nobod", c))
			work := w.work(func() { wrong = w.asLauncher(what.op, hers) })
			steps := w.work(func() { unknown = w.asLauncher(what.op, nobodys) })
			if i > guesses.Free {
				laterAlike(t, what.name, wrong, unknown, work, steps)
				continue
			}
			if wrong != (answer{ipc.BadSecret, ""}) || unknown != wrong {
				t.Errorf("%s: wrong secret %v %q, unknown user %v %q", what.name, wrong.code, wrong.body, unknown.code, unknown.body)
			}
			if !slices.Equal(work, steps) {
				t.Errorf("%s: wrong secret and unknown user differ in work:\n%v\n%v", what.name, work, steps)
			}
			if n, m := argonRuns(work), writes(work); n != 1 || m != 1 {
				t.Errorf("%s: %d runs of Argon2id, %d writes", what.name, n, m)
			}
		}
	}
}

// laterAlike wants TryLater for a user and for nobody alike, with nothing tried.
func laterAlike(t *testing.T, what string, wrong, unknown answer, work, steps []step) {
	t.Helper()
	if wrong.code != ipc.TryLater || unknown != wrong {
		t.Errorf("%s: wrong secret %v %q, unknown user %v %q", what, wrong.code, wrong.body, unknown.code, unknown.body)
	}
	if !slices.Equal(work, steps) || argonRuns(work)+writes(work) != 0 {
		t.Errorf("%s: what has to wait works:\n%v\n%v", what, work, steps)
	}
}

// argonRuns counts offloaded work of identityd, which got the request: it offloads
// nothing else.
func argonRuns(work []step) (n int) {
	for _, s := range work {
		if s.kind == ipc.TraceOffload && s.from == work[0].to {
			n++
		}
	}
	return n
}

// writes counts what statefsd was asked to replace.
func writes(work []step) (n int) {
	for _, s := range work {
		if s.kind == ipc.TraceSend && s.op == wire.OpReplaceFile {
			n++
		}
	}
	return n
}

func TestPINOpensWhatThePasswordWrote(t *testing.T) {
	d := simdisk.New()
	w := start(t, d)
	alice := w.newUser("alice")
	pin := boot.PIN([]byte("123456"))
	_, err := w.launcher.StartSession(w.ctx(), "alice", pin)
	want(t, err, ipc.BadSecret)
	alice.app("notes").put("token", "v")
	want(t, w.launcher.SetCredential(w.ctx(), "alice", boot.Password([]byte("not the password")), pin), ipc.BadSecret)
	must(t, w.launcher.SetCredential(w.ctx(), "alice", alice.password, pin))
	alice.lock()
	must(t, w.launcher.Unseal(w.ctx(), alice.sid, pin))
	alice.app("notes").holds("token", "v")
	w.end()

	w = start(t, d)
	sid, err := w.launcher.StartSession(w.ctx(), "alice", pin)
	must(t, err)
	want(t, w.launcher.Unseal(w.ctx(), sid, boot.PIN([]byte("654321"))), ipc.BadSecret)
	want(t, w.launcher.Unseal(w.ctx(), sid, boot.Password([]byte("12345678"))), ipc.BadSecret)
	must(t, w.launcher.Unseal(w.ctx(), sid, pin))
	alice = &user{w: w, name: "alice", sid: sid}
	notes := alice.app("notes")
	notes.holds("token", "v")
	notes.put("token", "w")
	w.end()

	start(t, d).back("alice").app("notes").holds("token", "w")
}

func TestChangeOfPassword(t *testing.T) {
	d := simdisk.New()
	w := start(t, d)
	alice := w.newUser("alice")
	notes := alice.app("notes")
	notes.put("token", "v")
	pin, changed := boot.PIN([]byte("123456")), boot.Password([]byte("another password"))
	must(t, w.launcher.SetCredential(w.ctx(), "alice", alice.password, pin))
	vault := content(t, d, "state/identity/alice/vault.kv")
	must(t, w.launcher.SetCredential(w.ctx(), "alice", alice.password, changed))
	if string(vault) != string(content(t, d, "state/identity/alice/vault.kv")) {
		t.Error("a change of password rewrites the vault")
	}
	notes.holds("token", "v")
	w.end()

	w = start(t, d)
	_, err := w.launcher.StartSession(w.ctx(), "alice", alice.password)
	want(t, err, ipc.BadSecret)
	for _, c := range []boot.Credential{changed, pin} {
		sid, err := w.launcher.StartSession(w.ctx(), "alice", c)
		must(t, err)
		want(t, w.launcher.Unseal(w.ctx(), sid, alice.password), ipc.BadSecret)
		must(t, w.launcher.Unseal(w.ctx(), sid, c))
		(&user{w: w, name: "alice", sid: sid}).app("notes").holds("token", "v")
	}
	must(t, w.launcher.SetCredential(w.ctx(), "alice", pin, alice.password))
	w.back("alice").app("notes").holds("token", "v")
	_, err = w.launcher.StartSession(w.ctx(), "alice", changed)
	want(t, err, ipc.BadSecret)
}

// TestRemovedUserIsGone removes a user and makes another one of the same name.
func TestRemovedUserIsGone(t *testing.T) {
	d := simdisk.New()
	w := start(t, d)
	bobs := w.newUser("bob").app("notes")
	bobs.put("token", "of bob")
	alice := w.newUser("alice")
	notes := alice.app("notes")
	notes.put("token", "v")
	_, err := notes.Keychain.Generate(w.ctx(), "key")
	must(t, err)
	blob, err := notes.Keychain.Wrap(w.ctx(), "key")
	must(t, err)
	must(t, w.launcher.SetCredential(w.ctx(), "alice", alice.password, boot.PIN([]byte("123456"))))
	old := contents(t, d)

	want(t, w.launcher.RemoveUser(w.ctx(), "alice", boot.Password([]byte("not the password"))), ipc.BadSecret)
	notes.holds("token", "v")
	must(t, w.launcher.RemoveUser(w.ctx(), "alice", alice.password))
	notes.refusedAlike("of a removed user")
	_, err = w.launcher.StartSession(w.ctx(), "alice", alice.password)
	want(t, err, ipc.BadSecret)
	left, err := d.List("state/identity/alice")
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left of a removed user: %q", left)
	}

	again := w.newUser("alice")
	notes.refusedAlike("of the former user of that name")
	fresh := again.app("notes")
	fresh.lists()
	fresh.lacks("token")
	keys, err := fresh.Keychain.Keys(w.ctx())
	must(t, err)
	if len(keys) > 0 {
		t.Errorf("keys %q", keys)
	}
	_, err = w.launcher.StartSession(w.ctx(), "alice", boot.PIN([]byte("123456")))
	want(t, err, ipc.BadSecret)
	_, err = fresh.Keychain.Generate(w.ctx(), "own")
	must(t, err)
	_, err = fresh.Keychain.Unwrap(w.ctx(), "key", blob)
	want(t, err, ipc.Denied)
	again.endSession()

	// The former user's vault, put back by whoever can write the disk, is not
	// the new one's.
	for _, name := range []string{"vault.kv", "vault.head"} {
		must(t, d.Replace("state/identity/alice/"+name, old["state/identity/alice/"+name]))
	}
	again.login()
	want(t, w.launcher.Unseal(w.ctx(), again.sid, again.password), ipc.Damaged)
	bobs.holds("token", "of bob")
}
