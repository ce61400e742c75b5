package vault

import "crypto/sha256"

// Stretch is a run of a vault file: segments, or bytes that are none.
type Stretch struct {
	Offset   int64
	Length   int64
	Segments []Segment // none in a gap
	Reason   string    // why it is a gap, or why what it begins with does not follow; empty if all is well
}

// Gap says whether the bytes are no segments.
func (s Stretch) Gap() bool { return len(s.Segments) == 0 }

// Survey cuts a vault file into stretches, as far as that can be done without
// keys: where headers have right checksums, and each segment names the hash of
// the one before it. Bytes of the last segment of a stretch may be changed
// without showing; opens, if there are keys, says whether one is authentic. It
// changes nothing, and is for a file that replay has refused as well.
func Survey(data []byte, opens func(Segment) bool) []Stretch {
	w := surveyor{data: data, opens: opens}
	for at := 0; at < len(data); {
		at = w.step(at)
	}
	return w.found
}

type surveyor struct {
	data  []byte
	opens func(Segment) bool
	found []Stretch
	last  Header // of the segment before
	chain Hash   // of it
}

// step takes a segment or a gap in at that offset, and answers where it ends.
func (w *surveyor) step(at int) int {
	segment, header, err := w.at(at)
	if err == nil && w.opens != nil && !w.opens(segment) {
		err = ErrBody
	}
	if err != nil {
		end := w.next(at + 1)
		reason := "no segment"
		if err == ErrVersion {
			reason = "a segment of another version"
		} else if err == ErrBody {
			reason = "a segment that is not authentic"
		}
		w.found = append(w.found, Stretch{Offset: int64(at), Length: int64(end - at), Reason: reason})
		return end
	}
	end := at + HeaderSize + len(segment.Sealed)
	w.add(segment, header)
	w.last, w.chain = header, sha256.Sum256(w.data[at:end])
	return end
}

// add puts a segment behind the one before, or begins a stretch with it.
func (w *surveyor) add(segment Segment, header Header) {
	length := int64(HeaderSize + len(segment.Sealed))
	if n := len(w.found); n > 0 && !w.found[n-1].Gap() && header.Chain == w.chain && header.Sequence == w.last.Sequence+1 {
		s := &w.found[n-1]
		s.Segments = append(s.Segments, segment)
		s.Length += length
		return
	}
	reason := ""
	if len(w.found) > 0 {
		reason = "a segment that does not continue the one before"
	}
	w.found = append(w.found, Stretch{Offset: segment.Offset, Length: length, Segments: []Segment{segment}, Reason: reason})
}

// at reads the segment at an offset.
func (w *surveyor) at(at int) (Segment, Header, error) {
	h, err := DecodeHeader(w.data[at:])
	if err != nil {
		return Segment{}, h, err
	}
	body := at + HeaderSize
	end := body + int(h.Sealed)
	if h.Kind != KindSegment || end > len(w.data) {
		return Segment{}, h, ErrHeader
	}
	return Segment{Offset: int64(at), Header: w.data[at:body:body], Sealed: w.data[body:end:end]}, h, nil
}

// next is where the next segment begins, or the file ends.
func (w *surveyor) next(at int) int {
	for ; at < len(w.data); at++ {
		if w.data[at] != magicSegment[0] {
			continue
		}
		if segment, _, err := w.at(at); err == nil && (w.opens == nil || w.opens(segment)) {
			return at
		}
	}
	return len(w.data)
}
