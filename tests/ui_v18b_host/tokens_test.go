package ui_v18b_host

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/statefsd/simdisk"
)

// stole is the app with another one's token.
func (a *app) stole(from *app) *app { return a.withToken(from.Config.Token) }

func (a *app) withToken(token capability.Token) *app {
	thief := *a.App
	thief.Config.Token = token
	thief.Keychain = keychain.New(a.Task, thief.Config)
	return &app{&thief, a.w}
}

// answer is everything that a caller can see of an answer.
type answer struct {
	code ipc.Code
	body string
}

// frame makes the bytes of a request.
func frame(t testing.TB, q proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(q)
	must(t, err)
	return b
}

// send sends bytes as the app, with its token.
func (a *app) send(slot ipc.Slot, op uint16, body []byte) answer {
	a.w.t.Helper()
	m := ipc.Msg{Slot: slot, Op: op, Token: &a.Config.Token, Body: body, Move: ipc.NoSlot}
	r, err := a.Task.Call(a.w.ctx(), m, nil)
	code := ipc.OK
	if err != nil && !errors.As(err, &code) {
		a.w.t.Fatalf("an error that is no code: %v", err)
	}
	return answer{code, string(r.Body)}
}

// request is one operation on a name.
type request struct {
	what string
	keys bool // goes to keymintd
	op   uint16
	on   func(name string) proto.Message
}

// reads and changes, each with what it says of a name.
var requests = []request{
	{"get", false, wire.OpGet, func(n string) proto.Message { return &wire.GetRequest{Name: n} }},
	{"delete", false, wire.OpDelete, func(n string) proto.Message { return &wire.DeleteRequest{Name: n} }},
	{"list", false, wire.OpList, func(n string) proto.Message { return &wire.ListRequest{After: n} }},
	{"public", true, wire.OpPublicKey, func(n string) proto.Message { return &wire.PublicKeyRequest{Name: n} }},
	{"sign", true, wire.OpSign, func(n string) proto.Message { return &wire.SignRequest{Name: n, Message: []byte("m")} }},
	{"keys", true, wire.OpListKeys, func(n string) proto.Message { return &wire.ListKeysRequest{After: n} }},
	{"delete key", true, wire.OpDeleteKey, func(n string) proto.Message { return &wire.DeleteKeyRequest{Name: n} }},
	{"wrap", true, wire.OpWrapKey, func(n string) proto.Message { return &wire.WrapKeyRequest{Name: n} }},
}

// ask sends the request, and answers what it made the kernel do as well.
func (a *app) ask(r request, name string) (answer, []step) {
	a.w.t.Helper()
	slot := a.Config.Store
	if r.keys {
		slot = a.Config.Keys
	}
	body := frame(a.w.t, r.on(name))
	var got answer
	steps := a.w.work(func() { got = a.send(slot, r.op, body) })
	return got, steps
}

// TestAbsentLooksLikeAnothers compares a name that another app, or the same app
// of another user, has with a name of the same length that nobody ever had: the
// same bytes, and the same work.
func TestAbsentLooksLikeAnothers(t *testing.T) {
	w := fresh(t)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	me := alice.app("mine")
	me.put("own", "v")
	_, err := me.Keychain.Generate(w.ctx(), "own")
	must(t, err)
	for name, owner := range map[string]*app{"others": alice.app("other"), "bobsys": bob.app("mine")} {
		owner.put(name, "v")
		_, err := owner.Keychain.Generate(w.ctx(), name)
		must(t, err)
	}
	for _, r := range requests {
		never, work := me.ask(r, "nobody")
		if len(work) == 0 || r.what != "list" && r.what != "keys" && never != (answer{ipc.NotFound, ""}) {
			t.Errorf("%s of a name that is nobody's: %v %q in %d steps", r.what, never.code, never.body, len(work))
		}
		for _, name := range []string{"others", "bobsys"} {
			got, steps := me.ask(r, name)
			if got != never {
				t.Errorf("%s of %s: %v %q, of a name that is nobody's: %v %q", r.what, name, got.code, got.body, never.code, never.body)
			}
			if !slices.Equal(steps, work) {
				t.Errorf("%s of %s: %d steps, of a name that is nobody's %d:\n%v\n%v", r.what, name, len(steps), len(work), steps, work)
			}
		}
	}
}

// refusedAlike says that every request under the app's token is denied, in the
// same bytes and with the same work whether there is a name, as token, or not.
func (a *app) refusedAlike(what string) {
	t := a.w.t
	t.Helper()
	for _, r := range requests {
		got, work := a.ask(r, "token")
		if got != (answer{ipc.Denied, ""}) {
			t.Errorf("%s: %s answers %v %q", what, r.what, got.code, got.body)
		}
		if len(work) != 1 || work[0].kind != ipc.TraceRefuse {
			t.Errorf("%s: %s reached somebody: %v", what, r.what, work)
		}
		absent, steps := a.ask(r, "never")
		if absent != got || !slices.Equal(steps, work) {
			t.Errorf("%s: %s tells whether the name is there: %v %v, %v %v", what, r.what, got, work, absent, steps)
		}
	}
}

