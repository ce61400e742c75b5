package vault

import (
	"errors"
	"testing"
)

// story is a vault of several batches, and what is known about each.
type story struct {
	data    []byte
	ends    []Point // after each batch
	places  []int64 // of each segment
	batches []int   // of each segment, counted from 0
}

// newStory writes a base batch and batches of two segments each.
func newStory(t testing.TB, batches int) story {
	var s story
	add := func(b *Batch, records []Record) {
		addAll(t, b, records)
		for i := range b.Segments() {
			s.places = append(s.places, b.Offset(i))
			s.batches = append(s.batches, len(s.ends))
		}
		s.data = append(s.data, file(b)...)
		s.ends = append(s.ends, b.End())
	}
	add(newFile(), []Record{base})
	for i := range batches {
		at := s.ends[len(s.ends)-1]
		n := uint64(2 * i)
		add(NewBatch(at), []Record{
			{Kind: Put, Key: keyA, Sequence: n + 1, Supersedes: n, Usage: 9, Sealed: make([]byte, MaxBody/2)},
			{Kind: Put, Key: keyA, Sequence: n + 2, Supersedes: n + 1, Usage: 9, Sealed: make([]byte, MaxBody/2)},
		})
	}
	return s
}

// segment answers which segment that byte is in.
func (s story) segment(at int) int {
	i := len(s.places) - 1
	for s.places[i] > int64(at) {
		i--
	}
	return i
}

// TestEveryFlippedByte changes one byte at a time. Before the head, and before
// a later batch, that is damage at the segment; in the newest batch beyond the
// head it is a torn tail, and everything older is still there.
func TestEveryFlippedByte(t *testing.T) {
	s := newStory(t, 3)
	head := s.ends[1]
	step := 1
	if testing.Short() {
		step = 97
	}
	for at := 0; at < len(s.data); at += step {
		s.data[at] ^= 0x40
		r, _, err := read(s.data, &head)
		s.data[at] ^= 0x40
		i := s.segment(at)
		if s.batches[i] == len(s.ends)-1 {
			if err != nil || !r.Torn || int64(r.End.Length) != s.places[i] {
				t.Fatalf("byte %d of the newest batch: torn %v at %d, %v", at, r.Torn, r.End.Length, err)
			}
			continue
		}
		var d *Damage
		if !errors.As(err, &d) || d.Offset != s.places[i] {
			t.Fatalf("byte %d: %v, want damage at %d", at, err, s.places[i])
		}
	}
}

