package keymintd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// eachSeed runs fn under n seeds, or under the one that was asked for.
func eachSeed(t *testing.T, n uint64, fn func(t *testing.T, seed uint64)) {
	t.Helper()
	first := uint64(1)
	if only := onlySeed(t); only != 0 {
		first, n = only, only
	}
	for seed := first; seed <= n && !t.Failed(); seed++ {
		// A subtest of its own, so that each boot is torn down before the next.
		t.Run("seed "+strconv.FormatUint(seed, 10), func(t *testing.T) { fn(t, seed) })
	}
}

// testChance is a source of chance for tests: counted, constant or failing.
type testChance struct {
	drawn    uint64
	constant bool
	fail     bool
	asked    []int
}

var _ rngd.Source = (*testChance)(nil)

func (c *testChance) Read(_ string, p []byte) error {
	if c.fail {
		return errors.New("no chance")
	}
	c.asked = append(c.asked, len(p))
	for i := range p {
		if i%sha256.Size == 0 && !c.constant {
			c.drawn++
		}
		sum := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte("chance"), c.drawn))
		p[i] = sum[i%sha256.Size]
	}
	return nil
}

const adminRights = capability.AllTokenRights

// allFiles lets keymintd see whether anything exists.
var allFiles = []statefsd.Grant{
	{Subject: "keymintd", Pattern: "state:/keymint/device.salt", Access: statefsd.Write},
	{Subject: "keymintd", Pattern: "state:/identity/*/root.keys", Access: statefsd.Write},
	{Subject: "keymintd", Pattern: "state:/identity/*/keys.head", Access: statefsd.Write},
	{Subject: "keymintd", Pattern: "state:/identity/*/apps/*", Access: statefsd.Write},
	{Subject: "keymintd", Pattern: "state:/identity/*/epoch-*/keys.head", Access: statefsd.Write},
	{Subject: "keymintd", Pattern: "state:/identity/*/epoch-*/apps/*", Access: statefsd.Write},
	{Subject: "keymintd", Pattern: "state:/*/*/*/*/*", Access: statefsd.List},
	{Subject: "keymintd", Pattern: "state:/*", Access: statefsd.List},
	{Subject: "keymintd", Pattern: "state:/*/*", Access: statefsd.List},
	{Subject: "keymintd", Pattern: "state:/*/*/*", Access: statefsd.List},
}

// world is a boot of keymintd between the real kernel, rngd and statefsd. It
// plays identityd, keystored and the apps itself.
type world struct {
	*rig.Rig
	t        *testing.T
	chance   *testChance
	svc      *Service // the running instance; tests look into it while it rests
	startErr error
	secrets  int // in use when the boot began: other tests forget theirs

	boss  *ipc.Task // stands for identityd
	auth  ipc.Slot
	admin ipc.Slot // boss's, to the admin facet
	vault ipc.Slot // boss's, to the vault facet
	keys  ipc.Slot // boss's, to the keys facet
}

func boot(t *testing.T, seed uint64, d disk.Disk) *world {
	return bootWith(t, rig.NewSeeded(t, seed, nil), d, &testChance{}, Limits{})
}

