package primitive

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	stdhmac "crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"math/rand"
	"os"
	"strconv"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// newRandom answers a source of test cases, and says which seed replays it.
func newRandom(t testing.TB) *rand.Rand {
	seed := rand.Int63()
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("NEXUS_SEED=%d go test ./services/keymintd/primitive -run '^%s$'", seed, t.Name())
	return rand.New(rand.NewSource(seed))
}

func some(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	rnd.Read(b)
	return b
}

func unhex(t testing.TB, text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkHMAC compares with crypto/hmac, and with the parts joined.
func checkHMAC(t testing.TB, key, a, b []byte) {
	h := stdhmac.New(sha256.New, key)
	h.Write(a)
	h.Write(b)
	want := h.Sum(nil)
	var got, joined [Size]byte
	HMAC(&got, key, a, b)
	HMAC(&joined, key, append(bytes.Clone(a), b...))
	if !bytes.Equal(got[:], want) || joined != got {
		t.Fatalf("HMAC of %x and %x under %x: %x, joined %x, want %x", a, b, key, got, joined, want)
	}
}

func checkHKDF(t testing.TB, key, salt, info []byte, n int) {
	got := make([]byte, n)
	if want, err := hkdf.Key(sha256.New, key, salt, string(info), n); err != nil {
		t.Fatal(err)
	} else if HKDF(got, key, salt, info); !bytes.Equal(got, want) {
		t.Fatalf("HKDF of %x, salt %x, info %x: %x, want %x", key, salt, info, got, want)
	}
	if len(key) > sha256.BlockSize {
		return
	}
	if want, err := hkdf.Expand(sha256.New, key, string(info), n); err != nil {
		t.Fatal(err)
	} else if Expand(got, key, info); !bytes.Equal(got, want) {
		t.Fatalf("Expand of %x, info %x: %x, want %x", key, info, got, want)
	}
}

func checkAEAD(t testing.TB, key, nonce, ad, plain []byte) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		t.Fatal(err)
	}
	want := aead.Seal(nil, nonce, plain, ad)
	sealed := make([]byte, len(want))
	Seal(sealed, key, nonce, ad, plain)
	if !bytes.Equal(sealed, want) {
		t.Fatalf("key %x nonce %x ad %x plain %x: %x, want %x", key, nonce, ad, plain, sealed, want)
	}
	inPlace := append(bytes.Clone(plain), make([]byte, TagSize)...)
	Seal(inPlace, key, nonce, ad, inPlace[:len(plain)])
	if !bytes.Equal(inPlace, want) {
		t.Fatal("sealing in place makes other bytes")
	}
	back := make([]byte, len(plain))
	if !Open(back, key, nonce, ad, sealed) || !bytes.Equal(back, plain) {
		t.Fatal("what was sealed does not open")
	}
	if !Open(inPlace[:len(plain)], key, nonce, ad, inPlace) || !bytes.Equal(inPlace[:len(plain)], plain) {
		t.Fatal("what was sealed does not open in place")
	}
}

