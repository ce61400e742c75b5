package rollback

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// constant is chance that always says the same.
type constant byte

func (c constant) Read(_ string, p []byte) error {
	copy(p, bytes.Repeat([]byte{byte(c)}, len(p)))
	return nil
}

// sealed collects what was sealed, by nonce. A nonce that has served two
// messages, under whatever keys, is a clash; the same bytes again are the same
// message under the same key.
type sealed struct {
	byNonce map[string]string // digest of place and ciphertext
	seals   int
	clashes []string
}

func newSealed() *sealed { return &sealed{byNonce: make(map[string]string)} }

// add notes one ciphertext. ad is what else it is bound to, as far as it can be
// seen.
func (s *sealed) add(what string, nonce, ad, ciphertext []byte) {
	s.seals++
	if len(nonce) != chacha20poly1305.NonceSizeX {
		panic("a nonce of another size")
	}
	h := sha256.New()
	h.Write(ad)
	h.Write(ciphertext)
	digest := string(h.Sum(nil))
	if before, ok := s.byNonce[string(nonce)]; ok && before != digest {
		s.clashes = append(s.clashes, what+" "+hex.EncodeToString(nonce))
	}
	s.byNonce[string(nonce)] = digest
}

// distinct is how many different messages there were.
func (s *sealed) distinct() int {
	all := make(map[string]bool)
	for _, digest := range s.byNonce {
		all[digest] = true
	}
	return len(all)
}

// expand is derive of docs/spec/keymint.md.
func expand(t *testing.T, key []byte, label string) []byte {
	t.Helper()
	info := append(binary.LittleEndian.AppendUint16(nil, uint16(len(label))), label...)
	out, err := hkdf.Expand(sha256.New, key, string(info), 32)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// watcher finds nonces in what is written. With constant chance it knows the
// root key, so that it sees the records inside the segments too.
type watcher struct {
	t           *testing.T
	to          *sealed
	segments    []byte // their key
	incarnation []byte
	records     int
}

func newWatcher(t *testing.T, c constant, to *sealed) *watcher {
	chain := expand(t, bytes.Repeat([]byte{byte(c)}, 32), "nexus root v1 chain")
	return &watcher{t: t, to: to, segments: expand(t, chain, "nexus segment v1 encrypt"), incarnation: bytes.Repeat([]byte{byte(c)}, 16)}
}

// wrote takes one write to the disk apart.
func (w *watcher) wrote(path string, b []byte) {
	switch {
	case strings.HasSuffix(path, ".ring"), path == keysHead:
		w.to.add(path, b[1:25], []byte(path), b[25:])
	case path == rootFile:
		for at := 35; at < len(b)-64; at += 113 {
			w.to.add(path, b[at+9:at+33], b[at:at+8], b[at+33:at+113])
		}
	case strings.HasPrefix(path, dir+"vault."):
		for len(b) > 0 {
			end := 72 + int(binary.LittleEndian.Uint32(b[32:]))
			w.segment(path, b[:72], b[72:end])
			b = b[end:]
		}
	}
}

func (w *watcher) segment(path string, header, body []byte) {
	w.to.add(path, body[:24], header, body[24:])
	cipher, err := chacha20poly1305.NewX(w.segments)
	if err != nil {
		w.t.Fatal(err)
	}
	var ad []byte
	for _, part := range [][]byte{[]byte("nexus segment v1"), []byte("alice"), w.incarnation, header} {
		ad = append(binary.LittleEndian.AppendUint16(ad, uint16(len(part))), part...)
	}
	plain, err := cipher.Open(nil, body[:24], body[24:], ad)
	if err != nil {
		w.t.Fatalf("%s: a segment that does not open", path)
	}
	if strings.HasSuffix(path, "head") {
		return
	}
	for len(plain) > 39 && plain[0] != 0 {
		size := int(binary.LittleEndian.Uint16(plain[37:]))
		if record := plain[39 : 39+size]; size > 0 {
			w.to.add("record", record[1:25], plain[:25], record[25:])
			w.records++
		}
		plain = plain[39+size:]
	}
}

// diverging is what one of two clones does. Both put values under the same
// names, change rings and protectors, and lock; now and then both do the same.
func diverging(clone string, ops int) string {
	var b strings.Builder
	b.WriteString(again)
	for i := range ops {
		value := clone
		if i%10 == 0 {
			value = "both"
		}
		switch {
		case i%50 == 20:
			fmt.Fprintf(&b, "generate alice/notes %s-%d\n", value, i)
		case i%50 == 30:
			fmt.Fprintf(&b, "set-credential alice password longword pin %s\n", map[string]string{"a": "314159", "b": "271828", "both": "161803", "c": "112358"}[value])
		case i%50 == 40:
			b.WriteString("lock alice\n" + unlock)
		case i%7 == 3:
			fmt.Fprintf(&b, "del alice/notes n%d\n", (i-1)%9)
		default:
			fmt.Fprintf(&b, "put alice/notes n%d \"%s %d\"\n", i%9, value, i/3)
		}
	}
	b.WriteString("shutdown\n")
	return b.String()
}

// TestClonesThatDiverge clones a disk, has both copies go on for 500 operations
// each while rngd says the same all the time, and looks at every ciphertext that
// any of them writes: a nonce serves one message.
func TestClonesThatDiverge(t *testing.T) {
	const ops = 500
	for _, c := range []constant{1, 0x5a} {
		to := newSealed()
		w := newWatcher(t, c, to)
		grow := func(before files, text string) files {
			return life{before: before, chance: c, watch: w.wrote}.must(t, text)
		}
		base := grow(nil, fresh+"put alice/notes n0 base\nshutdown\n")
		begun := to.seals
		a, b := grow(base, diverging("a", ops)), grow(base, diverging("b", ops))
		// One of the two is put back, and goes on in yet another way.
		back := grow(base, diverging("c", ops/5))
		if len(to.clashes) > 0 {
			t.Fatalf("%d nonces have served two messages: %s", len(to.clashes), to.clashes[0])
		}
		nonces, messages := len(to.byNonce), to.distinct()
		t.Logf("%d ciphertexts, %d of them records; %d nonces for %d messages", to.seals, w.records, nonces, messages)
		if nonces != messages {
			t.Errorf("%d nonces for %d messages", nonces, messages)
		}
		if to.seals-begun < 4*ops || w.records < ops || messages == to.seals {
			t.Error("too little was looked at, or the clones never did the same")
		}
		if a[kvFile] == b[kvFile] || back[kvFile] == a[kvFile] {
			t.Error("the clones did not diverge")
		}
	}
}

// TestSealedNoticesAClash: what counts has to see what it counts.
func TestSealedNoticesAClash(t *testing.T) {
	s, nonce := newSealed(), make([]byte, 24)
	s.add("a", nonce, []byte("place"), []byte("message"))
	s.add("b", nonce, []byte("place"), []byte("message"))
	if len(s.clashes) != 0 {
		t.Error("the same message twice is a clash")
	}
	s.add("c", nonce, []byte("place"), []byte("massage"))
	s.add("d", nonce, []byte("other place"), []byte("massage"))
	if len(s.clashes) != 2 || s.seals != 4 {
		t.Errorf("%d clashes, want 2", len(s.clashes))
	}
}
