package keymintd

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
)

func beginWith(by ...*wire.Protector) *wire.BeginRekeyRequest {
	q := &wire.BeginRekeyRequest{}
	for _, p := range by {
		q.Ids = append(q.Ids, p.Id)
		q.Auths = append(q.Auths, p.Auth...)
	}
	return q
}

func (s *seat) begin(ctx context.Context, by ...*wire.Protector) error {
	token := s.token("nexus.identityd", capability.Seal)
	return s.w.call(ctx, s.w.admin, wire.OpBeginRekey, token, beginWith(by...), &wire.BeginRekeyReply{})
}

func (s *seat) commit(ctx context.Context) error {
	token := s.token("nexus.identityd", capability.Seal)
	return s.w.call(ctx, s.w.admin, wire.OpCommitRekey, token, &wire.CommitRekeyRequest{}, &wire.CommitRekeyReply{})
}

// rekey begins and commits. The keys of the session are gone then.
func (s *seat) rekey(ctx context.Context, by ...*wire.Protector) error {
	if err := s.begin(ctx, by...); err != nil {
		return err
	}
	return s.commit(ctx)
}

// reseal answers a record of an app in its next form, and the id of its next key.
func (s *seat) reseal(ctx context.Context, id []byte, sequence uint64, record []byte) (*wire.ResealRecordReply, error) {
	var p wire.ResealRecordReply
	token := s.token("nexus.identityd", capability.Put)
	q := &wire.ResealRecordRequest{KeyId: id, Sequence: sequence, Kind: 1, Record: record}
	err := s.w.call(ctx, s.w.vault, wire.OpResealRecord, token, q, &p)
	return &p, err
}

func (a *app) sealNext(ctx context.Context, header, body string) ([]byte, error) {
	var p wire.SealSegmentReply
	q := &wire.SealSegmentRequest{Header: []byte(header), Body: []byte(body), Next: true}
	err := a.onVault(ctx, wire.OpSealSegment, q, &p)
	return p.Sealed, err
}

func (a *app) epoch(ctx context.Context) uint32 {
	var p wire.VaultEpochReply
	expect(a.w.t, "epoch", a.onVault(ctx, wire.OpVaultEpoch, &wire.VaultEpochRequest{}, &p), nil)
	return p.Epoch
}