func TestStolenToken(t *testing.T) {
	w := fresh(t)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	victim := alice.app("notes")
	victim.put("token", "v")
	for who, thief := range map[string]*app{
		"another app": alice.app("mail"), "the same app, another task": alice.app("notes"), "another user": bob.app("notes"),
	} {
		thief.stole(victim).refusedAlike("stolen by " + who)
	}
	victim.holds("token", "v")
}

// TestForgedToken changes every byte of a token in several ways, and makes some
// up from nothing.
func TestForgedToken(t *testing.T) {
	w := fresh(t)
	me := w.newUser("alice").app("notes")
	me.put("token", "v")
	body := frame(t, &wire.GetRequest{Name: "token"})
	for i := range capability.TokenSize {
		for _, flip := range []byte{1, 0x80, 0xff} {
			forged := me.Config.Token
			forged[i] ^= flip
			if got := me.withToken(forged).send(me.Config.Store, wire.OpGet, body); got != (answer{ipc.Denied, ""}) {
				t.Errorf("byte %d changed by %#x: %v %q", i, flip, got.code, got.body)
			}
		}
	}
	for _, i := range []int{0, 47, 48, 79} {
		forged := me.Config.Token
		forged[i] ^= 4
		me.withToken(forged).refusedAlike("forged")
	}
	me.withToken(capability.Token{}).refusedAlike("zeros")
	m := ipc.Msg{Slot: me.Config.Store, Op: wire.OpGet, Body: body, Move: ipc.NoSlot}
	if r, err := me.Task.Call(w.ctx(), m, nil); !errors.Is(err, ipc.Denied) || len(r.Body) > 0 {
		t.Errorf("without a token: %q, %v", r.Body, err)
	}
	me.holds("token", "v")
}

// TestWidenedToken gives a token that may only read more rights, another app,
// another session, another holder and a longer life.
func TestWidenedToken(t *testing.T) {
	w := fresh(t)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	all := alice.app("notes")
	all.put("token", "v")
	his := bob.app("mail")
	reader := alice.appWith("notes", capability.Get)
	reader.holds("token", "v")
	fields, err := his.Config.Token.Fields()
	must(t, err)
	for what, widen := range map[string]func(token []byte){
		"all rights":      func(b []byte) { binary.LittleEndian.PutUint16(b[2:], uint16(capability.AllTokenRights)) },
		"unknown rights":  func(b []byte) { binary.LittleEndian.PutUint16(b[2:], 0xffff) },
		"another epoch":   func(b []byte) { binary.LittleEndian.PutUint32(b[4:], 2) },
		"another session": func(b []byte) { binary.LittleEndian.PutUint64(b[8:], fields.SID) },
		"another app":     func(b []byte) { binary.LittleEndian.PutUint64(b[16:], fields.App) },
		"another token":   func(b []byte) { binary.LittleEndian.PutUint64(b[24:], fields.Serial) },
		"another holder":  func(b []byte) { binary.LittleEndian.PutUint64(b[32:], fields.Holder) },
		"another expiry":  func(b []byte) { binary.LittleEndian.PutUint64(b[40:], ^uint64(0)) },
	} {
		token := reader.Config.Token
		widen(token[:])
		reader.withToken(token).refusedAlike(what)
	}
	// A seal of another token over these fields is no better.
	spliced := reader.Config.Token
	copy(spliced[48:], all.Config.Token[48:])
	reader.withToken(spliced).refusedAlike("another token's seal")
	want(t, reader.tryPut("token", "x"), ipc.Denied)
	reader.holds("token", "v")
}

// TestStaleToken uses tokens of before a lock, an end, a removal, and the exit
// of the task that held them.
func TestStaleToken(t *testing.T) {
	w := fresh(t)
	alice := w.newUser("alice")
	before := alice.app("notes")
	before.put("token", "v")
	alice.lock()
	before.refusedAlike("of before the lock, while sealed")
	alice.unseal()
	before.refusedAlike("of before the lock, after it")
	now := alice.app("notes")
	now.holds("token", "v")
	before.stole(now).refusedAlike("the new one, in the old task")

	gone := alice.app("notes")
	gone.Exit()
	now.stole(gone).refusedAlike("of a task that exited")
	if got := gone.send(gone.Config.Store, wire.OpGet, frame(t, &wire.GetRequest{Name: "token"})); got != (answer{ipc.Unavailable, ""}) {
		t.Errorf("a task that exited reads: %v %q", got.code, got.body)
	}
	alice.endSession()
	now.refusedAlike("of an ended session")
}

// TestLastBootsToken replays a token in the next boot, in the task that has the
// same number.
func TestLastBootsToken(t *testing.T) {
	d := simdisk.New()
	w := start(t, d)
	old := w.newUser("alice").app("notes")
	old.put("token", "v")
	last, id := old.Config.Token, old.Task.ID()
	w.end()

	w = start(t, d)
	now := w.back("alice").app("notes")
	if now.Task.ID() != id {
		t.Fatalf("task %d in the last boot, %d in this one: the test proves nothing", id, now.Task.ID())
	}
	now.withToken(last).refusedAlike("of the last boot")
	now.holds("token", "v")
	then, err := last.Fields()
	must(t, err)
	fields, err := now.Config.Token.Fields()
	must(t, err)
	if then.SID == fields.SID {
		t.Error("two boots have one sid")
	}
}
