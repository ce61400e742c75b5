// Package secret is the type in which secrets travel: bytes that have one
// owner, who wipes them, and that print as "[redacted]" wherever they are
// formatted, marshalled or logged.
//
// It keeps them in one pool for the process: memory outside the Go heap, locked
// so that it does not reach swap, and kept out of core dumps; Lock says whether
// that could be done, and ReadStats what is in use. Map is the same for work that
// needs more at once, and Do runs work that has secrets on its stack. It calls
// the operating system only. It never makes a string of a secret. It cannot
// reach copies that others made: who copies what Expose returns owns the copy
// and wipes it.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"runtime"
)

const redacted = "[redacted]"

// Bytes is a secret. Its zero value is an empty one. A copy of a Bytes is the
// same secret: wiping one wipes all. One goroutine at a time may use it; other
// secrets are none of its business.
type Bytes struct {
	// In an unexported field of somebody else's struct fmt cannot call Format.
	// The bytes stay hidden there because it does not follow pointers inside a
	// value; it takes two of them, because it does follow the first one when
	// the verb does not suit a pointer.
	held *held
}

type held struct{ slot *slot }

// New makes a secret of n zero bytes, to be filled through Expose. A negative
// n counts as 0. Whoever makes a secret sees to it that it is wiped: what is
// not stays in the pool for ever.
func New(n int) *Bytes { return &Bytes{held: &held{slot: shared.take(max(n, 0))}} }

// Copy makes a secret of a copy of src, which stays the caller's to wipe.
func Copy(src []byte) *Bytes {
	s := New(len(src))
	copy(s.Expose(), src)
	return s
}

// Take moves b into a secret: all of b's capacity is wiped.
func Take(b []byte) *Bytes {
	s := Copy(b)
	Wipe(b[:cap(b)])
	return s
}

// Expose returns the bytes themselves, not a copy; nil once they are wiped. Who
// keeps the slice longer than the secret lives would read another one there.
func (s *Bytes) Expose() []byte {
	if s == nil || s.held == nil {
		return nil
	}
	return s.held.slot.b
}

// Len is the number of bytes; 0 once they are wiped.
func (s *Bytes) Len() int { return len(s.Expose()) }

// Equal compares the bytes of two secrets in a time that depends on their
// lengths only. A nil secret equals an empty one.
func (s *Bytes) Equal(other *Bytes) bool {
	return subtle.ConstantTimeCompare(s.Expose(), other.Expose()) == 1
}

// Wipe overwrites the bytes with zeros and gives their place back. Wiping again,
// or wiping nil, does nothing.
func (s *Bytes) Wipe() {
	if s == nil || s.held == nil {
		return
	}
	shared.give(s.held.slot)
}

// Wipe overwrites b with zeros, up to its length.
func Wipe(b []byte) {
	clear(b)
	runtime.KeepAlive(b) // The zeros must be written even if nobody reads b again.
}

// Format prints "[redacted]" for every verb and flag.
func (Bytes) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, redacted) // A failing writer is the printer's to notice.
}

// String returns "[redacted]".
func (Bytes) String() string { return redacted }

// GoString returns "[redacted]".
func (Bytes) GoString() string { return redacted }

// MarshalText returns "[redacted]".
func (Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue returns "[redacted]".
func (Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }
