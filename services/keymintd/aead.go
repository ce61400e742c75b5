package keymintd

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"

	"nexus.internal/os/services/keymintd/primitive"
	"nexus.internal/os/services/secret"
)

// This file holds every use of HKDF, HMAC, XChaCha20-Poly1305 and Ed25519, with
// the argument why it is safe. docs/spec/keymint.md says the same in formulas.
// None of it can fail on any input but an unauthentic one: keys have the right
// size by construction. Keys, and what is made of them, are in the pool of
// package secret; package primitive leaves no other copy.

const (
	nonceSize = primitive.NonceSize
	tagSize   = primitive.TagSize

	wrapVersion  = 1
	commitOffset = 1 + nonceSize               // in a wrap
	sealedOffset = commitOffset + sha256.Size  // in a wrap
	wrapOverhead = sealedOffset + tagSize      // bytes that wrapping adds
	rootWrapSize = wrapOverhead + KeySize      // bytes of a root key's wrap
	_            = uint(sha256.Size - KeySize) // derive's output is one block
)

// chance is a piece of rngd's output that goes into one nonce, and nowhere
// else. Only the entropy pool makes one: no caller can choose it.
type chance [nonceSize]byte

// owner is whose keys these are: another user of the same name has another
// incarnation.
type owner struct {
	user        string
	incarnation [Incarnation]byte
}

// tuple joins parts so that no two lists of parts have the same form: each one
// follows its length. Parts are shorter than 64 KiB by the limits on what they
// are made from.
func tuple(parts ...[]byte) []byte {
	size := 0
	for _, p := range parts {
		size += 2 + len(p)
	}
	b := make([]byte, 0, size)
	for _, p := range parts {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(p)))
		b = append(b, p...)
	}
	return b
}

func u64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// deriveKEK makes the key of one protector. HKDF's extract step is right here:
// the auth token is half of an Argon2id output, so it has all the entropy of
// the credential, and the salt separates devices. The info names whose key it
// is, so that one credential used twice gives unrelated keys.
func deriveKEK(auth, salt []byte, of owner, protector uint64) *secret.Bytes {
	info := tuple([]byte("nexus kek v1"), []byte(of.user), of.incarnation[:], u64(protector), []byte{1})
	kek := secret.New(KeySize)
	primitive.HKDF(kek.Expose(), auth, salt, info)
	return kek
}

// derive makes a subkey. No extract step: every base is uniform. Expanding to
// one block is HMAC-SHA256 under the base, so it is a PRF, and for bases of one
// size it is collision resistant in base and info together. Labels differ
// between any two uses of one base, and tuple keeps label and context apart.
func derive(base *secret.Bytes, label string, context ...[]byte) *secret.Bytes {
	info := tuple(append([][]byte{[]byte(label)}, context...)...)
	if base.Len() != KeySize {
		panic("keymintd: derivation from a key that is gone")
	}
	key := secret.New(KeySize)
	primitive.Expand(key.Expose(), base.Expose(), info)
	return key
}

// mix makes a nonce. Under good chance it is random. Under any other it repeats
// only for the same chance, associated data and plaintext, because HMAC-SHA256
// is a PRF whose 192 remaining bits do not collide in practice; so a pair of
// key and nonce never serves two plaintexts. The lengths are fixed or written
// down, so that no two inputs have the same form. The key has no other use, so
// that the nonce tells nothing about the plaintext it depends on.
func mix(key *secret.Bytes, c *chance, ad, plain []byte) []byte {
	if key.Len() != KeySize {
		panic("keymintd: nonce under a key that is gone")
	}
	var mac [sha256.Size]byte
	primitive.HMAC(&mac, key.Expose(), c[:], binary.LittleEndian.AppendUint32(nil, uint32(len(ad))), ad, plain)
	return mac[:nonceSize]
}

// encrypt appends the ciphertext and tag. Its callers get the nonce from mix
// under a key that belongs to this one, so the pair of key and nonce is used
// for one plaintext only; a message has at most 65 KiB, far from the cipher's
// limit.
func encrypt(dst []byte, key *secret.Bytes, nonce, ad, plain []byte) []byte {
	if key.Len() != KeySize {
		panic("keymintd: encryption under a key that is gone")
	}
	at := len(dst)
	dst = append(dst, make([]byte, len(plain)+tagSize)...)
	primitive.Seal(dst[at:], key.Expose(), nonce, ad, plain)
	return dst
}

// decrypt answers the plaintext, or errNotAuthentic and nothing of it.
func decrypt(key *secret.Bytes, nonce, ad, sealed []byte) (*secret.Bytes, error) {
	if key.Len() != KeySize {
		panic("keymintd: decryption under a key that is gone")
	}
	if len(sealed) < tagSize {
		return nil, errNotAuthentic
	}
	plain := secret.New(len(sealed) - tagSize)
	if !primitive.Open(plain.Expose(), key.Expose(), nonce, ad, sealed) {
		plain.Wipe()
		return nil, errNotAuthentic
	}
	return plain, nil
}

