package keymintd

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
)

// asked is one way to ask for an operation.
type asked struct {
	slot  ipc.Slot
	token *capability.Token
	q     proto.Message
}

// walk asks for every operation that keymintd has, and answers all that came
// back, errors in words included.
func (w *world) walk(ctx context.Context, s *seat, a *app, blob, record, segment, sealed []byte) (answers map[string][]byte) {
	w.t.Helper()
	identity := s.token("nexus.identityd", capability.Seal)
	requests := map[string]asked{
		"CreateRoot":     {w.admin, nil, &wire.CreateRootRequest{User: alice.name, Incarnation: alice.inc[:], Protector: guard(1, "password")}},
		"AddProtector":   {w.admin, nil, &wire.AddProtectorRequest{User: alice.name, Incarnation: alice.inc[:], Have: guard(1, "password"), Add: guard(2, "pin")}},
		"KeepProtectors": {w.admin, nil, &wire.KeepProtectorsRequest{User: alice.name, Incarnation: alice.inc[:], Have: guard(1, "password"), Ids: []uint64{1}}},
		"UnsealKeys":     {w.admin, identity, &wire.UnsealKeysRequest{Protector: guard(1, "password")}},
		"SealKeys":       {w.admin, nil, &wire.SealKeysRequest{Sid: 99}},
		"RemoveRoot":     {w.admin, nil, &wire.RemoveRootRequest{User: "nobody"}},
		"RemoveApp":      {w.admin, s.token("gone", capability.Seal), &wire.RemoveAppRequest{}},
		"BeginRekey":     {w.admin, identity, beginWith(guard(1, "password"))},
		"CommitRekey":    {w.admin, s.w.start(bob).token("nexus.identityd", capability.Seal), &wire.CommitRekeyRequest{}},
		"VaultEpoch":     {w.vault, a.token, &wire.VaultEpochRequest{}},
		"ResealRecord":   {w.vault, a.token, &wire.ResealRecordRequest{KeyId: w.idOf(a.name), Sequence: 1, Kind: 1, Record: record}},
		"AppKey":         {w.vault, a.token, &wire.AppKeyRequest{Create: true}},
		"SealRecord":     {w.vault, a.token, &wire.SealRecordRequest{Sequence: 2, Kind: 1, Name: "n", Value: []byte("v")}},
		"OpenRecord":     {w.vault, a.token, &wire.OpenRecordRequest{Sequence: 1, Kind: 1, Record: record}},
		"SealSegment":    {w.vault, a.token, &wire.SealSegmentRequest{Header: []byte("h"), Body: []byte("b")}},
		"OpenSegment":    {w.vault, a.token, &wire.OpenSegmentRequest{Header: []byte("h"), Sealed: segment}},
		"VaultID":        {w.vault, a.token, &wire.VaultIDRequest{}},
		"GenerateKey":    {w.keys, a.token, &wire.GenerateKeyRequest{Name: "another"}},
		"PublicKey":      {w.keys, a.token, &wire.PublicKeyRequest{Name: "k"}},
		"Sign":           {w.keys, a.token, &wire.SignRequest{Name: "k", Message: []byte("m")}},
		"ListKeys":       {w.keys, a.token, &wire.ListKeysRequest{}},
		"DeleteKey":      {w.keys, a.token, &wire.DeleteKeyRequest{Name: "another"}},
		"WrapKey":        {w.keys, a.token, &wire.WrapKeyRequest{Name: "k"}},
		"UnwrapKey":      {w.keys, a.token, &wire.UnwrapKeyRequest{Name: "back", Blob: bytes.Clone(blob)}},
		"RotateKey":      {w.keys, a.token, &wire.RotateKeyRequest{Name: "turning"}},
		"RevokeKey":      {w.keys, a.token, &wire.RevokeKeyRequest{Name: "revoked"}},
		"SealData":       {w.keys, a.token, &wire.SealDataRequest{Data: []byte("d")}},
		"UnsealData":     {w.keys, a.token, &wire.UnsealDataRequest{Sealed: bytes.Clone(sealed)}},
	}
	answers = make(map[string][]byte)
	for _, name := range wire.OpNames("keymintd") {
		r, known := requests[name]
		if !known {
			w.t.Errorf("nobody asks for %s here", name)
			continue
		}
		op, _ := wire.OpCode("keymintd", name)
		body, err := proto.Marshal(r.q)
		if err != nil {
			w.t.Fatal(err)
		}
		reply, err := w.boss.Call(ctx, ipc.Msg{Slot: r.slot, Op: op, Token: r.token, Body: body, Move: ipc.NoSlot}, nil)
		answers[name] = append(bytes.Clone(reply.Body), fmt.Sprint(err)...)
	}
	return answers
}

