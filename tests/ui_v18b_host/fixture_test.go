// Package ui_v18b_host proves from the outside what the system promises to the
// people whose secrets it keeps: every test boots all services as they ship,
// logs in through the launcher and acts as apps do, through the router. Nothing
// here reaches into a service; what is looked at besides answers is the
// console, the kernel's trace and the files.
//
// The name is that of the host test of the keychain on the target OS.
package ui_v18b_host

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// cheap keeps Argon2id out of the way; one test runs what ships.
var cheap = identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}

// patience bounds what a test waits for. Nothing takes nearly as long.
const patience = 20 * time.Second

// must fails the test for any error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// want fails the test unless err is one of the closed set, and that one.
func want(t testing.TB, err error, code ipc.Code) {
	t.Helper()
	var got ipc.Code
	if !errors.As(err, &got) || !errors.Is(err, code) {
		t.Fatalf("error %v, want %v", err, code)
	}
}

// seed is where a random test begins: NEXUS_SEED, or another one each time.
func seed(t testing.TB) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("NEXUS_SEED: %v", err)
		}
	}
	t.Logf("NEXUS_SEED=%d", n)
	return n
}

// world is a booted system, and what can be seen of it.
type world struct {
	*boot.System
	t        testing.TB
	launcher *boot.Launcher
	console  *console
	ended    bool

	mu      sync.Mutex
	trace   []ipc.TraceEvent
	crashes []*ipc.PanicReport
}

// start boots the system on a disk. It is shut down with the test, and then
// nothing may have panicked and nothing false may stand on the console.
func start(t testing.TB, d disk.Disk, change ...func(*boot.Config)) *world {
	t.Helper()
	w := &world{t: t, console: &console{}}
	cfg := boot.Config{Disk: d, Console: w.console, Argon: cheap, Tap: w.tap, Crash: w.crashed}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if w.System, err = boot.Boot(cfg); err != nil {
		t.Fatalf("boot: %v", err)
	}
	t.Cleanup(w.end)
	if w.launcher, err = w.System.Launcher(); err != nil {
		t.Fatal(err)
	}
	return w
}

// fresh is a system on an empty disk in memory.
func fresh(t testing.TB) *world {
	t.Helper()
	return start(t, simdisk.New())
}

// end shuts the system down, once.
func (w *world) end() {
	w.t.Helper()
	if w.ended {
		return
	}
	w.ended = true
	w.Shutdown()
	w.console.check(w.t)
	for _, c := range w.panics() {
		w.t.Errorf("%s panicked at %s", c.Task, c.Frames)
	}
}

func (w *world) tap(e ipc.TraceEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, e)
}

func (w *world) crashed(r *ipc.PanicReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crashes = append(w.crashes, r)
}

// panics returns the panics since it was asked last.
func (w *world) panics() []*ipc.PanicReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.crashes
	w.crashes = nil
	return all
}

// step is a trace event without what differs between two runs of one and the
// same thing: when it was, and the numbers of calls.
type step struct {
	kind     ipc.EventKind
	from, to ipc.TaskID
	op, size uint16
	code     ipc.Code
	refusal  capability.Refusal
}

// work runs fn while nobody else does anything, and answers what it made the
// kernel do.
func (w *world) work(fn func()) []step {
	w.mu.Lock()
	w.trace = nil
	w.mu.Unlock()
	fn()
	w.mu.Lock()
	defer w.mu.Unlock()
	var steps []step
	for _, e := range w.trace {
		steps = append(steps, step{e.Kind, e.From, e.To, e.Op, e.Size, e.Code, e.Refusal})
	}
	return steps
}

// user is somebody with a password, and at most one session at a time.
type user struct {
	w        *world
	name     string
	password boot.Credential
	sid      uint64
}

// known is a user that exists already, with the password that newUser gave.
func (w *world) known(name string) *user {
	return &user{w: w, name: name, password: boot.Password([]byte("the password of " + name))}
}

// newUser makes a user, whose session is active and unsealed.
func (w *world) newUser(name string) *user {
	w.t.Helper()
	u := w.known(name)
	must(w.t, w.launcher.CreateUser(w.ctx(), name, u.password))
	u.login()
	u.unseal()
	return u
}

// back is a known user with a session that is active and unsealed.
func (w *world) back(name string) *user {
	w.t.Helper()
	u := w.known(name)
	u.login()
	u.unseal()
	return u
}

