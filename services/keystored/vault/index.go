package vault

import (
	"bytes"
	"maps"
	"slices"
)

// Live is a record that holds a secret now.
type Live struct {
	Record
	Offset int64 // of its segment in the file
}

// Usage is what somebody stores.
type Usage struct {
	Secrets uint64
	Bytes   uint64 // names and values
}

// Index is what a vault holds: its live records, and what they use per app and
// in sum. It knows no names.
type Index struct {
	live  map[uint64]Live
	keys  map[KeyID]Usage
	total Usage
	bytes uint64 // of live records in the file
	last  uint64 // highest sequence ever used
}

// NewIndex answers the index of an empty vault.
func NewIndex() *Index {
	return &Index{live: make(map[uint64]Live), keys: make(map[KeyID]Usage)}
}

// Last answers the highest record sequence ever used in the vault.
func (x *Index) Last() uint64 { return x.last }

// Total answers what all apps use together.
func (x *Index) Total() Usage { return x.total }

// Usage answers what the app of that key uses.
func (x *Index) Usage(key KeyID) Usage { return x.keys[key] }

// Live answers the live record of that sequence.
func (x *Index) Live(sequence uint64) (Live, bool) {
	l, ok := x.live[sequence]
	return l, ok
}

// Sequences answers the live records of one app, ascending.
func (x *Index) Sequences(key KeyID) []uint64 {
	var own []uint64
	for sequence, l := range x.live {
		if l.Key == key {
			own = append(own, sequence)
		}
	}
	slices.Sort(own)
	return own
}

// Keys answers the apps that have live records, in order.
func (x *Index) Keys() []KeyID {
	return slices.SortedFunc(maps.Keys(x.keys), func(a, b KeyID) int { return bytes.Compare(a[:], b[:]) })
}

// Salvage takes in a record of a vault of which some may be lost, in the order of
// sequences of the segments: what it supersedes need not be there. What was before
// a base record, a compaction has left out or copied. It must not be used for a
// vault that is to be written.
func (x *Index) Salvage(r Record, offset int64) {
	if r.Kind == Base {
		*x = *NewIndex()
		x.last = r.Sequence
		return
	}
	x.end(r.Sequence) // Twice only if somebody has mixed two histories.
	x.add(r, offset)
}

// Worn says whether a file of that length has so much garbage that it should
// be compacted.
func (x *Index) Worn(length uint64) bool {
	return length > CompactAbove && length-min(x.bytes, length) > x.bytes
}

// Snapshot answers what the first batch of a compacted file holds: the base
// record of the vault with that id and every live record as a copy that
// supersedes nothing.
func (x *Index) Snapshot(id ID) []Record {
	records := []Record{{Kind: Base, Key: id.Short(), Sequence: x.last, Usage: uint32(len(x.live))}}
	for _, sequence := range slices.Sorted(maps.Keys(x.live)) {
		r := x.live[sequence].Record
		r.Supersedes = 0
		records = append(records, r)
	}
	return records
}

// Moved notes that the segment with these records of a snapshot is at offset now.
func (x *Index) Moved(records []Record, offset int64) {
	for _, r := range records {
		if l, ok := x.live[r.Sequence]; ok && r.Kind == Put {
			l.Offset = offset
			x.live[r.Sequence] = l
		}
	}
}

// check answers why r may not follow, or "".
func (x *Index) check(r Record) string {
	if r.Kind == Base {
		return "a base record within a file"
	}
	if r.Sequence <= x.last {
		return "a record sequence that does not ascend"
	}
	if r.Kind == Drop && uint64(r.Usage) != x.keys[r.Key].Secrets {
		return "a record that ends another number of its app's"
	}
	return x.checkSuperseded(r)
}

func (x *Index) checkSuperseded(r Record) string {
	if r.Supersedes == 0 {
		return ""
	}
	if old, ok := x.live[r.Supersedes]; !ok || old.Key != r.Key {
		return "a record that supersedes none of its app"
	}
	return ""
}

// add makes r part of the index. It must have passed check.
func (x *Index) add(r Record, offset int64) {
	x.end(r.Supersedes)
	if r.Kind == Drop {
		for _, sequence := range x.Sequences(r.Key) {
			x.end(sequence)
		}
	}
	if r.Kind == Put {
		x.account(r, 1)
		x.live[r.Sequence] = Live{Record: r, Offset: offset}
	}
	x.last = max(x.last, r.Sequence)
}

// end takes the live record of that sequence, if there is one, out of the index.
func (x *Index) end(sequence uint64) {
	if old, ok := x.live[sequence]; ok {
		x.account(old.Record, -1)
		delete(x.live, sequence)
	}
}

// account adds r to the sums n times; n is 1 or -1.
func (x *Index) account(r Record, n int) {
	u := x.keys[r.Key]
	for _, sum := range []*Usage{&u, &x.total} {
		sum.Secrets += uint64(n)
		sum.Bytes += uint64(n * int(r.Usage))
	}
	x.bytes += uint64(n * r.Size())
	if u.Secrets == 0 {
		delete(x.keys, r.Key)
	} else {
		x.keys[r.Key] = u
	}
}
