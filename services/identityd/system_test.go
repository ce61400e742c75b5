package identityd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keymintd"
	"nexus.internal/os/services/keystored"
	"nexus.internal/os/services/policyd"
	"nexus.internal/os/services/statefsd"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// newSystem is identityd among its real neighbours, all but rngd, on a disk in
// memory.
func newSystem(t *testing.T, seed uint64, files *simdisk.Disk) *world {
	r := rig.NewSeeded(t, seed, nil)
	w := &world{Rig: r, t: t, log: &policyd.AuditLog{}}
	rng := w.neighbour(ipc.TaskSpec{Name: "rngd"}, rig.Ops(1), func(*ipc.Task) ipc.Service { return newDoubleRNG() })
	fs := w.neighbour(ipc.TaskSpec{Name: "statefsd"}, rig.Ops(7), func(task *ipc.Task) ipc.Service {
		return statefsd.New(task, statefsd.Config{Disk: files, Grants: []statefsd.Grant{
			{Subject: "keymintd", Pattern: "state:/keymint/device.salt", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/root.keys", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/keys.head", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/apps/*", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/epoch-*/keys.head", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/epoch-*/apps/*", Access: statefsd.Write},
			{Subject: "keystored", Pattern: "state:/identity/*/epoch-*/vault.*", Access: statefsd.Write},
			{Subject: "identityd", Pattern: "state:/identity/*/epoch-*/*", Access: statefsd.List},
			{Subject: "identityd", Pattern: "state:/identity/*/epoch-*/apps/*", Access: statefsd.List},
			{Subject: "keymintd", Pattern: "state:/*/*", Access: statefsd.List},
			{Subject: "keymintd", Pattern: "state:/*/*/*", Access: statefsd.List},
			{Subject: "identityd", Pattern: "state:/identity/users.db", Access: statefsd.Write},
			{Subject: "identityd", Pattern: "state:/identity/guesses", Access: statefsd.Write},
			{Subject: "identityd", Pattern: "state:/identity/*/*", Access: statefsd.List},
			{Subject: "identityd", Pattern: "state:/identity/*/apps/*", Access: statefsd.List},
			{Subject: "keystored", Pattern: "state:/identity/*/vault.*", Access: statefsd.Write},
		}})
	})
	policy := w.policy()
	mint := r.Task(ipc.TaskSpec{Name: "keymintd", Guards: true})
	admin := r.Endpoint(mint, ipc.EndpointSpec{Depth: 32, Parallel: 32, Ops: []ipc.Op{
		{Code: wire.OpCreateRoot}, {Code: wire.OpAddProtector}, {Code: wire.OpKeepProtectors},
		{Code: wire.OpRemoveRoot}, {Code: wire.OpUnsealKeys, Need: capability.Seal}, {Code: wire.OpSealKeys},
		{Code: wire.OpBeginRekey, Need: capability.Seal}, {Code: wire.OpCommitRekey, Need: capability.Seal},
	}})
	const any = capability.Put | capability.Get | capability.Del | capability.List
	var ops []ipc.Op
	for op := wire.OpAppKey; op <= wire.OpResealRecord; op++ {
		ops = append(ops, ipc.Op{Code: op, Need: any})
	}
	vault := r.Endpoint(mint, ipc.EndpointSpec{Depth: 256, Parallel: 256, Ops: ops})
	minting := keymintd.Config{RNG: r.Connect(mint, rng), StateFS: r.Connect(mint, fs)}
	r.Host(mint, func() ipc.Service { return keymintd.New(mint, minting) })
	store := r.Task(ipc.TaskSpec{Name: "keystored"})
	r.Endpoint(store, ipc.EndpointSpec{Ops: rig.Ops(4)}) // The apps' facet comes first.
	open := r.Endpoint(store, ipc.EndpointSpec{Depth: 32, Parallel: 32, Ops: []ipc.Op{
		{Code: wire.OpOpenVault, Need: any}, {Code: wire.OpForgetVault}, {Code: wire.OpRekeyVault, Need: any},
	}})
	storing := keystored.Config{StateFS: r.Connect(store, fs), KeyMint: r.Connect(store, vault)}
	r.Host(store, func() ipc.Service { return keystored.New(store, storing) })
	w.host(Config{RNG: rng, StateFS: fs, Policy: policy, KeyMint: admin, KeyStore: open, Argon: cheap})
	return w
}

