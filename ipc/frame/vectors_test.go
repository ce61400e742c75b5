package frame

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// vector is what all vectors of tests/vectors have that are read here.
type vector struct {
	Name, Why, Bytes, Expect string
}

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("../../tests/vectors/" + name)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// check holds what a decoder said of a vector's bytes against what it should
// say. again is what was read, encoded; fits says whether it is what the vector
// says.
func (v *vector) check(t *testing.T, err error, again []byte, fits bool) {
	t.Helper()
	switch v.Expect {
	case "ok":
		if err != nil || !fits || !bytes.Equal(again, unhex(t, v.Bytes)) {
			t.Errorf("%s: %v, encodes to %x, fits: %v (%s)", v.Name, err, again, fits, v.Why)
		}
	case "malformed":
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v (%s)", v.Name, err, v.Why)
		}
	default:
		t.Errorf("%s: nobody knows %q", v.Name, v.Expect)
	}
}

func TestHeaderVectors(t *testing.T) {
	var v struct {
		Layout []struct {
			Name, Bytes   string
			Src, Dst, Len uint32
			Ty, Flags     uint16
		}
		Refused []vector
	}
	readVectors(t, "header.json", &v)
	if len(v.Layout) < 3 || len(v.Refused) < 4 {
		t.Fatalf("only %d and %d vectors", len(v.Layout), len(v.Refused))
	}
	for _, x := range v.Layout {
		h, err := ParseHeader(unhex(t, x.Bytes))
		good := vector{Name: x.Name, Bytes: x.Bytes, Expect: "ok"}
		good.check(t, err, h.Append(nil), h == Header{x.Src, x.Dst, x.Ty, x.Flags, x.Len})
	}
	for _, x := range v.Refused {
		_, err := ParseHeader(unhex(t, x.Bytes))
		x.check(t, err, nil, false)
	}
}

func TestEnvelopeVectors(t *testing.T) {
	var v struct {
		Requests, Answers []struct {
			vector
			Nonce uint64
			Code  uint16
			Body  string
		}
	}
	readVectors(t, "envelope.json", &v)
	if len(v.Requests) < 7 || len(v.Answers) < 10 {
		t.Fatalf("only %d and %d vectors", len(v.Requests), len(v.Answers))
	}
	for _, x := range v.Requests {
		nonce, body, err := ParseRequest(unhex(t, x.Bytes))
		x.check(t, err, AppendRequest(nil, nonce, body), nonce == x.Nonce && bytes.Equal(body, unhex(t, x.Body)))
	}
	for _, x := range v.Answers {
		nonce, code, body, err := ParseAnswer(unhex(t, x.Bytes))
		x.check(t, err, AppendAnswer(nil, nonce, code, body), nonce == x.Nonce && code == x.Code && bytes.Equal(body, unhex(t, x.Body)))
	}
}

func TestRouteVectors(t *testing.T) {
	var v struct {
		Requests []struct {
			vector
			Service     string
			Nonce, Echo uint32
		}
		Answers []struct {
			vector
			Status            uint8
			Send, Recv, Nonce uint32
		}
	}
	readVectors(t, "route.json", &v)
	if len(v.Requests) < 26 || len(v.Answers) < 17 {
		t.Fatalf("only %d and %d vectors", len(v.Requests), len(v.Answers))
	}
	for _, x := range v.Requests {
		b := unhex(t, x.Bytes)
		r, err := ParseRouteRequest(b)
		again, _ := r.Append(nil)
		x.check(t, err, again, r == RouteRequest{string(unhex(t, x.Service)), x.Nonce})
		if nonce := RouteNonce(b); x.Expect == "malformed" && nonce != x.Echo {
			t.Errorf("%s: answered with nonce %#x, want %#x (%s)", x.Name, nonce, x.Echo, x.Why)
		}
	}
	for _, x := range v.Answers {
		a, err := ParseRouteAnswer(unhex(t, x.Bytes))
		x.check(t, err, a.Append(nil), a == RouteAnswer{RouteStatus(x.Status), x.Send, x.Recv, x.Nonce})
	}
}

// TestSpecificationShowsGoldenBytes: the golden vectors are those that
// docs/spec/frames.md prints.
func TestSpecificationShowsGoldenBytes(t *testing.T) {
	text, err := os.ReadFile("../../docs/spec/frames.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := strings.ReplaceAll(string(text), " ", "") // Bytes stand in groups.
	golden := 0
	for _, file := range []string{"header.json", "envelope.json", "route.json"} {
		var lists map[string][]vector
		readVectors(t, file, &lists)
		for _, list := range lists {
			for _, v := range list {
				if !strings.HasPrefix(v.Name, "golden") {
					continue
				}
				golden++
				if !strings.Contains(printed, "\n"+v.Bytes+"\n") {
					t.Errorf("%s, %s: %s is not in the specification", file, v.Name, v.Bytes)
				}
			}
		}
	}
	if golden != 10 {
		t.Errorf("%d golden vectors", golden)
	}
}
