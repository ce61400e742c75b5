// Package bootrec keeps the boot record: one small file at the top of the
// disk, beside the directory that statefsd serves, which says how often the
// system has booted there and which source of chance it had.
//
// It calls the disk alone. It never makes a record anew because the old one is
// missing or can't be read: a disk that has state and no record is damaged.
//
// The file "boot" has 20 bytes, integers little-endian:
//
//	offset  size  field
//	0       4     magic, "NXBT"
//	4       2     version, 1
//	6       1     mode: 1 system, 2 insecure_deterministic
//	7       1     reserved, 0
//	8       8     boot count, 1 at the first boot
//	16      4     CRC-32C (Castagnoli) of bytes 0 to 15
//
// The checksum detects damage, not malice. It is replaced as a whole at every
// boot, so that after a power cut there is the old record or the new one.
package bootrec

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strconv"

	"nexus.internal/os/services/statefsd/disk"
)

// File is the record's path on the disk, StateDir the directory beside it that
// statefsd serves.
const (
	File     = "boot"
	StateDir = "state"
)

// Size is the length of the record, in bytes.
const Size = 20

// Offsets of the fields.
const (
	atVersion  = 4
	atMode     = 6
	atReserved = 7
	atCount    = 8
	atChecksum = 16
)

const (
	magic   = "NXBT"
	version = 1
)

// Mode says where a system has its chance from.
type Mode uint8

// The modes. A disk belongs to the one that made it.
const (
	System   Mode = 1
	Insecure Mode = 2
)

// String is the name that package rngd gives the mode.
func (m Mode) String() string {
	switch m {
	case System:
		return "system"
	case Insecure:
		return "insecure_deterministic"
	}
	return "unknown mode"
}

// ParseMode is the inverse of String for the two modes.
func ParseMode(name string) (Mode, error) {
	for _, m := range []Mode{System, Insecure} {
		if m.String() == name {
			return m, nil
		}
	}
	return 0, ErrMode
}

// What can be wrong.
var (
	// ErrMode: the record was made in another mode.
	ErrMode = errors.New("the state directory was made in another mode of chance")
	// ErrDamaged: the record isn't what was written. The error is a *Damage.
	ErrDamaged = errors.New("the boot record is damaged")
	// ErrCount: a boot count that can't be: 0, which is that of no boot.
	ErrCount = errors.New("not a boot count")
)

// Damage says what is wrong with the record and where.
type Damage struct {
	File   string
	Offset int64 // in bytes, from the file's start
	What   string
}

func (d *Damage) Error() string {
	return d.File + " is damaged at offset " + strconv.FormatInt(d.Offset, 10) + ": " + d.What
}

func (d *Damage) Unwrap() error { return ErrDamaged }

func damage(offset int64, what string) error {
	return &Damage{File: File, Offset: offset, What: what}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode makes the bytes of a record.
func Encode(mode Mode, count uint64) ([]byte, error) {
	if mode != System && mode != Insecure {
		return nil, ErrMode
	}
	if count == 0 {
		return nil, ErrCount
	}
	p := make([]byte, 0, Size)
	p = append(p, magic...)
	p = binary.LittleEndian.AppendUint16(p, version)
	p = append(p, byte(mode), 0)
	p = binary.LittleEndian.AppendUint64(p, count)
	return binary.LittleEndian.AppendUint32(p, crc32.Checksum(p, castagnoli)), nil
}

// Decode is the inverse of Encode. Its error is a *Damage.
func Decode(p []byte) (Mode, uint64, error) {
	if len(p) < Size {
		return 0, 0, damage(int64(len(p)), "it ends here")
	}
	if len(p) > Size {
		return 0, 0, damage(Size, "more bytes than a record has")
	}
	mode, count := Mode(p[atMode]), binary.LittleEndian.Uint64(p[atCount:])
	switch {
	case string(p[:atVersion]) != magic:
		return 0, 0, damage(0, "not a boot record")
	case binary.LittleEndian.Uint32(p[atChecksum:]) != crc32.Checksum(p[:atChecksum], castagnoli):
		return 0, 0, damage(atChecksum, "the checksum is wrong")
	case binary.LittleEndian.Uint16(p[atVersion:]) != version:
		return 0, 0, damage(atVersion, "an unknown version")
	case mode != System && mode != Insecure:
		return 0, 0, damage(atMode, "an unknown mode")
	case p[atReserved] != 0:
		return 0, 0, damage(atReserved, "a reserved byte is set")
	case count == 0:
		return 0, 0, damage(atCount, "a boot count of 0")
	}
	return mode, count, nil
}

// Load answers how often the system has booted from this disk. first means
// never: there is no record, and nothing else either. It changes nothing.
func Load(d disk.Disk, mode Mode) (count uint64, first bool, err error) {
	p := make([]byte, Size+1) // one more, to see that there is no more
	n, err := d.ReadAt(File, p, 0)
	if errors.Is(err, disk.ErrNotExist) {
		err = checkEmpty(d)
		return 0, err == nil, err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, false, err
	}
	made, count, err := Decode(p[:n])
	if err != nil {
		return 0, false, err
	}
	if made != mode {
		return 0, false, ErrMode
	}
	return count, false, nil
}

// checkEmpty makes sure that a disk without a record has no state either.
func checkEmpty(d disk.Disk) error {
	paths, err := d.List(StateDir + "/")
	if err != nil {
		return err
	}
	if len(paths) > 0 {
		return damage(0, "it is missing, and there is state beside it")
	}
	return nil
}

// Commit makes the record durable.
func Commit(d disk.Disk, mode Mode, count uint64) error {
	p, err := Encode(mode, count)
	if err != nil {
		return err
	}
	return d.Replace(File, p)
}
