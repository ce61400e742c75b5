package capability

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// TokenRights says what a token allows, a bit mask.
type TokenRights uint16

// The token's rights: four for keystored, four for keymintd.
const (
	Put TokenRights = 1 << iota
	Get
	Del
	List
	Generate
	Sign
	Wrap
	Seal

	AllTokenRights = Put | Get | Del | List | Generate | Sign | Wrap | Seal
)

// Sizes of a token, in bytes.
const (
	tokenBody = 48
	tokenMAC  = sha256.Size
	TokenSize = tokenBody + tokenMAC
)

// TokenVersion is the only version of the token's layout.
const TokenVersion = 1

// TokenKeySize is the size of the key that seals tokens, in bytes.
const TokenKeySize = 32

// Errors of tokens.
var (
	ErrTokenLayout = errors.New("capability: token layout")
	ErrTokenRights = errors.New("capability: unknown or widened token rights")
)

// Token is a sealed (sid, appId) capability. Its layout, little-endian, is
//
//	0  u8   version, 1
//	1  u8   reserved, 0
//	2  u16  rights
//	4  u32  epoch of the session
//	8  u64  sid
//	16 u64  app: the kernel's number for the app id, never reused in a boot
//	24 u64  serial: the token's own number, never reused in a boot
//	32 u64  holder: the task that may use it
//	40 u64  expiry in nanoseconds since boot, 0 for none
//	48 [32] HMAC-SHA256 (RFC 2104) over bytes 0 to 47
//
// The body and HMAC's padding fit one SHA-256 block. docs/IPC.md is the
// specification and tests/vectors hold golden ones.
type Token [TokenSize]byte

// Format keeps a token out of every log: it prints as redacted.
func (t Token) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("[token]")) // A failing writer is the caller's to notice.
}

// MarshalText keeps a token out of encoders as Format does out of logs.
func (t Token) MarshalText() ([]byte, error) { return []byte("[token]"), nil }

// TokenFields is what a token says.
type TokenFields struct {
	Rights  TokenRights
	Epoch   uint32
	SID     uint64
	App     uint64
	Serial  uint64
	Holder  uint64
	Expires uint64
}

func (f *TokenFields) encode(body *[tokenBody]byte) {
	body[0], body[1] = TokenVersion, 0
	binary.LittleEndian.PutUint16(body[2:], uint16(f.Rights))
	binary.LittleEndian.PutUint32(body[4:], f.Epoch)
	binary.LittleEndian.PutUint64(body[8:], f.SID)
	binary.LittleEndian.PutUint64(body[16:], f.App)
	binary.LittleEndian.PutUint64(body[24:], f.Serial)
	binary.LittleEndian.PutUint64(body[32:], f.Holder)
	binary.LittleEndian.PutUint64(body[40:], f.Expires)
}

// Fields reads what the token says without believing it.
// It returns ErrTokenLayout for another version or a set reserved byte, and
// ErrTokenRights for an unknown right.
func (t *Token) Fields() (TokenFields, error) {
	switch t.wellFormed() {
	case RefusedLayout:
		return TokenFields{}, ErrTokenLayout
	case RefusedUnknownRight:
		return TokenFields{}, ErrTokenRights
	}
	return t.Claims(), nil
}

// Claims is what the bytes say, whatever the version, for the audit record of a
// token that was refused.
func (t *Token) Claims() TokenFields {
	return TokenFields{
		Rights:  t.rights(),
		Epoch:   binary.LittleEndian.Uint32(t[4:]),
		SID:     binary.LittleEndian.Uint64(t[8:]),
		App:     binary.LittleEndian.Uint64(t[16:]),
		Serial:  t.serial(),
		Holder:  binary.LittleEndian.Uint64(t[32:]),
		Expires: binary.LittleEndian.Uint64(t[40:]),
	}
}

// wellFormed looks at what has only one right form: version, reserved byte, and
// that there is no unknown right.
func (t *Token) wellFormed() Refusal {
	switch {
	case t[0] != TokenVersion || t[1] != 0:
		return RefusedLayout
	case t.rights()&^AllTokenRights != 0:
		return RefusedUnknownRight
	}
	return Accepted
}

func (t *Token) rights() TokenRights { return TokenRights(binary.LittleEndian.Uint16(t[2:])) }
func (t *Token) serial() uint64      { return binary.LittleEndian.Uint64(t[24:]) }

// Sealer seals tokens under one key. It is not safe for concurrent use.
type Sealer struct {
	mac hash.Hash
	sum [tokenMAC]byte
}

// NewSealer keeps the key's HMAC state; the caller may wipe key afterwards.
func NewSealer(key *[TokenKeySize]byte) *Sealer {
	return &Sealer{mac: hmac.New(sha256.New, key[:])}
}

// Seal encodes and seals f. It returns ErrTokenRights for an unknown right.
func (s *Sealer) Seal(f TokenFields) (Token, error) {
	var t Token
	if f.Rights&^AllTokenRights != 0 {
		return t, ErrTokenRights
	}
	f.encode((*[tokenBody]byte)(t[:tokenBody]))
	copy(t[tokenBody:], s.tag(&t))
	return t, nil
}

// Authentic says whether the token's seal is right. It allocates nothing.
func (s *Sealer) Authentic(t *Token) bool {
	return subtle.ConstantTimeCompare(s.tag(t), t[tokenBody:]) == 1
}

func (s *Sealer) tag(t *Token) []byte {
	s.mac.Reset()
	s.mac.Write(t[:tokenBody])
	return s.mac.Sum(s.sum[:0])
}
