package capability

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// The model of the space: a list of capabilities with their parents' numbers,
// searched from one end to the other. It shares no idea with the real one.

type modelCap struct {
	object   int
	kind     Kind
	rights   Rights
	parent   int // index of the parent, -1 for none
	table    int // -1 for none
	slot     int
	inFlight bool
	gone     bool
}

type model struct{ caps []modelCap }

func (m *model) at(table, slot int) int {
	for i, c := range m.caps {
		if !c.gone && !c.inFlight && c.table == table && c.slot == slot {
			return i
		}
	}
	return -1
}

func (m *model) free(table int, lowest bool) int {
	for n := range Slots {
		slot := n
		if !lowest {
			slot = Slots - 1 - n
		}
		if m.at(table, slot) < 0 {
			return slot
		}
	}
	return -1
}

func (m *model) add(c modelCap) { m.caps = append(m.caps, c) }

// close removes one and hands its children to its parent.
func (m *model) close(i int) {
	m.caps[i].gone = true
	for j := range m.caps {
		if m.caps[j].parent == i {
			m.caps[j].parent = m.caps[i].parent
		}
	}
}

// revoke removes all descendants of one.
func (m *model) revoke(i int) int {
	killed := 0
	for j := range m.caps {
		if !m.caps[j].gone && m.caps[j].parent == i {
			killed += 1 + m.revoke(j)
			m.caps[j].gone = true
		}
	}
	return killed
}

// walk drives tables and model with the same random operations.
type walk struct {
	t       *testing.T
	rng     *rand.Rand
	model   model
	tables  []*Table
	parcels []*Parcel
	parcel  []int // the model's number of each parcel's capability
	objects int
}

func (w *walk) check(step int, what string, err, want error) {
	w.t.Helper()
	if !errors.Is(err, want) {
		w.t.Fatalf("step %d: %s: %v, the model says %v", step, what, err, want)
	}
}

// slot draws a slot, mostly a full one.
func (w *walk) slot(table int) int {
	var full []int
	for _, c := range w.model.caps {
		if !c.gone && !c.inFlight && c.table == table {
			full = append(full, c.slot)
		}
	}
	if len(full) == 0 || w.rng.IntN(10) == 0 {
		return w.rng.IntN(Slots + 2)
	}
	return full[w.rng.IntN(len(full))]
}

// missing is what the model says of a slot without a capability.
func missing(slot int) error {
	if slot >= Slots {
		return ErrBadSlot
	}
	return ErrEmptySlot
}

func (w *walk) insert(step, table int) {
	w.objects++
	c := modelCap{object: w.objects, kind: Kind(1 + w.rng.IntN(6)), rights: Rights(w.rng.IntN(16)), parent: -1, table: table}
	cap := Cap{Object: c.object, Kind: c.kind, Rights: c.rights}
	c.slot = w.model.free(table, false)
	slot, err := w.tables[table].Insert(cap)
	if c.slot < 0 {
		w.check(step, "insert", err, ErrFull)
		return
	}
	w.check(step, "insert", err, nil)
	if int(slot) != c.slot {
		w.t.Fatalf("step %d: insert into %d, the model says %d", step, slot, c.slot)
	}
	w.model.add(c)
}

func (w *walk) derive(step, table int) {
	to, slot, rights := w.rng.IntN(len(w.tables)), w.slot(table), Rights(w.rng.IntN(16))
	i := w.model.at(table, slot)
	if i >= 0 && w.rng.IntN(2) == 0 {
		rights &= w.model.caps[i].rights
	}
	got, err := w.tables[table].Derive(Slot(slot), rights, w.tables[to])
	if i < 0 {
		w.check(step, "derive", err, missing(slot))
		return
	}
	c := w.model.caps[i]
	if rights&^c.rights != 0 || to != table && (rights&Manage != 0 || c.kind.Fixed()) {
		w.check(step, "derive", err, ErrRights)
		return
	}
	c.rights, c.parent, c.table = rights, i, to
	if c.slot = w.model.free(to, true); c.slot < 0 {
		w.check(step, "derive", err, ErrFull)
		return
	}
	w.check(step, "derive", err, nil)
	if int(got) != c.slot {
		w.t.Fatalf("step %d: derived into %d, the model says %d", step, got, c.slot)
	}
	w.model.add(c)
}

func (w *walk) move(step, table int) {
	to, slot := w.rng.IntN(len(w.tables)), w.slot(table)
	got, err := w.tables[table].Move(Slot(slot), w.tables[to])
	i := w.model.at(table, slot)
	if i < 0 {
		w.check(step, "move", err, missing(slot))
		return
	}
	c := &w.model.caps[i]
	if c.kind.Fixed() && to != table {
		w.check(step, "move", err, ErrRights)
		return
	}
	c.inFlight = true
	free := w.model.free(to, true)
	c.inFlight = false
	if free < 0 {
		w.check(step, "move", err, ErrFull)
		return
	}
	w.check(step, "move", err, nil)
	c.table, c.slot = to, free
	if to != table {
		c.rights &^= Manage
	}
	if int(got) != free {
		w.t.Fatalf("step %d: moved to %d, the model says %d", step, got, free)
	}
}

