package ui_v18b_host

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keymintd"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/statefsd"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// fooled stands in keystored's place, with its capability for keymintd and
// whatever apps sent to it. It does what it is told, whoever asks.
type fooled struct {
	task *ipc.Task
	mint ipc.Slot
	do   func(ctx context.Context, f *fooled, r *ipc.Request) error
	old  ipc.Request // one that is over
}

func (f *fooled) Start(context.Context) error { return nil }

func (f *fooled) Serve(ctx context.Context, r *ipc.Request) {
	err := f.do(ctx, f, r)
	code := ipc.OK
	if err != nil && !errors.As(err, &code) {
		code = ipc.Unavailable
	}
	_ = r.Reply(code, nil)
	f.old = *r
}

// mintd calls keymintd on behalf of a request.
func (f *fooled) mintd(ctx context.Context, behalf *ipc.Request, op uint16, q, p proto.Message) error {
	return wire.Call(ctx, f.task, ipc.Msg{Slot: f.mint, Op: op, Behalf: behalf, Move: ipc.NoSlot}, q, p)
}

// den is the real keymintd, rngd and statefsd, and a fooled keystored.
type den struct {
	t        *testing.T
	rig      *rig.Rig
	fooled   *fooled
	identity *ipc.Task
	auth     ipc.Slot
	admin    ipc.Slot
	store    ipc.Slot // init's
}

const storeRights = capability.Put | capability.Get | capability.Del | capability.List

