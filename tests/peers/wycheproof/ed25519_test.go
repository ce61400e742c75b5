package wycheproof

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	circl "github.com/cloudflare/circl/sign/ed25519"

	"nexus.internal/os/services/keymintd/primitive"
)

type octets []byte

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

type vectors struct {
	NumberOfTests int
	TestGroups    []struct {
		Key struct {
			Public octets `json:"pk"`
			Seed   octets `json:"sk"`
		}
		Tests []struct {
			Number  int    `json:"tcId"`
			Message octets `json:"msg"`
			Sig     octets
			Comment string
			Result  string
		}
	}
}

func read(t *testing.T) (v vectors) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cloudflare/circl").Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "sign/ed25519/testdata/wycheproof_Ed25519.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	text, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(text).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestEd25519 signs the message of every vector, valid or not, which makes what a
// valid one has; and has each signature verified by what apps verify with.
func TestEd25519(t *testing.T) {
	v := read(t)
	valid, invalid := 0, 0
	for _, g := range v.TestGroups {
		var public [primitive.PublicSize]byte
		primitive.Public(&public, g.Key.Seed)
		if !bytes.Equal(public[:], g.Key.Public) {
			t.Errorf("public key %x, want %x", public, g.Key.Public)
		}
		for _, c := range g.Tests {
			var signature [primitive.SignatureSize]byte
			primitive.Sign(&signature, g.Key.Seed, c.Message)
			if third := circl.Sign(circl.NewKeyFromSeed(g.Key.Seed), c.Message); !bytes.Equal(signature[:], third) {
				t.Errorf("%d: %x, and by circl %x", c.Number, signature, third)
			}
			same := bytes.Equal(signature[:], c.Sig)
			if want := c.Result == "valid"; same != want || ed25519.Verify(public[:], c.Message, c.Sig) != want {
				t.Errorf("%d, %s, %s: the signature is ours: %t, or verifies wrongly", c.Number, c.Comment, c.Result, same)
			}
			if c.Result == "valid" {
				valid++
			} else {
				invalid++
			}
		}
	}
	if valid != 84 || invalid != 61 || valid+invalid != v.NumberOfTests {
		t.Errorf("%d valid vectors and %d others were run, of %d", valid, invalid, v.NumberOfTests)
	}
}
