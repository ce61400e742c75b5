package keymintd

import (
	"encoding/binary"

	"nexus.internal/os/capability"
	"nexus.internal/os/services/secret"
)

// A record whose value has more than MaxValue bytes is a long one, of version 2:
// 16 bits cannot say how long it may be. No other record is.
const (
	recordVersion = 1
	recordHeader  = 4 // bytes before name and value
	leastBucket   = 64

	longVersion = 2
	longHeader  = 6
	leastLong   = 8192 // bytes of the smallest bucket of a long record

	maxKind = 255
)

// recordBucket is the padded length of n bytes of a record.
func recordBucket(n int) int { return bucketOf(n, leastBucket, maxRecordPlain) }

// longBucket is that of n bytes of a long record.
func longBucket(n int) int { return bucketOf(n, leastLong, maxLongPlain) }

func bucketOf(n, least, most int) int {
	for size := least; size < most; size *= 2 {
		if n <= size {
			return size
		}
	}
	return most
}

// recordPlace is what a record is bound to: moved to another place it does not
// open.
type recordPlace struct {
	owner
	app      string
	sequence uint64
	kind     uint8
}

// ad names the version as well, so that a record of one is none of the other.
func (p recordPlace) ad(version uint8) []byte {
	label := "nexus record v1"
	if version == longVersion {
		label = "nexus record v2"
	}
	return tuple([]byte(label), []byte(p.user), p.incarnation[:], []byte(p.app), u64(p.sequence), []byte{p.kind})
}

// versionOf is the version of the record that holds a value.
func versionOf(value []byte) uint8 {
	if len(value) > MaxValue {
		return longVersion
	}
	return recordVersion
}

// encodePlain pads name and value to a bucket. name must be canonical and both
// within their limits.
func encodePlain(name string, value []byte) *secret.Bytes {
	var plain *secret.Bytes
	var n int
	if versionOf(value) == longVersion {
		plain = secret.New(longBucket(longHeader + len(name) + len(value)))
		n = longHeader
		binary.LittleEndian.PutUint32(plain.Expose()[2:], uint32(len(value)))
	} else {
		plain = secret.New(recordBucket(recordHeader + len(name) + len(value)))
		n = recordHeader
		binary.LittleEndian.PutUint16(plain.Expose()[2:], uint16(len(value)))
	}
	b := plain.Expose()
	binary.LittleEndian.PutUint16(b, uint16(len(name)))
	n += copy(b[n:], name)
	copy(b[n:], value)
	return plain
}

// decodePlain accepts exactly what encodePlain makes of that version. value is a
// part of b.
func decodePlain(version uint8, b []byte) (name string, value []byte, err error) {
	if len(b) < leastBucket || len(b) > maxLongPlain {
		return "", nil, errLayout
	}
	start, n, bucket := recordHeader, int64(binary.LittleEndian.Uint16(b[2:])), recordBucket
	if version == longVersion {
		start, n, bucket = longHeader, int64(binary.LittleEndian.Uint32(b[2:])), longBucket
	}
	end := start + int(binary.LittleEndian.Uint16(b))
	if n > int64(len(b)-end) || n > MaxLongValue || (n > MaxValue) != (version == longVersion) {
		return "", nil, errLayout
	}
	full := end + int(n)
	if bucket(full) != len(b) || !zero(b[full:]) {
		return "", nil, errLayout
	}
	name = string(b[start:end])
	if capability.CheckName(name) != nil {
		return "", nil, errLayout
	}
	return name, b[end:full], nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// sealRecord encrypts one record under an app's record keys.
func sealRecord(keys *sealer, c *chance, place recordPlace, name string, value []byte) []byte {
	plain := encodePlain(name, value)
	defer plain.Wipe()
	b := make([]byte, 1, 1+Overhead+plain.Len())
	b[0] = versionOf(value)
	return keys.seal(b, c, place.ad(b[0]), plain.Expose())
}

// openRecord is its inverse. The value is a copy, the caller's to wipe. The
// error is errLayout or errNotAuthentic.
func openRecord(keys *sealer, place recordPlace, record []byte) (name string, value []byte, err error) {
	switch {
	case len(record) == 0:
		return "", nil, errLayout
	case record[0] == recordVersion && within(len(record), 1+Overhead+leastBucket, MaxRecord):
	case record[0] == longVersion && within(len(record), 1+Overhead+leastLong, MaxLong):
	default:
		return "", nil, errLayout
	}
	version := record[0]
	plain, err := keys.open(place.ad(version), record[1:])
	if err != nil {
		return "", nil, err
	}
	defer plain.Wipe()
	name, value, err = decodePlain(version, plain.Expose())
	return name, append([]byte(nil), value...), err
}

// segmentAD binds a segment's body to its header and to the user.
func segmentAD(of owner, header []byte) []byte {
	return tuple([]byte("nexus segment v1"), []byte(of.user), of.incarnation[:], header)
}
