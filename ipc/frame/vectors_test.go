package frame

import (
	"bytes"
	"errors"
	"testing"

	"nexus.internal/os/tests/vectors"
)

func TestVectors(t *testing.T) {
	vectors.Run(t, "ipc/frame",
		vectors.Decode("header.json", "layout", headerVector),
		vectors.Decode("header.json", "refused", headerVector),
		vectors.Decode("envelope.json", "requests", requestVector),
		vectors.Decode("envelope.json", "answers", answerVector),
		vectors.Decode("route.json", "requests", routeRequestVector),
		vectors.Decode("route.json", "answers", routeAnswerVector))
}

// read is what a decoder made of a vector: what it read, encoded again, unless
// it refused; fits says whether it is what the vector says.
func read(t *testing.T, err error, again []byte, fits bool) ([]byte, string) {
	t.Helper()
	switch {
	case errors.Is(err, ErrMalformed):
		return nil, "malformed"
	case err != nil:
		return nil, err.Error()
	case !fits:
		t.Error("read as something else than the vector says")
	}
	return again, vectors.OK
}

func headerVector(t *testing.T, v vectors.Header) ([]byte, string) {
	h, err := ParseHeader(v.Bytes)
	return read(t, err, h.Append(nil), h == Header{v.Src, v.Dst, v.Ty, v.Flags, v.Len})
}

func requestVector(t *testing.T, v vectors.Envelope) ([]byte, string) {
	nonce, body, err := ParseRequest(v.Bytes)
	return read(t, err, AppendRequest(nil, nonce, body), nonce == v.Nonce && bytes.Equal(body, v.Body))
}

func answerVector(t *testing.T, v vectors.Envelope) ([]byte, string) {
	nonce, code, body, err := ParseAnswer(v.Bytes)
	return read(t, err, AppendAnswer(nil, nonce, code, body), nonce == v.Nonce && code == v.Code && bytes.Equal(body, v.Body))
}

func routeRequestVector(t *testing.T, v vectors.RouteRequest) ([]byte, string) {
	r, err := ParseRouteRequest(v.Bytes)
	if nonce := RouteNonce(v.Bytes); err != nil && nonce != v.Echo {
		t.Errorf("answered with nonce %#x, want %#x (%s)", nonce, v.Echo, v.Why)
	}
	again, _ := r.Append(nil)
	return read(t, err, again, r == RouteRequest{string(v.Service), v.Nonce})
}

func routeAnswerVector(t *testing.T, v vectors.RouteAnswer) ([]byte, string) {
	a, err := ParseRouteAnswer(v.Bytes)
	return read(t, err, a.Append(nil), a == RouteAnswer{RouteStatus(v.Status), v.Send, v.Recv, v.Nonce})
}
