package vault

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

// world runs a vault against a model: random batches for some apps, compactions,
// and crashes that lose part of the newest batch.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	disk  []byte
	head  Point // on the disk
	index *Index
	names map[KeyID]*Names
	end   Point
	next  uint64
	model map[string]string // "key/name" → value
}

// content is a stand-in for a sealed record.
func content(name, value string) []byte { return []byte(name + "=" + value) }

func newWorld(t *testing.T, rng *rand.Rand) *world {
	w := &world{t: t, rng: rng, model: map[string]string{}, next: 1}
	b := newFile()
	addAll(t, b, []Record{base})
	w.disk, w.head = file(b), b.End()
	w.reopen()
	return w
}

// reopen replays the disk and cuts a torn tail.
func (w *world) reopen() Result {
	w.t.Helper()
	r, _, err := read(w.disk, &w.head)
	if err != nil {
		w.t.Fatal(err)
	}
	w.disk = w.disk[:r.End.Length:r.End.Length]
	w.index, w.end = r.Index, r.End
	w.names = map[KeyID]*Names{}
	for k := range 3 {
		key := KeyID{byte(k + 1)}
		w.names[key] = &Names{}
		for _, sequence := range w.index.Sequences(key) {
			l, _ := w.index.Live(sequence)
			name, _, _ := strings.Cut(string(l.Sealed), "=")
			w.names[key].Set(name, sequence)
		}
	}
	return r
}

// op makes up one op.
func (w *world) op() Op {
	kind := Put
	if w.rng.IntN(3) == 0 {
		kind = Delete
	}
	name := fmt.Sprintf("name-%d", w.rng.IntN(12))
	length := w.rng.IntN(1500)
	if kind == Put && w.rng.IntN(8) == 0 {
		length += MaxRecord // Now and then a large record.
	}
	value := strings.Repeat("v", length) + fmt.Sprint(w.next)
	w.next += 1 + w.rng.Uint64N(3)
	return Op{
		Kind: kind, Key: KeyID{byte(1 + w.rng.IntN(3))}, Name: name, Sequence: w.next,
		Usage: uint32(len(name) + len(value)), Sealed: content(name, value),
	}
}

func (w *world) do(model map[string]string, r Record) {
	name, value, _ := strings.Cut(string(r.Sealed), "=")
	at := fmt.Sprintf("%x/%s", r.Key, name)
	if r.Kind == Put {
		model[at] = value
	} else {
		delete(model, at)
	}
}

// batch writes one batch; with crash, only a random part of it.
func (w *world) batch(crash bool) {
	p := NewPlan(w.index, Limits{AppSecrets: 8, AppBytes: 30000, UserSecrets: 20, UserBytes: 60000})
	for range 1 + w.rng.IntN(20) {
		op := w.op()
		err := p.Admit(w.names[op.Key], op)
		if err != nil && err != ErrQuota && err != ErrNotFound {
			w.t.Fatal(err)
		}
	}
	if len(p.Records()) == 0 {
		return
	}
	b := NewBatch(w.end)
	groups := addAll(w.t, b, p.Records())
	if crash {
		w.crash(b, groups)
		return
	}
	w.disk = append(w.disk, file(b)...)
	var offsets []int64
	for i, g := range groups {
		for _, r := range g {
			offsets = append(offsets, b.Offset(i))
			w.do(w.model, r)
		}
	}
	p.Commit(func(i int) int64 { return offsets[i] })
	w.end = b.End()
	if w.rng.IntN(4) == 0 {
		w.head = w.end
	}
}

// crash keeps each segment of the batch, tears it, or loses it.
func (w *world) crash(b *Batch, groups [][]Record) {
	model := maps.Clone(w.model)
	intact := true
	for i, s := range b.Segments() {
		s = append([]byte(nil), s...)
		switch w.rng.IntN(3) {
		case 0:
			intact = false
			clear(s[w.rng.IntN(len(s)-SealOverhead):])
		case 1:
			intact = false
			clear(s)
		}
		w.disk = append(w.disk, s...)
		if !intact {
			continue
		}
		for _, r := range groups[i] {
			w.do(model, r)
		}
	}
	if w.rng.IntN(2) == 0 {
		cut := int(w.end.Length) + w.rng.IntN(len(w.disk)-int(w.end.Length)+1)
		for i := range b.Segments() {
			if cut < int(b.Offset(i))+len(b.Segments()[i]) {
				model = w.partial(b, groups, cut)
				break
			}
		}
		w.disk = w.disk[:cut]
	}
	w.model = model
	w.reopen()
}

// partial answers the model after the segments of the batch that are whole on
// the disk and end before cut.
func (w *world) partial(b *Batch, groups [][]Record, cut int) map[string]string {
	model := maps.Clone(w.model)
	for i, s := range b.Segments() {
		end := int(b.Offset(i)) + len(s)
		if end > cut || string(w.disk[b.Offset(i):end]) != string(s) {
			break
		}
		for _, r := range groups[i] {
			w.do(model, r)
		}
	}
	return model
}

func (w *world) compact() {
	b := NewFile(w.end)
	for i, g := range addAll(w.t, b, w.index.Snapshot(testID)) {
		w.index.Moved(g, b.Offset(i))
	}
	w.disk, w.end = file(b), b.End()
	if w.rng.IntN(2) == 0 {
		w.head = w.end
	}
	if w.index.Worn(w.end.Length) {
		w.t.Errorf("a file of %d bytes is worn right after its compaction", w.end.Length)
	}
}

// check compares index, names and sums with the model.
func (w *world) check() {
	w.t.Helper()
	var secrets, bytes, live uint64
	for key, names := range w.names {
		var app Usage
		for _, sequence := range w.index.Sequences(key) {
			l, ok := w.index.Live(sequence)
			name, value, _ := strings.Cut(string(l.Sealed), "=")
			if got, found := names.Find(name); !ok || !found || got != sequence {
				w.t.Fatalf("record %d of %s: index and names differ", sequence, name)
			}
			if want, found := w.model[fmt.Sprintf("%x/%s", key, name)]; !found || want != value {
				w.t.Fatalf("%x/%s is %q, want %q (%v)", key, name, value, want, found)
			}
			if string(w.disk[l.Offset:l.Offset+4]) != "NXVS" {
				w.t.Fatalf("record %d is not at %d", sequence, l.Offset)
			}
			app.Secrets++
			app.Bytes += uint64(len(name) + len(value))
			live += uint64(l.Size())
		}
		if app != w.index.Usage(key) || names.Len() != int(app.Secrets) {
			w.t.Fatalf("usage of %x is %+v, want %+v", key, w.index.Usage(key), app)
		}
		secrets += app.Secrets
		bytes += app.Bytes
	}
	if int(secrets) != len(w.model) || w.index.Total() != (Usage{secrets, bytes}) || w.index.bytes != live {
		w.t.Fatalf("total %+v, live bytes %d; model has %d secrets", w.index.Total(), w.index.bytes, len(w.model))
	}
	if w.index.Last() >= w.next+1 {
		w.t.Fatalf("last sequence %d", w.index.Last())
	}
}

func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(newSeed(t), 2))
	for range 30 {
		w := newWorld(t, rng)
		for range 60 {
			switch n := rng.IntN(10); {
			case n < 6:
				w.batch(false)
			case n < 8:
				w.batch(true)
			case n < 9:
				w.reopen()
			default:
				w.compact()
			}
			w.check()
		}
	}
}