// TestRekey gives a user another root key three times: everything that keymintd
// keeps stays, what is resealed opens, what is not does not, and no key of before
// is one of after.
func TestRekey(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	password, pin := guard(1, "password"), guard(2, "pin")
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		expect(t, "add a PIN", w.add(ctx, alice, password, pin), nil)
		a, other := s.app("demo"), s.app("other")
		public, err := a.generate(ctx, "key")
		expect(t, "generate", err, nil)
		_, err = other.generate(ctx, "key")
		expect(t, "generate", err, nil)
		gone := s.app("gone")
		_, err = gone.generate(ctx, "key")
		expect(t, "generate", err, nil)
		expect(t, "uninstall", gone.uninstall(ctx), nil)
		_, err = a.generate(ctx, "away")
		expect(t, "generate", err, nil)
		blob, err := a.detach(ctx, "away")
		expect(t, "detach", err, nil)
		_, err = a.generate(ctx, "doomed")
		expect(t, "generate", err, nil)
		doomed, err := a.wrap(ctx, "doomed")
		expect(t, "wrap", err, nil)
		expect(t, "delete", a.delete(ctx, "doomed"), nil)
		data, err := a.sealData(ctx, "about", "data")
		expect(t, "seal data", err, nil)
		record, err := a.seal(ctx, 9, "name", "value")
		expect(t, "seal", err, nil)
		for epoch := range uint32(3) {
			if got := a.epoch(ctx); got != epoch {
				t.Errorf("epoch %d, want %d", got, epoch)
			}
			id, err := a.key(ctx)
			expect(t, "key id", err, nil)
			former := w.private()
			segment, err := a.sealSegment(ctx, "h", "body")
			expect(t, "seal a segment", err, nil)
			expect(t, "begin", s.begin(ctx, password, pin), nil)
			p, err := s.reseal(ctx, id, 9, record)
			expect(t, "reseal", err, nil)
			_, err = s.reseal(ctx, id, 8, record)
			expect(t, "reseal of another sequence", err, ipc.Damaged)
			_, err = s.reseal(ctx, bytes.Repeat([]byte{7}, KeyIDSize), 9, record)
			expect(t, "reseal of nobody's", err, ipc.Damaged)
			next, err := a.sealNext(ctx, "h", "body")
			expect(t, "seal a segment", err, nil)
			_, err = a.openSegment(ctx, "h", next)
			expect(t, "a segment of the next epoch", err, ipc.Damaged)
			expect(t, "commit", s.commit(ctx), nil)
			_, err = a.key(ctx)
			expect(t, "after the commit", err, ipc.Sealed)
			expect(t, "commit again", s.commit(ctx), ipc.Sealed)
			expect(t, "unseal", s.unsealKeys(ctx, pin), nil)

			_, err = a.openSegment(ctx, "h", segment)
			expect(t, "a segment of before", err, ipc.Damaged)
			body, err := a.openSegment(ctx, "h", next)
			if expect(t, "a segment", err, nil); body != "body" {
				t.Errorf("the segment says %q", body)
			}
			_, err = a.open(ctx, 9, record)
			expect(t, "a record of before", err, ipc.Damaged)
			record = p.Record
			says, err := a.open(ctx, 9, record)
			if expect(t, "a record", err, nil); says != "name=value" {
				t.Errorf("the record says %q", says)
			}
			_, err = other.open(ctx, 9, record)
			expect(t, "a record of another app", err, ipc.Damaged)
			if now, _ := a.key(ctx); !bytes.Equal(now, p.KeyId) || bytes.Equal(now, id) {
				t.Errorf("key id %x, resealed under %x, before %x", now, p.KeyId, id)
			}
			if now, err := a.public(ctx, "key"); err != nil || !bytes.Equal(now, public) {
				t.Errorf("public key %x, %v", now, err)
			}
			_, err = a.unwrap(ctx, "back", doomed)
			expect(t, "unwrap of a key that was deleted", err, ipc.Denied)
			w.noneOf(t, former)
			w.onlyEpoch(t, d, epoch+1, 2)
			if epoch < maxFormer {
				_, err := a.unwrap(ctx, "back", blob)
				expect(t, "unwrap", err, nil)
				_, err = a.unwrap(ctx, "again", blob)
				expect(t, "unwrap again", err, ipc.Exists)
				_, err = a.detach(ctx, "back")
				expect(t, "detach", err, nil) // The old blob serves still.
				if got, err := a.unsealData(ctx, "about", data); err != nil || got != "data" {
					t.Errorf("unsealed %q, %v", got, err)
				}
				_, err = a.unsealData(ctx, "other", data)
				expect(t, "unseal with other data", err, ipc.Denied)
				_, err = other.unsealData(ctx, "about", data)
				expect(t, "unseal by another app", err, ipc.Denied)
				continue
			}
			_, err = a.unwrap(ctx, "back", blob)
			expect(t, "a blob of three rekeys ago", err, ipc.Denied)
			_, err = a.unsealData(ctx, "about", data)
			expect(t, "data of three rekeys ago", err, ipc.Denied)
		}
	})
}

// noneOf fails if a key of before is one of now, but for seeds.
func (w *world) noneOf(t *testing.T, former map[string][]byte) {
	t.Helper()
	for name, now := range w.private() {
		for before, key := range former {
			if bytes.Equal(now, key) && !strings.Contains(name, " key.") {
				t.Errorf("the %s was the %s", name, before)
			}
		}
	}
}

