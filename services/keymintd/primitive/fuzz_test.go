package primitive

import (
	"crypto/sha256"
	"testing"
)

// keyFrom makes 32 bytes of whatever the fuzzer has.
func keyFrom(b []byte) []byte {
	if len(b) == 32 {
		return b
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func FuzzHKDF(f *testing.F) {
	f.Add([]byte("key"), []byte("salt"), []byte("info"), uint16(42))
	f.Add([]byte{}, []byte{}, []byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, key, salt, info []byte, n uint16) {
		salt = salt[:min(len(salt), 64)]
		checkHKDF(t, key, salt, info, int(n)%(mostExpanded+1))
		checkHMAC(t, salt, key, info)
	})
}

func FuzzAEAD(f *testing.F) {
	f.Add([]byte("key"), []byte("nonce"), []byte("ad"), []byte("plain"), 0)
	f.Add([]byte{}, []byte{}, []byte{}, []byte{}, 7)
	f.Fuzz(func(t *testing.T, key, nonce, ad, plain []byte, bit int) {
		key, nonce = keyFrom(key), keyFrom(nonce)[:NonceSize]
		checkAEAD(t, key, nonce, ad, plain)
		checkRefused(t, key, nonce, ad, plain, max(bit, -bit-1))
	})
}

func FuzzEd25519(f *testing.F) {
	f.Add([]byte("seed"), []byte("message"))
	f.Add(make([]byte, SeedSize), []byte{})
	f.Fuzz(func(t *testing.T, seed, message []byte) {
		checkSign(t, keyFrom(seed), message)
	})
}
