//go:build insecure_deterministic

package rngd

import (
	"bytes"
	"encoding/hex"
	"io"
	"testing"
)

func draw(t *testing.T, s Source, caller string, sizes ...int) []byte {
	t.Helper()
	var all []byte
	for _, n := range sizes {
		p := make([]byte, n)
		if err := s.Read(caller, p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p...)
	}
	return all
}

func TestInsecureMode(t *testing.T) {
	if Mode != "insecure_deterministic" {
		t.Fatalf("mode %q", Mode)
	}
}

// TestSeededVector pins the stream: SHA-256 in counter mode, two blocks.
func TestSeededVector(t *testing.T) {
	const want = "5b38f147ae6fe349e0544d9fa931af82317b68a3b1c73a651af6e512b5ce36c268f13ee1090fc30be547239605a9e807a4327a165f1fdb361ceef6eedb4b21e2"
	if got := hex.EncodeToString(draw(t, Seeded(42, 3), "keymintd", 64)); got != want {
		t.Fatalf("stream %s, want %s", got, want)
	}
}

func TestSeededIsAStream(t *testing.T) {
	want := draw(t, Seeded(1, 1), "a", 200)
	for _, sizes := range [][]int{{1, 199}, {32, 32, 136}, {31, 2, 0, 33, 134}, {199, 1}} {
		if got := draw(t, Seeded(1, 1), "a", sizes...); !bytes.Equal(got, want) {
			t.Fatalf("pieces %v are not the same stream", sizes)
		}
	}
	for i := range 200 - 32 {
		if bytes.Contains(want[i+1:], want[i:i+32]) {
			t.Fatalf("the stream repeats itself from %d", i)
		}
	}
}

func TestSeededStreamsAreApart(t *testing.T) {
	want := draw(t, Seeded(1, 1), "a", 64)
	seen := map[string]string{string(want): "seed 1, boot 1, a"}
	for name, got := range map[string][]byte{
		"seed 2":  draw(t, Seeded(2, 1), "a", 64),
		"boot 2":  draw(t, Seeded(1, 2), "a", 64),
		"b":       draw(t, Seeded(1, 1), "b", 64),
		"empty":   draw(t, Seeded(1, 1), "", 64),
		"swapped": draw(t, Seeded(1<<8, 0), "a", 64),
	} {
		if other, ok := seen[string(got)]; ok {
			t.Errorf("%s draws the same as %s", name, other)
		}
		seen[string(got)] = name
	}
	// One caller's stream doesn't depend on what others draw.
	s := Seeded(1, 1)
	got := draw(t, s, "a", 20)
	draw(t, s, "b", 100)
	if got = append(got, draw(t, s, "a", 44)...); !bytes.Equal(got, want) {
		t.Error("a caller's stream depends on another one")
	}
}

func TestSeededReader(t *testing.T) {
	s := Seeded(1, 1)
	p := make([]byte, 64)
	if _, err := io.ReadFull(s.Reader("router"), p[:32]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s.Reader("router"), p[32:]); err != nil {
		t.Fatal(err)
	}
	if want := draw(t, Seeded(1, 1), "router", 64); !bytes.Equal(p, want) {
		t.Fatalf("read %x, want %x", p, want)
	}
}
