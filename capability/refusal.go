package capability

import "crypto/subtle"

// Refusal says why a token did not pass. It is for the audit record: the
// caller is told one and the same thing whatever the refusal.
//
// The table of tokens knows rows and seals. What needs to know the boot and the
// sessions (RefusedBoot, RefusedSession, and RefusedStale for a token without a
// row) the kernel finds out, and only once a token is refused.
type Refusal uint8

// The refusals, append-only.
const (
	Accepted            Refusal = iota
	RefusedMissing              // no token was given
	RefusedForged               // the seal is wrong
	RefusedRevoked              // the seal is right, its epoch is not over, but no live row has these bytes
	RefusedStale                // the seal is right, but its session has a later epoch by now
	RefusedHolder               // another task's token
	RefusedExpired              // its time is over
	RefusedRight                // it lacks the right the operation asks for
	RefusedRequest              // the request it was derived for is over
	RefusedLength               // what was given is not TokenSize bytes long
	RefusedLayout               // another version, or the reserved byte is set
	RefusedUnknownRight         // a right that does not exist
	RefusedBoot                 // the sid is of another boot; its seal is wrong as well, unless two boots share a key
	RefusedSession              // the seal is right, but its session has ended
)

var refusalText = [...]string{
	"accepted", "missing", "forged", "revoked", "stale", "holder", "expired", "right", "request over",
	"length", "layout", "unknown right", "another boot", "session over",
}

func (r Refusal) String() string {
	if int(r) < len(refusalText) {
		return refusalText[r]
	}
	return "unknown"
}

// Field names a field of the token, for the audit record.
type Field uint8

// The fields, in the order of their bytes. NoField stands for none of them.
const (
	NoField Field = iota
	FieldVersion
	FieldReserved
	FieldRights
	FieldEpoch
	FieldSID
	FieldApp
	FieldSerial
	FieldHolder
	FieldExpires
	FieldSeal
)

var fieldText = [...]string{
	"", "version", "reserved", "rights", "epoch", "sid", "app", "serial", "holder", "expires", "seal",
}

// String is the field's name in docs/IPC.md, empty for NoField.
func (f Field) String() string {
	if int(f) < len(fieldText) {
		return fieldText[f]
	}
	return "unknown"
}

// fieldEnds holds the offset behind each field, from FieldVersion on.
var fieldEnds = [...]int{1, 2, 4, 8, 16, 24, 32, 40, tokenBody, TokenSize}

// ParseToken reads a token that came as bytes. It answers RefusedLength for any
// other number of bytes than TokenSize, and believes nothing of them.
func ParseToken(b []byte) (Token, Refusal) {
	if len(b) != TokenSize {
		return Token{}, RefusedLength
	}
	return Token(b), Accepted
}

// Differs compares a token with the live row of its serial. It answers the
// first field that differs, FieldSerial if no live row has the serial, and
// whether the seal is that row's. It is for the audit record of a token that
// was refused already. How long it takes does not depend on where bytes of the
// seal differ, and it allocates nothing.
func (ts *Tokens) Differs(t *Token) (first Field, sealed bool) {
	r := ts.rows[t.serial()]
	if r == nil {
		return FieldSerial, false
	}
	begin := 0
	for i, end := range fieldEnds {
		same := subtle.ConstantTimeCompare(t[begin:end], r.sealed[begin:end]) == 1
		if !same && first == NoField {
			first = FieldVersion + Field(i)
		}
		sealed = same // The last one is the seal.
		begin = end
	}
	return first, sealed
}
