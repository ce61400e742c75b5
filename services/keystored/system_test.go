package keystored_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
	real  *realMint // instead of mint

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
	return start(&system{t: t, rig: r, disk: d, incarnation: 1}, limits)
}

// start hosts the services of a system.
func start(s *system, limits vault.Limits) *system {
	s.t.Helper()
	r, d := s.rig, s.disk
	var files disk.Disk = d
	if r.Seeded == nil {
		files = oddDisk{d, &s.delay, &s.lie}
	}
	fs := r.Task(ipc.TaskSpec{Name: "statefsd", Marks: []string{"statefsd:"}})
	fsEP := r.Endpoint(fs, ipc.EndpointSpec{Depth: 128, Parallel: 64, Takes: true, Ops: rig.Ops(7)})
	r.Host(fs, func() ipc.Service {
		return statefsd.New(fs, statefsd.Config{Disk: files, Grants: []statefsd.Grant{
			{Subject: "keystored", Pattern: "state:/identity/*/vault.*", Access: statefsd.Write},
			{Subject: "keystored", Pattern: "state:/identity/*/epoch-*/vault.*", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/epoch-*/keys.head", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/epoch-*/apps/*", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/keymint/device.salt", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/root.keys", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/keys.head", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/apps/*", Access: statefsd.Write},
		}})
	})
	mintEP := s.hostMint(fsEP)
	s.keystored = r.Task(ipc.TaskSpec{Name: "keystored", Marks: []string{"keystore:"}})
	s.store = r.Endpoint(s.keystored, ipc.EndpointSpec{Depth: 128, Parallel: 128, Takes: true, Ops: []ipc.Op{
		{Code: wire.OpPut, Need: capability.Put}, {Code: wire.OpGet, Need: capability.Get},
		{Code: wire.OpDelete, Need: capability.Del}, {Code: wire.OpList, Need: capability.List},
	}})
	adminEP := r.Endpoint(s.keystored, ipc.EndpointSpec{Depth: 32, Parallel: 32, Ops: []ipc.Op{
		{Code: wire.OpOpenVault, Need: appRights}, {Code: wire.OpForgetVault}, {Code: wire.OpRekeyVault, Need: appRights},
	}})
	cfg := keystored.Config{
		KeyMint: r.Connect(s.keystored, mintEP), StateFS: r.Connect(s.keystored, fsEP), Limits: limits,
	}
	r.Host(s.keystored, func() ipc.Service {
		return crashing{Service: keystored.New(s.keystored, cfg), now: &s.panics}
	})
	s.identity = r.Task(ipc.TaskSpec{Name: "identityd"})
	auth, err := r.Kernel.GrantAuthority(s.identity)
	s.must(err)
	s.auth, s.admin = auth, r.Connect(s.identity, adminEP)
	return s
}

const appRights = capability.Put | capability.Get | capability.Del | capability.List

// hostMint hosts keymintd, or what stands for it, and answers init's slot for
// the vault facet.
func (s *system) hostMint(files ipc.Slot) ipc.Slot {
	s.t.Helper()
	if s.real != nil {
		return s.real.host(s, files)
	}
	task := s.rig.Task(ipc.TaskSpec{Name: "keymintd"})
	s.mint = newMint(task)
	s.mint.old = exists(s.disk, kvPath)
	ep := s.rig.Endpoint(task, ipc.EndpointSpec{Depth: 256, Parallel: 256, Takes: true, Ops: vaultOps()})
	s.rig.Host(task, func() ipc.Service { return s.mint })
	return ep
}

func vaultOps() (ops []ipc.Op) {
	for op := wire.OpAppKey; op <= wire.OpResealRecord; op++ {
		ops = append(ops, ipc.Op{Code: op, Need: appRights})
	}
	return ops
}

// newSystem is a system on goroutines with an empty disk.
func newSystem(t testing.TB) *system {
	return boot(t, rig.New(t), simdisk.New(), vault.Limits{})
}

func (s *system) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
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

// eachSeed runs fn under n seeds, each with its own chance for what the test
// itself draws. NEXUS_SEED sets the first one, so that a failure that names a
// seed comes again at once.
func eachSeed(t *testing.T, n uint64, fn func(t *testing.T, r *rig.Rig, rng *rand.Rand)) {
	t.Helper()
	first := uint64(time.Now().UnixNano())
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		given, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		first = given
	}
	t.Logf("NEXUS_SEED=%d", first)
	for seed := first; seed < first+n && !t.Failed(); seed++ {
		// A subtest of its own, so that each boot is torn down before the next.
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			fn(t, rig.NewSeeded(t, seed, nil), rand.New(rand.NewPCG(seed, 3)))
		})
	}
}

// runSteps lets n events of a run by seed happen.
func (s *system) runSteps(n int) {
	s.rig.Seeded.Run(func() bool { n--; return n < 0 })
}

// await waits till somebody is done.
func (s *system) await(done <-chan struct{}) {
	s.t.Helper()
	if !s.rig.Sched.Await(done, nil) {
		s.t.Fatal("somebody waits forever")
	}
}
