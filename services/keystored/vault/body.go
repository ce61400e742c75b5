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
	Drop   RecordKind = 7 // an app has no names any more
)

// How a Put is written that is large, stale or both; none is a kind of Record.
const (
	largePut      RecordKind = 4
	stalePut      RecordKind = 5
	staleLargePut RecordKind = 6
)

// Record is one record of a segment's body.
type Record struct {
	Kind       RecordKind
	Stale      bool  // of a Put: salvaged from a vault of which something was lost, so that it may not be the newest of its name
	Key        KeyID // of a Base: the first bytes of the vault's id
	Sequence   uint64
	Supersedes uint64 // sequence of the live record that this one replaces or deletes, 0 for none
	Usage      uint32 // bytes of name and value; in a Base: how many records follow in its batch; in a Drop: how many it ends
	Sealed     []byte // ciphertext under the app's data key
}

// Size is how many bytes the record takes in a body.
func (r Record) Size() int {
	if r.large() {
		return largeHeader + len(r.Sealed)
	}
	return recordHeader + len(r.Sealed)
}

// large says whether the record needs the longer form, and a segment of its own.
func (r Record) large() bool { return len(r.Sealed) > MaxRecord }

// segment is at most how many bytes the record adds to a batch.
func (r Record) segment() int {
	if r.large() {
		return HeaderSize + SealOverhead + bucket(r.Size())
	}
	return MaxSegment
}

// valid is the part of a record's rules that needs no neighbour.
func (r Record) valid() bool {
	switch r.Kind {
	case Put:
		if r.Stale && r.Supersedes != 0 {
			return false
		}
		most, length := uint32(maxUsage), MaxRecord
		if r.large() {
			most, length = maxLargeUsage, MaxLargeRecord
		}
		return r.Usage >= 1 && r.Usage <= most && r.sealedOnce(length)
	case Delete:
		return r.Usage == 0 && r.Supersedes != 0 && !r.Stale && r.sealedOnce(MaxRecord)
	case Base:
		return r.Key != KeyID{} && r.alone()
	case Drop:
		return r.Usage >= 1 && r.Sequence > 0 && r.alone()
	}
	return false
}

// alone says that the record has no ciphertext and is about no other record.
func (r Record) alone() bool { return r.Supersedes == 0 && len(r.Sealed) == 0 && !r.Stale }

// form is the kind that the record has on the disk.
func (r Record) form() RecordKind {
	switch {
	case r.Stale && r.large():
		return staleLargePut
	case r.Stale:
		return stalePut
	case r.large():
		return largePut
	}
	return r.Kind
}

func (r Record) sealedOnce(most int) bool {
	return r.Sequence > 0 && r.Supersedes < r.Sequence && len(r.Sealed) > 0 && len(r.Sealed) <= most
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
	if size == 0 || size > MaxBody && len(records) > 1 {
		return nil, ErrBody
	}
	b := make([]byte, 0, bucket(size))
	for _, r := range records {
		b = r.append(b)
	}
	return b[:bucket(size)], nil
}

// append encodes the record.
func (r Record) append(b []byte) []byte {
	b = append(b, byte(r.form()))
	b = append(b, r.Key[:]...)
	b = binary.LittleEndian.AppendUint64(b, r.Sequence)
	b = binary.LittleEndian.AppendUint64(b, r.Supersedes)
	b = binary.LittleEndian.AppendUint32(b, r.Usage)
	if r.large() {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Sealed)))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Sealed)))
	}
	return append(b, r.Sealed...)
}

// DecodeBody reads a body. It accepts exactly what EncodeBody can produce;
// the answer does not alias b.
func DecodeBody(b []byte) ([]Record, error) {
	if len(b) > MaxLargeBody || !isBucket(len(b)) {
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
	if at == 0 || at > MaxBody && len(records) > 1 || bucket(at) != len(b) || !zeros(b[at:]) {
		return nil, ErrBody
	}
	return records, nil
}

// decodeRecord reads the record at the beginning of b; 0 means that b is short,
// or that the record is not in the one form that it has.
func decodeRecord(b []byte) (Record, int) {
	form := RecordKind(b[0])
	large, stale := form == largePut || form == staleLargePut, form == stalePut || form == staleLargePut
	if len(b) < recordHeader || large && len(b) < largeHeader {
		return Record{}, 0
	}
	kind, header, length := form, recordHeader, int64(binary.LittleEndian.Uint16(b[37:]))
	if large {
		header, length = largeHeader, int64(binary.LittleEndian.Uint32(b[37:]))
	}
	if large || stale {
		kind = Put
	}
	if int64(len(b)) < int64(header)+length || (length > MaxRecord) != (header == largeHeader) {
		return Record{}, 0
	}
	n := header + int(length)
	return Record{
		Kind:       kind,
		Stale:      stale,
		Key:        KeyID(b[1:17]),
		Sequence:   binary.LittleEndian.Uint64(b[17:]),
		Supersedes: binary.LittleEndian.Uint64(b[25:]),
		Usage:      binary.LittleEndian.Uint32(b[33:]),
		Sealed:     append([]byte(nil), b[header:n]...),
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
