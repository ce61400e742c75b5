package primitive

import (
	"crypto/sha256"

	"nexus.internal/os/services/secret"
)

// Size is the length of an HMAC-SHA256 in bytes, and of a key for it here.
const Size = sha256.Size

// HMAC writes HMAC-SHA256 (RFC 2104) of the parts, one after the other, to out.
// The key has at most 64 bytes.
func HMAC(out *[Size]byte, key []byte, parts ...[]byte) {
	if len(key) > sha256.BlockSize {
		panic("primitive: HMAC key of more than a block")
	}
	secret.Do(func() { hmac(out, key, parts) })
}

// hmac is what HMAC does, for who is within secret.Do already.
func hmac(out *[Size]byte, key []byte, parts [][]byte) {
	var pad [sha256.BlockSize]byte
	copy(pad[:], key)
	for i := range pad {
		pad[i] ^= 0x36
	}
	inner := sha256.New()
	inner.Write(pad[:])
	for _, p := range parts {
		inner.Write(p)
	}
	for i := range pad {
		pad[i] ^= 0x36 ^ 0x5c
	}
	var sum [Size]byte
	inner.Sum(sum[:0])
	outer := sha256.New()
	outer.Write(pad[:])
	outer.Write(sum[:])
	outer.Sum(out[:0])
}

// mostExpanded is the most that HKDF makes of one key, in bytes.
const mostExpanded = 255 * Size

// HKDF fills dst with HKDF-SHA256 (RFC 5869): extract, then expand. dst has at
// most 8,160 bytes and the salt at most 64.
func HKDF(dst, key, salt, info []byte) {
	if len(salt) > sha256.BlockSize {
		panic("primitive: HKDF salt of more than a block")
	}
	checkExpand(dst, salt)
	secret.Do(func() {
		var uniform [Size]byte
		hmac(&uniform, salt, [][]byte{key})
		expand(dst, uniform[:], info)
	})
}

// Expand fills dst with the output of HKDF's second step alone, which is enough
// for a key that is uniform. dst has at most 8,160 bytes and the key at most 64.
func Expand(dst, key, info []byte) {
	checkExpand(dst, key)
	secret.Do(func() { expand(dst, key, info) })
}

func checkExpand(dst, key []byte) {
	if len(dst) > mostExpanded || len(key) > sha256.BlockSize {
		panic("primitive: HKDF of a wrong length")
	}
}

func expand(dst, key, info []byte) {
	var block [Size]byte
	before := block[:0]
	for i := byte(1); len(dst) > 0; i++ {
		hmac(&block, key, [][]byte{before, info, {i}})
		before = block[:]
		dst = dst[copy(dst, block[:]):]
	}
}