// checkRefused changes one bit of what is opened: nothing opens, and nothing is
// written.
func checkRefused(t testing.TB, key, nonce, ad, plain []byte, bit int) {
	sealed := make([]byte, len(plain)+TagSize)
	Seal(sealed, key, nonce, ad, plain)
	parts := [][]byte{bytes.Clone(key), bytes.Clone(nonce), bytes.Clone(ad), sealed}
	bit %= 8 * (len(key) + len(nonce) + len(ad) + len(sealed))
	for _, p := range parts {
		if bit < 8*len(p) {
			p[bit/8] ^= 1 << (bit % 8)
			break
		}
		bit -= 8 * len(p)
	}
	back := bytes.Repeat([]byte{0xee}, len(plain))
	if Open(back, parts[0], parts[1], parts[2], sealed) {
		t.Fatal("a changed bit makes no difference")
	}
	if !bytes.Equal(back, bytes.Repeat([]byte{0xee}, len(plain))) {
		t.Fatal("something was written of what is not authentic")
	}
	aead, err := chacha20poly1305.NewX(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := aead.Open(nil, parts[1], sealed, parts[2]); err == nil {
		t.Fatal("the library opens it: this test is wrong")
	}
}

func checkSign(t testing.TB, seed, message []byte) {
	private := ed25519.NewKeyFromSeed(seed)
	var public [PublicSize]byte
	Public(&public, seed)
	if !bytes.Equal(public[:], private[32:]) {
		t.Fatalf("public key of %x: %x, want %x", seed, public, private[32:])
	}
	var signature [SignatureSize]byte
	Sign(&signature, seed, message)
	if want := ed25519.Sign(private, message); !bytes.Equal(signature[:], want) {
		t.Fatalf("signature of %x under %x: %x, want %x", message, seed, signature, want)
	}
	if !ed25519.Verify(public[:], message, signature[:]) {
		t.Fatal("the signature does not verify")
	}
}

func TestHMACLikeTheStandardLibrary(t *testing.T) {
	rnd := newRandom(t)
	for n := range 300 {
		checkHMAC(t, some(rnd, n%65), some(rnd, n), some(rnd, rnd.Intn(200)))
	}
	checkHMAC(t, nil, nil, nil)
}

func TestHKDFLikeTheStandardLibrary(t *testing.T) {
	rnd := newRandom(t)
	for n := range 300 {
		checkHKDF(t, some(rnd, rnd.Intn(100)), some(rnd, n%65), some(rnd, rnd.Intn(200)), n)
	}
	for _, n := range []int{0, 1, 31, 32, 33, mostExpanded - 1, mostExpanded} {
		checkHKDF(t, some(rnd, 32), some(rnd, 32), some(rnd, 10), n)
	}
}

// TestAEADLikeTheLibrary goes through every length of text and of associated
// data around the blocks of both ciphers, then long ones.
func TestAEADLikeTheLibrary(t *testing.T) {
	rnd := newRandom(t)
	for n := range 321 {
		for ad := range 35 {
			checkAEAD(t, some(rnd, KeySize), some(rnd, NonceSize), some(rnd, ad), some(rnd, n))
		}
	}
	for range 40 {
		checkAEAD(t, some(rnd, KeySize), some(rnd, NonceSize), some(rnd, rnd.Intn(2000)), some(rnd, rnd.Intn(70000)))
	}
}

func TestEveryBitCounts(t *testing.T) {
	rnd := newRandom(t)
	key, nonce, ad, plain := some(rnd, KeySize), some(rnd, NonceSize), some(rnd, 5), some(rnd, 70)
	for bit := range 8 * (KeySize + NonceSize + 5 + 70 + TagSize) {
		checkRefused(t, key, nonce, ad, plain, bit)
	}
}

func TestEd25519LikeTheStandardLibrary(t *testing.T) {
	rnd := newRandom(t)
	for n := range 1000 {
		checkSign(t, some(rnd, SeedSize), some(rnd, n))
	}
	checkSign(t, make([]byte, SeedSize), nil)
	checkSign(t, bytes.Repeat([]byte{0xff}, SeedSize), some(rnd, 70000))
}

// TestVectorsOfTheSpecifications are RFC 4231 (2), RFC 5869 (A.1, A.3),
// draft-irtf-cfrg-xchacha-03 (A.3.1) and RFC 8032 (7.1, TEST 1 and 2).
func TestVectorsOfTheSpecifications(t *testing.T) {
	var mac [Size]byte
	HMAC(&mac, []byte("Jefe"), []byte("what do ya want "), []byte("for nothing?"))
	same(t, "RFC 4231", mac[:], "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")

	okm := make([]byte, 42)
	ikm := bytes.Repeat([]byte{0x0b}, 22)
	HKDF(okm, ikm, unhex(t, "000102030405060708090a0b0c"), unhex(t, "f0f1f2f3f4f5f6f7f8f9"))
	same(t, "RFC 5869 A.1", okm, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
	HKDF(okm, ikm, nil, nil)
	same(t, "RFC 5869 A.3", okm, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")

	plain := []byte("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.")
	sealed := make([]byte, len(plain)+TagSize)
	Seal(sealed, unhex(t, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"),
		unhex(t, "404142434445464748494a4b4c4d4e4f5051525354555657"), unhex(t, "50515253c0c1c2c3c4c5c6c7"), plain)
	same(t, "XChaCha20-Poly1305", sealed, "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"+
		"731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3"+
		"fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49")

	for _, c := range []struct{ seed, public, message, signature string }{
		{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
		{"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
	} {
		var public [PublicSize]byte
		Public(&public, unhex(t, c.seed))
		same(t, "RFC 8032, public key", public[:], c.public)
		var signature [SignatureSize]byte
		Sign(&signature, unhex(t, c.seed), unhex(t, c.message))
		same(t, "RFC 8032, signature", signature[:], c.signature)
	}
}

func same(t *testing.T, what string, got []byte, want string) {
	if hex.EncodeToString(got) != want {
		t.Errorf("%s: %x, want %s", what, got, want)
	}
}

// TestNothingAllocates holds for the whole argument of this package: what is
// not on the heap is on the stack, which is overwritten.
func TestNothingAllocates(t *testing.T) {
	var mac [Size]byte
	var public [PublicSize]byte
	var signature [SignatureSize]byte
	key, nonce, ad, plain := make([]byte, 32), make([]byte, NonceSize), make([]byte, 77), make([]byte, 66000)
	sealed := make([]byte, len(plain)+TagSize)
	for name, f := range map[string]func(){
		"HMAC":   func() { HMAC(&mac, key, ad, plain) },
		"HKDF":   func() { HKDF(plain[:100], key, key, ad) },
		"Expand": func() { Expand(plain[:100], key, ad) },
		"Seal":   func() { Seal(sealed, key, nonce, ad, plain) },
		"Open": func() {
			if !Open(plain, key, nonce, ad, sealed) {
				t.Error("what was sealed does not open")
			}
		},
		"Public": func() { Public(&public, key) },
		"Sign":   func() { Sign(&signature, key, plain) },
	} {
		Seal(sealed, key, nonce, ad, plain)
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestWrongLengthsPanic(t *testing.T) {
	var mac [Size]byte
	var public [PublicSize]byte
	var signature [SignatureSize]byte
	key, nonce, long := make([]byte, KeySize), make([]byte, NonceSize), make([]byte, 65)
	for name, f := range map[string]func(){
		"HMAC key":         func() { HMAC(&mac, long) },
		"HKDF salt":        func() { HKDF(mac[:], key, long, nil) },
		"HKDF output":      func() { HKDF(make([]byte, mostExpanded+1), key, key, nil) },
		"Expand key":       func() { Expand(mac[:], long, nil) },
		"Expand output":    func() { Expand(make([]byte, mostExpanded+1), key, nil) },
		"Seal key":         func() { Seal(make([]byte, TagSize), key[1:], nonce, nil, nil) },
		"Seal nonce":       func() { Seal(make([]byte, TagSize), key, nonce[1:], nil, nil) },
		"Seal small dst":   func() { Seal(make([]byte, TagSize), key, nonce, nil, long) },
		"Seal large dst":   func() { Seal(make([]byte, TagSize+1), key, nonce, nil, nil) },
		"Open key":         func() { Open(nil, nil, nonce, nil, make([]byte, TagSize)) },
		"Open nonce":       func() { Open(nil, key, key, nil, make([]byte, TagSize)) },
		"Open short":       func() { Open(nil, key, nonce, nil, make([]byte, TagSize-1)) },
		"Open small dst":   func() { Open(nil, key, nonce, nil, make([]byte, TagSize+1)) },
		"Public":           func() { Public(&public, long) },
		"Sign":             func() { Sign(&signature, long[:31], nil) },
		"Sign with no key": func() { Sign(&signature, nil, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: goes on with a wrong length", name)
				}
			}()
			f()
		}()
	}
}
