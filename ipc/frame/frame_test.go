package frame

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestHeaderSize: a header has 16 bytes, no more and no less.
func TestHeaderSize(t *testing.T) {
	for n := range HeaderSize + 3 {
		_, err := ParseHeader(make([]byte, n))
		if ok := n == HeaderSize; ok != (err == nil) || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestEnvelopeSizes: the shortest request is a nonce, the shortest answer a
// nonce and a code.
func TestEnvelopeSizes(t *testing.T) {
	for n := range AnswerSize + 3 {
		b := make([]byte, n)
		_, body, err := ParseRequest(b)
		if ok := n >= RequestSize; ok != (err == nil) || ok && len(body) != n-RequestSize || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("a request of %d bytes: %d, %v", n, len(body), err)
		}
		_, _, body, err = ParseAnswer(b)
		if ok := n >= AnswerSize; ok != (err == nil) || ok && len(body) != n-AnswerSize || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("an answer of %d bytes: %d, %v", n, len(body), err)
		}
	}
}

// TestAppendKeepsWhatIsThere: every encoder appends.
func TestAppendKeepsWhatIsThere(t *testing.T) {
	request, err := RouteRequest{"n", 1}.Append([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{
		"header": Header{}.Append([]byte("before")), "request": AppendRequest([]byte("before"), 1, nil),
		"answer": AppendAnswer([]byte("before"), 1, 2, nil), "route request": request, "route answer": RouteAnswer{}.Append([]byte("before")),
	} {
		if !bytes.HasPrefix(b, []byte("before")) || len(b) < len("before")+RequestSize {
			t.Errorf("%s: %q", what, b)
		}
	}
}

// TestRouteNameLimit: names of 1 to MaxRouteName bytes travel, others do not.
func TestRouteNameLimit(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 1: true, MaxRouteName - 1: true, MaxRouteName: true, MaxRouteName + 1: false, 255: false, 256: false} {
		r := RouteRequest{strings.Repeat("n", n), 7}
		b, err := r.Append(nil)
		if ok != (err == nil) || !ok && (!errors.Is(err, ErrMalformed) || len(b) != 0) {
			t.Errorf("%d bytes are written as %x, %v", n, b, err)
		}
		if n > 255 {
			continue
		}
		b = append([]byte("RT\x01\x40"), byte(n))
		b = append(append(b, r.Name...), 7, 0, 0, 0)
		got, err := ParseRouteRequest(b)
		if ok != (err == nil) || ok && got != r || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes are read as %v, %v", n, got, err)
		}
		if RouteNonce(b) != 7 {
			t.Errorf("with %d bytes the nonce is %d", n, RouteNonce(b))
		}
	}
}

// TestRouteStatuses: the set is closed, and each of it has a text of its own.
func TestRouteStatuses(t *testing.T) {
	seen := make(map[string]bool)
	for s := range 256 {
		status := RouteStatus(s)
		a, err := ParseRouteAnswer(RouteAnswer{Status: status}.Append(nil))
		if known := status <= RouteDenied; known != (err == nil) || known && a.Status != status || known == (status.String() == "unknown status") {
			t.Errorf("status %d: %v, %v", s, a, err)
		}
		seen[status.String()] = true
	}
	if len(seen) != 5 {
		t.Errorf("texts %v", seen)
	}
}

// FuzzDecode gives any bytes to every decoder: what is accepted encodes to the
// same bytes, and anything else is malformed.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x04\x03\x02\x01\x44\x33\x22\x11\x66\x55\x88\x77\xcc\xbb\xaa\x99"))
	f.Add(AppendRequest(nil, 1, []byte("body")))
	f.Add(AppendAnswer(nil, 1, 10, []byte("body")))
	f.Add([]byte("RT\x01\x40\x09keystored\x0d\x0c\x0b\x0a"))
	f.Add([]byte("RT\x01\x40\x00\x0d\x0c\x0b\x0a"))
	f.Add([]byte("RT\x01\x40\x41" + strings.Repeat("n", 65) + "\x0d\x0c\x0b\x0a"))
	f.Add(RouteAnswer{RouteOK, 7, 8, 9}.Append(nil))
	f.Add(RouteAnswer{RouteDenied + 1, 0, 0, 9}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, err error, again []byte) {
			if err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v", what, err)
			}
			if err == nil && !bytes.Equal(again, b) {
				t.Errorf("%s: %x was accepted and is written as %x", what, b, again)
			}
		}
		h, err := ParseHeader(b)
		same("header", err, h.Append(nil))
		nonce, body, err := ParseRequest(b)
		same("request", err, AppendRequest(nil, nonce, body))
		nonce, code, body, err := ParseAnswer(b)
		same("answer", err, AppendAnswer(nil, nonce, code, body))
		a, err := ParseRouteAnswer(b)
		same("route answer", err, a.Append(nil))
		r, err := ParseRouteRequest(b)
		again, unwritable := r.Append(nil)
		same("route request", err, again)
		if (err == nil) != (unwritable == nil) || err == nil && r.Nonce != RouteNonce(b) {
			t.Errorf("%x: %v, %v, nonce %d and %d", b, err, unwritable, r.Nonce, RouteNonce(b))
		}
	})
}
