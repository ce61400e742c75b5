package ks1

import (
	"bytes"
	"errors"
	"testing"

	"nexus.internal/os/tests/vectors"
)

func TestVectors(t *testing.T) {
	answers := make(map[Status]bool)
	vectors.Run(t, "services/keystored/ks1",
		vectors.Decode("ks1.json", "requests", requestVector),
		vectors.Decode("ks1.json", "responses", func(t *testing.T, v vectors.KS1Response) ([]byte, string) {
			r, err := ParseResponse(v.Bytes)
			if errors.Is(err, ErrMalformed) {
				return nil, "malformed"
			}
			answers[r.Status] = true
			if err != nil || r.Op != Op(v.Op) || r.Status.String() != v.Status || !bytes.Equal(r.Value, v.Value) {
				t.Errorf("read as %v, %v", r, err)
			}
			return encoded(t, r), vectors.OK
		}))
	for status, text := range statusText {
		if !answers[status] {
			t.Errorf("no response with %s", text)
		}
	}
	classes := vectors.Classes(t, "ks1.json", "requests")
	for _, status := range []Status{OK, Malformed, TooLarge, Unsupported, PrivateExportRefused} {
		if classes[status.String()] == 0 {
			t.Errorf("no request for %v", status)
		}
	}
}

func requestVector(t *testing.T, v vectors.KS1Request) ([]byte, string) {
	r, status := ParseRequest(v.Bytes)
	if r.Op != Op(v.Op) {
		t.Errorf("read as operation %d, want %d", r.Op, v.Op)
	}
	if status != OK {
		if answer := encoded(t, Response{Op: r.Op, Status: status}); !bytes.Equal(answer, v.Answer) {
			t.Errorf("answered with %x, want %x", answer, v.Answer)
		}
		return nil, status.String()
	}
	if !bytes.Equal(r.Key, v.Key) || !bytes.Equal(r.Value, v.Value) {
		t.Errorf("read as %x, %x", r.Key, r.Value)
	}
	return encoded(t, r), status.String()
}

// encoded is a frame's bytes.
func encoded(t *testing.T, f interface {
	Append(b []byte) ([]byte, error)
}) []byte {
	t.Helper()
	b, err := f.Append(nil)
	if err != nil {
		t.Error(err)
	}
	return b
}