// onlyEpoch fails if the disk has files of another epoch, or not as many rings.
func (w *world) onlyEpoch(t *testing.T, d *simdisk.Disk, epoch uint32, rings int) {
	t.Helper()
	for path := range onDisk(t, d) {
		switch {
		case !strings.HasPrefix(path, "identity/alice/") || path == "identity/alice/root.keys":
		case !strings.HasPrefix("state:/"+path, headPath("alice", epoch)[:len(headPath("alice", epoch))-len("keys.head")]):
			t.Errorf("%s is left", path)
		case strings.HasSuffix(path, ".ring"):
			rings--
		}
	}
	if rings != 0 {
		t.Errorf("%d rings are missing", rings)
	}
}

// TestRekeyRefusals asks for what cannot be: nothing on the disk changes.
func TestRekeyRefusals(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	password, pin := guard(1, "password"), guard(2, "pin")
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		expect(t, "add a PIN", w.add(ctx, alice, password, pin), nil)
		a := s.app("demo")
		id, err := a.key(ctx)
		expect(t, "key", err, nil)
		record, err := a.seal(ctx, 1, "name", "value")
		expect(t, "seal", err, nil)
		before := onDisk(t, d)
		expect(t, "commit without a beginning", s.commit(ctx), ipc.Denied)
		_, err = s.reseal(ctx, id, 1, record)
		expect(t, "reseal without a beginning", err, ipc.Denied)
		_, err = a.sealNext(ctx, "h", "b")
		expect(t, "next without a beginning", err, ipc.Denied)
		expect(t, "no protector", s.begin(ctx), ipc.Malformed)
		expect(t, "five protectors", s.begin(ctx, password, pin, guard(3, "c"), guard(4, "d"), guard(5, "e")), ipc.Malformed)
		expect(t, "one twice", s.begin(ctx, password, password), ipc.Malformed)
		expect(t, "one of two", s.begin(ctx, password), ipc.Exists)
		expect(t, "one too many", s.begin(ctx, password, pin, guard(3, "c")), ipc.NotFound)
		expect(t, "a wrong one", s.begin(ctx, password, guard(2, "other")), ipc.BadSecret)
		expect(t, "no rekey was begun by that", s.commit(ctx), ipc.Denied)
		sealed := w.start(alice)
		expect(t, "of a sealed session", sealed.begin(ctx, password, pin), ipc.Sealed)

		expect(t, "begin", s.begin(ctx, password, pin), nil)
		expect(t, "begin again", s.begin(ctx, password, pin), nil)
		second := w.start(alice)
		expect(t, "unseal", second.unseal(ctx, pin), nil)
		expect(t, "commit of another session", second.commit(ctx), ipc.Denied)
		_, err = second.reseal(ctx, id, 1, record)
		expect(t, "reseal of another session", err, ipc.Denied)
		if now := onDisk(t, d); len(now) != len(before) || now["identity/alice/root.keys"] != before["identity/alice/root.keys"] {
			t.Error("the disk has changed")
		}
		expect(t, "commit beside another session", s.commit(ctx), ipc.Unavailable)
		expect(t, "begin beside another session", s.begin(ctx, password, pin), ipc.Unavailable)
		_, err = second.app("demo").generate(ctx, "late")
		expect(t, "generate", err, nil)
		second.lock(ctx)
		expect(t, "commit after a ring has changed", s.commit(ctx), ipc.Unavailable)
		expect(t, "begin", s.begin(ctx, password, pin), nil)
		expect(t, "remove the PIN", w.keep(ctx, alice, password, 1), nil)
		expect(t, "commit after a protector went", s.commit(ctx), ipc.Unavailable)
		expect(t, "begin", s.begin(ctx, password), nil)
		s.lock(ctx)
		s = w.unsealed(ctx, alice)
		expect(t, "commit after a lock", s.commit(ctx), ipc.Denied)
		expect(t, "rekey", s.rekey(ctx, password), nil)
	})
}

