package vault

import "encoding/binary"

// KeyID names an app's data key; keymintd makes it and it is opaque here.
type KeyID [16]byte

// RecordKind is what a record says.
type RecordKind uint8

// Kinds of record. keymintd binds Put and Delete into the ciphertext.
const (
	Put    RecordKind = 1 // a name has a value
	Delete RecordKind = 2 // a name has none any more
	Base   RecordKind = 3 // a file begins
)

// Record is one record of a segment's body.
type Record struct {
	Kind       RecordKind
	Key        KeyID
	Sequence   uint64
	Supersedes uint64 // sequence of the live record that this one replaces or deletes, 0 for none
	Usage      uint32 // bytes of name and value; in a Base: how many records follow in its batch
	Sealed     []byte // ciphertext under the app's data key
}

// Size is how many bytes the record takes in a body.
func (r Record) Size() int { return recordHeader + len(r.Sealed) }

// valid is the part of a record's rules that needs no neighbour.
func (r Record) valid() bool {
	switch r.Kind {
	case Put:
		return r.Usage >= 1 && r.Usage <= maxUsage && r.sealedOnce()
	case Delete:
		return r.Usage == 0 && r.Supersedes != 0 && r.sealedOnce()
	case Base:
		return r.Key == KeyID{} && r.Supersedes == 0 && len(r.Sealed) == 0
	}
	return false
}

func (r Record) sealedOnce() bool {
	return r.Sequence > 0 && r.Supersedes < r.Sequence && len(r.Sealed) > 0 && len(r.Sealed) <= MaxRecord
}

// EncodeBody answers the body that holds the records, padded to its bucket.
func EncodeBody(records []Record) ([]byte, error) {
	size := 0
	for _, r := range records {
		if !r.valid() {
			return nil, ErrBody
		}
		size += r.Size()
	}
	if size == 0 || size > MaxBody {
		return nil, ErrBody
	}
	b := make([]byte, 0, bucket(size))
	for _, r := range records {
		b = append(b, byte(r.Kind))
		b = append(b, r.Key[:]...)
		b = binary.LittleEndian.AppendUint64(b, r.Sequence)
		b = binary.LittleEndian.AppendUint64(b, r.Supersedes)
		b = binary.LittleEndian.AppendUint32(b, r.Usage)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Sealed)))
		b = append(b, r.Sealed...)
	}
	return b[:bucket(size)], nil
}

// DecodeBody reads a body. It accepts exactly what EncodeBody can produce;
// the answer does not alias b.
func DecodeBody(b []byte) ([]Record, error) {
	if len(b) > MaxBody || !isBucket(len(b)) {
		return nil, ErrBody
	}
	var records []Record
	at := 0
	for at < len(b) && b[at] != 0 {
		r, n := decodeRecord(b[at:])
		if n == 0 || !r.valid() {
			return nil, ErrBody
		}
		records = append(records, r)
		at += n
	}
	if at == 0 || bucket(at) != len(b) || !zeros(b[at:]) {
		return nil, ErrBody
	}
	return records, nil
}

// decodeRecord reads the record at the beginning of b; 0 means that b is short.
func decodeRecord(b []byte) (Record, int) {
	if len(b) < recordHeader {
		return Record{}, 0
	}
	n := recordHeader + int(binary.LittleEndian.Uint16(b[37:]))
	if len(b) < n {
		return Record{}, 0
	}
	return Record{
		Kind:       RecordKind(b[0]),
		Key:        KeyID(b[1:17]),
		Sequence:   binary.LittleEndian.Uint64(b[17:]),
		Supersedes: binary.LittleEndian.Uint64(b[25:]),
		Usage:      binary.LittleEndian.Uint32(b[33:]),
		Sealed:     append([]byte(nil), b[recordHeader:n]...),
	}, n
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
