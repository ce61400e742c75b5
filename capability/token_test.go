package capability

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// ranges are the token's fields as ranges of its bytes, the seal last.
var ranges = [][2]int{{2, 4}, {4, 8}, {8, 16}, {16, 24}, {24, 32}, {32, 40}, {40, 48}, {48, 80}}

func newTokens() *Tokens { return NewTokens(&[TokenKeySize]byte{1, 2, 3}) }

func mint(t *testing.T, ts *Tokens, f TokenFields) (Token, *Row) {
	t.Helper()
	token, row, err := ts.Mint(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token, row
}

func TestTokenEveryBitFlipped(t *testing.T) {
	ts := newTokens()
	token, _ := mint(t, ts, TokenFields{Rights: Get, Epoch: 1, SID: 5, App: 6, Holder: 7, Expires: 1000})
	mint(t, ts, TokenFields{Rights: Get | Put, Epoch: 1, SID: 5, App: 6, Holder: 7}) // Serial 2, one flip away.
	if _, why := ts.Check(&token, 7, 10); why != Accepted {
		t.Fatal(why)
	}
	for bit := range TokenSize * 8 {
		forged := token
		forged[bit/8] ^= 1 << (bit % 8)
		wanted := RefusedForged
		switch {
		case bit < 16:
			wanted = RefusedLayout
		case bit >= 24 && bit < 32:
			wanted = RefusedUnknownRight
		}
		if row, why := ts.Check(&forged, 7, 10); why != wanted || row != nil {
			t.Errorf("bit %d of byte %d flipped: %v, want %v", bit%8, bit/8, why, wanted)
		}
	}
}

// TestTokenFieldsSwapped takes every combination of fields from one genuine
// token and the rest from another one.
func TestTokenFieldsSwapped(t *testing.T) {
	ts := newTokens()
	a, _ := mint(t, ts, TokenFields{Rights: Get, Epoch: 1, SID: 5, App: 6, Holder: 7, Expires: 1000})
	b, _ := mint(t, ts, TokenFields{Rights: AllTokenRights, Epoch: 2, SID: 50, App: 60, Holder: 70, Expires: 2000})
	for mask := 1; mask < 1<<len(ranges)-1; mask++ {
		mixed := a
		for i, r := range ranges {
			if mask&(1<<i) != 0 {
				copy(mixed[r[0]:r[1]], b[r[0]:r[1]])
			}
		}
		for _, holder := range []uint64{7, 70} {
			if _, why := ts.Check(&mixed, holder, 10); why != RefusedForged {
				t.Errorf("fields %08b of another token, shown by %d: %v", mask, holder, why)
			}
		}
	}
}

func TestTokenUnknownRights(t *testing.T) {
	ts, sealer := newTokens(), NewSealer(&[TokenKeySize]byte{1, 2, 3})
	_, row := mint(t, ts, TokenFields{Rights: Get})
	for bit := range 16 {
		right := TokenRights(1) << bit
		known := right&AllTokenRights != 0
		if known != (bit < 8) {
			t.Errorf("right %d: known is %v", bit, known)
		}
		if _, err := sealer.Seal(TokenFields{Rights: right}); errors.Is(err, ErrTokenRights) == known {
			t.Errorf("seal with right %d: %v", bit, err)
		}
		if _, _, err := ts.Mint(TokenFields{Rights: Get | right}, nil); errors.Is(err, ErrTokenRights) == known {
			t.Errorf("mint with right %d: %v", bit, err)
		}
		if _, _, err := ts.Derive(row, 7, Get|right, 0); (err == nil) != (right == Get) {
			t.Errorf("derive with right %d of Get: %v", bit, err)
		}
	}
}

// TestSealerOfAnotherBoot: a right seal without a row is refused as revoked,
// another key's seal as forged.
func TestSealerOfAnotherBoot(t *testing.T) {
	before, now, other := newTokens(), newTokens(), NewTokens(&[TokenKeySize]byte{9})
	token, _ := mint(t, before, TokenFields{Rights: Get, Holder: 7})
	if _, why := now.Check(&token, 7, 1); why != RefusedRevoked {
		t.Errorf("the same key: %v", why)
	}
	if _, why := other.Check(&token, 7, 1); why != RefusedForged {
		t.Errorf("another key: %v", why)
	}
	mint(t, now, TokenFields{Rights: Put, Holder: 7}) // Has the same serial.
	if _, why := now.Check(&token, 7, 1); why != RefusedRevoked {
		t.Errorf("the same key and serial: %v", why)
	}
}

func TestTokenExpiry(t *testing.T) {
	ts := newTokens()
	for _, c := range []struct {
		expires, now uint64
		want         Refusal
	}{
		{0, 1, Accepted}, {0, ^uint64(0), Accepted},
		{100, 99, Accepted}, {100, 100, RefusedExpired}, {100, 101, RefusedExpired},
		{^uint64(0), ^uint64(0) - 1, Accepted}, {^uint64(0), ^uint64(0), RefusedExpired},
	} {
		token, row := mint(t, ts, TokenFields{Rights: Get, Holder: 7, Expires: c.expires})
		if _, why := ts.Check(&token, 7, c.now); why != c.want {
			t.Errorf("expires %d, now %d: %v", c.expires, c.now, why)
		}
		if why := row.Recheck(7, c.now); why != c.want {
			t.Errorf("expires %d, now %d, again: %v", c.expires, c.now, why)
		}
	}
}

// TestTokenDeriveShrinks tries all pairs of a few rights and expiries.
func TestTokenDeriveShrinks(t *testing.T) {
	ts := newTokens()
	times := []uint64{0, 99, 100, 101}
	for held := TokenRights(0); held < 16; held++ {
		for asked := TokenRights(0); asked < 16; asked++ {
			for _, until := range times {
				for _, wanted := range times {
					_, parent := mint(t, ts, TokenFields{Rights: held, Epoch: 3, SID: 5, App: 6, Holder: 7, Expires: until})
					parent.AppID = "notes"
					_, child, err := ts.Derive(parent, 8, asked, wanted)
					may := asked&^held == 0 && (until == 0 || wanted != 0 && wanted <= until)
					if may != (err == nil) {
						t.Fatalf("rights %04b of %04b, expiry %d of %d: %v", asked, held, wanted, until, err)
					}
					if err == nil && (child.Rights != asked || child.Expires != wanted || child.Holder != 8 ||
						child.SID != 5 || child.App != 6 || child.Epoch != 3 || child.AppID != "notes") {
						t.Fatalf("the child is %+v", child)
					}
				}
			}
		}
	}
	_, parent := mint(t, ts, TokenFields{Rights: Get})
	ts.Revoke(parent)
	if _, _, err := ts.Derive(parent, 8, Get, 0); err == nil {
		t.Error("a dead token was derived from")
	}
}

// TestTokenTreeAgainstModel mints, derives and revokes at random, against a
// list with parents' numbers.
func TestTokenTreeAgainstModel(t *testing.T) {
	type entry struct {
		token  Token
		row    *Row
		parent int
		dead   bool
	}
	rng, ts := random(t), newTokens()
	var all []entry
	var kill func(i int) int
	kill = func(i int) int {
		killed := 1
		all[i].dead = true
		for j := range all {
			if all[j].parent == i && !all[j].dead {
				killed += kill(j)
			}
		}
		return killed
	}
	for step := range 1200 {
		switch {
		case len(all) == 0 || rng.IntN(4) == 0:
			token, row := mint(t, ts, TokenFields{Rights: AllTokenRights, Holder: 7})
			all = append(all, entry{token, row, -1, false})
		case rng.IntN(4) < 3:
			i := rng.IntN(len(all))
			token, row, err := ts.Derive(all[i].row, 7, Get, 0)
			if (err == nil) != (!all[i].dead && all[i].row.Rights&Get != 0) {
				t.Fatalf("step %d: derive from %d: %v", step, i, err)
			}
			if err == nil {
				all = append(all, entry{token, row, i, false})
			}
		default:
			i, want := rng.IntN(len(all)), 0
			if !all[i].dead {
				want = kill(i)
			}
			if n := ts.Revoke(all[i].row); n != want {
				t.Fatalf("step %d: revoke killed %d, the model says %d", step, n, want)
			}
		}
		compareTree(t, step, rng, ts, len(all), func(i int) (*Token, *Row, bool) { return &all[i].token, all[i].row, all[i].dead })
	}
}

func compareTree(t *testing.T, step int, rng *rand.Rand, ts *Tokens, n int, at func(int) (*Token, *Row, bool)) {
	t.Helper()
	live := 0
	for i := range n {
		_, row, dead := at(i)
		if row.Live() == dead {
			t.Fatalf("step %d: token %d is live: %v", step, i, row.Live())
		}
		if !dead {
			live++
		}
	}
	if ts.Live() != live {
		t.Fatalf("step %d: %d live, the model says %d", step, ts.Live(), live)
	}
	token, row, dead := at(rng.IntN(n))
	got, why := ts.Check(token, 7, 1)
	if dead && why != RefusedRevoked || !dead && (why != Accepted || got != row) {
		t.Fatalf("step %d: check says %v, dead is %v", step, why, dead)
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	ts := newTokens()
	good, row := mint(t, ts, TokenFields{Rights: Get, Holder: 7})
	gone, dead := mint(t, ts, TokenFields{Rights: Get, Holder: 7})
	ts.Revoke(dead)
	forged := good
	forged[60] ^= 1
	for name, token := range map[string]*Token{"accepted": &good, "revoked": &gone, "forged": &forged} {
		if n := testing.AllocsPerRun(100, func() { _, _ = ts.Check(token, 7, 1) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = row.Recheck(7, 1) }); n != 0 {
		t.Errorf("recheck: %v allocations", n)
	}
}

func TestTokenPrintsRedacted(t *testing.T) {
	ts := newTokens()
	token, _ := mint(t, ts, TokenFields{Rights: Get, Holder: 7})
	type holder struct{ Token Token }
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%q", "%s", "%d"} {
		for _, value := range []any{token, &token, holder{token}, []Token{token}} {
			text := fmt.Sprintf(verb, value)
			if !strings.Contains(text, "[token]") || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", token[48:52])) {
				t.Errorf("%s of %T prints %q", verb, value, text)
			}
		}
	}
	if text, err := json.Marshal(holder{token}); err != nil || string(text) != `{"Token":"[token]"}` {
		t.Errorf("JSON is %s, %v", text, err)
	}
}

func TestRefusalText(t *testing.T) {
	seen := make(map[string]bool)
	for r := Accepted; r <= RefusedSession; r++ {
		if text := r.String(); text == "unknown" || text == "" || seen[text] {
			t.Errorf("refusal %d is %q", r, text)
		}
		seen[r.String()] = true
	}
	if text := (RefusedSession + 1).String(); text != "unknown" {
		t.Errorf("a refusal that there is not is %q", text)
	}
	clear(seen)
	for f := NoField; f <= FieldSeal; f++ {
		if text := f.String(); text == "unknown" || (text == "") != (f == NoField) || seen[text] {
			t.Errorf("field %d is %q", f, text)
		}
		seen[f.String()] = true
	}
	if text := (FieldSeal + 1).String(); text != "unknown" {
		t.Errorf("a field that there is not is %q", text)
	}
}

// FuzzTokenFields: whatever reads as a token encodes to the same body again,
// and nothing that the table did not seal itself is accepted.
func FuzzTokenFields(f *testing.F) {
	ts := newTokens()
	genuine, _, err := ts.Mint(TokenFields{Rights: Get | Put, Epoch: 1, SID: 5, App: 6, Holder: 7, Expires: 1000}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(genuine[:])
	f.Add(make([]byte, TokenSize))
	f.Add(append([]byte{TokenVersion}, make([]byte, TokenSize)...))
	f.Add([]byte{TokenVersion, 0, 0xff, 0xff})
	sealer := NewSealer(&[TokenKeySize]byte{4})
	f.Fuzz(func(t *testing.T, data []byte) {
		var token Token
		copy(token[:], data)
		fields, err := token.Fields()
		if err == nil {
			again, err := sealer.Seal(fields)
			if err != nil || [48]byte(again[:48]) != [48]byte(token[:48]) {
				t.Errorf("%x reads as %+v, which is %x, %v", token[:48], fields, again[:48], err)
			}
			if !sealer.Authentic(&again) {
				t.Error("a seal is not authentic")
			}
		} else if !errors.Is(err, ErrTokenLayout) && !errors.Is(err, ErrTokenRights) {
			t.Errorf("%v is neither of the two errors", err)
		}
		if _, why := ts.Check(&token, 7, 10); (why == Accepted) != (token == genuine) {
			t.Errorf("%x: %v", token[:], why)
		}
	})
}
