package userdb

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file anew")

// golden is one database with every kind of entry.
func golden() DB {
	cost := Cost{MemoryKiB: 64, Passes: 3, Lanes: 2}
	alice := User{
		ID: "alice", Incarnation: [16]byte{0xa1, 15: 0x1a}, State: Live, VaultCreated: true, NextProtector: 5,
		Protectors: []Protector{
			{ID: 4, Kind: Password, Cost: DefaultCost(), Salt: [16]byte{0x51, 15: 0x15}, Verifier: [32]byte{0xe1, 31: 0x1e}},
			{ID: 2, Kind: PIN, Cost: cost, Salt: [16]byte{0x52, 15: 0x25}, Verifier: [32]byte{0xe2, 31: 0x2e}},
			{ID: 1, Kind: Recovery, Cost: cost, Salt: [16]byte{0x53, 15: 0x35}, Verifier: [32]byte{0xe3, 31: 0x3e}},
		},
	}
	bob := User{ID: "bob", Incarnation: [16]byte{0xb1, 15: 0x1b}, State: Creating, NextProtector: 1}
	carol := User{ID: "carol.x", Incarnation: [16]byte{0xc1, 15: 0x1c}, State: Removing, NextProtector: 0x0102030405060708}
	return DB{}.With(carol).With(alice).With(bob)
}

