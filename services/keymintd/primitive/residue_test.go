package primitive

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"math/big"
	"os"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"

	"nexus.internal/os/services/secret"
	"nexus.internal/os/tests/scan"
)

// rounds is how often the child uses its keys before it wipes them.
const rounds = 300

// The child has what it works on from labels, so that nobody needs to send it
// a secret.
var (
	labelKey  = []byte("residue: key")
	labelSeed = []byte("residue: seed")
	labelText = []byte("residue: text")
	nonceOf   = func(round int) []byte { return binary.LittleEndian.AppendUint64(make([]byte, 16), uint64(round)) }
	infoOf    = func(round int) []byte { return binary.LittleEndian.AppendUint64([]byte("info"), uint64(round)) }
)

func secretOf(label []byte) *secret.Bytes {
	s := secret.New(sha256.Size)
	secret.Do(func() {
		sum := sha256.Sum256(label)
		copy(s.Expose(), sum[:])
	})
	return s
}

// TestNothingIsLeft scans the memory of another process: while it has keys they
// are found, and when it has wiped them nothing is, of the keys nor of what is
// made of them on the way. The same with the libraries that this package stands
// in for shows that the scan would find it.
func TestNothingIsLeft(t *testing.T) {
	if mode := scan.Mode(); mode != "" {
		child(mode)
		os.Exit(0)
	}
	if race {
		t.Skip("the race detector's own memory takes too long to scan")
	}
	for _, mode := range []string{"primitive", "library"} {
		t.Run(mode, func(t *testing.T) {
			c, err := scan.Start("TestNothingIsLeft", mode)
			if err != nil {
				t.Fatal(err)
			}
			used, err := c.At("in use", patterns(t))
			if err != nil {
				t.Fatal(err)
			}
			left, err := c.At("wiped", patterns(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Wait(); err != nil {
				t.Fatal(err)
			}
			t.Logf("in use %v, left %v", scan.Count(used), scan.Count(left))
			if n := scan.Count(used); n["key"] == 0 || n["seed"] == 0 || n["text"] == 0 {
				t.Error("what is in use is not found")
			}
			if mode == "library" && len(left) == 0 {
				t.Error("the libraries leave nothing: this package has lost its reason, or the scan is blind")
			}
			for _, h := range left {
				if mode == "primitive" {
					t.Error("left in memory:", h)
				}
			}
		})
	}
}

func child(mode string) {
	key, seed, text := secretOf(labelKey), secretOf(labelSeed), secretOf(labelText)
	for round := range rounds {
		if mode == "primitive" {
			usePrimitive(round, key, seed, text)
		} else {
			useLibrary(round, key, seed, text)
		}
	}
	scan.Rest("in use")
	key.Wipe()
	seed.Wipe()
	text.Wipe()
	scan.Rest("wiped")
}

// usePrimitive uses each primitive on a stack of its own, which stays as long as
// the child does: what one leaves is not overwritten by the next.
func usePrimitive(round int, key, seed, text *secret.Bytes) {
	for _, use := range primitives {
		if round < rounds-1 {
			use(round, key, seed, text)
			continue
		}
		used := make(chan struct{})
		go func() {
			use(round, key, seed, text)
			close(used)
			select {}
		}()
		<-used
	}
}

var primitives = []func(round int, key, seed, text *secret.Bytes){
	func(round int, key, _, text *secret.Bytes) {
		made := secret.New(Size)
		defer made.Wipe()
		HMAC((*[Size]byte)(made.Expose()), key.Expose(), text.Expose(), infoOf(round))
	},
	func(round int, key, seed, _ *secret.Bytes) {
		made := secret.New(Size)
		defer made.Wipe()
		HKDF(made.Expose(), seed.Expose(), key.Expose(), infoOf(round))
	},
	func(round int, key, _, _ *secret.Bytes) {
		made := secret.New(Size)
		defer made.Wipe()
		Expand(made.Expose(), key.Expose(), infoOf(round))
	},
	func(round int, key, _, text *secret.Bytes) {
		Seal(make([]byte, text.Len()+TagSize), key.Expose(), nonceOf(round), labelText, text.Expose())
	},
	func(round int, key, _, text *secret.Bytes) {
		back, sealed := secret.New(text.Len()), make([]byte, text.Len()+TagSize)
		defer back.Wipe()
		Seal(sealed, key.Expose(), nonceOf(round), labelText, text.Expose())
		if !Open(back.Expose(), key.Expose(), nonceOf(round), labelText, sealed) {
			panic("residue: what was sealed does not open")
		}
	},
	func(_ int, _, seed, _ *secret.Bytes) {
		var public [PublicSize]byte
		Public(&public, seed.Expose())
	},
	func(round int, _, seed, _ *secret.Bytes) {
		var signature [SignatureSize]byte
		Sign(&signature, seed.Expose(), infoOf(round))
	},
}

func useLibrary(round int, key, seed, text *secret.Bytes) {
	made, err := hkdf.Key(sha256.New, seed.Expose(), key.Expose(), string(infoOf(round)), Size)
	if err != nil {
		panic(err)
	}
	secret.Wipe(made)
	aead, err := chacha20poly1305.NewX(key.Expose())
	if err != nil {
		panic(err)
	}
	sealed := aead.Seal(nil, nonceOf(round), text.Expose(), labelText)
	back, err := aead.Open(nil, nonceOf(round), sealed, labelText)
	if err != nil {
		panic(err)
	}
	secret.Wipe(back)
	private := ed25519.NewKeyFromSeed(seed.Expose())
	ed25519.Sign(private, infoOf(round))
	secret.Wipe(private)
}

// patterns is what must not be left: of the last round for what differs.
func patterns(t *testing.T) map[string][]byte {
	key, seed, text := sha256.Sum256(labelKey), sha256.Sum256(labelSeed), sha256.Sum256(labelText)
	digest := sha512.Sum512(seed[:])
	p := map[string][]byte{"key": key[:], "seed": seed[:], "text": text[:], "prefix": digest[32:], "unclamped": bytes.Clone(digest[:32])}
	clamped := bytes.Clone(digest[:32])
	clamped[0] &= 248
	clamped[31] = clamped[31]&63 | 64
	p["clamped"] = clamped
	p["scalar"], p["scalar in Montgomery form"] = numbers(clamped)
	info, nonce := infoOf(rounds-1), nonceOf(rounds-1)
	r := sha512.Sum512(append(bytes.Clone(digest[32:]), info...))
	p["nonce digest"] = r[:]
	p["nonce"], p["nonce in Montgomery form"] = numbers(r[:])
	var err error
	if p["expanded"], err = hkdf.Expand(sha256.New, key[:], string(info), Size); err != nil {
		t.Fatal(err)
	}
	if p["extracted"], err = hkdf.Extract(sha256.New, seed[:], key[:]); err != nil {
		t.Fatal(err)
	}
	if p["cipher key"], err = chacha20.HChaCha20(key[:], nonce[:16]); err != nil {
		t.Fatal(err)
	}
	stream, err := chacha20.NewUnauthenticatedCipher(key[:], nonce)
	if err != nil {
		t.Fatal(err)
	}
	p["authenticator key"] = make([]byte, KeySize)
	stream.XORKeyStream(p["authenticator key"], p["authenticator key"])
	for name, pad := range map[string]byte{"inner pad": 0x36, "outer pad": 0x5c} {
		p[name] = bytes.Clone(key[:])
		for i := range key {
			p[name][i] ^= pad
		}
	}
	return p
}

// numbers answers a little-endian number modulo the group's order, and that in
// the form in which edwards25519 keeps scalars.
func numbers(b []byte) (plain, montgomery []byte) {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	b = bytes.Clone(b)
	slices.Reverse(b)
	n := new(big.Int).Mod(new(big.Int).SetBytes(b), order)
	little := func(n *big.Int) []byte {
		out := n.FillBytes(make([]byte, 32))
		slices.Reverse(out)
		return out
	}
	plain = little(n)
	return plain, little(n.Mod(n.Lsh(n, 256), order))
}
