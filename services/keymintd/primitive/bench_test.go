package primitive

import (
	"crypto/ed25519"
	"crypto/hkdf"
	stdhmac "crypto/hmac"
	"crypto/sha256"
	"strconv"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// Each benchmark has the library's way beside it: docs/adr/0017 has the ratios.

func BenchmarkExpand(b *testing.B) {
	key, info, out := make([]byte, 32), []byte("nexus wrap v1 encrypt, and a nonce of 24 bytes"), make([]byte, 32)
	b.Run("primitive", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Expand(out, key, info)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := hkdf.Expand(sha256.New, key, string(info), 32); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkHMAC(b *testing.B) {
	for _, n := range []int{256, 65536} {
		key, text := make([]byte, 32), make([]byte, n)
		b.Run("primitive/"+strconv.Itoa(n), func(b *testing.B) {
			var out [Size]byte
			for b.Loop() {
				HMAC(&out, key, text)
			}
		})
		b.Run("library/"+strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				h := stdhmac.New(sha256.New, key)
				h.Write(text)
				h.Sum(nil)
			}
		})
	}
}

func BenchmarkSealAndOpen(b *testing.B) {
	for _, n := range []int{256, 4096, 65536} {
		key, nonce, ad, plain := make([]byte, 32), make([]byte, NonceSize), make([]byte, 60), make([]byte, n)
		sealed := make([]byte, n+TagSize)
		b.Run("primitive/"+strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				Seal(sealed, key, nonce, ad, plain)
				if !Open(plain, key, nonce, ad, sealed) {
					b.Fatal("does not open")
				}
			}
		})
		b.Run("library/"+strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				aead, err := chacha20poly1305.NewX(key)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := aead.Open(plain[:0], nonce, aead.Seal(sealed[:0], nonce, plain, ad), ad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	seed, message := make([]byte, SeedSize), make([]byte, 100)
	b.Run("primitive", func(b *testing.B) {
		var out [SignatureSize]byte
		for b.Loop() {
			Sign(&out, seed, message)
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			ed25519.Sign(ed25519.NewKeyFromSeed(seed), message)
		}
	})
}