func bootWith(t *testing.T, r *rig.Rig, d disk.Disk, chance *testChance, limits Limits) *world {
	t.Helper()
	w := &world{Rig: r, t: t, chance: chance, secrets: secret.ReadStats().InUse}
	rng := w.neighbour("rngd", 1, func(t *ipc.Task) ipc.Service { return rngd.New(t, chance) })
	fs := w.neighbour("statefsd", 7, func(t *ipc.Task) ipc.Service {
		return statefsd.New(t, statefsd.Config{Disk: d, Grants: allFiles})
	})
	task := r.Task(ipc.TaskSpec{Name: "keymintd", Marks: []string{"keymintd:"}, Guards: true})
	admin := r.Endpoint(task, ipc.EndpointSpec{Depth: 32, Parallel: 32, Ops: []ipc.Op{
		{Code: wire.OpCreateRoot}, {Code: wire.OpAddProtector}, {Code: wire.OpKeepProtectors},
		{Code: wire.OpRemoveRoot}, {Code: wire.OpUnsealKeys, Need: capability.Seal}, {Code: wire.OpSealKeys}, {Code: wire.OpRemoveApp, Need: capability.Seal},
		{Code: wire.OpBeginRekey, Need: capability.Seal}, {Code: wire.OpCommitRekey, Need: capability.Seal},
		{Code: wire.OpAppKey},
	}})
	vault := r.Endpoint(task, ipc.EndpointSpec{Depth: 256, Parallel: 256, Takes: true, Ops: needing(capability.Put|capability.Get,
		wire.OpAppKey, wire.OpSealRecord, wire.OpOpenRecord, wire.OpSealSegment, wire.OpOpenSegment, wire.OpVaultID, wire.OpVaultEpoch, wire.OpResealRecord, wire.OpSign)})
	keys := r.Endpoint(task, ipc.EndpointSpec{Depth: 64, Parallel: 64, Ops: needing(capability.Generate|capability.Sign|capability.Wrap,
		wire.OpGenerateKey, wire.OpPublicKey, wire.OpSign, wire.OpListKeys, wire.OpDeleteKey, wire.OpWrapKey, wire.OpUnwrapKey,
		wire.OpRotateKey, wire.OpRevokeKey, wire.OpSealData, wire.OpUnsealData)})
	cfg := Config{RNG: r.Connect(task, rng), StateFS: r.Connect(task, fs), Limits: limits}
	if err := r.Engine.Host(task, func() ipc.Service {
		w.svc = New(task, cfg).(*Service)
		return w.svc
	}); err != nil {
		t.Fatal(err)
	}
	r.Do(r.Init, func(ctx context.Context) { w.startErr = r.Init.AwaitReady(ctx, task) })
	w.boss = r.Task(ipc.TaskSpec{Name: "identityd"})
	auth, err := r.Kernel.GrantAuthority(w.boss)
	if err != nil {
		t.Fatal(err)
	}
	w.auth = auth
	w.admin, w.vault, w.keys = r.Connect(w.boss, admin), r.Connect(w.boss, vault), r.Connect(w.boss, keys)
	return w
}

func needing(rights capability.TokenRights, ops ...uint16) []ipc.Op {
	list := make([]ipc.Op, len(ops))
	for i, op := range ops {
		list[i] = ipc.Op{Code: op, Need: rights}
	}
	return list
}

func (w *world) neighbour(name string, ops int, factory func(*ipc.Task) ipc.Service) ipc.Slot {
	w.t.Helper()
	task := w.Task(ipc.TaskSpec{Name: name})
	ep := w.Endpoint(task, ipc.EndpointSpec{Depth: 256, Parallel: 256, Ops: rig.Ops(ops)})
	w.Host(task, func() ipc.Service { return factory(task) })
	return ep
}

// do runs fn and lets everything that it left under way come to an end.
func (w *world) do(fn func(ctx context.Context)) {
	w.t.Helper()
	w.Do(w.boss, fn)
}

// all runs several flows at once and waits for them.
func (w *world) all(fns ...func(ctx context.Context)) {
	w.t.Helper()
	var over []chan struct{}
	for _, fn := range fns {
		done := make(chan struct{})
		over = append(over, done)
		w.boss.Go(func(ctx context.Context) {
			defer close(done)
			fn(ctx)
		})
	}
	for _, done := range over {
		if !w.Sched.Await(done, nil) {
			w.t.Fatal("somebody waits forever")
		}
	}
}

// pause lets others run, by n calls that change nothing.
func (w *world) pause(ctx context.Context, n uint64) {
	for range n {
		if err := (&seat{w, 0}).sealKeys(ctx); err != nil {
			w.t.Error(err)
		}
	}
}

// call asks keymintd; token may be nil.
func (w *world) call(ctx context.Context, slot ipc.Slot, op uint16, token *capability.Token, q, p proto.Message) error {
	return wire.Call(ctx, w.boss, ipc.Msg{Slot: slot, Op: op, Token: token, Move: ipc.NoSlot}, q, p)
}

// guard is a protector of the tests: its auth token is made from a word.
func guard(id uint64, word string) *wire.Protector {
	sum := sha256.Sum256([]byte(word))
	return &wire.Protector{Id: id, Auth: sum[:]}
}

// person is a user of the tests.
type person struct {
	name string
	inc  [Incarnation]byte
}

func user(name string) person {
	return person{name, [Incarnation]byte(bytes.Repeat([]byte(name+"-"), Incarnation)[:Incarnation])}
}

var alice, bob = user("alice"), user("bob")

func (w *world) create(ctx context.Context, u person, p *wire.Protector) error {
	q := &wire.CreateRootRequest{User: u.name, Incarnation: u.inc[:], Protector: p}
	return w.call(ctx, w.admin, wire.OpCreateRoot, nil, q, &wire.CreateRootReply{})
}