func encode(t testing.TB, db DB) []byte {
	t.Helper()
	file, err := Encode(db)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// seal puts the right checksum behind a body.
func seal(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestGoldenVector(t *testing.T) {
	const path = "testdata/golden.hex"
	file := encode(t, golden())
	if *update {
		var text strings.Builder
		for rest := file; len(rest) > 0; rest = rest[min(32, len(rest)):] {
			fmt.Fprintf(&text, "%x\n", rest[:min(32, len(rest))])
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, want) {
		t.Errorf("Encode gives\n%x, want\n%x", file, want)
	}
	db, err := Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(db, golden()) {
		t.Errorf("Decode gives %+v", db)
	}
}

// Offsets in the golden file: the header, then alice, then bob.
const (
	atAlice  = headerSize
	atInc    = atAlice + 1 + 5
	atState  = atInc + 16
	atNext   = atState + 2
	atCount  = atNext + 8
	atFirst  = atCount + 1
	atSecond = atFirst + protectorSize
	atThird  = atSecond + protectorSize
	atBob    = atThird + protectorSize
	atBobSt  = atBob + 1 + 3 + 16
)

// TestOneFault changes one thing in the golden file, puts the right checksum
// behind it where it says so, and expects the fault at its place.
func TestOneFault(t *testing.T) {
	set := func(at int, b ...byte) func([]byte) []byte {
		return func(body []byte) []byte { copy(body[at:], b); return body }
	}
	u64 := func(at int, v uint64) func([]byte) []byte {
		return set(at, binary.LittleEndian.AppendUint64(nil, v)...)
	}
	u32 := func(at int, v uint32) func([]byte) []byte {
		return set(at, binary.LittleEndian.AppendUint32(nil, v)...)
	}
	end := len(encode(t, golden())) - checksumSize
	for _, c := range []struct {
		name  string
		fault func([]byte) []byte
		at    int
	}{
		{"magic", set(0, 'X'), 0},
		{"version 0", set(4, 0), 4},
		{"version 1", set(4, 1), 4},
		{"version 3", set(4, 3), 4},
		{"version 257", set(5, 1), 4},
		{"count too small", set(6, 2), -1},
		{"count too big", set(6, 4), end},
		{"count over the limit", set(6, MaxUsers+1), 6},
		{"id length 0", set(atAlice, 0), atAlice},
		{"id length 33", set(atAlice, 33), atAlice},
		{"id not canonical", set(atAlice+1, 'A'), atAlice + 1},
		{"id with NUL", set(atAlice+3, 0), atAlice + 1},
		{"order", set(atAlice+1, 'd'), atBob + 1},
		{"id twice", func(b []byte) []byte {
			copy(b[atBob+1:], "bob")
			b = append(b[:atBob], append(bytes.Clone(b[atBob:atBob+userFixed+3]), b[atBob:]...)...)
			b[6]++
			return b
		}, atBob + userFixed + 3 + 1},
		{"incarnation zero", set(atInc, make([]byte, 16)...), atInc},
		{"state 0", set(atState, 0), atState},
		{"state 4", set(atState, 4), atState},
		{"live without protectors", set(atBobSt, 2), atBobSt + 10},
		{"creating with protectors", set(atState, 1, 0), atCount},
		{"flag unknown", set(atState+1, 2), atState + 1},
		{"flag of one not live", set(atBobSt+1, 1), atBobSt + 1},
		{"next protector 0", u64(atBobSt+2, 0), atBobSt + 2},
		{"four protectors", set(atCount, 4), atCount},
		{"protector id 0", u64(atFirst, 0), atFirst},
		{"protector id to come", u64(atFirst, 5), atFirst},
		{"protector id twice", u64(atSecond, 4), atSecond},
		{"kind 0", set(atFirst+8, 0), atFirst + 8},
		{"kind 4", set(atThird+8, 4), atThird + 8},
		{"kind twice", set(atSecond+8, 1), atSecond + 8},
		{"recovery twice", set(atSecond+8, 3), atThird + 8},
		{"a recovery key's id twice", u64(atThird, 2), atThird},
		{"kinds out of order", set(atFirst+8, 2), atSecond + 8},
		{"Argon2 version", set(atFirst+9, 0x10), atFirst + 9},
		{"memory 0", u32(atFirst+10, 0), atFirst + 10},
		{"memory too small", u32(atSecond+10, 15), atSecond + 10},
		{"memory huge", u32(atFirst+10, 1<<31), atFirst + 10},
		{"passes 0", u32(atFirst+14, 0), atFirst + 10},
		{"passes huge", u32(atFirst+14, 1<<31), atFirst + 10},
		{"lanes 0", set(atFirst+18, 0), atFirst + 10},
		{"lanes huge", set(atFirst+18, 255), atFirst + 10},
		{"byte after the last user", func(b []byte) []byte { return append(b, 0) }, end},
		{"last byte missing", func(b []byte) []byte { return b[:end-1] }, end - 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := c.fault(encode(t, golden())[:end:end])
			_, err := Decode(seal(body))
			var at *DamageError
			if !errors.Is(err, ErrDamaged) || !errors.As(err, &at) {
				t.Fatalf("error %v", err)
			}
			want := c.at
			if want < 0 { // bob's end, where carol is too much
				want = atBob + userFixed + 3
			}
			if at.Offset != int64(want) {
				t.Errorf("offset %d, want %d (%v)", at.Offset, want, err)
			}
		})
	}
}

func TestEveryBitAndEveryLengthCounts(t *testing.T) {
	file := encode(t, golden())
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
	if _, err := Decode(append(file, 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestLimits(t *testing.T) {
	full := func(users int) DB {
		var db DB
		for i := range users {
			id := fmt.Sprintf("%s%02d", strings.Repeat("u", 30), i)
			u := User{ID: id, Incarnation: [16]byte{1}, State: Live, NextProtector: 1}
			u = u.WithProtector(Protector{ID: 1, Kind: PIN, Cost: DefaultCost()})
			u = u.WithProtector(Protector{ID: 2, Kind: Recovery, Cost: DefaultCost()})
			db = db.With(u.WithProtector(Protector{ID: 3, Kind: Password, Cost: DefaultCost()}))
		}
		return db
	}
	for n := MaxUsers - 1; n <= MaxUsers+1; n++ {
		file, err := Encode(full(n))
		if (err == nil) != (n <= MaxUsers) {
			t.Fatalf("%d users: %v", n, err)
		}
		if n == MaxUsers && len(file) != LargestFile {
			t.Errorf("the largest file has %d bytes, not %d", len(file), LargestFile)
		}
	}
	for n := MaxFile - 1; n <= MaxFile+1; n++ {
		var at *DamageError
		_, err := Decode(make([]byte, n))
		if !errors.As(err, &at) || (at.Offset == MaxFile) != (n > MaxFile) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	long := User{ID: strings.Repeat("u", 33), Incarnation: [16]byte{1}, State: Creating, NextProtector: 1}
	if _, err := Encode(DB{}.With(long)); !errors.Is(err, ErrInvalid) {
		t.Errorf("an id of 33 bytes: %v", err)
	}
	long.ID = long.ID[1:]
	if _, err := Encode(DB{}.With(long)); err != nil {
		t.Errorf("an id of 32 bytes: %v", err)
	}
}

func TestCostBounds(t *testing.T) {
	for _, c := range []struct {
		cost Cost
		ok   bool
	}{
		{DefaultCost(), true},
		{Cost{}, false},
		{Cost{MemoryKiB: 7, Passes: 1, Lanes: 1}, false},
		{Cost{MemoryKiB: 8, Passes: 1, Lanes: 1}, true},
		{Cost{MemoryKiB: 9, Passes: 1, Lanes: 1}, true},
		{Cost{MemoryKiB: 31, Passes: 1, Lanes: 4}, false},
		{Cost{MemoryKiB: 32, Passes: 1, Lanes: 4}, true},
		{Cost{MemoryKiB: 64, Passes: 1, Lanes: 0}, false},
		{Cost{MemoryKiB: 64, Passes: 1, Lanes: 5}, false},
		{Cost{MemoryKiB: 64, Passes: 0, Lanes: 1}, false},
		{Cost{MemoryKiB: 64, Passes: MaxPasses - 1, Lanes: 1}, true},
		{Cost{MemoryKiB: 64, Passes: MaxPasses, Lanes: 1}, true},
		{Cost{MemoryKiB: 64, Passes: MaxPasses + 1, Lanes: 1}, false},
		{Cost{MemoryKiB: MaxMemoryKiB - 1, Passes: 1, Lanes: 1}, true},
		{Cost{MemoryKiB: MaxMemoryKiB, Passes: 1, Lanes: 1}, true},
		{Cost{MemoryKiB: MaxMemoryKiB + 1, Passes: 1, Lanes: 1}, false},
		{Cost{MemoryKiB: MaxWork/4 - 1, Passes: 4, Lanes: 1}, true},
		{Cost{MemoryKiB: MaxWork / 4, Passes: 4, Lanes: 1}, true},
		{Cost{MemoryKiB: MaxWork/5 + 1, Passes: 5, Lanes: 1}, false},
		{Cost{MemoryKiB: 1<<32 - 1, Passes: 1<<32 - 1, Lanes: 255}, false},
	} {
		if err := c.cost.Validate(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.cost, err)
		}
	}
	if !DefaultCost().AtLeast(DefaultCost()) || (Cost{MemoryKiB: 19455, Passes: 9}).AtLeast(DefaultCost()) || (Cost{MemoryKiB: 99999, Passes: 1}).AtLeast(DefaultCost()) {
		t.Error("AtLeast")
	}
}

func FuzzDecode(f *testing.F) {
	file, err := Encode(golden())
	if err != nil {
		f.Fatal(err)
	}
	empty, err := Encode(DB{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file, false)
	f.Add(empty, false)
	f.Add(file[:len(file)-checksumSize], true)
	f.Add(empty[:len(empty)-checksumSize], true)
	f.Add([]byte{}, false)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, file []byte, repair bool) {
		if repair { // so that the fuzzer gets past the checksum
			file = seal(file)
		}
		db, err := Decode(file)
		if err != nil {
			var at *DamageError
			if !errors.As(err, &at) || at.Offset < 0 || at.Offset > int64(len(file)) {
				t.Fatalf("error %v for %d bytes", err, len(file))
			}
			return
		}
		if again := encode(t, db); !bytes.Equal(again, file) {
			t.Fatalf("decoded and encoded again:\n%x\n%x", file, again)
		}
	})
}
