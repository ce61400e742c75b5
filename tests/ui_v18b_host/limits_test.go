package ui_v18b_host

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/keymintd"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
)

// bench is a system in which alice's limits are tried.
type bench struct {
	t     *testing.T
	d     *simdisk.Disk
	w     *world
	alice *user
}

func newBench(t *testing.T) *bench {
	t.Helper()
	d := simdisk.New()
	w := start(t, d)
	return &bench{t: t, d: d, w: w, alice: w.newUser("alice")}
}

// over says that something goes over a limit, and changes nothing: not on the
// disk, nor in what the apps can see.
func (b *bench) over(what string, code ipc.Code, do func() error, apps ...*app) {
	b.t.Helper()
	files, seen := contents(b.t, b.d), b.see(apps)
	err := do()
	var got ipc.Code
	if !errors.As(err, &got) || !errors.Is(err, code) {
		b.t.Errorf("%s: %v, want %v", what, err, code)
	}
	same(b.t, b.d, files, guessesFile)
	if now := b.see(apps); now != seen {
		b.t.Errorf("%s: it changed something", what)
	}
}

// see is all that the apps have.
func (b *bench) see(apps []*app) string {
	b.t.Helper()
	var all strings.Builder
	for _, a := range apps {
		names, err := a.Keychain.List(b.w.ctx())
		must(b.t, err)
		for _, name := range names {
			value, err := a.tryGet(name)
			must(b.t, err)
			fmt.Fprintf(&all, "%s %s %q\n", a.ID, name, value)
		}
		keys, err := a.Keychain.Keys(b.w.ctx())
		must(b.t, err)
		fmt.Fprintln(&all, a.ID, keys)
	}
	return all.String()
}

// raw makes a request that the client library would not send.
func (b *bench) raw(a *app, keys bool, op uint16, q, p proto.Message) error {
	slot := a.Config.Store
	if keys {
		slot = a.Config.Keys
	}
	m := ipc.Msg{Slot: slot, Op: op, Token: &a.Config.Token, Move: ipc.NoSlot}
	return wire.Call(b.w.ctx(), a.Task, m, q, p)
}

// lent puts a value in a memory object, of whatever length.
func (b *bench) lent(a *app, name, value string) error {
	loan, err := wire.LendReadOnly(a.Task, []byte(value))
	if err != nil {
		return err
	}
	defer loan.End()
	m := ipc.Msg{Slot: a.Config.Store, Op: wire.OpPut, Token: &a.Config.Token, Move: loan.Object}
	return wire.Call(b.w.ctx(), a.Task, m, &wire.PutRequest{Name: name, Size: uint32(len(value))}, &wire.PutReply{})
}

// around are a limit and what is next to it.
func around(n int) []int { return []int{n - 1, n, n + 1} }

// TestQuotaLimits tries each limit at one below, at it, and at one above.
func TestQuotaLimits(t *testing.T) {
	for name, test := range map[string]func(*bench){
		"bytes of a name":           limitName,
		"bytes of a value":          limitValue,
		"secrets of an app":         limitAppSecrets,
		"bytes of an app":           limitAppBytes,
		"secrets of a user":         limitUserSecrets,
		"bytes of a user":           limitUserBytes,
		"apps of a user":            limitApps,
		"keys of an app":            limitKeys,
		"bytes of a key's name":     limitKeyName,
		"bytes of a message":        limitMessage,
		"bytes of a frame":          limitFrame,
		"bytes of an app id":        limitAppID,
		"bytes of a user id":        limitUserID,
		"users":                     limitUsers,
		"sessions of a user":        limitUserSessions,
		"sessions":                  limitSessions,
		"tokens of a session":       limitTokens,
		"bytes of a password":       limitPassword,
		"digits of a PIN":           limitPIN,
		"quota after a replacement": limitReplace,
	} {
		t.Run(name, func(t *testing.T) { test(newBench(t)) })
	}
}

func limitName(b *bench) {
	a := b.alice.app("notes")
	a.put("kept", "v")
	for _, n := range around(keychain.MaxName) {
		name := strings.Repeat("n", n)
		put := func() error {
			return b.raw(a, false, wire.OpPut, &wire.PutRequest{Name: name, Value: []byte("v")}, &wire.PutReply{})
		}
		if n <= vault.NameBytes {
			must(b.t, put())
			a.holds(name, "v")
			continue
		}
		b.over("a put by the client", ipc.Malformed, func() error { return a.tryPut(name, "v") }, a)
		b.over("a put", ipc.Malformed, put, a)
		b.over("a get", ipc.Malformed, func() error {
			return b.raw(a, false, wire.OpGet, &wire.GetRequest{Name: name}, &wire.GetReply{})
		}, a)
	}
}

