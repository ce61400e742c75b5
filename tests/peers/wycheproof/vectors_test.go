package wycheproof

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"nexus.internal/os/services/keymintd/primitive"
)

// suite is a file of vectors: what the kinds that are used here have.
type suite struct {
	NumberOfTests int
	TestGroups    []struct {
		NonceBits int `json:"ivSize"`
		TagBits   int `json:"tagSize"`
		PublicKey struct {
			Public octets `json:"pk"`
		}
		Tests []vector
	}
}

type vector struct {
	Number  int `json:"tcId"`
	Comment string
	Result  string

	Key, Msg, Tag octets // of a MAC and a cipher
	IV, AAD, CT   octets // of a cipher
	Sig           octets // of a signature

	IKM, Salt, Info, OKM octets // of a derivation
	Size                 int
}

func load(t *testing.T, name string) (s suite) {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name+"_test.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// tally counts what was run.
type tally struct{ valid, invalid, unfit int }

func (n *tally) ran(t *testing.T, v vector) {
	t.Helper()
	switch v.Result {
	case "valid":
		n.valid++
	case "invalid":
		n.invalid++
	default:
		t.Errorf("%d is %q", v.Number, v.Result)
	}
}

// are fails unless so many were run, and all of the suite.
func (n *tally) are(t *testing.T, s suite, want tally) {
	t.Helper()
	if *n != want || n.valid+n.invalid+n.unfit != s.NumberOfTests {
		t.Errorf("%+v were run of %d, want %+v", *n, s.NumberOfTests, want)
	}
}

// TestXChaCha20Poly1305 opens every vector, and seals again what opens. Those with
// another length of the nonce do not fit: keymintd has no other, and the primitive
// refuses it.
func TestXChaCha20Poly1305(t *testing.T) {
	s := load(t, "xchacha20_poly1305")
	var n tally
	for _, g := range s.TestGroups {
		for _, v := range g.Tests {
			if g.NonceBits != 8*primitive.NonceSize {
				n.unfit++
				if v.Result != "invalid" || !panics(func() { primitive.Seal(make([]byte, len(v.Msg)+primitive.TagSize), v.Key, v.IV, v.AAD, v.Msg) }) {
					t.Errorf("%d: a nonce of %d bits is taken, or right", v.Number, g.NonceBits)
				}
				continue
			}
			n.ran(t, v)
			sealed := append(bytes.Clone(v.CT), v.Tag...)
			plain := make([]byte, len(v.CT))
			if ok := primitive.Open(plain, v.Key, v.IV, v.AAD, sealed); ok != (v.Result == "valid") {
				t.Errorf("%d, %s, %s: opens: %t", v.Number, v.Comment, v.Result, ok)
				continue
			} else if !ok {
				continue
			}
			again := make([]byte, len(sealed))
			primitive.Seal(again, v.Key, v.IV, v.AAD, v.Msg)
			if !bytes.Equal(plain, v.Msg) || !bytes.Equal(again, sealed) {
				t.Errorf("%d, %s: opens to %x, seals to %x", v.Number, v.Comment, plain, again)
			}
		}
	}
	n.are(t, s, tally{valid: 246, invalid: 60, unfit: 9})
}

// TestHKDF derives every vector. Invalid ones ask for more than there can be, which
// the primitive refuses; so it does salts of more than a block, which keymintd never
// has.
func TestHKDF(t *testing.T) {
	s := load(t, "hkdf_sha256")
	var n tally
	for _, g := range s.TestGroups {
		for _, v := range g.Tests {
			out := make([]byte, v.Size)
			derive := func() { primitive.HKDF(out, v.IKM, v.Salt, v.Info) }
			switch {
			case len(v.Salt) > 64:
				n.unfit++
				if !panics(derive) {
					t.Errorf("%d: a salt of %d bytes is taken", v.Number, len(v.Salt))
				}
				continue
			case v.Result == "invalid":
				if !panics(derive) {
					t.Errorf("%d, %s: %d bytes are derived", v.Number, v.Comment, v.Size)
				}
			default:
				if derive(); !bytes.Equal(out, v.OKM) {
					t.Errorf("%d, %s: %x, want %x", v.Number, v.Comment, out, v.OKM)
				}
			}
			n.ran(t, v)
		}
	}
	n.are(t, s, tally{valid: 81, invalid: 3, unfit: 2})
}

// TestHMAC computes every vector whose key fits a block, as all of keymintd's do.
func TestHMAC(t *testing.T) {
	s := load(t, "hmac_sha256")
	var n tally
	for _, g := range s.TestGroups {
		for _, v := range g.Tests {
			var mac [primitive.Size]byte
			if len(v.Key) > 64 {
				n.unfit++
				if !panics(func() { primitive.HMAC(&mac, v.Key, v.Msg) }) {
					t.Errorf("%d: a key of %d bytes is taken", v.Number, len(v.Key))
				}
				continue
			}
			n.ran(t, v)
			primitive.HMAC(&mac, v.Key, v.Msg)
			if same := bytes.Equal(mac[:g.TagBits/8], v.Tag); same != (v.Result == "valid") {
				t.Errorf("%d, %s, %s: %x", v.Number, v.Comment, v.Result, mac)
			}
		}
	}
	n.are(t, s, tally{valid: 60, invalid: 108, unfit: 6})
}

// TestEd25519Verify has every signature verified by what apps verify with.
func TestEd25519Verify(t *testing.T) {
	s := load(t, "ed25519")
	var n tally
	for _, g := range s.TestGroups {
		for _, v := range g.Tests {
			n.ran(t, v)
			if ok := ed25519.Verify(ed25519.PublicKey(g.PublicKey.Public), v.Msg, v.Sig); ok != (v.Result == "valid") {
				t.Errorf("%d, %s, %s: verifies: %t", v.Number, v.Comment, v.Result, ok)
			}
		}
	}
	n.are(t, s, tally{valid: 88, invalid: 63})
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}
