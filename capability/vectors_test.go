package capability

import (
	"testing"

	"nexus.internal/os/tests/vectors"
)

// needs are the rights that vectors ask for by name.
var needs = map[string]TokenRights{"get": Get, "put": Put}

// TestTokenVectors mints the rows, ends those that are to be dead, and checks
// what is presented.
func TestTokenVectors(t *testing.T) {
	tokens := NewTokens((*[TokenKeySize]byte)(vectors.TokenKey(t)))
	var dead []*Row
	vectors.Run(t, "capability",
		vectors.Each("token.json", "rows", func(t *testing.T, r vectors.TokenRow) {
			if row := mintVector(t, tokens, r); r.Dead != "" {
				dead = append(dead, row)
			}
		}),
		vectors.Each("token.json", "vectors", func(t *testing.T, v vectors.Token) {
			for _, row := range dead {
				tokens.Revoke(row)
			}
			dead = nil
			checkVector(t, tokens, v)
		}))
	classes := vectors.Classes(t, "token.json", "vectors")
	for i, class := range refusalText {
		switch Refusal(i) {
		case RefusedRequest, RefusedLength:
			continue // They are not about what is presented, and about what is no token.
		}
		if classes[class] == 0 {
			t.Errorf("no vector for %s", class)
		}
	}
}

func mintVector(t *testing.T, tokens *Tokens, r vectors.TokenRow) *Row {
	want := TokenFields{
		Rights: TokenRights(r.Rights), Epoch: uint32(r.Epoch), SID: r.SID, App: r.App,
		Serial: r.Serial, Holder: r.Holder, Expires: r.Expires,
	}
	f := want
	f.Serial = 0 // The table gives it.
	token, row, err := tokens.Mint(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := vectors.Hex(token[:]).String(); got != r.Sealed() {
		t.Errorf("sealed as\n%s, want\n%s", got, r.Sealed())
	}
	if got, err := token.Fields(); err != nil || got != want {
		t.Errorf("reads as %+v, %v", got, err)
	}
	return row
}

func checkVector(t *testing.T, tokens *Tokens, v vectors.Token) {
	token := Token(v.Token)
	row, why := tokens.Check(&token, v.Holder, v.At)
	if why == Accepted && row.Rights&needs[v.Need] == 0 {
		why = RefusedRight
	}
	want := v.Expect
	switch want {
	case RefusedStale.String(), RefusedSession.String(), RefusedBoot.String():
		want = RefusedRevoked.String() // Sessions and boots are the kernel's to know.
	}
	if why.String() != want {
		t.Errorf("%v, want %s", why, want)
	}
}
