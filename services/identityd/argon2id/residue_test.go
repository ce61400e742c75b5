package argon2id

import (
	"bytes"
	"os"
	"runtime"
	"testing"

	"golang.org/x/crypto/argon2"

	"nexus.internal/os/services/secret"
	"nexus.internal/os/tests/scan"
)

const memory = 4096 // KiB

var salt = []byte("0123456789abcdef")

// password is never a constant, which would be in the binary.
func password(b []byte) {
	for i := range b {
		b[i] = byte('a' + i*7%23)
	}
}

// TestNothingIsLeft looks in another process for a password, and for what is
// made of it.
func TestNothingIsLeft(t *testing.T) {
	if mode := scan.Mode(); mode != "" {
		child(mode)
		os.Exit(0)
	}
	if race {
		t.Skip("the race detector's own memory takes too long to scan")
	}
	word := make([]byte, 40)
	password(word)
	wanted := map[string][]byte{"password": word, "output": argon2.IDKey(word, salt, 1, memory, 1, Size)}
	mem := make([]byte, memory*blockSize+4+blockSize)
	f := filling{mem: mem[:memory*blockSize], passes: 1, lanes: 1, segment: memory / slices, length: memory}
	f.begin(mem[memory*blockSize:], word, salt, memory)
	wanted["first block"] = bytes.Clone(f.block(0, 0)[:])
	for slice := range uint32(slices) {
		f.fill(0, slice, 0)
	}
	wanted["last block"] = f.block(0, memory-1)[:]
	for _, mode := range []string{"own memory", "library"} {
		t.Run(mode, func(t *testing.T) {
			c, err := scan.Start("TestNothingIsLeft", mode)
			if err != nil {
				t.Fatal(err)
			}
			used, err := c.At("in use", wanted)
			if err != nil {
				t.Fatal(err)
			}
			left, err := c.At("wiped", wanted)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Wait(); err != nil {
				t.Fatal(err)
			}
			t.Logf("in use %v, left %v", scan.Count(used), scan.Count(left))
			if n := scan.Count(used); n["password"] == 0 || n["output"] == 0 {
				t.Error("what is in use is not found")
			}
			if mode == "library" && len(left) == 0 {
				t.Error("the library leaves nothing: this package has lost its reason, or the scan is blind")
			}
			for _, h := range left {
				if mode == "own memory" {
					t.Error("left in memory:", h)
				}
			}
		})
	}
}

// amidCollections runs fn on a stack that is larger than it needs, while garbage is
// collected: then the runtime would move it to a smaller one, and leave the old one
// as it is, were it not told to let stacks be.
func amidCollections(fn func()) {
	done := make(chan struct{})
	go func() {
		deep()
		fn()
		close(done)
		select {}
	}()
	for {
		select {
		case <-done:
			return
		default:
			runtime.GC()
		}
	}
}

//go:noinline
func deep() byte {
	var frame [48 << 10]byte
	for i := range frame {
		frame[i] = byte(i)
	}
	return frame[len(salt)]
}

func child(mode string) {
	word, out := secret.New(40), secret.New(Size)
	password(word.Expose())
	for range 5 {
		if mode == "own memory" {
			amidCollections(func() { Key((*[Size]byte)(out.Expose()), word.Expose(), salt, 1, memory, 1) })
		} else {
			made := argon2.IDKey(word.Expose(), salt, 1, memory, 1, Size)
			copy(out.Expose(), made)
			secret.Wipe(made)
		}
	}
	scan.Rest("in use")
	word.Wipe()
	out.Wipe()
	scan.Rest("wiped")
}