// wrap encrypts a key, or keys, under a wrapping key, and commits to it: the
// generic construction of Albertini et al., "How to Abuse and Fix Authenticated
// Encryption Without Key Commitment" (USENIX Security 2022), which Bellare and
// Hoang (EUROCRYPT 2022) call UtC. Encryption key and commitment are derived
// from wrapping key and nonce by derive, which is a PRF, so the commitment
// tells nothing about the encryption key, and collision resistant, so no wrap
// opens under two wrapping keys. Each nonce has its own encryption key.
func wrap(under *secret.Bytes, c *chance, ad, plain []byte) []byte {
	nonceKey := derive(under, "nexus wrap v1 nonce")
	defer nonceKey.Wipe()
	nonce := mix(nonceKey, c, ad, plain)
	commitment := derive(under, "nexus wrap v1 commit", nonce)
	defer commitment.Wipe()
	key := derive(under, "nexus wrap v1 encrypt", nonce)
	defer key.Wipe()
	b := make([]byte, 0, wrapOverhead+len(plain))
	b = append(b, wrapVersion)
	b = append(b, nonce...)
	b = append(b, commitment.Expose()...)
	return encrypt(b, key, nonce, ad, plain)
}

// unwrap opens a wrap. The errors are errLayout (too short, or of another
// version), errWrongKey, which is known before anything is decrypted, and
// errNotAuthentic.
func unwrap(under *secret.Bytes, ad, wrapped []byte) (*secret.Bytes, error) {
	if len(wrapped) < wrapOverhead || wrapped[0] != wrapVersion {
		return nil, errLayout
	}
	nonce := wrapped[1:commitOffset]
	commitment := derive(under, "nexus wrap v1 commit", nonce)
	defer commitment.Wipe()
	if subtle.ConstantTimeCompare(commitment.Expose(), wrapped[commitOffset:sealedOffset]) != 1 {
		return nil, errWrongKey
	}
	key := derive(under, "nexus wrap v1 encrypt", nonce)
	defer key.Wipe()
	return decrypt(key, nonce, ad, wrapped[sealedOffset:])
}

// wrapFault is the offset in a wrap of what unwrap objected to.
func wrapFault(err error) int64 {
	switch err {
	case errWrongKey:
		return commitOffset
	case errNotAuthentic:
		return sealedOffset
	}
	return 0
}

// sealer encrypts many messages under one key: records under an app's data
// key, segments under a user's chain key. It does not commit: both keys are
// uniform, come out of wraps that do commit, and are never chosen or tried by
// anybody. Nonces have 192 bits and come from mix, so their number is no limit.
type sealer struct {
	nonce *secret.Bytes
	key   *secret.Bytes
}

func newSealer(base *secret.Bytes, label string) *sealer {
	return &sealer{nonce: derive(base, label+" nonce"), key: derive(base, label+" encrypt")}
}

func (s *sealer) wipe() {
	s.nonce.Wipe()
	s.key.Wipe()
}

// seal appends nonce, ciphertext and tag.
func (s *sealer) seal(dst []byte, c *chance, ad, plain []byte) []byte {
	nonce := mix(s.nonce, c, ad, plain)
	return encrypt(append(dst, nonce...), s.key, nonce, ad, plain)
}

// open is the inverse of seal.
func (s *sealer) open(ad, sealed []byte) (*secret.Bytes, error) {
	if len(sealed) < Overhead {
		return nil, errNotAuthentic
	}
	return decrypt(s.key, sealed[:nonceSize], ad, sealed[nonceSize:])
}

// fileID names an app's ring without telling the app: HMAC-SHA256 under a key
// that only the root key gives. 128 bits do not collide among 128 apps.
func fileID(nameKey *secret.Bytes, app string) [KeyIDSize]byte {
	if nameKey.Len() != KeySize {
		panic("keymintd: file name under a key that is gone")
	}
	var mac [sha256.Size]byte
	primitive.HMAC(&mac, nameKey.Expose(), []byte(app))
	return [KeyIDSize]byte(mac[:])
}

// fileTag proves that who made a root.keys had the root key: HMAC-SHA256 under a
// key that has no other use.
func fileTag(root *secret.Bytes, file []byte) (tag [sha256.Size]byte) {
	key := derive(root, "nexus root v2 file")
	defer key.Wipe()
	primitive.HMAC(&tag, key.Expose(), file)
	return tag
}

// headKey makes the key that a user's keys.head is wrapped under.
func headKey(root *secret.Bytes) *secret.Bytes { return derive(root, "nexus root v2 keyhead") }

// publicOf answers the public key of a seed (RFC 8032).
func publicOf(seed *secret.Bytes) []byte {
	var public [primitive.PublicSize]byte
	primitive.Public(&public, seed.Expose())
	return public[:]
}

// sign makes a pure Ed25519 signature (RFC 8032): deterministic, so it needs no
// chance, and its nonce depends on the seed and the whole message. The message
// is the app's own bytes without a prefix: a signing key signs nothing else.
func sign(seed *secret.Bytes, message []byte) []byte {
	var signature [primitive.SignatureSize]byte
	primitive.Sign(&signature, seed.Expose(), message)
	return signature[:]
}
