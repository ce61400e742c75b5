package vault

import "crypto/sha256"

// Replay reads a vault file. Next answers the segment whose body is wanted;
// its caller says Opened with the body, or Unauthentic. When Next answers
// false, Result has the outcome. It changes nothing, and its memory is bounded
// by the file's.
type Replay struct {
	data []byte
	head *Point // nil: only a new vault's first segment is accepted

	index *Index
	end   Point  // after the last good segment
	start uint64 // of its batch
	count int    // records in its batch
	since int    // records beyond the head

	vault     ID // as the head says, or the file's first segment without one
	baseBatch uint64
	baseLast  uint64 // highest sequence of the base
	missing   uint32 // records of the base batch that did not come yet
	covered   bool   // the head is satisfied

	want   Segment
	header Header
	bad    int64 // offset of the first bytes that are no authentic segment, -1 for none
	search int   // where to look for later segments next
	done   bool
	err    error
}

const anotherVault = "a segment of another vault"

// Segment is a part of the file whose body has to be opened.
type Segment struct {
	Offset int64
	Header []byte // associated data
	Sealed []byte
}

// Result is a vault that was read.
type Result struct {
	Index *Index
	End   Point // where the next batch goes
	Torn  bool  // bytes from End.Length on are a torn tail
	Since int   // records beyond the head, at least HeadEvery where nobody knows
}

// NewReplay begins to read a vault file whose head says head. Without a head
// nothing but a new vault's first segment is accepted. The replay keeps data.
func NewReplay(data []byte, head *Point) *Replay {
	r := &Replay{data: data, head: head, index: NewIndex(), bad: -1}
	if head != nil {
		r.vault = head.Vault
	}
	if len(data) > MaxVault {
		r.damaged(MaxVault, "longer than a vault may be")
	}
	return r
}

// Next answers the next segment to open.
func (r *Replay) Next() (Segment, bool) {
	if r.done {
		return Segment{}, false
	}
	if r.bad < 0 {
		r.nextInOrder()
	}
	if r.bad >= 0 && !r.done {
		r.nextLater()
	}
	return r.want, !r.done
}

// nextInOrder looks at the end of what was read.
func (r *Replay) nextInOrder() {
	at := int(r.end.Length)
	if at == len(r.data) && at > 0 {
		r.finish()
		return
	}
	if err := r.take(at); err == nil {
		return
	} else if err == ErrVersion && at == 0 {
		r.done, r.err = true, ErrVersion
		return
	}
	r.badAt(int64(at))
}

// take makes the segment at that offset the wanted one if there can be one.
func (r *Replay) take(at int) error {
	h, err := DecodeHeader(r.data[at:])
	if err != nil {
		return err
	}
	body := at + HeaderSize
	end := body + int(h.Sealed)
	if h.Kind != KindSegment || end > len(r.data) {
		return ErrHeader
	}
	r.header = h
	r.want = Segment{Offset: int64(at), Header: r.data[at:body:body], Sealed: r.data[body:end:end]}
	return nil
}

// badAt notes the first bad bytes and begins the search for later segments.
func (r *Replay) badAt(at int64) {
	switch {
	case r.head == nil:
		r.damaged(at, "not a new vault's first segment")
	case len(r.data)-int(at) > MaxBatchBytes:
		r.damaged(at, "no authentic segment, and more follows than one batch")
	default:
		r.bad, r.search = at, int(at)+1
	}
}

// nextLater searches for a segment after the bad bytes.
func (r *Replay) nextLater() {
	for ; r.search+HeaderSize <= len(r.data); r.search++ {
		if r.data[r.search] == magicSegment[0] && r.take(r.search) == nil {
			return
		}
	}
	r.finish()
}

// Unauthentic says that the wanted segment does not open.
func (r *Replay) Unauthentic() {
	if r.bad >= 0 {
		r.search++
		return
	}
	r.badAt(r.want.Offset)
}

// Opened says that the wanted segment is authentic and what its body is. The
// body is not kept.
func (r *Replay) Opened(body []byte) {
	if r.bad >= 0 {
		r.later()
		return
	}
	if reason := r.follow(); reason != "" {
		r.refuse(reason)
		return
	}
	records, err := DecodeBody(body)
	if err != nil {
		r.damaged(r.want.Offset, "a body that breaks the format")
		return
	}
	for _, record := range records {
		if reason := r.apply(record); reason != "" {
			r.refuse(reason)
			return
		}
	}
	r.advance()
}

// later judges an authentic segment after bad bytes. It is innocent only if it
// belongs to the batch that was being written when the bytes went bad.
func (r *Replay) later() {
	h := r.header
	same := h.Batch == r.end.Batch && h.Start == r.start
	next := h.Batch == r.end.Batch+1 && h.Start == uint64(r.bad)
	if h.Sequence <= r.end.Sequence || !same && !next {
		r.damaged(r.bad, "bad bytes before a later batch")
		return
	}
	r.search++
}

