package ks1

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// vectors is tests/vectors/ks1.json.
type vectors struct {
	Requests []struct {
		Name, Why, Bytes, Expect, Key, Value, Answer string
		Op                                           uint8
	}
	Responses []struct {
		Name, Why, Bytes, Expect, Status, Value string
		Op                                      uint8
	}
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	text, err := os.ReadFile("../../../tests/vectors/ks1.json")
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Requests) < 50 || len(v.Responses) < 26 {
		t.Fatalf("only %d and %d vectors", len(v.Requests), len(v.Responses))
	}
	return v
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequestVectors(t *testing.T) {
	classes := make(map[string]bool)
	for _, v := range readVectors(t).Requests {
		classes[v.Expect] = true
		frame := unhex(t, v.Bytes)
		r, status := ParseRequest(frame)
		if status.String() != v.Expect || r.Op != Op(v.Op) {
			t.Errorf("%s: %v as %d, want %s as %d (%s)", v.Name, status, r.Op, v.Expect, v.Op, v.Why)
			continue
		}
		if status != OK {
			if answer, err := (Response{Op: r.Op, Status: status}).Append(nil); err != nil || !bytes.Equal(answer, unhex(t, v.Answer)) {
				t.Errorf("%s: answered with %x, %v, want %s", v.Name, answer, err, v.Answer)
			}
			continue
		}
		if !bytes.Equal(r.Key, unhex(t, v.Key)) || !bytes.Equal(r.Value, unhex(t, v.Value)) {
			t.Errorf("%s: read as %x, %x", v.Name, r.Key, r.Value)
		}
		if again, err := r.Append(nil); err != nil || !bytes.Equal(again, frame) {
			t.Errorf("%s: encodes to %x, %v", v.Name, again, err)
		}
	}
	for _, status := range []Status{OK, Malformed, TooLarge, Unsupported, PrivateExportRefused} {
		if !classes[status.String()] {
			t.Errorf("no vector for %v", status)
		}
	}
}

func TestResponseVectors(t *testing.T) {
	statuses := make(map[string]bool)
	for _, v := range readVectors(t).Responses {
		frame := unhex(t, v.Bytes)
		r, err := ParseResponse(frame)
		if v.Expect == "malformed" {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v, %v (%s)", v.Name, r, err, v.Why)
			}
			continue
		}
		statuses[v.Status] = true
		if v.Expect != "ok" || err != nil || r.Op != Op(v.Op) || r.Status.String() != v.Status || !bytes.Equal(r.Value, unhex(t, v.Value)) {
			t.Errorf("%s: %v, %v (%s)", v.Name, r, err, v.Why)
		}
		if again, err := r.Append(nil); err != nil || !bytes.Equal(again, frame) {
			t.Errorf("%s: encodes to %x, %v", v.Name, again, err)
		}
	}
	for status, text := range statusText {
		if !statuses[text] {
			t.Errorf("no vector for status %d, %s", status, text)
		}
	}
}

// TestSpecificationShowsGoldenBytes: the golden vectors are those that
// docs/spec/ks1.md prints.
func TestSpecificationShowsGoldenBytes(t *testing.T) {
	text, err := os.ReadFile("../../../docs/spec/ks1.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := strings.ReplaceAll(string(text), " ", "") // Bytes stand in groups.
	v, golden := readVectors(t), 0
	check := func(name, b string) {
		if !strings.HasPrefix(name, "golden") {
			return
		}
		golden++
		if !strings.Contains(printed, "\n"+b+"\n") {
			t.Errorf("%s: %s is not in the specification", name, b)
		}
	}
	for _, r := range v.Requests {
		check(r.Name, r.Bytes)
	}
	for _, r := range v.Responses {
		check(r.Name, r.Bytes)
	}
	if golden != 13 {
		t.Errorf("%d golden vectors", golden)
	}
}
