package guesses

import (
	"crypto/hmac"
	"crypto/sha256"
	"time"
)

// Rows of the file.
const (
	UserRows  = 16  // of users
	OtherRows = 256 // of all names that are no user's
	Rows      = UserRows + OtherRows
)

// MaxFailures is the most that a row counts; it stands for more as well.
const MaxFailures = 255

// The waits after failures.
const (
	Free    = 4                // failures that no wait follows
	First   = 30 * time.Second // after one more; each further one doubles it
	Longest = 24 * time.Hour
)

// Wait is how long nobody may guess after that many failures.
func Wait(failures int) time.Duration {
	if failures <= Free {
		return 0
	}
	wait := First
	for range failures - Free - 1 {
		wait = min(2*wait, Longest)
	}
	return wait
}

// Incarnation tells a user from a former one of its name.
type Incarnation [16]byte

// Row is the number of a row: those of users come first.
type Row int

// Table is what the file holds. The zero value has no failures, and a key of
// zeros.
type Table struct {
	key      [KeySize]byte
	users    [UserRows]Incarnation // zero in a free row
	failures [Rows]uint8
}

// New makes a table without failures. The key should be random: who knows it
// knows which names share a row.
func New(key [KeySize]byte) Table { return Table{key: key} }

// Other is the row of a name that is no user's, whatever bytes it has.
func (t *Table) Other(name string) Row {
	mac := hmac.New(sha256.New, t.key[:])
	mac.Write([]byte(name))
	return UserRows + Row(mac.Sum(nil)[0])
}

// User is the row of a user. One that has none yet is given the first row whose
// user is not there any more, as there says, without failures. There must be
// such a row: no more than UserRows users can be there, this one included.
func (t *Table) User(user Incarnation, there func(Incarnation) bool) Row {
	for row, other := range t.users {
		if other == user {
			return Row(row)
		}
	}
	for row, other := range t.users {
		if other == (Incarnation{}) || !there(other) {
			t.users[row], t.failures[row] = user, 0
			return Row(row)
		}
	}
	panic("guesses: more users than rows")
}

// Failures is what a row counts.
func (t *Table) Failures(row Row) int { return int(t.failures[row]) }

// Count sets what a row counts, at most MaxFailures.
func (t *Table) Count(row Row, failures int) {
	t.failures[row] = uint8(min(failures, MaxFailures))
}