// private is every key that the running instance has for alice, and what is made
// of it: nobody outside may ever see one.
func (w *world) private() map[string][]byte {
	all := make(map[string][]byte)
	note := func(name string, b []byte) { all[name] = bytes.Clone(b) }
	accounts := slices.Collect(maps.Values(w.svc.accounts))
	for _, sess := range w.svc.sessions {
		if sess.rekeying != nil {
			accounts = append(accounts, sess.rekeying.next)
		}
	}
	for _, acct := range accounts {
		of := fmt.Sprintf(" of epoch %d", acct.epoch)
		note("rings key"+of, acct.rootKeys.rings.Expose())
		note("names key"+of, acct.rootKeys.names.Expose())
		note("head key"+of, acct.rootKeys.head.Expose())
		note("chain key"+of, acct.rootKeys.chain.key.Expose())
		note("chain nonce key"+of, acct.rootKeys.chain.nonce.Expose())
		for app, r := range acct.rings {
			note("data key of "+app+of, r.data.Expose())
			note("record key of "+app+of, r.records.key.Expose())
			note("record nonce key of "+app+of, r.records.nonce.Expose())
			for _, k := range r.keys {
				if k.seed == nil {
					continue
				}
				expanded := sha512.Sum512(k.seed.Expose())
				name := fmt.Sprintf("%s %s.%d", app, k.name, k.version)
				note("seed of "+name, k.seed.Expose())
				note("scalar of "+name, expanded[:32])
				note("prefix of "+name, expanded[32:])
			}
		}
	}
	return all
}

// idOf is the id of an app's data key, nothing while nobody is unsealed.
func (w *world) idOf(app string) []byte {
	for _, acct := range w.svc.accounts {
		id := fileID(acct.rootKeys.names, app)
		return id[:]
	}
	return make([]byte, KeyIDSize)
}

// root is the root key, and the key that wraps it.
func (w *world) root(disk map[string]string) map[string][]byte {
	of := owner{alice.name, alice.inc}
	k, err := decodeRootKeys([]byte(disk["identity/alice/root.keys"]), of)
	if err != nil {
		w.t.Fatal(err)
	}
	p := guard(1, "password")
	root, err := k.open(of, protector{p.Id, p.Auth}, w.svc.salt)
	if err != nil {
		w.t.Fatal(err)
	}
	defer root.Wipe()
	kek := deriveKEK(p.Auth, w.svc.salt, of, p.Id)
	defer kek.Wipe()
	return map[string][]byte{"root key": bytes.Clone(root.Expose()), "KEK": bytes.Clone(kek.Expose()), "auth token": p.Auth}
}

// shows looks for either half of a key, in three notations.
func shows(answer, key []byte) bool {
	for half := range slices.Chunk(key, len(key)/2) {
		for _, form := range [][]byte{half, []byte(hex.EncodeToString(half)), []byte(base64.RawStdEncoding.EncodeToString(half))} {
			if bytes.Contains(answer, form) {
				return true
			}
		}
	}
	return false
}

// TestNoCallReturnsPrivateBytes asks for everything, in every state that a key and
// a session can be in, and looks for every key in all that comes back.
func TestNoCallReturnsPrivateBytes(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		for _, name := range []string{"k", "turning", "revoked", "detached"} {
			_, err := a.generate(ctx, name)
			expect(t, "generate", err, nil)
		}
		blob, err := a.wrap(ctx, "k")
		expect(t, "wrap", err, nil)
		detached, err := a.detach(ctx, "detached")
		expect(t, "detach", err, nil)
		record, err := a.seal(ctx, 1, "n", "v")
		expect(t, "seal", err, nil)
		segment, err := a.sealSegment(ctx, "h", "b")
		expect(t, "seal a segment", err, nil)
		sealed, err := a.sealData(ctx, "", "d")
		expect(t, "seal data", err, nil)
		private := w.root(onDisk(t, d))
		check := func(state string, blob []byte) {
			t.Helper()
			for name, key := range w.private() {
				private[name] = key
			}
			answers := w.walk(ctx, s, a, blob, record, segment, sealed)
			for name, key := range w.private() {
				private[name] = key // What the walk has made.
			}
			for op, answer := range answers {
				for name, key := range private {
					if shows(answer, key) {
						t.Errorf("%s: %s answers the %s", state, op, name)
					}
				}
			}
		}
		check("active", blob)
		check("with a detached key", detached)
		_, err = a.rotate(ctx, "k")
		expect(t, "rotate", err, nil)
		check("rotated", blob)
		expect(t, "revoke", a.revoke(ctx, "k"), nil)
		check("revoked", blob)
		expect(t, "delete", a.delete(ctx, "k"), nil)
		check("deleted", blob)
		if len(private) < 20 || !shows(slices.Concat([]byte("x"), private["root key"]), private["root key"]) {
			t.Errorf("%d keys are looked for", len(private))
		}
		expect(t, "a rekey", s.rekey(ctx, guard(1, "password")), nil)
		for name, key := range w.root(onDisk(t, d)) {
			private[name+" after a rekey"] = key
		}
		expect(t, "unseal", s.unsealKeys(ctx, guard(1, "password")), nil)
		check("rekeyed", blob)
		s.lock(ctx)
		next := w.start(alice)
		s, a = next, next.app("demo")
		check("sealed", blob)
	})
}
