package vault

import "crypto/sha256"

// Group cuts records into runs that each fit one segment. A large record has
// one to itself.
func Group(records []Record) [][]Record {
	var groups [][]Record
	from, size := 0, 0
	for i, r := range records {
		if i > from && size+r.Size() > MaxBody {
			groups = append(groups, records[from:i])
			from, size = i, 0
		}
		size += r.Size()
	}
	if from < len(records) {
		groups = append(groups, records[from:])
	}
	return groups
}

// Batch builds the segments that one sync will make durable. For each body in
// turn: seal it with the header that Header answers, then Add both.
type Batch struct {
	start    uint64
	number   uint64
	end      Point
	segments [][]byte
	offsets  []int64
}

// NewBatch begins the batch that follows p in the same file.
func NewBatch(p Point) *Batch {
	return &Batch{start: p.Length, number: p.Batch + 1, end: p}
}

// NewFile begins the first batch of a file that continues the history after p:
// a compaction's, or a new vault's after NewVault.
func NewFile(p Point) *Batch {
	p.Length = 0
	return NewBatch(p)
}

// Header answers the header under which the next body is to be sealed.
func (b *Batch) Header(body []byte) []byte {
	h := Header{
		Kind:     KindSegment,
		Sequence: b.end.Sequence + 1,
		Batch:    b.number,
		Start:    b.start,
		Sealed:   uint32(len(body) + SealOverhead),
		Chain:    b.end.Chain,
	}.Encode()
	return h[:]
}

// Add appends a segment. It refuses one whose sealed body is not as long as
// the header says.
func (b *Batch) Add(header, sealed []byte) error {
	h, err := DecodeHeader(header)
	if err != nil {
		return err
	}
	if int(h.Sealed) != len(sealed) {
		return ErrBody
	}
	segment := make([]byte, 0, len(header)+len(sealed))
	segment = append(append(segment, header...), sealed...)
	b.segments = append(b.segments, segment)
	b.offsets = append(b.offsets, int64(b.end.Length))
	b.end = Point{
		Sequence: h.Sequence,
		Batch:    h.Batch,
		Length:   b.end.Length + uint64(len(segment)),
		Chain:    sha256.Sum256(segment),
		Vault:    b.end.Vault,
	}
	return nil
}

// Segments answers the whole segments, in order.
func (b *Batch) Segments() [][]byte { return b.segments }

// Offset answers where segment i is in the file.
func (b *Batch) Offset(i int) int64 { return b.offsets[i] }

// End answers the point that the vault is at once the batch is durable.
func (b *Batch) End() Point { return b.end }
