package vault

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
)

var keyA, keyB = KeyID{1}, KeyID{2}

// desk plans ops one batch at a time, for two apps.
type desk struct {
	t      *testing.T
	index  *Index
	limits Limits
	names  map[KeyID]*Names
	last   uint64
}

func newDesk(t *testing.T, limits Limits) *desk {
	return &desk{t: t, index: NewIndex(), limits: limits.WithDefaults(), names: map[KeyID]*Names{keyA: {}, keyB: {}}}
}

func (d *desk) op(kind RecordKind, key KeyID, name string, usage uint32) Op {
	d.last++
	return Op{Kind: kind, Key: key, Name: name, Sequence: d.last, Usage: usage, Sealed: []byte(name)}
}

// commit admits the ops to one batch, commits it and answers the verdicts.
func (d *desk) commit(ops ...Op) []error {
	d.t.Helper()
	p := NewPlan(d.index, d.limits)
	var verdicts []error
	for _, op := range ops {
		verdicts = append(verdicts, p.Admit(d.names[op.Key], op))
	}
	check := &Index{live: map[uint64]Live{}, keys: maps.Clone(d.index.keys)}
	for s, l := range d.index.live {
		check.live[s] = l
	}
	check.last = d.index.last
	for _, r := range p.Records() {
		if !r.valid() {
			d.t.Errorf("a record that does not encode: %+v", r)
		}
		if reason := check.check(r); reason != "" {
			d.t.Errorf("a record that replay refuses: %s", reason)
		}
		check.add(r, 0)
	}
	p.Commit(func(int) int64 { return 0 })
	return verdicts
}

func wantVerdicts(t *testing.T, got []error, want ...error) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d verdicts, want %d", len(got), len(want))
	}
	for i := range want {
		if !errors.Is(got[i], want[i]) || (want[i] == nil) != (got[i] == nil) {
			t.Errorf("op %d: %v, want %v", i, got[i], want[i])
		}
	}
}

func TestPlanOrdersOneName(t *testing.T) {
	d := newDesk(t, Limits{})
	wantVerdicts(t, d.commit(
		d.op(Delete, keyA, "n", 0),
		d.op(Put, keyA, "n", 10),
		d.op(Put, keyA, "n", 20),
		d.op(Delete, keyB, "n", 0),
		d.op(Delete, keyA, "n", 0),
		d.op(Delete, keyA, "n", 0),
		d.op(Put, keyA, "n", 30),
		d.op(Put, keyB, "n", 5),
	), ErrNotFound, nil, nil, ErrNotFound, nil, ErrNotFound, nil, nil)
	if u := d.index.Usage(keyA); u != (Usage{1, 30}) {
		t.Errorf("app uses %+v", u)
	}
	if u := d.index.Total(); u != (Usage{2, 35}) {
		t.Errorf("user uses %+v", u)
	}
	wantVerdicts(t, d.commit(d.op(Put, keyA, "n", 7), d.op(Delete, keyB, "n", 0)), nil, nil)
	if u := d.index.Total(); u != (Usage{1, 7}) {
		t.Errorf("user uses %+v", u)
	}
}