func (w *world) ctx() context.Context { return w.t.Context() }

func (u *user) login() {
	u.w.t.Helper()
	sid, err := u.w.launcher.StartSession(u.w.ctx(), u.name, u.password)
	must(u.w.t, err)
	u.sid = sid
}

func (u *user) unseal() {
	u.w.t.Helper()
	must(u.w.t, u.w.launcher.Unseal(u.w.ctx(), u.sid, u.password))
}

func (u *user) lock() {
	u.w.t.Helper()
	must(u.w.t, u.w.launcher.Lock(u.w.ctx(), u.sid))
}

func (u *user) endSession() {
	u.w.t.Helper()
	must(u.w.t, u.w.launcher.End(u.w.ctx(), u.sid))
}

// app is a running app of a user.
type app struct {
	*boot.App
	w *world
}

// app starts an app with every right that apps get.
func (u *user) app(id string) *app {
	u.w.t.Helper()
	return u.appWith(id, boot.AppRights)
}

func (u *user) appWith(id string, rights capability.TokenRights) *app {
	u.w.t.Helper()
	a, err := u.w.launcher.Launch(u.w.ctx(), u.sid, id, rights)
	must(u.w.t, err)
	return &app{a, u.w}
}

func (a *app) tryPut(name, value string) error {
	v := secret.Copy([]byte(value))
	defer v.Wipe()
	return a.Keychain.Put(a.w.ctx(), name, v)
}

func (a *app) put(name, value string) {
	a.w.t.Helper()
	if err := a.tryPut(name, value); err != nil {
		a.w.t.Fatalf("put %q: %v", name, err)
	}
}

func (a *app) tryGet(name string) (string, error) {
	v, err := a.Keychain.Get(a.w.ctx(), name)
	defer v.Wipe()
	return string(v.Expose()), err
}

// holds says that the app has that value under that name.
func (a *app) holds(name, value string) {
	a.w.t.Helper()
	if got, err := a.tryGet(name); err != nil || got != value {
		a.w.t.Fatalf("%s has %q under %.40q (error %v), want %q", a.ID, clip(got), name, err, clip(value))
	}
}

// lacks says that the app has nothing under that name.
func (a *app) lacks(name string) {
	a.w.t.Helper()
	_, err := a.tryGet(name)
	want(a.w.t, err, ipc.NotFound)
}

func (a *app) delete(name string) {
	a.w.t.Helper()
	must(a.w.t, a.Keychain.Delete(a.w.ctx(), name))
}

// lists says that the app's names are these, in this order.
func (a *app) lists(names ...string) {
	a.w.t.Helper()
	got, err := a.Keychain.List(a.w.ctx())
	must(a.w.t, err)
	if !slices.Equal(got, names) {
		a.w.t.Fatalf("%s has the names %.200q, want %.200q", a.ID, got, names)
	}
}

// denied says that nothing at all works with the app's token.
func (a *app) denied(name string) {
	a.w.t.Helper()
	for op, err := range a.everything(name) {
		if !errors.Is(err, ipc.Denied) {
			a.w.t.Errorf("%s: %v, want %v", op, err, ipc.Denied)
		}
	}
}

// everything tries each operation once and answers how it ended.
func (a *app) everything(name string) map[string]error {
	ctx, k := a.w.ctx(), a.Keychain
	errs := make(map[string]error)
	note := func(op string, _ any, err error) { errs[op] = err }
	note("put", nil, a.tryPut(name, "anything"))
	_, err := a.tryGet(name)
	note("get", nil, err)
	names, err := k.List(ctx)
	note("list", names, err)
	note("delete", nil, k.Delete(ctx, name))
	public, err := k.Generate(ctx, name)
	note("generate", public, err)
	public, err = k.Public(ctx, name)
	note("public", public, err)
	signature, err := k.Sign(ctx, name, []byte("a message"))
	note("sign", signature, err)
	names, err = k.Keys(ctx)
	note("keys", names, err)
	blob, err := k.Wrap(ctx, name)
	note("wrap", blob, err)
	public, err = k.Unwrap(ctx, name, make([]byte, 106))
	note("unwrap", public, err)
	public, _, err = k.Rotate(ctx, name)
	note("rotate", public, err)
	note("revoke", nil, k.Revoke(ctx, name))
	note("delete key", nil, k.DeleteKey(ctx, name))
	return errs
}

func clip(s string) string { return s[:min(len(s), 60)] }