// TestEveryCut cuts the file at each length.
func TestEveryCut(t *testing.T) {
	s := newStory(t, 3)
	head := s.ends[1]
	for n := range len(s.data) {
		r, _, err := read(s.data[:n], &head)
		if uint64(n) < head.Length {
			want := ErrDamaged
			if n > 0 && s.places[s.segment(n)] == int64(n) {
				want = ErrOlder
			}
			if !errors.Is(err, want) {
				t.Fatalf("cut to %d, before the head: %v, want %v", n, err, want)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut to %d: %v", n, err)
		}
		whole := n
		if i := s.segment(n); s.places[i] != int64(n) {
			whole = int(s.places[i])
		}
		if int(r.End.Length) != whole || r.Torn != (whole != n) {
			t.Fatalf("cut to %d: torn %v at %d, want %d", n, r.Torn, r.End.Length, whole)
		}
	}
}

// TestWritesOutOfOrder loses the first segment of the newest batch while the
// second reached the disk, and then has a later batch prove the loss.
func TestWritesOutOfOrder(t *testing.T) {
	s := newStory(t, 3)
	first := len(s.places) - 2
	lose := func(data []byte, segment int) []byte {
		data = append([]byte(nil), data...)
		clear(data[s.places[segment]:s.places[segment+1]])
		return data
	}
	head := s.ends[0]
	r, _, err := read(lose(s.data, first), &head)
	if err != nil || !r.Torn || int64(r.End.Length) != s.places[first] {
		t.Errorf("newest batch: torn %v at %d, %v", r.Torn, r.End.Length, err)
	}
	_, _, err = read(lose(s.data, first-2), &head)
	var d *Damage
	if !errors.As(err, &d) || d.Offset != s.places[first-2] {
		t.Errorf("older batch: %v, want damage at %d", err, s.places[first-2])
	}
}

// TestOldSegmentInTail has an authentic segment of an older batch, or a copy of
// one that is in place, after bad bytes: no crash does that.
func TestOldSegmentInTail(t *testing.T) {
	s := newStory(t, 2)
	head := s.ends[2]
	for _, i := range []int{0, 1, len(s.places) - 1} {
		end := len(s.data)
		if i+1 < len(s.places) {
			end = int(s.places[i+1])
		}
		data := append(append([]byte(nil), s.data...), make([]byte, 10)...)
		data = append(data, s.data[s.places[i]:end]...)
		var d *Damage
		if _, _, err := read(data, &head); !errors.As(err, &d) || d.Offset != int64(len(s.data)) {
			t.Errorf("segment %d again: %v", i, err)
		}
	}
}

func TestTailIsBounded(t *testing.T) {
	s := newStory(t, 1)
	head := s.ends[1]
	for extra, torn := range map[int]bool{MaxBatchBytes - 1: true, MaxBatchBytes: true, MaxBatchBytes + 1: false} {
		r, _, err := read(append(append([]byte(nil), s.data...), make([]byte, extra)...), &head)
		if torn != (err == nil && r.Torn) || !torn && !errors.Is(err, ErrDamaged) {
			t.Errorf("tail of %d: torn %v, %v", extra, r.Torn, err)
		}
	}
}

func TestVaultIsBounded(t *testing.T) {
	r := NewReplay(make([]byte, MaxVault+1), &Point{Sequence: 1, Batch: 1, Length: 368})
	if _, more := r.Next(); more {
		t.Error("a file that is too long is read")
	}
	var d *Damage
	if _, err := r.Result(); !errors.As(err, &d) || d.Offset != MaxVault {
		t.Errorf("%v", err)
	}
}

// TestForgedHeadersCost fills a tail with headers that have right checksums:
// each costs one attempt to open, and no more.
func TestForgedHeadersCost(t *testing.T) {
	s := newStory(t, 1)
	head := s.ends[1]
	forged := Header{Kind: KindSegment, Sequence: 9, Batch: 9, Start: 0, Sealed: 296}.Encode()
	data := append([]byte(nil), s.data...)
	for range 1000 {
		data = append(data, forged[:]...)
	}
	r, opened, err := read(data, &head)
	if err != nil || !r.Torn || opened > 1000+len(s.places) {
		t.Errorf("torn %v, %d opened, %v", r.Torn, opened, err)
	}
}

func TestBatchRecordsAreBounded(t *testing.T) {
	for n, ok := range map[int]bool{MaxBatchRecords - 1: true, MaxBatchRecords: true, MaxBatchRecords + 1: false} {
		s := newStory(t, 0)
		var records []Record
		for i := range n {
			records = append(records, Record{Kind: Put, Key: keyA, Sequence: uint64(i + 1), Usage: 1, Sealed: []byte{1}})
		}
		b := NewBatch(s.ends[0])
		addAll(t, b, records)
		_, _, err := read(append(s.data, file(b)...), &s.ends[0])
		if (err == nil) != ok {
			t.Errorf("%d records: %v", n, err)
		}
	}
}

// FuzzReplay says arbitrary things about arbitrary bytes.
func FuzzReplay(f *testing.F) {
	for _, v := range readVectors(f) {
		if v.kind == "vault" && v.head != nil {
			f.Add(v.data, v.head, uint64(0))
		}
	}
	f.Fuzz(func(t *testing.T, data, headFile []byte, lies uint64) {
		var head *Point
		if p, err := openHead(headFile); err == nil {
			head = &p
		}
		r := NewReplay(data, head)
		for range 2 * len(data) / HeaderSize {
			s, more := r.Next()
			if !more {
				break
			}
			if len(s.Header) != HeaderSize || len(s.Sealed) < SealOverhead {
				t.Fatal("a segment of an impossible size")
			}
			lie := lies&1 == 1
			lies = lies>>1 | lies<<63
			if body, err := open(s.Header, s.Sealed); err == nil && !lie {
				r.Opened(body)
			} else if lie {
				r.Opened(s.Sealed[24 : len(s.Sealed)-16])
			} else {
				r.Unauthentic()
			}
		}
		if _, more := r.Next(); more {
			t.Fatal("the replay does not end")
		}
		if result, err := r.Result(); err == nil && result.End.Length > uint64(len(data)) {
			t.Fatal("a vault longer than its file")
		}
	})
}