func TestQuotas(t *testing.T) {
	const n = 3
	small := Limits{AppSecrets: n, AppBytes: 30, UserSecrets: 2 * n, UserBytes: 60}
	t.Run("app secrets", func(t *testing.T) {
		d := newDesk(t, small)
		for i := range n {
			wantVerdicts(t, d.commit(d.op(Put, keyA, fmt.Sprint(i), 1)), nil)
		}
		wantVerdicts(t, d.commit(d.op(Put, keyA, "one more", 1)), ErrQuota)
		wantVerdicts(t, d.commit(d.op(Put, keyA, "0", 2)), nil)
		wantVerdicts(t, d.commit(d.op(Delete, keyA, "0", 0), d.op(Put, keyA, "one more", 1)), nil, nil)
	})
	t.Run("app bytes", func(t *testing.T) {
		d := newDesk(t, small)
		wantVerdicts(t, d.commit(d.op(Put, keyA, "a", 10), d.op(Put, keyA, "b", 19)), nil, nil)
		wantVerdicts(t, d.commit(d.op(Put, keyA, "b", 20)), nil)
		wantVerdicts(t, d.commit(d.op(Put, keyA, "b", 21)), ErrQuota)
		if u := d.index.Usage(keyA); u != (Usage{2, 30}) {
			t.Errorf("a refused put changed the usage to %+v", u)
		}
	})
	t.Run("user", func(t *testing.T) {
		d := newDesk(t, Limits{UserSecrets: 3, UserBytes: 30})
		wantVerdicts(t, d.commit(d.op(Put, keyA, "a", 10), d.op(Put, keyB, "b", 19)), nil, nil)
		wantVerdicts(t, d.commit(d.op(Put, keyB, "c", 2)), ErrQuota)
		wantVerdicts(t, d.commit(d.op(Put, keyB, "c", 1), d.op(Put, keyA, "d", 1)), nil, ErrQuota)
		wantVerdicts(t, d.commit(d.op(Delete, keyB, "b", 0), d.op(Put, keyA, "d", 19)), nil, nil)
	})
	t.Run("in one batch", func(t *testing.T) {
		d := newDesk(t, Limits{AppSecrets: 1})
		wantVerdicts(t, d.commit(d.op(Put, keyA, "a", 1), d.op(Put, keyA, "b", 1), d.op(Put, keyB, "a", 1)), nil, ErrQuota, nil)
	})
	t.Run("lowered", func(t *testing.T) {
		d := newDesk(t, Limits{})
		wantVerdicts(t, d.commit(d.op(Put, keyA, "a", 100), d.op(Put, keyA, "b", 100)), nil, nil)
		d.limits = Limits{AppSecrets: 1, AppBytes: 50, UserSecrets: 1, UserBytes: 50}
		wantVerdicts(t, d.commit(d.op(Put, keyA, "a", 101), d.op(Put, keyA, "a", 100), d.op(Put, keyA, "c", 1)), ErrQuota, nil, ErrQuota)
	})
}

func TestDefaultQuotas(t *testing.T) {
	most := Limits{AppSecrets: 256, AppBytes: 256 << 10, UserSecrets: 1024, UserBytes: 1 << 20}
	for _, c := range []struct{ given, want Limits }{
		{Limits{}, most},
		{Limits{257, 256<<10 + 1, 1025, 1<<20 + 1}, most},
		{most, most},
		{Limits{255, 256<<10 - 1, 1023, 1<<20 - 1}, Limits{255, 256<<10 - 1, 1023, 1<<20 - 1}},
		{Limits{AppSecrets: 1}, Limits{1, 256 << 10, 1024, 1 << 20}},
	} {
		if got := c.given.WithDefaults(); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.given, got, c.want)
		}
	}
}