func (w *walk) close(step, table int) {
	slot := w.slot(table)
	err := w.tables[table].Close(Slot(slot))
	if i := w.model.at(table, slot); i >= 0 {
		w.check(step, "close", err, nil)
		w.model.close(i)
	} else {
		w.check(step, "close", err, missing(slot))
	}
}

func (w *walk) revoke(step, table int) {
	slot := w.slot(table)
	n, err := w.tables[table].Revoke(Slot(slot))
	want, i := 0, w.model.at(table, slot)
	if i < 0 {
		w.check(step, "revoke", err, missing(slot))
		return
	}
	w.check(step, "revoke", err, nil)
	if want = w.model.revoke(i); n != want {
		w.t.Fatalf("step %d: revoke killed %d, the model says %d", step, n, want)
	}
}

func (w *walk) send(step, table int) {
	slot := w.slot(table)
	p := w.tables[table].Send(Slot(slot))
	i := w.model.at(table, slot)
	if (p != nil) != (i >= 0) {
		w.t.Fatalf("step %d: sent %v, the model says %v", step, p != nil, i >= 0)
	}
	if p != nil {
		w.model.caps[i].inFlight = true
		w.parcels, w.parcel = append(w.parcels, p), append(w.parcel, i)
	}
}

// arrive lets one parcel in flight be received, returned or dropped.
func (w *walk) arrive(step int) {
	if len(w.parcels) == 0 {
		return
	}
	n := w.rng.IntN(len(w.parcels))
	p, i := w.parcels[n], w.parcel[n]
	c := &w.model.caps[i]
	switch w.rng.IntN(3) {
	case 0:
		to := w.rng.IntN(len(w.tables))
		_, err := w.tables[to].Receive(p)
		free := w.model.free(to, true)
		switch {
		case c.gone:
			w.check(step, "receive", err, ErrEmptySlot)
		case free < 0:
			w.check(step, "receive", err, ErrFull)
			return // It stays in flight.
		default:
			w.check(step, "receive", err, nil)
			c.inFlight, c.table, c.slot, c.rights = false, to, free, c.rights&^Manage
		}
	case 1:
		w.tables[c.table].Return(p)
		if !c.gone && w.model.at(c.table, c.slot) < 0 {
			c.inFlight = false
		} else if !c.gone {
			w.model.close(i)
		}
	case 2:
		p.Drop()
		if !c.gone {
			w.model.close(i)
		}
	}
	w.parcels = append(w.parcels[:n], w.parcels[n+1:]...)
	w.parcel = append(w.parcel[:n], w.parcel[n+1:]...)
}

// compare holds every slot of every table against the model.
func (w *walk) compare(step int) {
	used := make([]int, len(w.tables))
	for _, c := range w.model.caps {
		if c.gone || c.inFlight {
			continue
		}
		used[c.table]++
		got, err := w.tables[c.table].Lookup(Slot(c.slot))
		if err != nil || got != (Cap{Object: c.object, Kind: c.kind, Rights: c.rights}) {
			w.t.Fatalf("step %d: table %d slot %d has %v, %v; the model says %+v", step, c.table, c.slot, got, err, c)
		}
	}
	for i, table := range w.tables {
		n := 0
		table.Each(func(Slot, Cap) { n++ })
		if n != used[i] || table.Used() != used[i] {
			w.t.Fatalf("step %d: table %d has %d capabilities and says %d; the model says %d", step, i, n, table.Used(), used[i])
		}
	}
}

// forget drops dead entries that nothing refers to, to keep the model quick.
func (w *walk) forget() {
	number := make([]int, len(w.model.caps))
	var kept []modelCap
	for i, c := range w.model.caps {
		number[i] = -1
		held := false
		for _, p := range w.parcel {
			held = held || p == i
		}
		if !c.gone || held {
			number[i] = len(kept)
			kept = append(kept, c)
		}
	}
	for i := range kept {
		if kept[i].parent >= 0 {
			kept[i].parent = number[kept[i].parent]
		}
	}
	for i := range w.parcel {
		w.parcel[i] = number[w.parcel[i]]
	}
	w.model.caps = kept
}

func TestSpaceAgainstModel(t *testing.T) {
	rng := random(t)
	for round := range 6 {
		w := &walk{t: t, rng: rng, tables: []*Table{{}, {}, {}}}
		for range 240 * (round % 2) { // Every other round begins with a nearly full table.
			w.insert(-1, 0)
		}
		for step := range 3000 {
			table := rng.IntN(len(w.tables))
			switch rng.IntN(16) {
			case 0:
				w.insert(step, table)
			case 1, 2, 3, 4, 5, 6:
				w.derive(step, table)
			case 7, 8:
				w.move(step, table)
			case 9, 10:
				w.close(step, table)
			case 11:
				w.revoke(step, table)
			case 12, 13:
				w.send(step, table)
			default:
				w.arrive(step)
			}
			if step%16 == 0 {
				w.compare(step)
				w.forget()
			}
		}
		w.compare(-1)
		for i, table := range w.tables {
			table.Clear()
			if table.Used() != 0 {
				t.Fatalf("table %d has %d capabilities after Clear", i, table.Used())
			}
		}
	}
}
