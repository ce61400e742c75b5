package capability

import (
	"errors"
	"testing"
)

// flight is a child capability on its way from one table to another.
func flight(t *testing.T) (from, to *Table, root, slot Slot, p *Parcel) {
	t.Helper()
	from, to = new(Table), new(Table)
	root = insert(t, from, endpoint(AllRights))
	slot, err := from.Clone(root)
	if err != nil {
		t.Fatal(err)
	}
	p = from.Send(slot)
	if _, err := from.Lookup(slot); !errors.Is(err, ErrEmptySlot) {
		t.Fatalf("a capability in flight is still in its table: %v", err)
	}
	return from, to, root, slot, p
}

// spent checks that a parcel can do nothing any more.
func spent(t *testing.T, p *Parcel) {
	t.Helper()
	var other Table
	if _, err := other.Receive(p); !errors.Is(err, ErrEmptySlot) {
		t.Errorf("received twice: %v", err)
	}
	other.Return(p)
	p.Drop()
	if other.Used() != 0 {
		t.Error("a spent parcel filled a slot")
	}
}

func TestParcelReceived(t *testing.T) {
	from, to, root, _, p := flight(t)
	got, err := to.Receive(p)
	if err != nil || got != 0 || rightsAt(t, to, got) != AllRights&^Manage {
		t.Errorf("slot %d, %v", got, err)
	}
	spent(t, p)
	if n, _ := from.Revoke(root); n != 1 || to.Used() != 0 {
		t.Errorf("revoke killed %d; the receiver has %d", n, to.Used())
	}
}

func TestParcelReturned(t *testing.T) {
	from, _, _, slot, p := flight(t)
	from.Return(p)
	if rightsAt(t, from, slot) != AllRights {
		t.Errorf("it came back with %04b", rightsAt(t, from, slot))
	}
	spent(t, p)
}

// TestParcelReturnsToATakenSlot: there is no slot to return it to, so it is
// closed, and nothing is left of it in the tree.
func TestParcelReturnsToATakenSlot(t *testing.T) {
	from, _, root, slot, p := flight(t)
	if err := from.InsertAt(slot, endpoint(Recv)); err != nil {
		t.Fatal(err)
	}
	from.Return(p)
	if rightsAt(t, from, slot) != Recv {
		t.Error("it took another capability's slot")
	}
	spent(t, p)
	if n, _ := from.Revoke(root); n != 0 {
		t.Errorf("%d capabilities were left in the tree", n)
	}
}

func TestParcelDropped(t *testing.T) {
	from, to, root, _, p := flight(t)
	p.Drop()
	spent(t, p)
	if n, _ := from.Revoke(root); n != 0 || to.Used() != 0 {
		t.Errorf("%d capabilities were left in the tree", n)
	}
}

// TestParcelDroppedKeepsChildren: dropping one in flight is like closing it.
func TestParcelDroppedKeepsChildren(t *testing.T) {
	from, to := new(Table), new(Table)
	root := insert(t, from, endpoint(AllRights))
	slot, _ := from.Clone(root)
	if _, err := from.Derive(slot, Send, to); err != nil {
		t.Fatal(err)
	}
	from.Send(slot).Drop()
	if to.Used() != 1 {
		t.Fatal("its child died")
	}
	if n, _ := from.Revoke(root); n != 1 || to.Used() != 0 {
		t.Errorf("revoke killed %d", n)
	}
}

func TestParcelRevokedInFlight(t *testing.T) {
	from, _, root, slot, p := flight(t)
	if n, err := from.Revoke(root); err != nil || n != 1 {
		t.Errorf("revoke killed %d, %v", n, err)
	}
	spent(t, p)
	from.Return(p)
	if _, err := from.Lookup(slot); !errors.Is(err, ErrEmptySlot) {
		t.Errorf("a revoked capability came back: %v", err)
	}
}

func TestParcelWaitsForRoom(t *testing.T) {
	from, to, _, slot, p := flight(t)
	for range Slots {
		insert(t, to, endpoint(Recv))
	}
	if _, err := to.Receive(p); !errors.Is(err, ErrFull) {
		t.Fatalf("a full table: %v", err)
	}
	from.Return(p)
	if rightsAt(t, from, slot) != AllRights {
		t.Error("a failed delivery cost the sender rights")
	}
}

func TestNoParcel(t *testing.T) {
	var table Table
	spent(t, nil)
	spent(t, table.Send(3))
}
