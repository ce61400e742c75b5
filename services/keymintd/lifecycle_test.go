package keymintd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
)

func (a *app) generateFor(ctx context.Context, name string, purpose wire.KeyPurpose, uses uint32) error {
	q := &wire.GenerateKeyRequest{Name: name, Purpose: purpose, Uses: uses}
	return a.onKeys(ctx, wire.OpGenerateKey, q, &wire.GenerateKeyReply{})
}

func (a *app) rotate(ctx context.Context, name string) (uint32, error) {
	var p wire.RotateKeyReply
	err := a.onKeys(ctx, wire.OpRotateKey, &wire.RotateKeyRequest{Name: name}, &p)
	return p.Version, err
}

func (a *app) revoke(ctx context.Context, name string) error {
	return a.onKeys(ctx, wire.OpRevokeKey, &wire.RevokeKeyRequest{Name: name}, &wire.RevokeKeyReply{})
}

func (a *app) version(ctx context.Context, name string, version uint32) (*wire.PublicKeyReply, error) {
	p := &wire.PublicKeyReply{}
	return p, a.onKeys(ctx, wire.OpPublicKey, &wire.PublicKeyRequest{Name: name, Version: version}, p)
}

func (a *app) signed(ctx context.Context, name string) (*wire.SignReply, error) {
	p := &wire.SignReply{}
	return p, a.onKeys(ctx, wire.OpSign, &wire.SignRequest{Name: name, Message: []byte(message)}, p)
}

const message = "what is signed"

// verifies says that a signature is of that version, and of no other.
func (a *app) verifies(ctx context.Context, name string, version, versions uint32, signature []byte) {
	a.w.t.Helper()
	for v := uint32(1); v <= versions; v++ {
		p, err := a.version(ctx, name, v)
		expect(a.w.t, "public", err, nil)
		if got := ed25519.Verify(p.Public, []byte(message), signature); got != (v == version) {
			a.w.t.Errorf("%s: a signature of version %d verifies with version %d: %v", name, version, v, got)
		}
	}
}

// TestRotate: the newest version signs, what older ones signed can be verified,
// over a boot.
func TestRotate(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	const versions = 5
	var signatures [versions + 1][]byte
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		for v := uint32(1); v <= versions; v++ {
			p, err := a.signed(ctx, "k")
			expect(t, "sign", err, nil)
			if p.Version != v {
				t.Errorf("version %d signs, want %d", p.Version, v)
			}
			signatures[v] = p.Signature
			if v < versions {
				next, err := a.rotate(ctx, "k")
				expect(t, "rotate", err, nil)
				if next != v+1 {
					t.Errorf("version %d after %d", next, v)
				}
			}
		}
		_, err = a.rotate(ctx, "none")
		expect(t, "rotate what there is not", err, ipc.NotFound)
		_, err = a.version(ctx, "k", versions+1)
		expect(t, "a version to come", err, ipc.NotFound)
		names, err := a.list(ctx, "")
		expect(t, "list", err, nil)
		if len(names) != 1 {
			t.Errorf("names %q", names)
		}
	})
	w = boot(t, 2, d)
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		for v := uint32(1); v <= versions; v++ {
			a.verifies(ctx, "k", v, versions, signatures[v])
			p, err := a.version(ctx, "k", v)
			expect(t, "public", err, nil)
			state := wire.KeyState_KEY_STATE_ROTATED
			if v == versions {
				state = wire.KeyState_KEY_STATE_ACTIVE
			}
			if p.State != state || p.Version != v || p.Uses != allUses {
				t.Errorf("version %d is %v", v, p)
			}
		}
		newest, err := a.version(ctx, "k", 0)
		expect(t, "public", err, nil)
		if newest.Version != versions {
			t.Errorf("the newest is %d", newest.Version)
		}
	})
}

