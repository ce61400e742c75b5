package keymintd

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// testHead is a head with n rings, of which each fourth is destroyed.
func testHead(n int) *keyHead {
	h := &keyHead{generation: 3, sum: [32]byte{1, 2, 3}}
	for i := range n {
		r := ringHead{id: [KeyIDSize]byte{byte(i)}, generation: uint64(i), destroyed: i%4 == 3}
		if i > 0 && !r.destroyed {
			r.names = uint8(i % (MaxSigningKeys + 1))
		}
		h.rings = append(h.rings, r)
	}
	return h
}

func TestKeyHeads(t *testing.T) {
	under := testKey("under")
	for n := range MaxApps + 1 {
		file := sealKeyHead(under, &chance{}, testOwner, testHead(n))
		h, err := openKeyHead(under, testOwner, file)
		if err != nil || fmt.Sprint(h) != fmt.Sprint(testHead(n)) {
			t.Fatalf("%d rings: %v", n, err)
		}
		if len(file) > maxKeyHeadFile || len(file) != wrapOverhead+bucketOf(42+26*n, 256, 4096) {
			t.Fatalf("%d rings take %d bytes", n, len(file))
		}
	}
	for name, change := range map[string]func(h *keyHead){
		"a ring too many":           func(h *keyHead) { *h = *testHead(MaxApps + 1) },
		"no generation":             func(h *keyHead) { h.generation = 0 },
		"a ring twice":              func(h *keyHead) { h.rings[1].id = h.rings[0].id },
		"rings that do not ascend":  func(h *keyHead) { h.rings[0], h.rings[1] = h.rings[1], h.rings[0] },
		"keys of an announced ring": func(h *keyHead) { h.rings[0].names = 1 },
		"keys of a destroyed ring":  func(h *keyHead) { h.rings[3].names = 1 },
		"more keys than may be":     func(h *keyHead) { h.rings[1].names = MaxSigningKeys + 1 },
	} {
		h := testHead(5)
		change(h)
		if _, err := decodeKeyHead(h.encode().Expose()); !errors.Is(err, errLayout) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for at, name := range map[int]string{0: "the version", 42 + 24: "a flag", 255: "the padding"} {
		b := testHead(5).encode().Expose()
		b[at] ^= 2
		if _, err := decodeKeyHead(b); !errors.Is(err, errLayout) {
			t.Errorf("another bit in %s: %v", name, err)
		}
	}
	if b := testHead(5).encode().Expose(); bytes.Equal(b, testHead(4).encode().Expose()) {
		t.Error("two heads have the same form")
	}
}

// TestStandings is every way in which a file and its head stand to each other,
// at the edges.
func TestStandings(t *testing.T) {
	h := testHead(8) // Row i has generation i; 3 and 7 are destroyed.
	id := func(i byte) [KeyIDSize]byte { return [KeyIDSize]byte{i} }
	for _, c := range []struct {
		row        byte
		generation uint64
		behind     bool
		err        error
	}{
		{0, 1, true, nil}, {0, 2, false, errHeadOlder},
		{5, 4, false, errOlder}, {5, 5, false, nil}, {5, 6, true, nil}, {5, 7, false, errHeadOlder},
		{5, 1<<64 - 1, false, errHeadOlder}, {5, 0, false, errOlder},
		{7, 5, false, errOlder}, {7, 6, false, errDestroyed}, {7, 7, false, errDestroyed}, {7, 8, true, nil}, {7, 9, false, errHeadOlder},
		{8, 1, false, errOlder}, {8, 8, false, errOlder}, // No such row.
	} {
		if behind, err := h.checkRing(id(c.row), c.generation); behind != c.behind || err != c.err {
			t.Errorf("row %d, generation %d: %v, %v", c.row, c.generation, behind, err)
		}
	}
	for _, c := range []struct {
		generation uint64
		sum        [32]byte
		behind     bool
		err        error
	}{
		{2, h.sum, false, errOlder}, {3, h.sum, false, nil}, {3, [32]byte{3}, false, errOlder},
		{4, [32]byte{3}, true, nil}, {5, h.sum, false, errHeadOlder},
	} {
		if behind, err := h.checkRoot(c.generation, c.sum); behind != c.behind || err != c.err {
			t.Errorf("root of generation %d: %v, %v", c.generation, behind, err)
		}
	}
}
