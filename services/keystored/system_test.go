package keystored_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

const (
	kvPath   = "state/identity/alice/vault.kv"
	headPath = "state/identity/alice/vault.head"
	kvState  = "state:/identity/alice/vault.kv"
	hdState  = "state:/identity/alice/vault.head"
)

// oddDisk can make each sync take a while, so that puts gather, and can lie
// about a rename: do it and say that it failed.
type oddDisk struct {
	*simdisk.Disk
	delay *atomic.Int64
	lie   *atomic.Bool
}

func (d oddDisk) Rename(from, to string) error {
	err := d.Disk.Rename(from, to)
	if d.lie.Swap(false) {
		return errBroken
	}
	return err
}

func (d oddDisk) Sync(path string) error {
	time.Sleep(time.Duration(d.delay.Load()))
	return d.Disk.Sync(path)
}

// system is keystored on the real kernel and the real statefsd, above a disk in
// memory, with a stand-in for keymintd; the test is identityd.
type system struct {
	t     testing.TB
	rig   *rig.Rig
	disk  *simdisk.Disk
	delay atomic.Int64 // of a sync, on goroutines
	lie   atomic.Bool  // about the next rename, on goroutines
	mint  *mint

	keystored   *ipc.Task
	identity    *ipc.Task
	auth        ipc.Slot
	admin       ipc.Slot // identity's slot for the open facet
	store       ipc.Slot // init's slot for the store facet
	tasks       int
	incarnation byte
	panics      atomic.Bool // the next event makes keystored panic
}

// crashing is keystored with a door for a panic.
type crashing struct {
	ipc.Service
	now *atomic.Bool
}

func (c crashing) Serve(ctx context.Context, r *ipc.Request) {
	if c.now.Swap(false) {
		panic("a bug")
	}
	c.Service.Serve(ctx, r)
}

func (c crashing) Event(ctx context.Context, ev ipc.Event) {
	c.Service.(ipc.EventHandler).Event(ctx, ev)
}

// boot starts a system on the disk; limits are keystored's.
func boot(t testing.TB, r *rig.Rig, d *simdisk.Disk, limits vault.Limits) *system {
	t.Helper()
	s := &system{t: t, rig: r, disk: d, incarnation: 1}
	var files disk.Disk = d
	if r.Seeded == nil {
		files = oddDisk{d, &s.delay, &s.lie}
	}
	fs := r.Task(ipc.TaskSpec{Name: "statefsd", Marks: []string{"statefsd:"}})
	fsEP := r.Endpoint(fs, ipc.EndpointSpec{Depth: 128, Parallel: 64, Ops: rig.Ops(7)})
	r.Host(fs, func() ipc.Service {
		return statefsd.New(fs, statefsd.Config{Disk: files, Grants: []statefsd.Grant{
			{Subject: "keystored", Pattern: "state:/identity/*/vault.*", Access: statefsd.Write},
		}})
	})
	const any = capability.Put | capability.Get | capability.Del | capability.List
	mint := r.Task(ipc.TaskSpec{Name: "keymintd"})
	s.mint = newMint(mint)
	var ops []ipc.Op
	for op := wire.OpAppKey; op <= wire.OpOpenSegment; op++ {
		ops = append(ops, ipc.Op{Code: op, Need: any})
	}
	mintEP := r.Endpoint(mint, ipc.EndpointSpec{Depth: 256, Parallel: 256, Ops: ops})
	r.Host(mint, func() ipc.Service { return s.mint })

	s.keystored = r.Task(ipc.TaskSpec{Name: "keystored", Marks: []string{"keystore:"}})
	s.store = r.Endpoint(s.keystored, ipc.EndpointSpec{Depth: 128, Parallel: 128, Ops: []ipc.Op{
		{Code: wire.OpPut, Need: capability.Put}, {Code: wire.OpGet, Need: capability.Get},
		{Code: wire.OpDelete, Need: capability.Del}, {Code: wire.OpList, Need: capability.List},
	}})
	adminEP := r.Endpoint(s.keystored, ipc.EndpointSpec{Depth: 32, Parallel: 32, Ops: []ipc.Op{
		{Code: wire.OpOpenVault, Need: any}, {Code: wire.OpForgetVault},
	}})
	cfg := keystored.Config{
		KeyMint: r.Connect(s.keystored, mintEP), StateFS: r.Connect(s.keystored, fsEP), Limits: limits,
	}
	r.Host(s.keystored, func() ipc.Service {
		return crashing{Service: keystored.New(s.keystored, cfg), now: &s.panics}
	})
	s.identity = r.Task(ipc.TaskSpec{Name: "identityd"})
	auth, err := s.identity.GrantAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s.auth, s.admin = auth, r.Connect(s.identity, adminEP)
	return s
}

