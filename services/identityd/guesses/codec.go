package guesses

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Layout, in bytes.
const (
	magic   = "NXGS"
	version = 1

	KeySize = 32
	Size    = atChecksum + sha256.Size // of every file

	userSize   = 16 + 1
	atVersion  = 4
	atKey      = atVersion + 2
	atUsers    = atKey + KeySize
	atOthers   = atUsers + UserRows*userSize
	atChecksum = atOthers + OtherRows
)

// ErrDamaged is what every error of Decode is.
var ErrDamaged = errors.New("guesses: damaged")

// DamageError names the place in the file.
type DamageError struct {
	Offset int64
	Reason string // constant text
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%v at offset %d: %s", ErrDamaged, e.Offset, e.Reason)
}

// Unwrap makes errors.Is(err, ErrDamaged) hold.
func (e *DamageError) Unwrap() error { return ErrDamaged }

// Encode returns the file of a table, which has Size bytes.
func Encode(t Table) []byte {
	out := make([]byte, 0, Size)
	out = append(out, magic...)
	out = binary.LittleEndian.AppendUint16(out, version)
	out = append(out, t.key[:]...)
	for row := range t.users {
		out = append(out, t.users[row][:]...)
		out = append(out, t.failures[row])
	}
	out = append(out, t.failures[UserRows:]...)
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

// Decode reads a file. Its only error is a *DamageError. What it accepts,
// Encode turns into the same bytes.
func Decode(file []byte) (Table, error) {
	switch {
	case len(file) != Size:
		return Table{}, &DamageError{int64(min(len(file), Size)), "length"}
	case string(file[:atVersion]) != magic:
		return Table{}, &DamageError{0, "magic"}
	case binary.LittleEndian.Uint16(file[atVersion:]) != version:
		return Table{}, &DamageError{atVersion, "version"}
	case sha256.Sum256(file[:atChecksum]) != [sha256.Size]byte(file[atChecksum:]):
		return Table{}, &DamageError{atChecksum, "checksum"}
	}
	t := New([KeySize]byte(file[atKey:]))
	for row := range UserRows {
		at := atUsers + row*userSize
		user := Incarnation(file[at:])
		if user != (Incarnation{}) && t.has(user) {
			return Table{}, &DamageError{int64(at), "a user twice"}
		}
		t.users[row], t.failures[row] = user, file[at+len(user)]
		if user == (Incarnation{}) && t.failures[row] != 0 {
			return Table{}, &DamageError{int64(at + len(user)), "failures of nobody"}
		}
	}
	copy(t.failures[UserRows:], file[atOthers:atChecksum])
	return t, nil
}

func (t *Table) has(user Incarnation) bool {
	for _, other := range t.users {
		if other == user {
			return true
		}
	}
	return false
}