func limitValue(b *bench) {
	a := b.alice.app("notes")
	a.put("value", "old")
	for _, n := range slices.Concat(around(vault.InlineBytes), around(keychain.MaxValue)) {
		value := strings.Repeat("v", n)
		put := func() error {
			return b.raw(a, false, wire.OpPut, &wire.PutRequest{Name: "value", Value: []byte(value)}, &wire.PutReply{})
		}
		if n <= keychain.MaxValue {
			a.put("value", value)
			a.holds("value", value)
		} else {
			b.over("a put by the client", ipc.TooLarge, func() error { return a.tryPut("value", value) }, a)
			b.over("a put of an object", ipc.TooLarge, func() error { return b.lent(a, "value", value) }, a)
		}
		if n <= vault.InlineBytes {
			must(b.t, put())
			a.holds("value", value)
		} else {
			b.over("a put in a frame", ipc.TooLarge, put, a)
		}
	}
	longest := strings.Repeat("n", keychain.MaxName)
	a.put(longest, strings.Repeat("v", keychain.MaxValue))
}

func limitAppSecrets(b *bench) {
	a, other := b.alice.app("notes"), b.alice.app("mail")
	for i := range vault.AppSecrets {
		a.put(fmt.Sprint("name", i), "v")
	}
	b.over("one secret more", ipc.Quota, func() error { return a.tryPut("more", "v") }, a, other)
	a.put("name0", "another value")
	other.put("token", "v")
	a.delete("name1")
	a.put("more", "v")
	b.over("one secret more", ipc.Quota, func() error { return a.tryPut("name1", "v") }, a, other)
}

// stuff fills an app up to exactly that many bytes, names included.
func (a *app) stuff(bytes int) {
	a.w.t.Helper()
	const most = 4 + keychain.MaxValue
	for i := 0; bytes > 0; i++ {
		n := min(bytes, most)
		if left := bytes - n; left > 0 && left < 4 {
			n -= 4
		}
		a.put(fmt.Sprintf("f%03d", i), strings.Repeat("v", n-4))
		bytes -= n
	}
}

func limitAppBytes(b *bench) {
	a, other := b.alice.app("notes"), b.alice.app("mail")
	other.put("token", "v")
	a.stuff(vault.AppBytes - 11)
	a.put("last", "123456") // One byte below.
	b.over("two bytes more", ipc.Quota, func() error { return a.tryPut("last", "12345678") }, a, other)
	a.put("last", "1234567")
	b.over("one byte more", ipc.Quota, func() error { return a.tryPut("last", "12345678") }, a, other)
	b.over("the shortest secret", ipc.Quota, func() error { return a.tryPut("x", "") }, a, other)
	other.put("token", strings.Repeat("v", 4000))
	a.put("last", "")
	a.put("x", "123456")
	b.over("one byte more", ipc.Quota, func() error { return a.tryPut("x", "1234567") }, a, other)
}

func limitUserSecrets(b *bench) {
	bobs := b.w.newUser("bob").app("notes")
	var apps []*app
	for i := range vault.UserSecrets / vault.AppSecrets {
		a := b.alice.app(fmt.Sprint("app", i))
		for j := range vault.AppSecrets {
			a.put(fmt.Sprint("name", j), "v")
		}
		apps = append(apps, a)
	}
	late := b.alice.app("late")
	b.over("one secret more", ipc.Quota, func() error { return late.tryPut("token", "v") }, append(apps, late)...)
	bobs.put("token", "v")
	apps[0].put("name0", "another value")
	apps[0].delete("name0")
	late.put("token", "v")
	b.over("one secret more", ipc.Quota, func() error { return late.tryPut("more", "v") }, late)
	late.put("token", "w")
}

func limitUserBytes(b *bench) {
	bobs := b.w.newUser("bob").app("notes")
	const apps = vault.UserBytes / vault.AppBytes
	for i := range apps {
		n := vault.AppBytes
		if i == apps-1 {
			n -= 10
		}
		b.alice.app(fmt.Sprint("app", i)).stuff(n)
	}
	late := b.alice.app("late")
	late.put("last", "12345")
	b.over("two bytes more", ipc.Quota, func() error { return late.tryPut("last", "1234567") }, late)
	late.put("last", "123456")
	b.over("one byte more", ipc.Quota, func() error { return late.tryPut("last", "1234567") }, late)
	b.over("the shortest secret", ipc.Quota, func() error { return late.tryPut("x", "") }, late)
	bobs.put("token", strings.Repeat("v", 4096))
	full := b.alice.app("app0")
	full.delete("f000")
	late.put("x", "")
}

// limitReplace is an app at its quota that only replaces.
func limitReplace(b *bench) {
	a := b.alice.app("notes")
	a.stuff(vault.AppBytes)
	for _, value := range []string{"", "v", strings.Repeat("w", keychain.MaxValue)} {
		a.put("f000", value)
		a.holds("f000", value)
	}
	b.over("one byte more", ipc.Quota, func() error { return a.tryPut("x", "") }, a)
}

