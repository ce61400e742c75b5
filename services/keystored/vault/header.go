package vault

import (
	"encoding/binary"
	"hash/crc32"
)

// Kind is what a header belongs to.
type Kind uint8

// Kinds of header.
const (
	KindSegment Kind = iota + 1 // part of vault.kv
	KindHead                    // vault.head
)

const version = 2

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	magicSegment = [4]byte{'N', 'X', 'V', 'S'}
	magicHead    = [4]byte{'N', 'X', 'V', 'H'}
)

// Hash is SHA-256 of a whole segment.
type Hash [32]byte

// ID names one vault, and no other that its user has had or will have. It is
// random, and stands where segment 1 would have the hash of the one before.
type ID Hash

// Short is the part of the id that a base record has room for.
func (id ID) Short() KeyID { return KeyID(id[:len(KeyID{})]) }

// valid says whether the id can be told from none.
func (id ID) valid() bool { return id.Short() != KeyID{} }

// Header is what stands in clear before a sealed body.
type Header struct {
	Kind     Kind
	Sequence uint64 // of the segment
	Batch    uint64 // number of its batch
	Start    uint64 // file offset at which the batch begins; 0 in a head
	Sealed   uint32 // bytes that follow the header
	Chain    Hash   // of the previous segment; the vault's id in segment 1; zeros in a head
}

// Encode answers the header's bytes.
func (h Header) Encode() [HeaderSize]byte {
	var b [HeaderSize]byte
	magic := magicSegment
	if h.Kind == KindHead {
		magic = magicHead
	}
	copy(b[0:], magic[:])
	binary.LittleEndian.PutUint16(b[4:], version)
	binary.LittleEndian.PutUint64(b[8:], h.Sequence)
	binary.LittleEndian.PutUint64(b[16:], h.Batch)
	binary.LittleEndian.PutUint64(b[24:], h.Start)
	binary.LittleEndian.PutUint32(b[32:], h.Sealed)
	copy(b[36:], h.Chain[:])
	binary.LittleEndian.PutUint32(b[68:], crc32.Checksum(b[:68], castagnoli))
	return b
}

// DecodeHeader reads the header at the beginning of b. It accepts exactly what
// Encode can produce for a segment or head that could exist: ErrVersion for a
// right checksum under another version, ErrHeader for everything else.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, ErrHeader
	}
	b = b[:HeaderSize]
	var h Header
	switch [4]byte(b) {
	case magicSegment:
		h.Kind = KindSegment
	case magicHead:
		h.Kind = KindHead
	default:
		return Header{}, ErrHeader
	}
	if binary.LittleEndian.Uint32(b[68:]) != crc32.Checksum(b[:68], castagnoli) {
		return Header{}, ErrHeader
	}
	if binary.LittleEndian.Uint16(b[4:]) != version {
		return Header{}, ErrVersion
	}
	if binary.LittleEndian.Uint16(b[6:]) != 0 {
		return Header{}, ErrHeader
	}
	h.Sequence = binary.LittleEndian.Uint64(b[8:])
	h.Batch = binary.LittleEndian.Uint64(b[16:])
	h.Start = binary.LittleEndian.Uint64(b[24:])
	h.Sealed = binary.LittleEndian.Uint32(b[32:])
	h.Chain = Hash(b[36:68])
	if !h.plausible() {
		return Header{}, ErrHeader
	}
	return h, nil
}

// plausible is the part of a header's rules that needs no neighbour.
func (h Header) plausible() bool {
	if h.Sequence == 0 || h.Batch == 0 || h.Batch > h.Sequence || h.Sealed < SealOverhead {
		return false
	}
	body := int(h.Sealed - SealOverhead)
	if h.Kind == KindHead {
		return body == headBody && h.Start == 0 && h.Chain == Hash{}
	}
	if h.Sequence == 1 && (h.Start != 0 || !ID(h.Chain).valid()) {
		return false
	}
	return h.Start < MaxVault && body <= MaxLargeBody && isBucket(body)
}

// isBucket says whether a body may have this length.
func isBucket(n int) bool { return n > 0 && bucket(n) == n }

// bucket is the smallest allowed length of a body that holds n bytes.
func bucket(n int) int {
	switch {
	case n <= 256:
		return 256
	case n <= 512:
		return 512
	}
	return (n + 1023) &^ 1023
}
