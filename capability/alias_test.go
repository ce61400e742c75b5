package capability

import (
	"errors"
	"testing"
)

// TestAlias: only memory has read-only aliases, and what comes of one is one.
func TestAlias(t *testing.T) {
	for kind := KindEndpoint; kind <= KindSessionAuthority; kind++ {
		var mine Table
		root := insert(t, &mine, Cap{Kind: kind, Rights: Map})
		_, err := mine.Alias(root)
		if memory := kind == KindVMO || kind == KindVMOReadOnly; errors.Is(err, ErrRights) == memory {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	var mine, theirs Table
	root := insert(t, &mine, Cap{Kind: KindVMO, Rights: Map | Manage})
	alias, err := mine.Alias(root)
	if c, _ := mine.Lookup(alias); err != nil || alias != 0 || c.Kind != KindVMOReadOnly || c.Rights != Map|Manage {
		t.Errorf("an alias in slot %d is %+v, %v", alias, c, err)
	}
	twin, _ := mine.Clone(alias)
	again, _ := mine.Alias(twin)
	there, _ := mine.Derive(again, Map, &theirs)
	moved, _ := mine.Move(again, &theirs)
	for _, slot := range []Slot{there, moved} {
		if c, err := theirs.Lookup(slot); err != nil || c.Kind != KindVMOReadOnly {
			t.Errorf("slot %d: %+v, %v", slot, c, err)
		}
	}
	if c, _ := mine.Lookup(root); c.Kind != KindVMO {
		t.Error("the original has changed")
	}
	for _, table := range []*Table{&mine, &theirs} {
		if err := table.Sound(); err != nil {
			t.Error(err)
		}
	}
	if n, err := mine.Revoke(root); n != 4 || err != nil || theirs.Used() != 0 {
		t.Errorf("revoke killed %d, %v", n, err)
	}
	if _, err := mine.Alias(99); !errors.Is(err, ErrEmptySlot) {
		t.Errorf("an alias of nothing: %v", err)
	}
	if _, err := mine.Alias(Slots); !errors.Is(err, ErrBadSlot) {
		t.Errorf("an alias from nowhere: %v", err)
	}
	for mine.Used() < Slots {
		insert(t, &mine, endpoint(Send))
	}
	if _, err := mine.Alias(root); !errors.Is(err, ErrFull) {
		t.Errorf("an alias in a full table: %v", err)
	}
}

// TestSoundFindsKinds: a child that is writable under a read-only parent, of
// another kind or for another object is found.
func TestSoundFindsKinds(t *testing.T) {
	for what, spoil := range map[string]func(parent, child *node){
		"writable again": func(_, child *node) { child.cap.Kind = KindVMO },
		"another kind":   func(_, child *node) { child.cap.Kind = KindEndpoint },
		"another object": func(parent, _ *node) { parent.cap.Object = "another" },
	} {
		var mine Table
		root := insert(t, &mine, Cap{Kind: KindVMO, Rights: Map, Object: "memory"})
		alias, _ := mine.Alias(root)
		child, err := mine.Clone(alias)
		if err != nil || mine.Sound() != nil {
			t.Fatal(err, mine.Sound())
		}
		spoil(mine.slots[alias], mine.slots[child])
		if err := mine.Sound(); !errors.Is(err, errKind) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestHeld: a capability is found wherever it is in its table, and what comes
// into its slot after it is another one.
func TestHeld(t *testing.T) {
	var mine, theirs Table
	root := insert(t, &mine, endpoint(Send|Recv))
	child, _ := mine.Derive(root, Send, &mine)
	held := mine.Hold(child)
	if c, slot, ok := held.Cap(&mine); !ok || slot != child || c.Rights != Send {
		t.Errorf("slot %d, %+v, %v", slot, c, ok)
	}
	if _, _, ok := held.Cap(&theirs); ok {
		t.Error("it is found in another table")
	}
	moved, _ := mine.Move(child, &mine)
	if _, slot, ok := held.Cap(&mine); !ok || slot != moved {
		t.Errorf("moved to slot %d, found in %d, %v", moved, slot, ok)
	}
	if _, err := mine.Revoke(root); err != nil {
		t.Fatal(err)
	}
	if next, _ := mine.Derive(root, Recv, &mine); next != moved {
		t.Fatalf("the slot was not used again")
	}
	if c, _, ok := held.Cap(&mine); ok {
		t.Errorf("a revoked capability is found as %+v", c)
	}
	for _, none := range []Held{{}, mine.Hold(99), mine.Hold(Slots)} {
		if _, _, ok := none.Cap(&mine); ok {
			t.Error("nothing is found")
		}
	}
}