func (w *world) add(ctx context.Context, u person, have, add *wire.Protector) error {
	q := &wire.AddProtectorRequest{User: u.name, Incarnation: u.inc[:], Have: have, Add: add}
	return w.call(ctx, w.admin, wire.OpAddProtector, nil, q, &wire.AddProtectorReply{})
}

func (w *world) keep(ctx context.Context, u person, have *wire.Protector, ids ...uint64) error {
	q := &wire.KeepProtectorsRequest{User: u.name, Incarnation: u.inc[:], Have: have, Ids: ids}
	return w.call(ctx, w.admin, wire.OpKeepProtectors, nil, q, &wire.KeepProtectorsReply{})
}

func (w *world) removeRoot(ctx context.Context, name string) error {
	return w.call(ctx, w.admin, wire.OpRemoveRoot, nil, &wire.RemoveRootRequest{User: name}, &wire.RemoveRootReply{})
}

// seat is a session with what the tests need of it.
type seat struct {
	w   *world
	sid uint64
}

// start makes a sealed session.
func (w *world) start(u person) *seat {
	sid, err := w.boss.StartSession(w.auth, u.name, u.inc)
	if err != nil {
		w.t.Error(err)
	}
	return &seat{w, sid}
}

// unsealKeys opens the keys, without telling the kernel.
func (s *seat) unsealKeys(ctx context.Context, p *wire.Protector) error {
	token := s.token("nexus.identityd", capability.Seal)
	return s.w.call(ctx, s.w.admin, wire.OpUnsealKeys, token, &wire.UnsealKeysRequest{Protector: p}, &wire.UnsealKeysReply{})
}

// unseal opens the session's keys and the session.
func (s *seat) unseal(ctx context.Context, p *wire.Protector) error {
	if err := s.unsealKeys(ctx, p); err != nil {
		return err
	}
	return s.w.boss.OpenSession(s.w.auth, s.sid)
}

// lock does what identityd's lock does.
func (s *seat) lock(ctx context.Context) {
	if err := s.w.boss.SealSession(s.w.auth, s.sid); err != nil {
		s.w.t.Error(err)
	}
	if err := s.sealKeys(ctx); err != nil {
		s.w.t.Error(err)
	}
	if err := s.w.boss.DrainSession(ctx, s.w.auth, s.sid); err != nil {
		s.w.t.Error(err)
	}
}

func (s *seat) sealKeys(ctx context.Context) error {
	return s.w.call(ctx, s.w.admin, wire.OpSealKeys, nil, &wire.SealKeysRequest{Sid: s.sid}, &wire.SealKeysReply{})
}

func (s *seat) token(app string, rights capability.TokenRights) *capability.Token {
	token, err := s.w.boss.MintToken(s.w.auth, ipc.TokenSpec{SID: s.sid, App: app, Holder: s.w.boss.ID(), Rights: rights})
	if err != nil {
		s.w.t.Errorf("minting: %v", err)
	}
	return &token
}

// app is an app in a session, with a token of the present epoch.
type app struct {
	w     *world
	name  string
	token *capability.Token
}

func (s *seat) app(name string) *app { return &app{s.w, name, s.token(name, adminRights)} }

func (a *app) onVault(ctx context.Context, op uint16, q, p proto.Message) error {
	return a.w.call(ctx, a.w.vault, op, a.token, q, p)
}

func (a *app) onKeys(ctx context.Context, op uint16, q, p proto.Message) error {
	return a.w.call(ctx, a.w.keys, op, a.token, q, p)
}

func (a *app) key(ctx context.Context) ([]byte, error) {
	var p wire.AppKeyReply
	err := a.onVault(ctx, wire.OpAppKey, &wire.AppKeyRequest{Create: true}, &p)
	return p.KeyId, err
}

func (a *app) seal(ctx context.Context, sequence uint64, name, value string) ([]byte, error) {
	var p wire.SealRecordReply
	q := &wire.SealRecordRequest{Sequence: sequence, Kind: 1, Name: name, Value: []byte(value)}
	err := a.onVault(ctx, wire.OpSealRecord, q, &p)
	return p.Record, err
}

func (a *app) open(ctx context.Context, sequence uint64, record []byte) (string, error) {
	var p wire.OpenRecordReply
	q := &wire.OpenRecordRequest{Sequence: sequence, Kind: 1, Record: record}
	err := a.onVault(ctx, wire.OpOpenRecord, q, &p)
	return p.Name + "=" + string(p.Value), err
}