// newSystem is a system on goroutines with an empty disk.
func newSystem(t testing.TB) *system {
	return boot(t, rig.New(t), simdisk.New(), vault.Limits{})
}

// session is a session of a user, and where its tokens come from.
type session struct {
	s    *system
	user string
	sid  uint64
}

func (s *system) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) session(user string) *session {
	s.t.Helper()
	sid, err := s.identity.StartSession(s.auth, user, [16]byte{s.incarnation})
	s.must(err)
	return &session{s: s, user: user, sid: sid}
}

// token mints one for the task.
func (c *session) token(app string, holder *ipc.Task) (*capability.Token, error) {
	token, err := c.s.identity.MintToken(c.s.auth, ipc.TokenSpec{
		SID: c.sid, App: app, Holder: holder.ID(),
		Rights: capability.Put | capability.Get | capability.Del | capability.List,
	})
	return &token, err
}

// openVault does what identityd does at unseal.
func (c *session) openVault(ctx context.Context, create bool) error {
	token, err := c.token("identityd", c.s.identity)
	if err != nil {
		return err
	}
	if err := c.s.identity.OpenSession(c.s.auth, c.sid); err != nil {
		return err
	}
	m := ipc.Msg{Slot: c.s.admin, Op: wire.OpOpenVault, Token: token, Move: ipc.NoSlot}
	err = wire.Call(ctx, c.s.identity, m, &wire.OpenVaultRequest{Create: create}, &wire.OpenVaultReply{})
	_ = c.s.identity.RevokeToken(c.s.auth, token)
	return err
}

// unseal opens the vault and answers how that went.
func (c *session) unseal(create bool) (err error) {
	c.s.t.Helper()
	c.s.rig.Do(c.s.identity, func(ctx context.Context) {
		if err = c.openVault(ctx, create); err != nil {
			_ = c.s.identity.SealSession(c.s.auth, c.sid)
		}
	})
	return err
}

// lock seals the session and waits as identityd does.
func (c *session) lock() {
	c.s.t.Helper()
	c.s.rig.Do(c.s.identity, func(ctx context.Context) {
		if err := errors.Join(c.s.identity.SealSession(c.s.auth, c.sid), c.s.identity.DrainSession(ctx, c.s.auth, c.sid)); err != nil {
			c.s.t.Error(err)
		}
	})
}

// forget removes a user's vault.
func (s *system) forget(user string) (err error) {
	s.t.Helper()
	s.rig.Do(s.identity, func(ctx context.Context) {
		m := ipc.Msg{Slot: s.admin, Op: wire.OpForgetVault, Move: ipc.NoSlot}
		err = wire.Call(ctx, s.identity, m, &wire.ForgetVaultRequest{User: user}, &wire.ForgetVaultReply{})
	})
	return err
}

// holdSync stops the next sync of alice's vault until it is released, and says
// when it is reached. No other call of the disk ends meanwhile.
func (s *system) holdSync(fail func(op simdisk.Op) error) (reached, release chan struct{}) {
	reached, release = make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	s.disk.SetFault(func(op simdisk.Op) error {
		if op.Kind == simdisk.Sync && op.Path == kvPath && !once.Swap(true) {
			close(reached)
			<-release
			return nil
		}
		return fail(op)
	})
	return reached, release
}

// untilSealed waits till n records have been sealed in all.
func (s *system) untilSealed(n int) {
	for s.mint.count(wire.OpSealRecord) < n {
		time.Sleep(time.Millisecond)
	}
}

func never(simdisk.Op) error { return nil }

