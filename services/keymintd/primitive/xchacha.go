package primitive

import (
	"crypto/subtle"
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 the whole cipher keeps its key on the heap

	"nexus.internal/os/services/secret"
)

// Lengths of XChaCha20-Poly1305, in bytes.
const (
	KeySize   = chacha20.KeySize
	NonceSize = chacha20.NonceSizeX
	TagSize   = poly1305.TagSize
)

// Seal writes the ciphertext of plain and its tag to dst, which has the length
// of both and may begin where plain does, but not overlap it otherwise. It is
// AEAD_CHACHA20_POLY1305 of RFC 8439, section 2.8, under the extended nonce of
// draft-irtf-cfrg-xchacha-03. plain has at most 2³⁰ bytes.
func Seal(dst, key, nonce, ad, plain []byte) {
	if len(dst) != len(plain)+TagSize {
		panic("primitive: no room for ciphertext and tag")
	}
	checkSizes(key, nonce, plain)
	secret.Do(func() {
		text := dst[:len(plain)]
		var once [KeySize]byte
		stream, _ := chacha20.NewUnauthenticatedCipher(key, nonce) // Both lengths were checked.
		begin(&once, stream)
		stream.XORKeyStream(text, plain)
		authenticate((*[TagSize]byte)(dst[len(plain):]), &once, ad, text)
	})
}

// Open writes the plaintext of sealed to dst, which has that length and may
// begin where sealed does, but not overlap it otherwise. It answers false, and
// dst is as it was, if sealed is not what Seal made under the same key, nonce
// and associated data.
func Open(dst, key, nonce, ad, sealed []byte) (ok bool) {
	if len(sealed) < TagSize || len(dst) != len(sealed)-TagSize {
		panic("primitive: no room for the plaintext")
	}
	checkSizes(key, nonce, dst)
	secret.Do(func() {
		text := sealed[:len(dst)]
		var once [KeySize]byte
		stream, _ := chacha20.NewUnauthenticatedCipher(key, nonce) // Both lengths were checked.
		begin(&once, stream)
		var tag [TagSize]byte
		authenticate(&tag, &once, ad, text)
		ok = subtle.ConstantTimeCompare(tag[:], sealed[len(dst):]) == 1
		if ok {
			stream.XORKeyStream(dst, text)
		}
	})
	return ok
}

func checkSizes(key, nonce, plain []byte) {
	if len(key) != KeySize || len(nonce) != NonceSize || len(plain) > 1<<30 {
		panic("primitive: XChaCha20-Poly1305 with a wrong length")
	}
}

// begin takes the key stream's first block, whose first half is the one-time key
// of Poly1305, off it.
func begin(once *[KeySize]byte, stream *chacha20.Cipher) {
	stream.XORKeyStream(once[:], once[:])
	stream.SetCounter(1)
}

// authenticate writes the tag of associated data and ciphertext, each filled up
// with zeros to 16 bytes, and of their lengths.
func authenticate(tag *[TagSize]byte, once *[KeySize]byte, ad, text []byte) {
	var zeros [TagSize]byte
	mac := poly1305.New(once)
	for _, part := range [][]byte{ad, text} {
		mac.Write(part)
		mac.Write(zeros[:-len(part)&(TagSize-1)])
	}
	var lengths [16]byte
	binary.LittleEndian.PutUint64(lengths[:], uint64(len(ad)))
	binary.LittleEndian.PutUint64(lengths[8:], uint64(len(text)))
	mac.Write(lengths[:])
	mac.Sum(tag[:0])
}
