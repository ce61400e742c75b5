package userdb

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"nexus.internal/os/capability"
)

// Layout, in bytes.
const (
	magic   = "NXUD"
	version = 2

	headerSize    = 4 + 2 + 1
	checksumSize  = sha256.Size
	userFixed     = 1 + IncarnationSize + 1 + 1 + 8 + 1
	protectorSize = 8 + 1 + 1 + 4 + 4 + 1 + SaltSize + VerifierSize

	// LargestFile is the size of the largest database that the limits allow.
	LargestFile = headerSize + MaxUsers*(userFixed+capability.MaxUserID+MaxProtectors*protectorSize) + checksumSize

	flagVault = 1
)

// The largest database fits the file.
const _ = uint(MaxFile - LargestFile)

// ErrDamaged is what every error of Decode is.
var ErrDamaged = errors.New("userdb: damaged")

// ErrInvalid says that a database breaks a rule of its format.
var ErrInvalid = errors.New("userdb: invalid")

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

// Encode returns the file of a database. It returns ErrInvalid for one that
// Decode would refuse.
func Encode(db DB) ([]byte, error) {
	if len(db.users) > MaxUsers {
		return nil, ErrInvalid
	}
	out := make([]byte, 0, LargestFile)
	out = append(out, magic...)
	out = binary.LittleEndian.AppendUint16(out, version)
	out = append(out, byte(len(db.users)))
	for i := range db.users {
		u := &db.users[i]
		if len(u.ID) > capability.MaxUserID || len(u.Protectors) > MaxProtectors {
			return nil, ErrInvalid
		}
		out = appendUser(out, u)
	}
	sum := sha256.Sum256(out)
	out = append(out, sum[:]...)
	if _, err := Decode(out); err != nil {
		return nil, ErrInvalid
	}
	return out, nil
}

func appendUser(out []byte, u *User) []byte {
	out = append(out, byte(len(u.ID)))
	out = append(out, u.ID...)
	out = append(out, u.Incarnation[:]...)
	flags := byte(0)
	if u.VaultCreated {
		flags |= flagVault
	}
	out = append(out, byte(u.State), flags)
	out = binary.LittleEndian.AppendUint64(out, u.NextProtector)
	out = append(out, byte(len(u.Protectors)))
	for i := range u.Protectors {
		p := &u.Protectors[i]
		out = binary.LittleEndian.AppendUint64(out, p.ID)
		out = append(out, byte(p.Kind), argonVersion)
		out = binary.LittleEndian.AppendUint32(out, p.Cost.MemoryKiB)
		out = binary.LittleEndian.AppendUint32(out, p.Cost.Passes)
		out = append(out, p.Cost.Lanes)
		out = append(out, p.Salt[:]...)
		out = append(out, p.Verifier[:]...)
	}
	return out
}

// Decode reads a file. Its only error is a *DamageError. What it accepts,
// Encode turns into the same bytes.
func Decode(file []byte) (DB, error) {
	r := reader{file: file}
	switch end := len(file) - checksumSize; {
	case len(file) > MaxFile:
		r.fail(MaxFile, "too long")
	case end < headerSize:
		r.fail(len(file), "too short")
	case string(file[:len(magic)]) != magic:
		r.fail(0, "magic")
	case binary.LittleEndian.Uint16(file[len(magic):]) != version:
		r.fail(len(magic), "version")
	case sha256.Sum256(file[:end]) != [checksumSize]byte(file[end:]):
		r.fail(end, "checksum")
	default:
		r.file, r.at = file[:end], len(magic)+2
	}
	var db DB
	count := r.u8()
	r.must(count <= MaxUsers, "count of users")
	for range count {
		if r.err != nil {
			break
		}
		after := ""
		if n := len(db.users); n > 0 {
			after = db.users[n-1].ID
		}
		db.users = append(db.users, r.user(after))
	}
	if r.err == nil && r.at != len(r.file) {
		r.fail(r.at, "bytes after the last user")
	}
	if r.err != nil {
		return DB{}, r.err
	}
	return db, nil
}

// reader takes fields off a file till the first fault, which it keeps.
type reader struct {
	file  []byte
	at    int // of the next field
	field int // of the last field, the place of its fault
	err   error
}

func (r *reader) fail(at int, reason string) {
	if r.err == nil {
		r.err = &DamageError{Offset: int64(at), Reason: reason}
	}
}

// must keeps a fault of the last field.
func (r *reader) must(ok bool, reason string) {
	if !ok {
		r.fail(r.field, reason)
	}
}

// noField stands for every field after a fault.
var noField [32]byte

func (r *reader) take(n int) []byte {
	if r.err == nil && len(r.file)-r.at < n {
		r.fail(r.at, "cut short")
	}
	if r.err != nil {
		return noField[:n]
	}
	r.field = r.at
	r.at += n
	return r.file[r.field:r.at]
}

func (r *reader) u8() byte    { return r.take(1)[0] }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

func (r *reader) user(after string) User {
	var u User
	size := int(r.u8())
	r.must(size >= 1 && size <= capability.MaxUserID, "length of a user id")
	if r.err != nil {
		return u
	}
	u.ID = string(r.take(size))
	r.must(capability.CheckUser(u.ID) == nil, "user id not canonical")
	r.must(u.ID > after, "users out of order")
	u.Incarnation = [IncarnationSize]byte(r.take(IncarnationSize))
	r.must(u.Incarnation != [IncarnationSize]byte{}, "incarnation")
	u.State = State(r.u8())
	r.must(u.State >= Creating && u.State <= Removing, "state")
	flags := r.u8()
	r.must(flags&^flagVault == 0 && (flags == 0 || u.State == Live), "flags")
	u.VaultCreated = flags&flagVault != 0
	u.NextProtector = r.u64()
	r.must(u.NextProtector >= 1, "next protector")
	count := int(r.u8())
	r.must(count <= MaxProtectors && (count > 0) == (u.State == Live), "count of protectors")
	for range count {
		if r.err != nil {
			break
		}
		u.Protectors = append(u.Protectors, r.protector(&u))
	}
	return u
}

func (r *reader) protector(u *User) Protector {
	var p Protector
	p.ID = r.u64()
	r.must(p.ID >= 1 && p.ID < u.NextProtector, "protector id")
	for i := range u.Protectors {
		r.must(u.Protectors[i].ID != p.ID, "protector id twice")
	}
	p.Kind = Kind(r.kindAfter(u))
	r.must(r.u8() == argonVersion, "Argon2 version")
	costAt := r.at
	p.Cost = Cost{MemoryKiB: r.u32(), Passes: r.u32(), Lanes: r.u8()}
	if p.Cost.Validate() != nil {
		r.fail(costAt, "Argon2id parameters")
	}
	p.Salt = [SaltSize]byte(r.take(SaltSize))
	p.Verifier = [VerifierSize]byte(r.take(VerifierSize))
	return p
}

func (r *reader) kindAfter(u *User) byte {
	least := byte(Password)
	if n := len(u.Protectors); n > 0 {
		least = byte(u.Protectors[n-1].Kind) + 1
	}
	kind := r.u8()
	r.must(kind >= least && kind <= byte(Recovery), "kind of protector")
	return kind
}
