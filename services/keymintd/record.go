package keymintd

import (
	"encoding/binary"

	"nexus.internal/os/capability"
	"nexus.internal/os/services/secret"
)

const (
	recordVersion = 1
	recordHeader  = 4 // bytes before name and value
	leastBucket   = 64
	maxKind       = 255
)

// recordBucket is the padded length of n bytes of a record.
func recordBucket(n int) int {
	for size := leastBucket; size < maxRecordPlain; size *= 2 {
		if n <= size {
			return size
		}
	}
	return maxRecordPlain
}

// recordPlace is what a record is bound to: moved to another place it does not
// open.
type recordPlace struct {
	owner
	app      string
	sequence uint64
	kind     uint8
}

func (p recordPlace) ad() []byte {
	return tuple([]byte("nexus record v1"), []byte(p.user), p.incarnation[:], []byte(p.app), u64(p.sequence), []byte{p.kind})
}

// encodePlain pads name and value to a bucket. name must be canonical and both
// within their limits.
func encodePlain(name string, value []byte) *secret.Bytes {
	plain := secret.New(recordBucket(recordHeader + len(name) + len(value)))
	b := plain.Expose()
	binary.LittleEndian.PutUint16(b, uint16(len(name)))
	binary.LittleEndian.PutUint16(b[2:], uint16(len(value)))
	n := recordHeader + copy(b[recordHeader:], name)
	copy(b[n:], value)
	return plain
}

// decodePlain accepts exactly what encodePlain makes. value is a part of b.
func decodePlain(b []byte) (name string, value []byte, err error) {
	if len(b) < leastBucket || len(b) > maxRecordPlain {
		return "", nil, errLayout
	}
	end := recordHeader + int(binary.LittleEndian.Uint16(b))
	full := end + int(binary.LittleEndian.Uint16(b[2:]))
	if full > len(b) || full-end > MaxValue || recordBucket(full) != len(b) || !zero(b[full:]) {
		return "", nil, errLayout
	}
	name = string(b[recordHeader:end])
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
	b[0] = recordVersion
	return keys.seal(b, c, place.ad(), plain.Expose())
}

// openRecord is its inverse. The value is a copy, the caller's to wipe. The
// error is errLayout or errNotAuthentic.
func openRecord(keys *sealer, place recordPlace, record []byte) (name string, value []byte, err error) {
	if len(record) < 1+Overhead+leastBucket || len(record) > MaxRecord || record[0] != recordVersion {
		return "", nil, errLayout
	}
	plain, err := keys.open(place.ad(), record[1:])
	if err != nil {
		return "", nil, err
	}
	defer plain.Wipe()
	name, value, err = decodePlain(plain.Expose())
	return name, append([]byte(nil), value...), err
}

// segmentAD binds a segment's body to its header and to the user.
func segmentAD(of owner, header []byte) []byte {
	return tuple([]byte("nexus segment v1"), []byte(of.user), of.incarnation[:], header)
}
