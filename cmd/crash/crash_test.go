package crash

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestFileKeepsItsInput(t *testing.T) {
	for _, n := range []int{0, 1, lineBytes - 1, lineBytes, lineBytes + 1, MaxInput - 1, MaxInput} {
		f := &File{Target: "keystored", Failed: "durable:\ngone", Input: bytes.Repeat([]byte{0xa5}, n), About: "boot\nabout:\nput\n"}
		again, err := Parse(f.Format())
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if again.Target != f.Target || again.Failed != "durable: gone" || !bytes.Equal(again.Input, f.Input) || again.About != f.About {
			t.Errorf("%d bytes come back as %+v", n, again)
		}
	}
	f := &File{Target: "x", Input: make([]byte, MaxInput+1)}
	if again, err := Parse(f.Format()); err != nil || len(again.Input) != MaxInput {
		t.Errorf("an input over the limit: %v", err)
	}
}

func TestRefused(t *testing.T) {
	over := strings.Repeat("input "+strings.Repeat("00", lineBytes)+"\n", MaxInput/lineBytes) +
		"input " + strings.Repeat("00", MaxInput%lineBytes+1) + "\n"
	for _, c := range []struct {
		text string
		want error
		says string
	}{
		{"", ErrNotCrash, ""},
		{"nexus-trace 1\n", ErrNotCrash, ""},
		{"nexus-crash 2\ntarget x\nabout:\n", ErrVersion, `version "2"`},
		{"nexus-crash 1\ntarget x\ninput 00\n", ErrDamaged, `no line "about:"`},
		{"nexus-crash 1\ninput 00\nabout:\n", ErrDamaged, "no target"},
		{"nexus-crash 1\ntarget a b\nabout:\n", ErrDamaged, "no target"},
		{"nexus-crash 1\ntarget x\ninput 0\nabout:\n", ErrDamaged, "line 3"},
		{"nexus-crash 1\ntarget x\nseed 7\nabout:\n", ErrDamaged, `no key is called "seed"`},
		{"nexus-crash 1\ntarget x\n" + over + "about:\n", ErrDamaged, "more than 4096 bytes"},
	} {
		if _, err := Parse([]byte(c.text)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.60q: %v, want %v with %q", c.text, err, c.want, c.says)
		}
	}
}

// FuzzParse: whatever a file has in it, reading it panics never, and what is
// read is the same file after it was written.
func FuzzParse(f *testing.F) {
	f.Add([]byte("nexus-crash 1\ntarget keystored\nfailed durable: gone\ninput 00ff\ninput 01\nabout:\nboot\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrNotCrash) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrDamaged) {
				t.Errorf("untyped: %v", err)
			}
			return
		}
		again, err := Parse(file.Format())
		if err != nil || again.Target != file.Target || !bytes.Equal(again.Input, file.Input) || again.About != file.About {
			t.Errorf("%+v comes back as %+v, %v", file, again, err)
		}
	})
}
