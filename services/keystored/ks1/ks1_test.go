package ks1

import (
	"bytes"
	"errors"
	"testing"
)

// of makes a frame of a request by hand.
func of(op Op, key, value int, rest ...[]byte) []byte {
	return append([]byte{'K', 'S', 1, byte(op), byte(key), byte(value), byte(value >> 8)}, bytes.Join(rest, nil)...)
}

// TestRequestLimits: keys of 1 to MaxKey bytes and values up to MaxValue travel,
// and no others.
func TestRequestLimits(t *testing.T) {
	for _, c := range []struct {
		op         Op
		key, value int
		want       Status
	}{
		{Get, 0, 0, Malformed}, {Get, 1, 0, OK}, {Get, MaxKey - 1, 0, OK}, {Get, MaxKey, 0, OK}, {Get, MaxKey + 1, 0, TooLarge}, {Get, 255, 0, TooLarge},
		{Put, 1, 0, OK}, {Put, 1, MaxValue - 1, OK}, {Put, 1, MaxValue, OK}, {Put, 1, MaxValue + 1, TooLarge}, {Put, 1, 65535, TooLarge},
		{Put, MaxKey, MaxValue, OK}, {Put, 0, MaxValue + 1, TooLarge}, {Put, 0, 1, Malformed},
		{Get, 1, 1, Malformed}, {Del, 1, 1, Malformed}, {Del, 1, MaxValue + 1, TooLarge}, {Del, MaxKey, 0, OK},
	} {
		key, value := bytes.Repeat([]byte("k"), c.key), bytes.Repeat([]byte("v"), c.value)
		frame := of(c.op, c.key, c.value, key, value)
		r, status := ParseRequest(frame)
		if status != c.want || r.Op != c.op {
			t.Errorf("%d, %d and %d bytes: %v as %d, want %v", c.op, c.key, c.value, status, r.Op, c.want)
		}
		if status == OK && (!bytes.Equal(r.Key, key) || !bytes.Equal(r.Value, value) || len(frame) > MaxRequest) {
			t.Errorf("%d, %d and %d bytes are read as %x, %x", c.op, c.key, c.value, r.Key, r.Value)
		}
		if status != OK && (r.Key != nil || r.Value != nil) {
			t.Errorf("%d, %d and %d bytes: something of a refused request is left", c.op, c.key, c.value)
		}
		b, err := Request{c.op, key, value}.Append(nil)
		if ok := c.want == OK; ok != (err == nil) || ok && !bytes.Equal(b, frame) || !ok && (!errors.Is(err, ErrMalformed) || len(b) != 0) {
			t.Errorf("%d, %d and %d bytes are written as %x, %v", c.op, c.key, c.value, b, err)
		}
	}
}

// TestOrderOfChecks: each frame has two faults or more, and the one that
// docs/spec/ks1.md names first decides.
func TestOrderOfChecks(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame []byte
		op    Op
		want  Status
	}{
		{"not KS v1, private export", []byte{'K', 'S', 2, 13}, Get, Malformed},
		{"no operation", []byte{'K', 'S', 1}, Get, Malformed},
		{"private export, cut off", []byte{'K', 'S', 1, 13}, PrivateExport, PrivateExportRefused},
		{"private export, too long, wrong length", of(PrivateExport, 255, 65535), PrivateExport, PrivateExportRefused},
		{"unknown operation, cut off", []byte{'K', 'S', 1, 99}, 99, Unsupported},
		{"unknown operation, too long", of(0, 255, 65535), 0, Unsupported},
		{"lengths cut off", []byte{'K', 'S', 1, 1, 255, 255}, Put, Malformed},
		{"key too long, frame too short", of(Put, MaxKey+1, 0), Put, TooLarge},
		{"value too long, key empty, frame too short", of(Put, 0, MaxValue+1), Put, TooLarge},
		{"value too long for a get that may have none", of(Get, 1, MaxValue+1), Get, TooLarge},
	} {
		if r, status := ParseRequest(c.frame); status != c.want || r.Op != c.op {
			t.Errorf("%s: %v as %d, want %v as %d", c.name, status, r.Op, c.want, c.op)
		}
	}
}