// follow checks the header against the segment before.
func (r *Replay) follow() string {
	h := r.header
	if r.end.Length == 0 {
		return r.followHead()
	}
	if h.Sequence != r.end.Sequence+1 || h.Chain != r.end.Chain {
		return "a segment that does not continue the chain"
	}
	if h.Batch == r.end.Batch && h.Start == r.start {
		return ""
	}
	if h.Batch != r.end.Batch+1 || h.Start != uint64(r.want.Offset) {
		return "a segment of another batch"
	}
	if r.missing > 0 {
		return "a compaction with too few records"
	}
	r.count = 0
	return ""
}

// followHead checks the first segment against the head.
func (r *Replay) followHead() string {
	h := r.header
	if h.Start != 0 {
		return "a first segment that was not written first"
	}
	if r.head == nil {
		r.vault = ID(h.Chain)
		if h.Sequence != 1 || int(r.want.Offset)+HeaderSize+int(h.Sealed) != len(r.data) {
			return "a vault without a head"
		}
		r.covered = true
		return ""
	}
	if h.Sequence == 1 && ID(h.Chain) != r.vault {
		return anotherVault
	}
	if h.Sequence <= r.head.Sequence {
		return ""
	}
	if h.Batch <= r.head.Batch || h.Sequence == r.head.Sequence+1 && h.Chain != r.head.Chain {
		return "a compaction that does not continue the head"
	}
	r.covered, r.since = true, HeadEvery
	return ""
}

// apply checks one record and takes it into the index.
func (r *Replay) apply(record Record) string {
	h := r.header
	if r.end.Length == 0 && r.baseBatch == 0 {
		if record.Kind != Base {
			return "a file that does not begin with a base record"
		}
		if record.Key != r.vault.Short() {
			return anotherVault
		}
		r.baseBatch, r.baseLast, r.missing = h.Batch, record.Sequence, record.Usage
		if r.head == nil && record.Sequence != 0 {
			return "a vault without a head"
		}
		return ""
	}
	if h.Batch == r.baseBatch {
		return r.applyCopy(record)
	}
	r.index.last = max(r.index.last, r.baseLast)
	if record.Stale {
		return "a stale record that no salvage wrote"
	}
	if reason := r.index.check(record); reason != "" {
		return reason
	}
	if r.count++; r.count > MaxBatchRecords {
		return "a batch with too many records"
	}
	if r.covered {
		r.since++
	}
	r.index.add(record, r.want.Offset)
	return ""
}

// applyCopy takes in a record that a compaction copied: a put that supersedes
// nothing.
func (r *Replay) applyCopy(record Record) string {
	if reason := r.index.check(record); reason != "" {
		return reason
	}
	if r.missing == 0 || record.Kind != Put || record.Supersedes != 0 || record.Sequence > r.baseLast {
		return "a compaction with a record that it cannot have"
	}
	r.missing--
	r.index.add(record, r.want.Offset)
	return ""
}

// advance moves past a good segment and compares with the head.
func (r *Replay) advance() {
	end := uint64(r.want.Offset) + uint64(len(r.want.Header)+len(r.want.Sealed))
	hash := sha256.New()
	hash.Write(r.want.Header)
	hash.Write(r.want.Sealed)
	r.end = Point{Sequence: r.header.Sequence, Batch: r.header.Batch, Length: end, Chain: Hash(hash.Sum(nil)), Vault: r.vault}
	r.start = r.header.Start
	if r.covered || r.head == nil {
		return
	}
	switch {
	case r.end == *r.head:
		r.covered = true
	case r.end.Sequence >= r.head.Sequence:
		r.damaged(r.want.Offset, "another segment than the head says")
	}
}

// finish ends the reading at the end of the file or before a torn tail. A file
// that is good to its last byte and does not come as far as the head was good
// once, before a compaction too: an older copy.
func (r *Replay) finish() {
	switch {
	case !r.covered && r.bad < 0 && r.missing == 0:
		r.older(int64(r.end.Length), "ends before the head")
	case !r.covered:
		r.damaged(int64(r.end.Length), "shorter than the head says")
	case r.missing > 0:
		r.damaged(int64(r.end.Length), "a compaction with too few records")
	}
	r.done = true
}

// refuse says why the wanted segment, which is authentic, cannot be there.
func (r *Replay) refuse(reason string) {
	if reason == anotherVault && r.head != nil {
		r.older(r.want.Offset, reason)
	} else {
		r.damaged(r.want.Offset, reason)
	}
}

func (r *Replay) older(offset int64, reason string) {
	r.done = true
	r.err = &Damage{Offset: offset, Reason: reason, Older: true}
}

func (r *Replay) damaged(offset int64, reason string) {
	r.done = true
	r.err = &Damage{Offset: offset, Reason: reason}
}

// Result answers the vault, or the error: ErrDamaged, ErrOlder or ErrVersion. It may be
// asked once Next has answered false.
func (r *Replay) Result() (Result, error) {
	if r.err != nil {
		return Result{}, r.err
	}
	r.index.last = max(r.index.last, r.baseLast)
	return Result{Index: r.index, End: r.end, Torn: r.bad >= 0, Since: r.since}, nil
}
