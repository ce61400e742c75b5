package frame

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzHeader: sixteen bytes are a header that is written as the same bytes, and
// nothing else is one.
func FuzzHeader(f *testing.F) {
	f.Add(Header{Src: 1, Dst: 2, Type: 3, Flags: CapMove, Len: 4}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		switch {
		case len(b) != HeaderSize:
			if !errors.Is(err, ErrMalformed) || h != (Header{}) {
				t.Errorf("%d bytes: %+v, %v", len(b), h, err)
			}
		case err != nil || !bytes.Equal(h.Append(nil), b):
			t.Errorf("%x is %+v, which is %x, %v", b, h, h.Append(nil), err)
		}
	})
}

// FuzzEnvelope: what has room for a nonce is a request, and what has room for a
// code as well an answer; both are written as the same bytes.
func FuzzEnvelope(f *testing.F) {
	f.Add(AppendRequest(nil, 7, []byte("body")))
	f.Add(AppendAnswer(nil, 7, 3, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		nonce, body, err := ParseRequest(b)
		if len(b) < RequestSize {
			if !errors.Is(err, ErrMalformed) || nonce != 0 || body != nil {
				t.Errorf("a request of %d bytes: %v", len(b), err)
			}
		} else if err != nil || !bytes.Equal(AppendRequest(nil, nonce, body), b) {
			t.Errorf("%x is request %d with %x, %v", b, nonce, body, err)
		}
		nonce, code, body, err := ParseAnswer(b)
		if len(b) < AnswerSize {
			if !errors.Is(err, ErrMalformed) || nonce != 0 || code != 0 || body != nil {
				t.Errorf("an answer of %d bytes: %v", len(b), err)
			}
		} else if err != nil || !bytes.Equal(AppendAnswer(nil, nonce, code, body), b) {
			t.Errorf("%x is answer %d with %d and %x, %v", b, nonce, code, body, err)
		}
	})
}