func (a *app) sealSegment(ctx context.Context, header, body string) ([]byte, error) {
	var p wire.SealSegmentReply
	q := &wire.SealSegmentRequest{Header: []byte(header), Body: []byte(body)}
	err := a.onVault(ctx, wire.OpSealSegment, q, &p)
	return p.Sealed, err
}

func (a *app) openSegment(ctx context.Context, header string, sealed []byte) (string, error) {
	var p wire.OpenSegmentReply
	q := &wire.OpenSegmentRequest{Header: []byte(header), Sealed: sealed}
	err := a.onVault(ctx, wire.OpOpenSegment, q, &p)
	return string(p.Body), err
}

func (a *app) generate(ctx context.Context, name string) ([]byte, error) {
	var p wire.GenerateKeyReply
	err := a.onKeys(ctx, wire.OpGenerateKey, &wire.GenerateKeyRequest{Name: name}, &p)
	return p.Public, err
}

func (a *app) public(ctx context.Context, name string) ([]byte, error) {
	var p wire.PublicKeyReply
	err := a.onKeys(ctx, wire.OpPublicKey, &wire.PublicKeyRequest{Name: name}, &p)
	return p.Public, err
}

func (a *app) sign(ctx context.Context, name string, message []byte) ([]byte, error) {
	var p wire.SignReply
	err := a.onKeys(ctx, wire.OpSign, &wire.SignRequest{Name: name, Message: message}, &p)
	return p.Signature, err
}

func (a *app) list(ctx context.Context, after string) ([]string, error) {
	var p wire.ListKeysReply
	err := a.onKeys(ctx, wire.OpListKeys, &wire.ListKeysRequest{After: after}, &p)
	return p.Names, err
}

func (a *app) delete(ctx context.Context, name string) error {
	return a.onKeys(ctx, wire.OpDeleteKey, &wire.DeleteKeyRequest{Name: name}, &wire.DeleteKeyReply{})
}

func (a *app) wrap(ctx context.Context, name string) ([]byte, error) {
	var p wire.WrapKeyReply
	err := a.onKeys(ctx, wire.OpWrapKey, &wire.WrapKeyRequest{Name: name}, &p)
	return p.Blob, err
}

func (a *app) detach(ctx context.Context, name string) ([]byte, error) {
	var p wire.WrapKeyReply
	err := a.onKeys(ctx, wire.OpWrapKey, &wire.WrapKeyRequest{Name: name, Detach: true}, &p)
	return p.Blob, err
}

func (a *app) unwrap(ctx context.Context, name string, blob []byte) ([]byte, error) {
	var p wire.UnwrapKeyReply
	err := a.onKeys(ctx, wire.OpUnwrapKey, &wire.UnwrapKeyRequest{Name: name, Blob: bytes.Clone(blob)}, &p)
	return p.Public, err
}

// unsealed makes a user and an unsealed session, or an unsealed session of a
// user that is there already.
func (w *world) unsealed(ctx context.Context, u person) *seat {
	if err := w.create(ctx, u, guard(1, "password")); err != nil && !errors.Is(err, ipc.Exists) {
		w.t.Errorf("creating %s: %v", u.name, err)
	}
	s := w.start(u)
	if err := s.unseal(ctx, guard(1, "password")); err != nil {
		w.t.Errorf("unsealing %s: %v", u.name, err)
	}
	return s
}

// expect fails the test if err is not want.
func expect(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// expectFault fails the test if err does not name that place.
func expectFault(t *testing.T, what string, err error, code ipc.Code, file string, offset int64) {
	t.Helper()
	var f *wire.Fault
	if !errors.As(err, &f) || f.Code != code || f.File != file || f.Offset != offset {
		t.Errorf("%s: %v, want %v in %s at %d", what, err, code, file, offset)
	}
}

// onDisk reads the whole disk.
func onDisk(t *testing.T, d disk.Disk) map[string]string {
	t.Helper()
	paths, err := d.List("state/")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, path := range paths {
		size, err := d.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, size)
		if size > 0 {
			if _, err := d.ReadAt(path, p, 0); err != nil {
				t.Fatal(err)
			}
		}
		all[path[len("state/"):]] = string(p)
	}
	return all
}

func put(t *testing.T, d *simdisk.Disk, path, content string) {
	t.Helper()
	if err := d.Replace("state/"+path, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

// flipped answers s with one bit of its i-th byte changed.
func flipped(s string, i int) string {
	b := []byte(s)
	b[i] ^= 1
	return string(b)
}
