package capability

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// tokenVectors is tests/vectors/token.json.
type tokenVectors struct {
	Key  string
	Rows []struct {
		Name, AppID, Dead, Body, MAC                     string
		Rights, Epoch, SID, App, Serial, Holder, Expires uint64
	}
	Vectors []struct {
		Name, Token, Need, Expect string
		Holder, At                uint64
	}
}

func readTokenVectors(t *testing.T) (v tokenVectors) {
	t.Helper()
	text, err := os.ReadFile("../tests/vectors/token.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Rows) < 5 || len(v.Vectors) < 30 {
		t.Fatalf("only %d rows and %d vectors", len(v.Rows), len(v.Vectors))
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

// needs are the rights that vectors ask for by name.
var needs = map[string]TokenRights{"get": Get, "put": Put}

func TestTokenVectors(t *testing.T) {
	v := readTokenVectors(t)
	tokens := NewTokens((*[TokenKeySize]byte)(unhex(t, v.Key)))
	var dead []*Row
	for _, r := range v.Rows {
		want := TokenFields{
			Rights: TokenRights(r.Rights), Epoch: uint32(r.Epoch), SID: r.SID, App: r.App,
			Serial: r.Serial, Holder: r.Holder, Expires: r.Expires,
		}
		f := want
		f.Serial = 0 // The table gives it.
		token, row, err := tokens.Mint(f, nil)
		if err != nil {
			t.Fatalf("%s: %v", r.Name, err)
		}
		if golden := r.Body + r.MAC; hex.EncodeToString(token[:]) != golden {
			t.Errorf("%s: sealed as\n%x, want\n%s", r.Name, token[:], golden)
		}
		if got, err := token.Fields(); err != nil || got != want {
			t.Errorf("%s: reads as %+v, %v", r.Name, got, err)
		}
		if r.Dead != "" {
			dead = append(dead, row)
		}
	}
	for _, row := range dead {
		tokens.Revoke(row)
	}
	classes := make(map[string]bool)
	for _, vec := range v.Vectors {
		classes[vec.Expect] = true
		if vec.Expect == RefusedMissing.String() {
			continue // Whether there is a token is the kernel's to see.
		}
		token := Token(unhex(t, vec.Token))
		row, why := tokens.Check(&token, vec.Holder, vec.At)
		if why == Accepted && row.Rights&needs[vec.Need] == 0 {
			why = RefusedRight
		}
		want := vec.Expect
		switch want {
		case RefusedStale.String(), RefusedSession.String(), RefusedBoot.String():
			want = RefusedRevoked.String() // Sessions and boots are the kernel's to know.
		}
		if why.String() != want {
			t.Errorf("%s: %v, want %s", vec.Name, why, want)
		}
	}
	for _, class := range []Refusal{Accepted, RefusedMissing, RefusedForged, RefusedRevoked, RefusedHolder, RefusedExpired, RefusedRight,
		RefusedLayout, RefusedUnknownRight, RefusedStale, RefusedSession, RefusedBoot} {
		if !classes[class.String()] {
			t.Errorf("no vector for %v", class)
		}
	}
}