// rekeyed is a step that only the real neighbours know.
var rekeyed = step{
	name: "rekey",
	do: func(ctx context.Context, w *world) error {
		q := &wire.RekeyRequest{User: "alice", Password: fresh.Secret, Pin: number.Secret}
		return w.ask(ctx, wire.OpRekey, q, &wire.RekeyReply{})
	},
	failed: []*wire.Credential{number, fresh}, done: []*wire.Credential{number, fresh},
}

// TestEveryStepCutOnTheRealDisk lets each call of the disk during each step fail,
// with the real neighbours: the power goes with it, or only that call fails and
// the step is tried again. Then it boots again.
func TestEveryStepCutOnTheRealDisk(t *testing.T) {
	files := simdisk.New()
	for _, s := range slices.Insert(slices.Clone(history), 4, rekeyed, rekeyed) {
		for _, power := range []bool{true, false} {
			for n, reached := uint64(1), true; reached; n++ {
				reached = cutRealDisk(t, fmt.Sprintf("%s,power=%v,n=%d", s.name, power, n), files, s, power, n)
			}
		}
		w := newSystem(t, 1, files)
		w.do(func(ctx context.Context) { expect(t, s.name, s.do(ctx, w), nil) })
		files = files.Crash()
	}
}

// cutRealDisk reports whether there was such a call to fail.
func cutRealDisk(t *testing.T, name string, files *simdisk.Disk, s step, power bool, n uint64) (reached bool) {
	t.Run(name, func(t *testing.T) {
		broken := files.Clone()
		w := newSystem(t, n, broken)
		from := broken.Calls() + n
		fault := simdisk.FailAt(from, errors.New("a bad sector"))
		if power {
			fault = simdisk.FailFrom(from, errors.New("no power"))
		}
		broken.SetFault(fault)
		var err error
		w.do(func(ctx context.Context) {
			if err = s.do(ctx, w); err != nil && !power {
				err = s.do(ctx, w)
			}
		})
		reached = broken.Calls() >= from
		again := newSystem(t, n, broken.Crash())
		expect(t, "the next boot", again.startErr, nil)
		again.holding(s, err)
		again.leavesNothing(t)
	})
	return reached
}

// leavesNothing removes alice, whoever she is by now, and looks for files.
func (w *world) leavesNothing(t *testing.T) {
	t.Helper()
	w.do(func(ctx context.Context) {
		for _, c := range []*wire.Credential{right, number, fresh} {
			w.rest(ctx)
			if err := w.remove(ctx, "alice", c); err != nil {
				expect(t, "remove", err, ipc.BadSecret)
			}
		}
		expect(t, "create", w.create(ctx, "alice", right), nil)
		expect(t, "unseal", unsealAlice(right)(ctx, w), nil)
		expect(t, "remove", w.remove(ctx, "alice", right), nil)
	})
	w.Do(w.task, func(ctx context.Context) {
		found, err := w.svc.firstFile(ctx, folder+"alice/")
		if err != nil || found != "" {
			t.Errorf("left of alice: %q, %v", found, err)
		}
	})
}

// TestRealVaultDamage spoils the vault and the keys of one user: each is named
// at that user's unseal, and the other user is left alone.
func TestRealVaultDamage(t *testing.T) {
	files := simdisk.New()
	w := newSystem(t, 1, files)
	w.do(func(ctx context.Context) {
		expect(t, "create alice", w.create(ctx, "alice", right), nil)
		expect(t, "create bob", w.create(ctx, "bob", right), nil)
		expect(t, "unseal alice's", unsealAlice(right)(ctx, w), nil)
	})
	files = files.Crash()
	for name, path := range map[string]string{"vault": "state/identity/alice/vault.kv", "keys": "state/identity/alice/root.keys"} {
		t.Run(name, func(t *testing.T) {
			broken := files.Clone()
			if err := broken.Replace(path, []byte("damage")); err != nil {
				t.Fatal(err)
			}
			w := newSystem(t, 1, broken)
			w.do(func(ctx context.Context) {
				var fault *wire.Fault
				err := unsealAlice(right)(ctx, w)
				if !errors.As(err, &fault) || fault.Code != ipc.Damaged || !strings.HasSuffix(path, strings.TrimPrefix(fault.File, "state:/")) {
					t.Errorf("unseal: %v", err)
				}
				sid := w.svc.sessionsOf("alice")[0].sid
				if w.active(ctx, sid).Unsealed {
					t.Error("unsealed")
				}
				bob, err := w.start(ctx, "bob", right)
				expect(t, "start bob's", err, nil)
				expect(t, "unseal bob's", w.unseal(ctx, bob, right), nil)
			})
		})
	}
}
