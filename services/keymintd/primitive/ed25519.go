package primitive

import (
	"crypto/sha512"

	"filippo.io/edwards25519"

	"nexus.internal/os/services/secret"
)

// Lengths of Ed25519, in bytes.
const (
	SeedSize      = 32
	PublicSize    = 32
	SignatureSize = 64
)

// Public writes the public key of a seed to out: RFC 8032, section 5.1.5.
func Public(out *[PublicSize]byte, seed []byte) {
	checkSeed(seed)
	secret.Do(func() {
		var digest [sha512.Size]byte
		var scalar edwards25519.Scalar
		spread(&scalar, &digest, seed)
		encode(out[:], &scalar)
	})
}

// Sign writes a pure Ed25519 signature of the message to out: RFC 8032, section
// 5.1.6. The same seed and message give the same signature.
func Sign(out *[SignatureSize]byte, seed, message []byte) {
	checkSeed(seed)
	secret.Do(func() {
		var digest [sha512.Size]byte
		var private, nonce, challenge edwards25519.Scalar
		var public [PublicSize]byte
		spread(&private, &digest, seed)
		encode(public[:], &private)
		scalarOf(&nonce, digest[SeedSize:], message, nil)
		encode(out[:PublicSize], &nonce)
		scalarOf(&challenge, out[:PublicSize], public[:], message)
		challenge.MultiplyAdd(&challenge, &private, &nonce)
		copy(out[PublicSize:], challenge.Bytes())
	})
}

func checkSeed(seed []byte) {
	if len(seed) != SeedSize {
		panic("primitive: Ed25519 seed of a wrong length")
	}
}

// spread makes of a seed the secret scalar, and the digest whose second half
// goes into nonces.
func spread(scalar *edwards25519.Scalar, digest *[sha512.Size]byte, seed []byte) {
	*digest = sha512.Sum512(seed)
	_, _ = scalar.SetBytesWithClamping(digest[:SeedSize]) // The length is right.
}

// encode writes the point that is scalar times the base point.
func encode(out []byte, scalar *edwards25519.Scalar) {
	var point edwards25519.Point
	copy(out, point.ScalarBaseMult(scalar).Bytes())
}

// scalarOf is the SHA-512 of three parts as a number modulo the group's order.
func scalarOf(scalar *edwards25519.Scalar, a, b, c []byte) {
	hash := sha512.New()
	hash.Write(a)
	hash.Write(b)
	hash.Write(c)
	var digest [sha512.Size]byte
	hash.Sum(digest[:0])
	_, _ = scalar.SetUniformBytes(digest[:]) // The length is right.
}
