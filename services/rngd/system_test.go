package rngd

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestShortReadIsAnError gives the system's reader sources that end or fail
// half way: nothing of what they gave may be used.
func TestShortReadIsAnError(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		r    io.Reader
		want error
	}{
		"empty":    {strings.NewReader(""), io.EOF},
		"short":    {strings.NewReader("1234567"), io.ErrUnexpectedEOF},
		"breaking": {io.MultiReader(strings.NewReader("123"), iotest.ErrReader(broken)), broken},
	} {
		p := bytes.Repeat([]byte{0xaa}, 8)
		n, err := whole{c.r}.Read(p)
		if n != 0 || !errors.Is(err, c.want) || !bytes.Equal(p, make([]byte, 8)) {
			t.Errorf("%s: %d, %v, %x", name, n, err, p)
		}
		if err := (shared{whole{c.r}}).Read("x", p); err == nil {
			t.Errorf("%s: the source hid the error", name)
		}
	}
	p := make([]byte, 8)
	n, err := whole{iotest.OneByteReader(strings.NewReader("12345678"))}.Read(p)
	if n != 8 || err != nil || string(p) != "12345678" {
		t.Errorf("byte by byte: %d, %v, %q", n, err, p)
	}
}