// TestRevoke: nothing can be done with the key any more, over a boot; what it
// signed can be verified; and no blob brings it back, of whatever version.
func TestRevoke(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	var blobs, signatures [][]byte
	revoked := func(ctx context.Context, a *app) {
		_, err := a.signed(ctx, "k")
		expect(t, "sign", err, ipc.Revoked)
		_, err = a.wrap(ctx, "k")
		expect(t, "wrap", err, ipc.Revoked)
		_, err = a.detach(ctx, "k")
		expect(t, "detach", err, ipc.Revoked)
		_, err = a.rotate(ctx, "k")
		expect(t, "rotate", err, ipc.Revoked)
		expect(t, "revoke again", a.revoke(ctx, "k"), ipc.Revoked)
		_, err = a.generate(ctx, "k")
		expect(t, "generate", err, ipc.Exists)
		for i, s := range signatures {
			a.verifies(ctx, "k", uint32(i+1), 2, s)
			p, err := a.version(ctx, "k", uint32(i+1))
			expect(t, "public", err, nil)
			if p.State != wire.KeyState_KEY_STATE_REVOKED {
				t.Errorf("version %d is %v", i+1, p.State)
			}
		}
		for _, blob := range blobs {
			_, err = a.unwrap(ctx, "back", blob)
			expect(t, "unwrap", err, ipc.Denied)
		}
	}
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		for range 2 {
			blob, err := a.wrap(ctx, "k")
			expect(t, "wrap", err, nil)
			p, err := a.signed(ctx, "k")
			expect(t, "sign", err, nil)
			blobs, signatures = append(blobs, blob), append(signatures, p.Signature)
			if len(blobs) == 1 {
				_, err = a.rotate(ctx, "k")
				expect(t, "rotate", err, nil)
			}
		}
		expect(t, "revoke what there is not", a.revoke(ctx, "none"), ipc.NotFound)
		expect(t, "revoke", a.revoke(ctx, "k"), nil)
		revoked(ctx, a)
	})
	w = boot(t, 2, d)
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		revoked(ctx, a)
		expect(t, "delete", a.delete(ctx, "k"), nil)
		for _, blob := range blobs {
			_, err := a.unwrap(ctx, "back", blob)
			expect(t, "unwrap after the deletion", err, ipc.Denied)
		}
		_, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
	})
}

// TestDetachedAfterRotation: a blob brings back the version that signed last, and
// no older one.
func TestDetachedAfterRotation(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		first, err := a.wrap(ctx, "k")
		expect(t, "wrap", err, nil)
		_, err = a.rotate(ctx, "k")
		expect(t, "rotate", err, nil)
		_, err = a.unwrap(ctx, "old", first)
		expect(t, "unwrap a version that was rotated", err, ipc.Exists)
		second, err := a.detach(ctx, "k")
		expect(t, "detach", err, nil)
		_, err = a.unwrap(ctx, "old", first)
		expect(t, "unwrap a version that was rotated and detached", err, ipc.Denied)
		_, err = a.unwrap(ctx, "back", second)
		expect(t, "unwrap the newest", err, nil)
		p, err := a.signed(ctx, "back")
		expect(t, "sign", err, nil)
		if p.Version != 2 {
			t.Errorf("version %d is back", p.Version)
		}
	})
}

// TestUses: a key does what it was made for, and so does each version and each
// copy of it that comes back.
func TestUses(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		for uses, want := range map[uint32]error{0: nil, useSign: nil, useWrap: nil, allUses: nil, allUses + 1: ipc.Malformed, 1 << 8: ipc.Malformed, 1<<8 | 1: ipc.Malformed} {
			name := fmt.Sprint("k", uses)
			expect(t, "generate "+name, a.generateFor(ctx, name, wire.KeyPurpose_KEY_PURPOSE_SIGNING, uses), want)
			if want != nil {
				continue
			}
			for range 2 {
				may := func(use uint32) error {
					if uses == 0 || uses&use != 0 {
						return nil
					}
					return ipc.Denied
				}
				_, err := a.signed(ctx, name)
				expect(t, "sign with "+name, err, may(useSign))
				_, err = a.wrap(ctx, name)
				expect(t, "wrap "+name, err, may(useWrap))
				blob, err := a.detach(ctx, name)
				expect(t, "detach "+name, err, may(useWrap))
				if err == nil {
					_, err = a.unwrap(ctx, name, blob)
					expect(t, "unwrap "+name, err, nil)
				}
				_, err = a.rotate(ctx, name)
				expect(t, "rotate "+name, err, nil)
			}
		}
		expect(t, "generate for an unknown purpose", a.generateFor(ctx, "x", 2, 1), ipc.Malformed)
	})
}

// TestLimitOfVersions: a ring holds 56 of all keys together.
func TestLimitOfVersions(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		for v := 2; v <= maxEntries; v++ {
			_, err := a.rotate(ctx, "k")
			expect(t, fmt.Sprint("version ", v), err, nil)
		}
		_, err = a.rotate(ctx, "k")
		expect(t, "one version more", err, ipc.LimitReached)
		_, err = a.generate(ctx, "other")
		expect(t, "one key more", err, ipc.LimitReached)
		expect(t, "delete", a.delete(ctx, "k"), nil)
		_, err = a.generate(ctx, "other")
		expect(t, "generate", err, nil)
	})
}