// TestEveryOperation: three are known, one is never allowed, and no other one
// reaches anything.
func TestEveryOperation(t *testing.T) {
	for n := range 256 {
		op := Op(n)
		want := Unsupported
		switch op {
		case Put, Get, Del:
			want = OK
		case PrivateExport:
			want = PrivateExportRefused
		}
		if r, status := ParseRequest(of(op, 1, 0, []byte("k"))); status != want || r.Op != op {
			t.Errorf("operation %d: %v as %d", n, status, r.Op)
		}
		if _, err := (Request{op, []byte("k"), nil}).Append(nil); (err == nil) != (want == OK) {
			t.Errorf("operation %d is written: %v", n, err)
		}
	}
}

// TestResponseLimits: values up to MaxValue travel, with Get and OK alone.
func TestResponseLimits(t *testing.T) {
	for _, c := range []struct {
		op     Op
		status Status
		value  int
		ok     bool
	}{
		{Get, OK, 0, true}, {Get, OK, MaxValue - 1, true}, {Get, OK, MaxValue, true}, {Get, OK, MaxValue + 1, false}, {Get, OK, 65535, false},
		{Put, OK, 0, true}, {Put, OK, 1, false}, {Get, NotFound, 1, false}, {99, Unsupported, 0, true},
	} {
		value := bytes.Repeat([]byte("v"), c.value)
		frame := append([]byte{'K', 'S', 1, byte(c.op) | 0x80, byte(c.status), byte(c.value), byte(c.value >> 8)}, value...)
		r, err := ParseResponse(frame)
		if c.ok != (err == nil) || c.ok && (r.Op != c.op || r.Status != c.status || !bytes.Equal(r.Value, value) || len(frame) > MaxResponse) {
			t.Errorf("%d, %v, %d bytes: %v, %v", c.op, c.status, c.value, r, err)
		}
		b, err := Response{c.op, c.status, value}.Append(nil)
		if c.ok != (err == nil) || c.ok && !bytes.Equal(b, frame) || !c.ok && (!errors.Is(err, ErrMalformed) || len(b) != 0) {
			t.Errorf("%d, %v, %d bytes are written as %x, %v", c.op, c.status, c.value, b, err)
		}
	}
}

// TestStatuses: the set is closed, and each of it has a text of its own.
func TestStatuses(t *testing.T) {
	seen := make(map[string]bool)
	for n := range 256 {
		status := Status(n)
		_, err := ParseResponse([]byte{'K', 'S', 1, 0x82, byte(n), 0, 0})
		if known := n <= 5 || n == 12; known != (err == nil) || known == (status.String() == "unknown status") {
			t.Errorf("status %d: %v, %v", n, status, err)
		}
		seen[status.String()] = true
	}
	if len(seen) != 8 {
		t.Errorf("texts %v", seen)
	}
}

// FuzzDecode gives any bytes to both decoders: what is accepted is written as
// the same bytes, and whatever is refused has an answer.
func FuzzDecode(f *testing.F) {
	for _, frame := range [][]byte{
		{}, []byte("KS"), []byte("KS\x01"), []byte("KS\x01\x0d"), []byte("KS\x02\x02\x01\x00\x00k"),
		of(Put, 1, 1, []byte("kv")), of(Put, 1, 0, []byte("k")), of(Get, 1, 0, []byte("k")), of(Get, 1, 1, []byte("kv")), of(Del, 1, 0, []byte("k")),
		of(Put, MaxKey+1, 0, make([]byte, MaxKey+1)), of(Put, 1, MaxValue+1, make([]byte, MaxValue+2)), of(99, 0, 0),
		[]byte("KS\x01\x82\x00\x01\x00v"), []byte("KS\x01\x82\x01\x00\x00"), []byte("KS\x01\x8d\x0c\x00\x00"), []byte("KS\x01\x02\x00\x00\x00"),
	} {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		r, status := ParseRequest(frame)
		switch again, err := r.Append(nil); {
		case status == OK && (err != nil || !bytes.Equal(again, frame)):
			t.Errorf("request %x was accepted and is written as %x, %v", frame, again, err)
		case status != OK && err == nil:
			t.Errorf("request %x is %v, and something of it is left", frame, status)
		}
		if status != OK {
			answer, err := Response{Op: r.Op, Status: status}.Append(nil)
			if got, unreadable := ParseResponse(answer); err != nil || unreadable != nil || got.Status != status {
				t.Errorf("request %x is answered with %x: %v, %v", frame, answer, err, unreadable)
			}
		}
		p, err := ParseResponse(frame)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("response %x: %v", frame, err)
			}
			return
		}
		if again, err := p.Append(nil); err != nil || !bytes.Equal(again, frame) {
			t.Errorf("response %x was accepted and is written as %x, %v", frame, again, err)
		}
	})
}
