package guesses

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/tests/vectors"
)

func TestVectors(t *testing.T) {
	vectors.Run(t, "services/identityd/guesses",
		vectors.Decode("guesses.json", "files", func(t *testing.T, v vectors.Guesses) ([]byte, string) {
			table, err := Decode(v.Bytes)
			var at *DamageError
			if errors.As(err, &at) {
				if at.Offset != v.At || !errors.Is(err, ErrDamaged) {
					t.Errorf("%v, want offset %d", err, v.At)
				}
				return nil, "damaged"
			}
			if !bytes.Equal(table.key[:], v.Key) || !bytes.Equal(table.failures[:], v.Failures) {
				t.Errorf("key %x, failures %x", table.key, table.failures)
			}
			for row, user := range table.users {
				if !bytes.Equal(user[:], v.Incarnations[16*row:][:16]) {
					t.Errorf("row %d is %x's", row, user)
				}
			}
			return Encode(table), vectors.OK
		}),
		vectors.Each("guesses.json", "rows", func(t *testing.T, v vectors.GuessRow) {
			table := New([KeySize]byte(v.Key))
			if row := table.Other(string(v.User)); row != UserRows+Row(v.Row) {
				t.Errorf("row %d, want %d behind those of users", row, v.Row)
			}
		}))
}

func TestEveryBitAndEveryLengthCounts(t *testing.T) {
	table := New([KeySize]byte{1, 2, 3})
	table.Count(table.User(Incarnation{7}, nobody), 3)
	table.Count(table.Other("nobody"), 5)
	file := Encode(table)
	if len(file) != Size || Size != 598 {
		t.Fatalf("%d bytes, Size is %d", len(file), Size)
	}
	for i := range file {
		for bit := range 8 {
			broken := bytes.Clone(file)
			broken[i] ^= 1 << bit
			if _, err := Decode(broken); !errors.Is(err, ErrDamaged) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
		if _, err := Decode(file[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
}

func nobody(Incarnation) bool    { return false }
func everybody(Incarnation) bool { return true }

// TestRowsOfUsers: each user has a row for itself, which nobody takes away while
// it is there, and which is given on without its failures when it is gone.
func TestRowsOfUsers(t *testing.T) {
	var table Table
	rows := map[Row]bool{}
	for n := range byte(UserRows) {
		row := table.User(Incarnation{n + 1}, everybody)
		if rows[row] || row < 0 || row >= UserRows {
			t.Errorf("user %d has row %d", n+1, row)
		}
		rows[row] = true
		table.Count(row, int(n)+10)
	}
	for n := range byte(UserRows) {
		if row := table.User(Incarnation{n + 1}, nobody); table.Failures(row) != int(n)+10 {
			t.Errorf("user %d has %d failures", n+1, table.Failures(row))
		}
	}
	gone := table.User(Incarnation{5}, everybody)
	row := table.User(Incarnation{99}, func(i Incarnation) bool { return i != Incarnation{5} })
	if row != gone || table.Failures(row) != 0 {
		t.Errorf("row %d with %d failures, want row %d", row, table.Failures(row), gone)
	}
	defer func() {
		if recover() == nil {
			t.Error("a user more than there are rows has one")
		}
	}()
	table.User(Incarnation{100}, everybody)
}

// TestRowsOfOthers: names spread over all rows, and none is a user's.
func TestRowsOfOthers(t *testing.T) {
	table := New([KeySize]byte{1})
	used := map[Row]bool{}
	for i := range 4096 {
		row := table.Other(fmt.Sprint("name", i))
		if row < UserRows || row >= Rows {
			t.Fatalf("row %d", row)
		}
		used[row] = true
	}
	if len(used) != OtherRows {
		t.Errorf("%d of %d rows are used", len(used), OtherRows)
	}
}

func TestFailuresSaturate(t *testing.T) {
	var table Table
	for n := MaxFailures - 1; n <= MaxFailures+1; n++ {
		table.Count(3, n)
		if got := table.Failures(3); got != min(n, MaxFailures) {
			t.Errorf("%d failures are %d", n, got)
		}
	}
}

// TestDocumentedWaits: the table in the specification says what Wait says.
func TestDocumentedWaits(t *testing.T) {
	text, err := os.ReadFile("../../../docs/spec/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(string(text), "| failures | wait before the next guess |\n|---|---|\n")
	rows, _, _ = strings.Cut(rows, "\n\n")
	documented := strings.Split(rows, "\n")
	units := strings.NewReplacer(" minutes", "m", " minute", "m", " min", "m", " h", "h", " s", "s", " ", "", "none", "0s")
	for i, row := range documented {
		cells := strings.Split(row, "|")
		wait, err := time.ParseDuration(units.Replace(strings.TrimSpace(cells[2])))
		if err != nil {
			t.Fatal(err)
		}
		failures := []int{Free + i}
		switch i {
		case 0:
			failures = []int{0, 1, 2, 3, 4}
		case len(documented) - 1:
			failures = []int{Free + i, Free + i + 1, 100, MaxFailures}
		}
		if first, _, _ := strings.Cut(strings.TrimSpace(cells[1]), " "); first != fmt.Sprint(failures[0]) {
			t.Errorf("row %d is for %s failures, want %d", i, first, failures[0])
		}
		for _, n := range failures {
			if Wait(n) != wait {
				t.Errorf("%d failures: %v, documented as %v", n, Wait(n), wait)
			}
		}
	}
	if len(documented) != 14 || Wait(MaxFailures) != Longest || Wait(Free+1) != First {
		t.Errorf("%d rows, from %v to %v", len(documented), Wait(Free+1), Wait(MaxFailures))
	}
}

func FuzzDecode(f *testing.F) {
	table := New([KeySize]byte{1, 2, 3})
	table.Count(table.User(Incarnation{7}, nobody), 3)
	table.Count(table.Other("nobody"), 5)
	file := Encode(table)
	f.Add(file, false)
	f.Add(file, true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, file []byte, repair bool) {
		file = slices.Clone(file)
		if repair && len(file) == Size { // so that the fuzzer gets past the checksum
			sum := sha256.Sum256(file[:atChecksum])
			copy(file[atChecksum:], sum[:])
		}
		table, err := Decode(file)
		if err != nil {
			var at *DamageError
			if !errors.As(err, &at) || at.Offset < 0 || at.Offset > int64(len(file)) {
				t.Fatalf("error %v for %d bytes", err, len(file))
			}
			return
		}
		if again := Encode(table); !bytes.Equal(again, file) {
			t.Fatalf("decoded and encoded again:\n%x\n%x", file, again)
		}
	})
}