// TestRekeyNeedsEveryRing spoils or removes a ring: the rekey names it, and changes
// nothing. When the app is uninstalled, it goes on.
func TestRekeyNeedsEveryRing(t *testing.T) {
	for _, remove := range []bool{true, false} {
		d := stocked(t)
		w := boot(t, 1, d)
		var path string
		w.do(func(ctx context.Context) {
			a := w.unsealed(ctx, alice).app("demo")
			id, err := a.key(ctx)
			expect(t, "key", err, nil)
			path = ringPath("alice", 0, [KeyIDSize]byte(id))
		})
		file := strings.TrimPrefix(path, "state:/")
		offset := int64(0)
		if remove {
			if err := d.Remove("state/" + file); err != nil {
				t.Fatal(err)
			}
		} else {
			put(t, d, file, flipped(onDisk(t, d)[file], 100))
			offset = sealedOffset
		}
		w = boot(t, 2, d)
		w.do(func(ctx context.Context) {
			s := w.unsealed(ctx, alice)
			before := onDisk(t, d)
			expectFault(t, "begin", s.begin(ctx, guard(1, "password")), ipc.Damaged, path, offset)
			if now := onDisk(t, d); len(now) != len(before) {
				t.Error("the disk has changed")
			}
			expect(t, "uninstall", s.app("demo").uninstall(ctx), nil)
			expect(t, "rekey", s.rekey(ctx, guard(1, "password")), nil)
			expect(t, "unseal", s.unsealKeys(ctx, guard(1, "password")), nil)
			_, err := s.app("other").sign(ctx, "key", []byte("message"))
			expect(t, "sign", err, nil)
		})
	}
}

// TestRekeyCutEverywhere lets every call of the disk fail, alone or with the power.
// The next boot has all keys under the former root key or under the new one, and
// another rekey leaves nothing of it.
func TestRekeyCutEverywhere(t *testing.T) {
	before := stocked(t)
	for _, power := range []bool{true, false} {
		for n, reached := uint64(1), true; reached; n++ {
			d := before.Clone()
			w := boot(t, n, d)
			w.do(func(ctx context.Context) {
				s := w.unsealed(ctx, alice)
				from := d.Calls() + n
				d.SetFault(simdisk.FailAt(from, errors.New("a bad sector")))
				if power {
					d.SetFault(simdisk.FailFrom(from, errors.New("the power is off")))
				}
				_ = s.rekey(ctx, guard(1, "password"))
				reached = d.Calls() >= from
			})
			after := d.Crash()
			w = boot(t, n, after)
			w.do(func(ctx context.Context) {
				s := w.unsealed(ctx, alice)
				for range 2 {
					for _, name := range []string{"demo", "other"} {
						_, err := s.app(name).sign(ctx, "key", []byte("message"))
						expect(t, "sign", err, nil)
					}
					epoch := s.app("demo").epoch(ctx)
					expect(t, "rekey", s.rekey(ctx, guard(1, "password")), nil)
					expect(t, "unseal", s.unsealKeys(ctx, guard(1, "password")), nil)
					w.onlyEpoch(t, after, epoch+1, 2)
				}
			})
			if t.Failed() {
				t.Fatalf("power %v, call %d", power, n)
			}
		}
	}
}

// TestNothingIsInUseAfterARekey: nor after one that was refused, or begun and given
// up, or after more rekeys than a ring remembers.
func TestNothingIsInUseAfterARekey(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	password := guard(1, "password")
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		_, err := a.generate(ctx, "key")
		expect(t, "generate", err, nil)
		record, err := a.seal(ctx, 1, "n", "v")
		expect(t, "seal", err, nil)
		for range maxFormer + 2 {
			id, err := a.key(ctx)
			expect(t, "key", err, nil)
			expect(t, "a wrong one", s.begin(ctx, guard(1, "passwort")), ipc.BadSecret)
			expect(t, "begin", s.begin(ctx, password), nil)
			expect(t, "begin again", s.begin(ctx, password), nil)
			_, err = s.reseal(ctx, id, 2, record)
			expect(t, "reseal of another", err, ipc.Damaged)
			p, err := s.reseal(ctx, id, 1, record)
			expect(t, "reseal", err, nil)
			expect(t, "commit", s.commit(ctx), nil)
			w.noKeys()
			expect(t, "unseal", s.unsealKeys(ctx, password), nil)
			record = p.Record
		}
		expect(t, "begin", s.begin(ctx, password), nil)
		s.lock(ctx)
		w.noKeys()
	})
}