func newDen(t *testing.T) *den {
	r := rig.New(t)
	n := &den{t: t, rig: r, fooled: &fooled{}}
	rng := r.Task(ipc.TaskSpec{Name: "rngd", Marks: []string{"rngd:"}})
	rngEP := r.Endpoint(rng, ipc.EndpointSpec{Depth: 64, Parallel: 32, Ops: rig.Ops(1)})
	r.Host(rng, func() ipc.Service { return rngd.New(rng, rngd.SystemSource()) })

	files := r.Task(ipc.TaskSpec{Name: "statefsd", Marks: []string{"statefsd:"}})
	filesEP := r.Endpoint(files, ipc.EndpointSpec{Depth: 64, Parallel: 32, Ops: rig.Ops(7)})
	d := simdisk.New()
	r.Host(files, func() ipc.Service {
		return statefsd.New(files, statefsd.Config{Disk: d, Grants: []statefsd.Grant{
			{Subject: "keymintd", Pattern: "state:/keymint/*", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/*", Access: statefsd.Write},
			{Subject: "keymintd", Pattern: "state:/identity/*/apps/*", Access: statefsd.Write},
		}})
	})

	mint := r.Task(ipc.TaskSpec{Name: "keymintd", Marks: []string{"keymintd:"}, Guards: true})
	adminEP := r.Endpoint(mint, ipc.EndpointSpec{Depth: 16, Parallel: 16, Ops: []ipc.Op{
		{Code: wire.OpCreateRoot}, {Code: wire.OpUnsealKeys, Need: capability.Seal},
	}})
	vaultEP := r.Endpoint(mint, ipc.EndpointSpec{Depth: 64, Parallel: 64, Ops: []ipc.Op{
		{Code: wire.OpAppKey, Need: storeRights}, {Code: wire.OpSealRecord, Need: storeRights}, {Code: wire.OpOpenRecord, Need: storeRights},
		{Code: wire.OpSealSegment, Need: storeRights}, {Code: wire.OpOpenSegment, Need: storeRights}, {Code: wire.OpVaultID, Need: storeRights},
		{Code: wire.OpVaultEpoch, Need: storeRights}, {Code: wire.OpResealRecord, Need: storeRights},
	}})
	cfg := keymintd.Config{RNG: r.Connect(mint, rngEP), StateFS: r.Connect(mint, filesEP)}
	r.Host(mint, func() ipc.Service { return keymintd.New(mint, cfg) })

	n.fooled.task = r.Task(ipc.TaskSpec{Name: "keystored"})
	n.store = r.Endpoint(n.fooled.task, ipc.EndpointSpec{Depth: 16, Parallel: 16, Ops: []ipc.Op{{Code: wire.OpGet, Need: storeRights}}})
	n.fooled.mint = r.Connect(n.fooled.task, vaultEP)
	r.Host(n.fooled.task, func() ipc.Service { return n.fooled })

	n.identity = r.Task(ipc.TaskSpec{Name: "identityd"})
	auth, err := r.Kernel.GrantAuthority(n.identity)
	must(t, err)
	n.auth, n.admin = auth, r.Connect(n.identity, adminEP)
	return n
}

// session makes a user's keys, if they are new, and an unsealed session.
func (n *den) session(user string, incarnation byte, create bool) (sid uint64) {
	n.t.Helper()
	inc := [16]byte{incarnation}
	opens := &wire.Protector{Id: 1, Auth: make([]byte, 32)}
	n.rig.Do(n.identity, func(ctx context.Context) {
		if create {
			q := &wire.CreateRootRequest{User: user, Incarnation: inc[:], Protector: opens}
			must(n.t, wire.Call(ctx, n.identity, ipc.Msg{Slot: n.admin, Op: wire.OpCreateRoot, Move: ipc.NoSlot}, q, &wire.CreateRootReply{}))
		}
		var err error
		sid, err = n.identity.StartSession(n.auth, user, inc)
		must(n.t, err)
		token := n.token(sid, "identityd", n.identity, capability.Seal)
		m := ipc.Msg{Slot: n.admin, Op: wire.OpUnsealKeys, Token: &token, Move: ipc.NoSlot}
		must(n.t, wire.Call(ctx, n.identity, m, &wire.UnsealKeysRequest{Protector: opens}, &wire.UnsealKeysReply{}))
		must(n.t, n.identity.OpenSession(n.auth, sid))
	})
	return sid
}

func (n *den) token(sid uint64, app string, holder *ipc.Task, rights capability.TokenRights) capability.Token {
	token, err := n.identity.MintToken(n.auth, ipc.TokenSpec{SID: sid, App: app, Holder: holder.ID(), Rights: rights})
	must(n.t, err)
	return token
}

// ask has an app send a request, at which the fooled keystored does something.
func (n *den) ask(sid uint64, app string, do func(ctx context.Context, f *fooled, r *ipc.Request) error) (err error) {
	n.t.Helper()
	task := n.rig.Task(ipc.TaskSpec{Name: "app"})
	token := n.token(sid, app, task, storeRights)
	slot := n.rig.Connect(task, n.store)
	n.fooled.do = do
	n.rig.Do(task, func(ctx context.Context) {
		_, err = task.Call(ctx, ipc.Msg{Slot: slot, Op: wire.OpGet, Token: &token, Move: ipc.NoSlot}, nil)
	})
	return err
}

// TestFooledKeystored has a record of alice's app notes opened at the request
// of others: keymintd takes user and app from the kernel's stamp alone.
func TestFooledKeystored(t *testing.T) {
	n := newDen(t)
	alice, bob := n.session("alice", 1, true), n.session("bob", 2, true)
	const canary = "only for notes"
	var record, keyID, segment []byte
	must(t, n.ask(alice, "notes", func(ctx context.Context, f *fooled, r *ipc.Request) error {
		var key wire.AppKeyReply
		if err := f.mintd(ctx, r, wire.OpAppKey, &wire.AppKeyRequest{Create: true}, &key); err != nil {
			return err
		}
		var sealed wire.SealRecordReply
		q := &wire.SealRecordRequest{Sequence: 7, Kind: 1, Name: "token", Value: []byte(canary)}
		if err := f.mintd(ctx, r, wire.OpSealRecord, q, &sealed); err != nil {
			return err
		}
		var chain wire.SealSegmentReply
		err := f.mintd(ctx, r, wire.OpSealSegment, &wire.SealSegmentRequest{Header: []byte("h"), Body: []byte(canary)}, &chain)
		record, keyID, segment = sealed.Record, key.KeyId, chain.Sealed
		return err
	}))
	opens := func(sequence uint64, kind uint32, behalf func(f *fooled, r *ipc.Request) *ipc.Request) func(context.Context, *fooled, *ipc.Request) error {
		return func(ctx context.Context, f *fooled, r *ipc.Request) error {
			var p wire.OpenRecordReply
			err := f.mintd(ctx, behalf(f, r), wire.OpOpenRecord, &wire.OpenRecordRequest{Sequence: sequence, Kind: kind, Record: record}, &p)
			if err == nil && (p.Name != "token" || string(p.Value) != canary) {
				t.Errorf("opened as %q %q", p.Name, p.Value)
			}
			if err != nil && (p.Name != "" || len(p.Value) > 0) {
				t.Errorf("refused, and answered %q %q", p.Name, p.Value)
			}
			return err
		}
	}
	own := func(_ *fooled, r *ipc.Request) *ipc.Request { return r }
	must(t, n.ask(alice, "notes", opens(7, 1, own)))

	others := map[string]struct {
		sid uint64
		app string
	}{
		"another app": {alice, "mail"}, "the same app of another user": {bob, "notes"}, "another app of another user": {bob, "mail"},
		"a twin": {alice, "notes.x"}, "the system's own app": {alice, "nexus.identityd"},
	}
	for who, o := range others {
		// The app has keys of its own, so that its lack of them is not what refuses.
		must(t, n.ask(o.sid, o.app, func(ctx context.Context, f *fooled, r *ipc.Request) error {
			var key wire.AppKeyReply
			err := f.mintd(ctx, r, wire.OpAppKey, &wire.AppKeyRequest{Create: true}, &key)
			if string(key.KeyId) == string(keyID) {
				t.Errorf("%s has the same key id", who)
			}
			return err
		}))
		if err := n.ask(o.sid, o.app, opens(7, 1, own)); !errors.Is(err, ipc.Damaged) {
			t.Errorf("for %s: %v", who, err)
		}
		if err := n.ask(o.sid, o.app, opens(7, 1, func(f *fooled, _ *ipc.Request) *ipc.Request { return &f.old })); !errors.Is(err, ipc.Denied) {
			t.Errorf("for %s, on behalf of a request that is over: %v", who, err)
		}
		if err := n.ask(o.sid, o.app, opens(7, 1, func(*fooled, *ipc.Request) *ipc.Request { return nil })); !errors.Is(err, ipc.Denied) {
			t.Errorf("for %s, on behalf of nobody: %v", who, err)
		}
		if err := n.ask(o.sid, o.app, opens(7, 1, func(*fooled, *ipc.Request) *ipc.Request { return &ipc.Request{} })); !errors.Is(err, ipc.Denied) {
			t.Errorf("for %s, on behalf of a request made up: %v", who, err)
		}
	}
	for _, place := range [][2]int{{8, 1}, {6, 1}, {7, 2}, {7, 255}} {
		want(t, n.ask(alice, "notes", opens(uint64(place[0]), uint32(place[1]), own)), ipc.Damaged)
	}
	want(t, n.ask(bob, "notes", func(ctx context.Context, f *fooled, r *ipc.Request) error {
		return f.mintd(ctx, r, wire.OpOpenSegment, &wire.OpenSegmentRequest{Header: []byte("h"), Sealed: segment}, &wire.OpenSegmentReply{})
	}), ipc.Damaged)
	must(t, n.ask(alice, "notes", opens(7, 1, own)))

	must(t, n.identity.SealSession(n.auth, alice))
	want(t, n.ask(alice, "notes", opens(7, 1, own)), ipc.Sealed)
	again := n.session("alice", 1, false)
	must(t, n.ask(again, "notes", opens(7, 1, own)))
	want(t, n.ask(again, "mail", opens(7, 1, own)), ipc.Damaged)
}

// TestFooledKeystoredHasNoOtherWay tries keymintd's other facets, and the files,
// with what keystored holds in a system as it ships.
func TestFooledKeystoredHasNoOtherWay(t *testing.T) {
	w := fresh(t)
	notes := w.newUser("alice").app("notes")
	notes.put("token", "v")
	keystored := w.Task("keystored")
	for slot := range ipc.Slot(256) {
		for op := range uint16(ipc.MaxOps) {
			for _, token := range []*capability.Token{nil, &notes.Config.Token} {
				_, err := keystored.Call(w.ctx(), ipc.Msg{Slot: slot, Op: op, Token: token, Move: ipc.NoSlot}, nil)
				if err == nil {
					t.Fatalf("slot %d, op %d: keystored can call it for nobody", slot, op)
				}
			}
		}
	}
	for _, path := range []string{
		"state:/keymint/device.salt", "state:/identity/users.db", "state:/identity/alice/root.keys", "state:/identity/alice/vault.kv/../root.keys",
	} {
		for slot := range ipc.Slot(2) {
			var p wire.ReadFileReply
			m := ipc.Msg{Slot: slot, Op: wire.OpReadFile, Move: ipc.NoSlot}
			err := wire.Call(w.ctx(), keystored, m, &wire.ReadFileRequest{Path: path, Length: 64}, &p)
			if err == nil || len(p.Data) > 0 {
				t.Errorf("keystored reads %s: %d bytes, %v", path, len(p.Data), err)
			}
		}
	}
	notes.holds("token", "v")
}
