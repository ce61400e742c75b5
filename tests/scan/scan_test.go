package scan

import (
	"bytes"
	"os"
	"testing"
)

// TestRegion looks for a pattern at every place around the end of a piece, and
// at both ends of a region.
func TestRegion(t *testing.T) {
	pattern := []byte("0123456789abcdef-in between-fedcba9876543210")
	b := make([]byte, 2*mostRead+100)
	for _, at := range []int{0, mostRead - 60, mostRead - 44, mostRead - 30, mostRead - 16, mostRead - 8, mostRead - 1, mostRead, len(b) - len(pattern)} {
		clear(b)
		copy(b[at:], pattern)
		hits, err := region(bytes.NewReader(b), 0, int64(len(b)), map[string][]byte{"p": pattern})
		if err != nil {
			t.Fatal(err)
		}
		if len(hits) != 2 || hits[0].Address+hits[1].Address != uint64(2*at+len(pattern)-Width) {
			t.Errorf("a pattern at %d is found at %v", at, hits)
		}
	}
}

// TestProcess finds in a child what it has, and not what it has not.
func TestProcess(t *testing.T) {
	kept := func() []byte { return bytes.Repeat([]byte{3, 1, 4, 1, 5, 9, 2, 6}, 3) }
	if Mode() != "" {
		b := kept()
		Rest("kept")
		clear(b)
		Rest("cleared")
		os.Exit(0)
	}
	c, err := Start("TestProcess", "child")
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.At("kept", map[string][]byte{"kept": kept(), "not": bytes.Repeat([]byte{2, 7, 1, 8}, 6)})
	if err != nil {
		t.Fatal(err)
	}
	if n := Count(before); n["kept"] == 0 || n["not"] != 0 {
		t.Errorf("found %v", n)
	}
	if _, err := c.At("another step", nil); err == nil {
		t.Error("the child is believed to be somewhere else")
	}
	if err := c.Wait(); err == nil {
		t.Error("a child whose parent has gone goes on")
	}
}