// alice is a session of hers with a new vault.
func (s *system) alice() *session {
	s.t.Helper()
	c := s.session("alice")
	s.must(c.unseal(true))
	return c
}

// again is a session of hers whose vault must be there.
func (s *system) again() *session {
	s.t.Helper()
	c := s.session("alice")
	s.must(c.unseal(false))
	return c
}

// app is a program with a token.
type app struct {
	s     *system
	task  *ipc.Task
	slot  ipc.Slot
	token *capability.Token
}

func (c *session) app(id string) *app {
	c.s.t.Helper()
	c.s.tasks++
	task := c.s.rig.Task(ipc.TaskSpec{Name: "app-" + strconv.Itoa(c.s.tasks)})
	token, err := c.token(id, task)
	c.s.must(err)
	return &app{s: c.s, task: task, slot: c.s.rig.Connect(task, c.s.store), token: token}
}

func (a *app) call(ctx context.Context, op uint16, q, p proto.Message) error {
	return wire.Call(ctx, a.task, ipc.Msg{Slot: a.slot, Op: op, Token: a.token, Move: ipc.NoSlot}, q, p)
}

func (a *app) putIn(ctx context.Context, name, value string) error {
	return a.call(ctx, wire.OpPut, &wire.PutRequest{Name: name, Value: []byte(value)}, &wire.PutReply{})
}

func (a *app) getIn(ctx context.Context, name string) (string, error) {
	var p wire.GetReply
	err := a.call(ctx, wire.OpGet, &wire.GetRequest{Name: name}, &p)
	return string(p.Value), err
}

func (a *app) deleteIn(ctx context.Context, name string) error {
	return a.call(ctx, wire.OpDelete, &wire.DeleteRequest{Name: name}, &wire.DeleteReply{})
}

func (a *app) do(fn func(ctx context.Context)) {
	a.s.t.Helper()
	a.s.rig.Do(a.task, fn)
}

func (a *app) put(name, value string) (err error) {
	a.do(func(ctx context.Context) { err = a.putIn(ctx, name, value) })
	return err
}

func (a *app) get(name string) (value string, err error) {
	a.do(func(ctx context.Context) { value, err = a.getIn(ctx, name) })
	return value, err
}

func (a *app) delete(name string) (err error) {
	a.do(func(ctx context.Context) { err = a.deleteIn(ctx, name) })
	return err
}

// list follows every page.
func (a *app) list() (names []string, err error) {
	a.do(func(ctx context.Context) {
		for after, more := "", true; more && err == nil; {
			var p wire.ListReply
			err = a.call(ctx, wire.OpList, &wire.ListRequest{After: after}, &p)
			names = append(names, p.Names...)
			if more = p.More; more {
				after = p.Names[len(p.Names)-1]
			}
		}
	})
	return names, err
}

// wantGet checks a value.
func (a *app) wantGet(name, want string) {
	a.s.t.Helper()
	if got, err := a.get(name); err != nil || got != want {
		a.s.t.Errorf("get %s: %q, %v; want %q", name, got, err, want)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// wantFault checks that an error names a place.
func wantFault(t testing.TB, err error, code ipc.Code, file string, offset int64) {
	t.Helper()
	var f *wire.Fault
	if !errors.As(err, &f) || f.Code != code || f.File != file || f.Offset != offset {
		t.Errorf("got %v, want %v in %s at %d", err, code, file, offset)
	}
}

// read answers a file of the disk.
func read(t testing.TB, d *simdisk.Disk, path string) []byte {
	t.Helper()
	size, err := d.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, size)
	if n, err := d.ReadAt(path, data, 0); int64(n) != size {
		t.Fatal(err)
	}
	return data
}

// exists says whether the disk has the file.
func exists(d *simdisk.Disk, path string) bool {
	_, err := d.Stat(path)
	return err == nil
}

// marks counts the console's lines that start so.
func (s *system) marks(begin string) (n int) {
	for _, line := range s.rig.Console() {
		if strings.HasPrefix(line, begin) {
			n++
		}
	}
	return n
}

// newSeed answers the seed of a random test, which NEXUS_SEED sets.
func newSeed(t testing.TB) uint64 {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("NEXUS_SEED=%d", seed)
	return seed
}