func (a *app) sealData(ctx context.Context, associated, data string) ([]byte, error) {
	var p wire.SealDataReply
	q := &wire.SealDataRequest{Associated: []byte(associated), Data: []byte(data)}
	err := a.onKeys(ctx, wire.OpSealData, q, &p)
	return p.Sealed, err
}

func (a *app) unsealData(ctx context.Context, associated string, sealed []byte) (string, error) {
	var p wire.UnsealDataReply
	q := &wire.UnsealDataRequest{Associated: []byte(associated), Sealed: bytes.Clone(sealed)}
	err := a.onKeys(ctx, wire.OpUnsealData, q, &p)
	return string(p.Data), err
}

// TestAppData: what was sealed comes back, over a boot, to the same app of the same
// user with the same associated data; any other bytes are denied; and the length
// tells a bucket.
func TestAppData(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	sealed := make(map[int][]byte)
	text := func(n int) string { return string(bytes.Repeat([]byte{byte(n)}, n)) }
	lengths := []int{0, 1, 61, 62, 63, 126, 127, 1022, 1023, 2046, 2047, MaxData - 1, MaxData}
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		_, err := s.app("none").unsealData(ctx, "", make([]byte, 1+wrapOverhead+leastAppData))
		expect(t, "unseal zeros", err, ipc.Malformed)
		a := s.app("demo")
		for _, n := range lengths {
			sealed[n], err = a.sealData(ctx, "about", text(n))
			expect(t, fmt.Sprint("seal ", n), err, nil)
			if got, want := len(sealed[n]), 1+wrapOverhead+appDataBucket(2+n); got != want {
				t.Errorf("%d bytes are sealed to %d, want %d", n, got, want)
			}
		}
		again, err := a.sealData(ctx, "about", text(1))
		expect(t, "seal again", err, nil)
		if bytes.Equal(again, sealed[1]) {
			t.Error("the same data is sealed to the same bytes")
		}
		_, err = a.sealData(ctx, "about", text(MaxData+1))
		expect(t, "seal a byte too much", err, ipc.TooLarge)
		_, err = a.sealData(ctx, text(MaxAssociated), "x")
		expect(t, "as much associated data as may be", err, nil)
		_, err = a.sealData(ctx, text(MaxAssociated+1), "x")
		expect(t, "a byte of associated data too much", err, ipc.TooLarge)
		_, err = a.unsealData(ctx, text(MaxAssociated+1), sealed[1])
		expect(t, "unseal with a byte of associated data too much", err, ipc.TooLarge)
	})
	w = boot(t, 2, d)
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		for _, n := range lengths {
			got, err := a.unsealData(ctx, "about", sealed[n])
			expect(t, fmt.Sprint("unseal ", n), err, nil)
			if got != text(n) {
				t.Errorf("%d bytes came back otherwise", n)
			}
		}
		for _, associated := range []string{"", "abou", "about ", "About"} {
			_, err := a.unsealData(ctx, associated, sealed[62])
			expect(t, "unseal with "+associated, err, ipc.Denied)
		}
		for what, other := range map[string]*app{"another app": s.app("other"), "another user": w.unsealed(ctx, bob).app("demo")} {
			_, err := other.unsealData(ctx, "about", sealed[62])
			expect(t, "unseal as "+what+" without keys", err, ipc.Denied)
			_, err = other.key(ctx)
			expect(t, "key", err, nil)
			_, err = other.unsealData(ctx, "about", sealed[62])
			expect(t, "unseal as "+what, err, ipc.Denied)
		}
		for i := range sealed[62] {
			changed := bytes.Clone(sealed[62])
			changed[i] ^= 1
			want := ipc.Denied
			if i == 0 {
				want = ipc.Malformed
			}
			_, err := a.unsealData(ctx, "about", changed)
			if i == 1 {
				want = ipc.Denied // The wrap's version.
			}
			expect(t, fmt.Sprint("unseal with another byte ", i), err, want)
		}
		for n := range 400 {
			if n != len(sealed[62]) && n != len(sealed[63]) && n != len(sealed[127]) {
				_, err := a.unsealData(ctx, "about", append(bytes.Clone(sealed[62]), make([]byte, 400)...)[:n])
				expect(t, fmt.Sprint("unseal ", n, " bytes"), err, ipc.Malformed)
			}
		}
	})
}
