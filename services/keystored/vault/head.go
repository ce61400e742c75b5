package vault

import "encoding/binary"

const headBody = 72 // bytes of a head's body before sealing

// Point is a place in a vault's history: the end of one segment.
type Point struct {
	Sequence uint64 // of that segment
	Batch    uint64 // of that segment
	Length   uint64 // of the file up to its end
	Chain    Hash   // of that segment
	Vault    ID     // whose history it is
}

// NewVault is the point before the first segment of a new vault.
func NewVault(id ID) Point { return Point{Chain: Hash(id), Vault: id} }

// Head answers the header and the body that a head saying this point consists
// of; the body is still to be sealed.
func (p Point) Head() (header [HeaderSize]byte, body []byte) {
	h := Header{Kind: KindHead, Sequence: p.Sequence, Batch: p.Batch, Sealed: headBody + SealOverhead}
	body = binary.LittleEndian.AppendUint64(make([]byte, 0, headBody), p.Length)
	body = append(body, p.Chain[:]...)
	return h.Encode(), append(body, p.Vault[:]...)
}

// HeadSize is the length of a head file.
const HeadSize = HeaderSize + headBody + SealOverhead

// SplitHead takes a head file apart: its header and its sealed body.
func SplitHead(file []byte) (header, sealed []byte, err error) {
	h, err := DecodeHeader(file)
	if err != nil {
		return nil, nil, err
	}
	if h.Kind != KindHead || len(file) != HeadSize {
		return nil, nil, ErrHead
	}
	return file[:HeaderSize], file[HeaderSize:], nil
}

// DecodeHead reads a head from its header and its opened body.
func DecodeHead(header, body []byte) (Point, error) {
	h, err := DecodeHeader(header)
	if err != nil {
		return Point{}, err
	}
	if h.Kind != KindHead || len(header) != HeaderSize || len(body) != headBody {
		return Point{}, ErrHead
	}
	p := Point{
		Sequence: h.Sequence,
		Batch:    h.Batch,
		Length:   binary.LittleEndian.Uint64(body),
		Chain:    Hash(body[8:]),
		Vault:    ID(body[40:]),
	}
	if !p.Vault.valid() || p.Length < HeaderSize+SealOverhead+256 || p.Length > MaxVault {
		return Point{}, ErrHead
	}
	return p, nil
}
