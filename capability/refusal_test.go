package capability

import "testing"

// TestParseTokenLength: 80 bytes are read as they are, and no other number is.
func TestParseTokenLength(t *testing.T) {
	ts := newTokens()
	token, _ := mint(t, ts, TokenFields{Rights: Get, Holder: 7})
	long := append(token[:], token[:]...)
	for n := range len(long) + 1 {
		got, why := ParseToken(long[:n])
		switch {
		case n == TokenSize && (why != Accepted || got != token):
			t.Errorf("%d bytes: %v", n, why)
		case n != TokenSize && (why != RefusedLength || got != Token{}):
			t.Errorf("%d bytes: %v", n, why)
		}
	}
}

// fieldAt is the field of a byte, by the table of docs/IPC.md.
func fieldAt(byte int) Field {
	for i, begin := range []int{0, 1, 2, 4, 8, 16, 24, 32, 40, 48} {
		if byte == begin {
			return FieldVersion + Field(i)
		}
	}
	return fieldAt(byte - 1)
}

// TestDiffers flips every bit of a token and asks which field it was. A serial
// that no live row has is named itself; where another row has it, the first
// field is named in which that one differs.
func TestDiffers(t *testing.T) {
	ts := newTokens()
	token, row := mint(t, ts, TokenFields{Rights: Get, Epoch: 1, SID: 5, App: 6, Holder: 7})
	mint(t, ts, TokenFields{Rights: Get, Epoch: 1, SID: 5, App: 6, Holder: 8})
	mint(t, ts, TokenFields{Rights: Get, Epoch: 1, SID: 5, App: 6, Holder: 7}) // Serial 3: one flip away.
	if first, sealed := ts.Differs(&token); first != NoField || !sealed {
		t.Errorf("the genuine token differs in %q, sealed is %v", first, sealed)
	}
	for bit := range TokenSize * 8 {
		forged := token
		forged[bit/8] ^= 1 << (bit % 8)
		want := fieldAt(bit / 8)
		if bit == 24*8+1 {
			want = FieldSeal // Serial 3 says the same, under another seal.
		}
		first, sealed := ts.Differs(&forged)
		if first != want || sealed != (want != FieldSeal && want != FieldSerial) {
			t.Errorf("bit %d of byte %d: %q, sealed is %v; want %q", bit%8, bit/8, first, sealed, want)
		}
	}
	ts.Revoke(row)
	if first, sealed := ts.Differs(&token); first != FieldSerial || sealed {
		t.Errorf("the revoked token differs in %q, sealed is %v", first, sealed)
	}
	if n := testing.AllocsPerRun(100, func() { ts.Differs(&token) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