func TestBatchIsBounded(t *testing.T) {
	d := newDesk(t, Limits{})
	p := NewPlan(d.index, d.limits)
	for i := range MaxBatchRecords {
		if err := p.Admit(d.names[keyA], d.op(Put, keyA, fmt.Sprint(i), 1)); err != nil {
			t.Fatalf("op %d: %v", i+1, err)
		}
	}
	if err := p.Admit(d.names[keyA], d.op(Put, keyA, "one more", 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("op %d: %v", MaxBatchRecords+1, err)
	}
}

func TestRecordIsBounded(t *testing.T) {
	d := newDesk(t, Limits{})
	for n, want := range map[int]error{
		MaxRecord - 1: nil, MaxRecord: nil, MaxRecord + 1: nil,
		MaxLargeRecord - 1: nil, MaxLargeRecord: nil, MaxLargeRecord + 1: ErrTooLarge,
	} {
		op := d.op(Put, keyA, fmt.Sprint(n), 1)
		op.Sealed = make([]byte, n)
		wantVerdicts(t, d.commit(op), want)
	}
	for n, want := range map[int]error{MaxRecord: nil, MaxRecord + 1: ErrTooLarge} {
		wantVerdicts(t, d.commit(d.op(Put, keyA, "gone", 1)), nil)
		op := d.op(Delete, keyA, "gone", 0)
		op.Sealed = make([]byte, n)
		wantVerdicts(t, d.commit(op), want)
	}
}

// TestBatchOfLargeRecords: a batch of any records that it takes is as long as
// MaxBatchBytes at most, so that a torn tail is never longer.
func TestBatchOfLargeRecords(t *testing.T) {
	for n, want := range map[int]int{MaxLargeRecord: MaxBatchBytes / MaxLargeSegment, MaxRecord + 1: 56, MaxRecord: 64, 1: 64} {
		d := newDesk(t, Limits{})
		p := NewPlan(d.index, d.limits)
		for i := 0; ; i++ {
			op := d.op(Put, keyA, fmt.Sprint(i), 1)
			op.Sealed = make([]byte, n)
			room := p.Room(op)
			if err := p.Admit(d.names[keyA], op); room != (err == nil) {
				t.Fatalf("op %d: room is %v, and then %v", i, room, err)
			} else if err != nil {
				break
			}
		}
		records := p.Records()
		if len(records) != want {
			t.Errorf("a batch has %d records of %d bytes, want %d", len(records), n, want)
		}
		size := 0
		for _, group := range Group(records) {
			body, err := EncodeBody(group)
			if err != nil {
				t.Fatal(err)
			}
			size += HeaderSize + SealOverhead + len(body)
		}
		if size > MaxBatchBytes {
			t.Errorf("a batch of records of %d bytes has %d bytes", n, size)
		}
	}
}

// TestWorn has files of one live record and more or less garbage.
func TestWorn(t *testing.T) {
	x := NewIndex()
	if !x.Worn(CompactAbove+1) || x.Worn(CompactAbove) {
		t.Error("a file without live records")
	}
	half := CompactAbove/2 + 100
	x.add(Record{Kind: Put, Sequence: 1, Usage: 1, Sealed: make([]byte, half-largeHeader)}, 0)
	for length, want := range map[int]bool{half: false, 2*half - 1: false, 2 * half: false, 2*half + 1: true} {
		if x.Worn(uint64(length)) != want {
			t.Errorf("%d live bytes of %d: worn is %v", half, length, !want)
		}
	}
	x.add(Record{Kind: Put, Sequence: 2, Usage: 1, Sealed: make([]byte, 4*half)}, 0)
	if x.Worn(CompactAbove + 1) {
		t.Error("a file shorter than what lives in it")
	}
}

func TestSequencesAscend(t *testing.T) {
	x := NewIndex()
	for i := range uint64(50) {
		x.add(Record{Kind: Put, Key: KeyID{byte(i % 2)}, Sequence: i + 1, Usage: 1, Sealed: []byte{1}}, 0)
	}
	if own := x.Sequences(KeyID{1}); len(own) != 25 || !slices.IsSorted(own) || own[0] != 2 {
		t.Errorf("%v", own)
	}
}

func TestAddRefusesAnotherLength(t *testing.T) {
	body, err := EncodeBody([]Record{base})
	if err != nil {
		t.Fatal(err)
	}
	b := newFile()
	header := b.Header(body)
	if err := b.Add(header, seal(header, body)[1:]); !errors.Is(err, ErrBody) {
		t.Errorf("a short body: %v", err)
	}
	if err := b.Add(header[1:], seal(header, body)); !errors.Is(err, ErrHeader) {
		t.Errorf("a short header: %v", err)
	}
	if len(b.Segments()) != 0 || b.End() != NewVault(testID) {
		t.Error("a refused segment was added")
	}
}

// TestDrop: it ends what the app has at its place in the batch, of that app
// alone, and gives back what that used.
func TestDrop(t *testing.T) {
	d := newDesk(t, Limits{AppSecrets: 2, UserSecrets: 3})
	wantVerdicts(t, d.commit(d.op(Drop, keyA, "", 0)), ErrNotFound)
	wantVerdicts(t, d.commit(d.op(Put, keyA, "a", 10), d.op(Put, keyB, "a", 7)), nil, nil)
	wantVerdicts(t, d.commit(
		d.op(Put, keyA, "b", 20), d.op(Put, keyA, "c", 1), d.op(Put, keyB, "b", 9), d.op(Put, keyB, "c", 1),
		d.op(Drop, keyA, "", 0), d.op(Drop, keyA, "", 0), d.op(Delete, keyA, "a", 0),
		d.op(Put, keyA, "a", 5), d.op(Put, keyB, "b", 9),
	), nil, ErrQuota, ErrQuota, ErrQuota, nil, ErrNotFound, ErrNotFound, nil, nil)
	if a, b, all := d.index.Usage(keyA), d.index.Usage(keyB), d.index.Total(); a != (Usage{1, 5}) || b != (Usage{2, 16}) || all != (Usage{3, 21}) {
		t.Errorf("usage %v and %v, in sum %v", a, b, all)
	}
	if names, _ := d.names[keyA].Page("", 1000); !slices.Equal(names, []string{"a"}) {
		t.Errorf("names %q", names)
	}
	if names, _ := d.names[keyB].Page("", 1000); !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("the other app's names %q", names)
	}
	wantVerdicts(t, d.commit(d.op(Drop, keyA, "", 0)), nil)
	if a, n := d.index.Usage(keyA), d.names[keyA].Len(); a != (Usage{}) || n != 0 || len(d.index.Sequences(keyA)) != 0 {
		t.Errorf("usage %v, %d names after the drop", a, n)
	}
}