func limitApps(b *bench) {
	for i := range keymintd.MaxApps {
		a := b.alice.app(fmt.Sprint("app", i))
		a.put("token", "v")
		a.Exit()
	}
	late := b.alice.app("late")
	files := contents(b.t, b.d)
	want(b.t, late.tryPut("token", "v"), ipc.LimitReached)
	_, err := late.Keychain.Generate(b.w.ctx(), "key")
	want(b.t, err, ipc.LimitReached)
	same(b.t, b.d, files, guessesFile)
	b.alice.app("app1").holds("token", "v")
	b.w.newUser("bob").app("late").put("token", "v")
}

func limitKeys(b *bench) {
	a, other := b.alice.app("wallet"), b.alice.app("mail")
	ctx := b.w.ctx()
	for i := range keymintd.MaxSigningKeys {
		_, err := a.Keychain.Generate(ctx, fmt.Sprint("key", i))
		must(b.t, err)
	}
	blob, err := a.Keychain.Detach(ctx, "key0")
	must(b.t, err)
	_, err = a.Keychain.Generate(ctx, "key")
	must(b.t, err)
	generate := func() error { _, err := a.Keychain.Generate(ctx, "more"); return err }
	unwrap := func() error { _, err := a.Keychain.Unwrap(ctx, "more", blob); return err }
	b.over("one key more", ipc.LimitReached, generate, a, other)
	b.over("one key more, unwrapped", ipc.LimitReached, unwrap, a, other)
	_, err = other.Keychain.Generate(ctx, "key")
	must(b.t, err)
	must(b.t, a.Keychain.DeleteKey(ctx, "key1"))
	must(b.t, unwrap())
	b.over("one key more", ipc.LimitReached, func() error { _, err := a.Keychain.Generate(ctx, "key1"); return err }, a, other)
}

func limitKeyName(b *bench) {
	a := b.alice.app("wallet")
	for _, n := range around(keymintd.MaxKeyName) {
		generate := func() error { _, err := a.Keychain.Generate(b.w.ctx(), strings.Repeat("n", n)); return err }
		if n <= keymintd.MaxKeyName {
			must(b.t, generate())
			continue
		}
		b.over("a longer name", ipc.TooLarge, generate, a)
	}
}

func limitMessage(b *bench) {
	a := b.alice.app("wallet")
	_, err := a.Keychain.Generate(b.w.ctx(), "key")
	must(b.t, err)
	for _, n := range around(keychain.MaxMessage) {
		message := make([]byte, n)
		sign := func() error {
			return b.raw(a, true, wire.OpSign, &wire.SignRequest{Name: "key", Message: message}, &wire.SignReply{})
		}
		if n <= keymintd.MaxMessage {
			must(b.t, sign())
			continue
		}
		b.over("a longer message", ipc.TooLarge, sign, a)
		b.over("a longer message by the client", ipc.TooLarge, func() error {
			_, err := a.Keychain.Sign(b.w.ctx(), "key", message)
			return err
		}, a)
	}
}

// limitFrame sends frames whose bytes no service could read.
func limitFrame(b *bench) {
	a := b.alice.appWith("notes", capability.AllTokenRights)
	a.put("token", "v")
	for _, n := range around(ipc.MaxFrame) {
		code := ipc.Malformed
		if n > ipc.MaxFrame {
			code = ipc.TooLarge
		}
		for _, slot := range []ipc.Slot{a.Config.Store, a.Config.Keys} {
			for op := range uint16(ipc.MaxOps) {
				got := a.send(slot, op, make([]byte, n))
				if got != (answer{code, ""}) && (got != (answer{ipc.Unsupported, ""}) || n > ipc.MaxFrame) {
					b.t.Errorf("a frame of %d bytes: %v %q", n, got.code, got.body)
				}
			}
		}
	}
	a.lists("token")
}

// TestQuotasOverCrashAndCompaction fills an app's quota to the byte and the
// secret, has the vault compacted by replacing everything, and cuts the power: at
// every boot there is room for exactly as much as before.
func TestQuotasOverCrashAndCompaction(t *testing.T) {
	d := simdisk.New()
	w := start(t, d)
	a := w.newUser("alice").app("notes")
	a.stuff(vault.AppBytes - 11)
	full := func(a *app) {
		t.Helper()
		want(t, a.tryPut("last", "12345678"), ipc.Quota) // A byte too much.
		a.put("last", "1234567")
		want(t, a.tryPut("n", "v"), ipc.Quota)
		a.delete("last")
	}
	full(a)
	least := int64(1) << 40
	for range 3 {
		before, err := d.Stat("state/identity/alice/vault.kv")
		must(t, err)
		a.stuff(vault.AppBytes - 11) // The same names again.
		after, err := d.Stat("state/identity/alice/vault.kv")
		must(t, err)
		least = min(least, after-before)
		full(a)
		d = d.Crash()
		w = start(t, d)
		a = w.back("alice").app("notes")
		full(a)
	}
	if least > vault.AppBytes {
		t.Errorf("the file has grown by %d each time: nothing was compacted", least)
	}
}
