package capability

import (
	"errors"
	"testing"
)

func endpoint(rights Rights) Cap { return Cap{Object: "endpoint", Kind: KindEndpoint, Rights: rights} }

// insert puts a capability into the highest free slot, which there must be.
func insert(t *testing.T, table *Table, c Cap) Slot {
	t.Helper()
	slot, err := table.Insert(c)
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

// rightsAt returns the rights in a slot, which must be full.
func rightsAt(t *testing.T, table *Table, slot Slot) Rights {
	t.Helper()
	c, err := table.Lookup(slot)
	if err != nil {
		t.Fatalf("slot %d: %v", slot, err)
	}
	return c.Rights
}

func TestRightsOnlyShrink(t *testing.T) {
	for held := Rights(0); held <= AllRights; held++ {
		for asked := 0; asked <= 0xff; asked++ {
			asked := Rights(asked)
			var mine, theirs Table
			root := insert(t, &mine, endpoint(held))

			slot, err := mine.Derive(root, asked, &mine)
			if shrinks := asked&^held == 0; shrinks != (err == nil) {
				t.Errorf("%04b of %04b in one table: %v", asked, held, err)
			} else if shrinks && rightsAt(t, &mine, slot) != asked {
				t.Errorf("%04b of %04b became %04b", asked, held, rightsAt(t, &mine, slot))
			}

			slot, err = mine.Derive(root, asked, &theirs)
			if may := asked&^held == 0 && asked&Manage == 0; may != (err == nil) {
				t.Errorf("%04b of %04b to another table: %v", asked, held, err)
			} else if may && rightsAt(t, &theirs, slot) != asked {
				t.Errorf("%04b of %04b became %04b", asked, held, rightsAt(t, &theirs, slot))
			} else if !may && (!errors.Is(err, ErrRights) || theirs.Used() != 0) {
				t.Errorf("%04b of %04b: %v, and %d slots used", asked, held, err, theirs.Used())
			}
		}
	}
}

func TestCloneAndMoveKeepRights(t *testing.T) {
	for held := Rights(0); held <= AllRights; held++ {
		var mine, theirs Table
		root := insert(t, &mine, endpoint(held))
		twin, err := mine.Clone(root)
		if err != nil || rightsAt(t, &mine, twin) != held {
			t.Errorf("clone of %04b: %04b, %v", held, rightsAt(t, &mine, twin), err)
		}
		again, err := mine.Move(twin, &mine)
		if err != nil || rightsAt(t, &mine, again) != held {
			t.Errorf("move of %04b inside a table: %v", held, err)
		}
		there, err := mine.Move(root, &theirs)
		if err != nil || rightsAt(t, &theirs, there) != held&^Manage {
			t.Errorf("move of %04b: %04b, %v", held, rightsAt(t, &theirs, there), err)
		}
		if _, err := mine.Lookup(root); !errors.Is(err, ErrEmptySlot) {
			t.Errorf("the moved capability is still there: %v", err)
		}
	}
}

func TestFixedKindsStay(t *testing.T) {
	for kind := KindEndpoint; kind <= KindSessionAuthority; kind++ {
		fixed := kind == KindEndpointFactory || kind == KindSessionAuthority
		if kind.Fixed() != fixed {
			t.Errorf("kind %d: fixed is %v", kind, kind.Fixed())
		}
		var mine, theirs Table
		root := insert(t, &mine, Cap{Kind: kind, Rights: Send})
		if _, err := mine.Derive(root, Send, &theirs); errors.Is(err, ErrRights) != fixed {
			t.Errorf("kind %d: derive: %v", kind, err)
		}
		if _, err := mine.Clone(root); err != nil {
			t.Errorf("kind %d: clone: %v", kind, err)
		}
		if _, err := mine.Move(root, &theirs); errors.Is(err, ErrRights) != fixed {
			t.Errorf("kind %d: move: %v", kind, err)
		}
	}
}

func TestWhichSlot(t *testing.T) {
	var mine, theirs Table
	if slot := insert(t, &mine, endpoint(AllRights)); slot != Slots-1 {
		t.Errorf("one's own object went to slot %d", slot)
	}
	if slot := insert(t, &mine, endpoint(AllRights)); slot != Slots-2 {
		t.Errorf("the second one went to slot %d", slot)
	}
	for want := range Slot(3) {
		if slot, err := mine.Derive(Slots-1, Send, &theirs); err != nil || slot != want {
			t.Errorf("delivered to slot %d, %v; want %d", slot, err, want)
		}
	}
	if err := theirs.Close(1); err != nil {
		t.Error(err)
	}
	if slot, err := mine.Derive(Slots-1, Send, &theirs); err != nil || slot != 1 {
		t.Errorf("delivered to slot %d, %v; want the lowest free one, 1", slot, err)
	}
	if err := mine.Close(Slots - 1); err != nil {
		t.Error(err)
	}
	if slot := insert(t, &mine, endpoint(AllRights)); slot != Slots-1 {
		t.Errorf("one's own object went to slot %d, not to the highest free one", slot)
	}
	if err := mine.InsertAt(Slots, endpoint(Send)); !errors.Is(err, ErrBadSlot) {
		t.Errorf("slot 256: %v", err)
	}
	if err := mine.InsertAt(7, endpoint(Send)); err != nil {
		t.Error(err)
	}
	if err := mine.InsertAt(7, endpoint(Send)); !errors.Is(err, ErrFull) {
		t.Errorf("a slot twice: %v", err)
	}
}

func TestTableFull(t *testing.T) {
	var mine, full Table
	root := insert(t, &mine, endpoint(AllRights))
	for n := range Slots {
		if full.Used() != n {
			t.Fatalf("%d slots used, want %d", full.Used(), n)
		}
		if _, err := mine.Derive(root, Send, &full); err != nil {
			t.Fatalf("slot %d: %v", n, err)
		}
	}
	if _, err := full.Insert(endpoint(Send)); !errors.Is(err, ErrFull) {
		t.Errorf("insert: %v", err)
	}
	if _, err := mine.Derive(root, Send, &full); !errors.Is(err, ErrFull) {
		t.Errorf("derive: %v", err)
	}
	if _, err := full.Clone(0); !errors.Is(err, ErrFull) {
		t.Errorf("clone: %v", err)
	}
	if _, err := mine.Move(root, &full); !errors.Is(err, ErrFull) {
		t.Errorf("move: %v", err)
	}
	if got := rightsAt(t, &mine, root); got != AllRights {
		t.Errorf("after a move that failed the sender holds %04b", got)
	}
	if slot, err := full.Move(77, &full); err != nil || slot != 77 {
		t.Errorf("a move inside a full table: slot %d, %v", slot, err)
	}
	if err := full.Close(42); err != nil {
		t.Error(err)
	}
	if slot, err := mine.Move(root, &full); err != nil || slot != 42 {
		t.Errorf("move into the one free slot: %d, %v", slot, err)
	}
}

func TestBadSlots(t *testing.T) {
	var mine, theirs Table
	for _, c := range []struct {
		slot Slot
		want error
	}{{0, ErrEmptySlot}, {Slots - 1, ErrEmptySlot}, {Slots, ErrBadSlot}, {NoSlot - 1, ErrBadSlot}, {NoSlot, ErrBadSlot}} {
		_, lookup := mine.Lookup(c.slot)
		_, derive := mine.Derive(c.slot, 0, &theirs)
		_, clone := mine.Clone(c.slot)
		_, move := mine.Move(c.slot, &theirs)
		_, revoke := mine.Revoke(c.slot)
		for what, err := range map[string]error{
			"lookup": lookup, "derive": derive, "clone": clone, "move": move, "revoke": revoke, "close": mine.Close(c.slot),
		} {
			if !errors.Is(err, c.want) {
				t.Errorf("%s of slot %d: %v, want %v", what, c.slot, err, c.want)
			}
		}
		if mine.Send(c.slot) != nil {
			t.Errorf("slot %d was sent", c.slot)
		}
	}
}

// TestRevokeReachesEveryTable builds a chain through ten tables, moves links of
// it on, and cuts it in the middle.
func TestRevokeReachesEveryTable(t *testing.T) {
	var tables [10]Table
	slots := [10]Slot{insert(t, &tables[0], endpoint(AllRights))}
	for i := 1; i < len(tables); i++ {
		slot, err := tables[i-1].Derive(slots[i-1], Send, &tables[i])
		if err != nil {
			t.Fatal(err)
		}
		slots[i] = slot
	}
	far := new(Table)
	moved, err := tables[9].Move(slots[9], far)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := tables[4].Revoke(slots[4]); err != nil || n != 5 {
		t.Errorf("revoke killed %d, %v; want 5", n, err)
	}
	for i := range tables {
		if _, err := tables[i].Lookup(slots[i]); (err == nil) != (i <= 4) {
			t.Errorf("table %d: %v", i, err)
		}
	}
	if _, err := far.Lookup(moved); !errors.Is(err, ErrEmptySlot) {
		t.Errorf("the moved capability outlived its ancestor's revocation: %v", err)
	}
	if n, err := tables[4].Revoke(slots[4]); err != nil || n != 0 {
		t.Errorf("the second revoke killed %d, %v", n, err)
	}
}

// TestCloseKeepsDescendantsRevocable closes the middle of a chain: what was
// derived from it lives on, and still dies with the chain's root.
func TestCloseKeepsDescendantsRevocable(t *testing.T) {
	var a, b, c Table
	root := insert(t, &a, endpoint(AllRights))
	middle, err := a.Derive(root, Send, &b)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := b.Derive(middle, Send, &c)
	if err != nil {
		t.Fatal(err)
	}
	b.Clear()
	if b.Used() != 0 {
		t.Errorf("%d slots used after Clear", b.Used())
	}
	if _, err := c.Lookup(leaf); err != nil {
		t.Errorf("closing one's own killed another's: %v", err)
	}
	if n, err := a.Revoke(root); err != nil || n != 1 {
		t.Errorf("revoke killed %d, %v", n, err)
	}
	if _, err := c.Lookup(leaf); !errors.Is(err, ErrEmptySlot) {
		t.Errorf("the grandchild outlived the revocation: %v", err)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	var table Table
	slot := insert(t, &table, endpoint(Send))
	if n := testing.AllocsPerRun(100, func() { _, _ = table.Lookup(slot) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
