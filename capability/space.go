package capability

import "errors"

// Slots is the size of a task's table.
const Slots = 256

// Slot is an index into a task's table.
type Slot uint16

// NoSlot stands for "no capability".
const NoSlot Slot = 0xffff

// Rights of a capability, a bit mask.
type Rights uint8

// The rights bits, as the target OS numbers them.
const (
	Send   Rights = 1
	Recv   Rights = 2
	Map    Rights = 4
	Manage Rights = 8

	AllRights = Send | Recv | Map | Manage
)

// Kind says what a capability is for.
type Kind uint8

// The kinds of capability.
const (
	KindEndpoint Kind = iota + 1
	KindEndpointFactory
	KindVMO
	KindVMOReadOnly
	KindTimer
	KindSessionAuthority
	KindInspector // who holds it sees who holds what, what is queued, and why requests were refused
)

// Fixed says whether a capability of this kind stays with the task that it was
// made for: it can be neither moved nor derived for another one.
func (k Kind) Fixed() bool {
	return k == KindEndpointFactory || k == KindSessionAuthority || k == KindInspector
}

// Errors of tables and of the derivation tree.
var (
	ErrBadSlot   = errors.New("capability: slot out of range")
	ErrEmptySlot = errors.New("capability: slot is empty")
	ErrRights    = errors.New("capability: rights exceed those held")
	ErrFull      = errors.New("capability: table is full")
)

// Cap is what a slot holds: authority of some rights over one object.
type Cap struct {
	Object any // the kernel's object; never read here, but told if it is a Counter
	Kind   Kind
	Rights Rights
}

// A Counter is an object that wants to know which capabilities there are to it.
// It hears of each one when it is made and when it dies, closed or revoked: one
// that moves, or is in flight, lives on. It must not call the table back.
type Counter interface {
	Made(c Cap)
	Died(c Cap)
}

func (c Cap) made() {
	if o, ok := c.Object.(Counter); ok {
		o.Made(c)
	}
}

func (c Cap) died() {
	if o, ok := c.Object.(Counter); ok {
		o.Died(c)
	}
}

// node is a capability at its place in the derivation tree. Siblings are a
// doubly linked list, so that dropping one needs no search.
type node struct {
	cap        Cap
	table      *Table
	slot       Slot
	parent     *node
	children   *node
	prev, next *node
	dead       bool // revoked
}

// Table is the capability table of one task.
type Table struct {
	slots [Slots]*node
	used  int
}

// Used says how many slots hold a capability.
func (t *Table) Used() int { return t.used }

// Lookup returns the capability in slot. It allocates nothing.
func (t *Table) Lookup(slot Slot) (Cap, error) {
	n, err := t.node(slot)
	if err != nil {
		return Cap{}, err
	}
	return n.cap, nil
}

func (t *Table) node(slot Slot) (*node, error) {
	if slot >= Slots {
		return nil, ErrBadSlot
	}
	n := t.slots[slot]
	if n == nil {
		return nil, ErrEmptySlot
	}
	return n, nil
}

// Insert puts a capability that descends from nothing into the highest free
// slot: the place for objects that a task makes for itself.
func (t *Table) Insert(c Cap) (Slot, error) {
	slot := t.highestFree()
	if slot == NoSlot {
		return NoSlot, ErrFull
	}
	t.put(&node{cap: c}, slot)
	c.made()
	return slot, nil
}

// InsertAt puts a capability that descends from nothing into one given slot,
// which must be free: the place for what a task finds at its start.
func (t *Table) InsertAt(slot Slot, c Cap) error {
	if slot >= Slots {
		return ErrBadSlot
	}
	if t.slots[slot] != nil {
		return ErrFull
	}
	t.put(&node{cap: c}, slot)
	c.made()
	return nil
}

// Derive makes a capability with the given rights, which must be held in slot,
// in the lowest free slot of the table to. The new one is a child: revoking
// the old one kills it. Manage does not travel to another table.
func (t *Table) Derive(slot Slot, rights Rights, to *Table) (Slot, error) {
	n, err := t.node(slot)
	if err != nil {
		return NoSlot, err
	}
	if rights&^n.cap.Rights != 0 || to != t && (rights&Manage != 0 || n.cap.Kind.Fixed()) {
		return NoSlot, ErrRights
	}
	free := to.lowestFree()
	if free == NoSlot {
		return NoSlot, ErrFull
	}
	child := &node{cap: n.cap}
	child.cap.Rights = rights
	child.adopt(n)
	to.put(child, free)
	child.cap.made()
	return free, nil
}

// Alias makes a read-only capability to the memory object in slot, with the
// rights of that one, in the lowest free slot. It is a child like any other, and
// nothing that is derived from it can ever be written through.
func (t *Table) Alias(slot Slot) (Slot, error) {
	n, err := t.node(slot)
	if err != nil {
		return NoSlot, err
	}
	if n.cap.Kind != KindVMO && n.cap.Kind != KindVMOReadOnly {
		return NoSlot, ErrRights
	}
	got, err := t.Clone(slot)
	if err == nil {
		t.slots[got].cap.Kind = KindVMOReadOnly
	}
	return got, err
}

// Clone derives with the same rights inside one table.
func (t *Table) Clone(slot Slot) (Slot, error) {
	n, err := t.node(slot)
	if err != nil {
		return NoSlot, err
	}
	return t.Derive(slot, n.cap.Rights, t)
}

// Parcel is a capability in flight: out of its sender's table and not yet in
// its receiver's. It keeps its place in the tree, so that revoking an ancestor
// kills it there too. A nil Parcel stands for none.
type Parcel struct {
	n    *node
	slot Slot // where it came from
}

// Send takes the capability in slot, which must be full, out of the table.
func (t *Table) Send(slot Slot) *Parcel {
	n, err := t.node(slot)
	if err != nil {
		return nil
	}
	t.take(n)
	return &Parcel{n: n, slot: slot}
}

// Receive puts a capability in flight, without Manage, into the lowest free
// slot. On ErrFull it stays in flight; on ErrEmptySlot it was revoked meanwhile.
func (t *Table) Receive(p *Parcel) (Slot, error) {
	if p == nil || p.n == nil || p.n.dead {
		return NoSlot, ErrEmptySlot
	}
	free := t.lowestFree()
	if free == NoSlot {
		return NoSlot, ErrFull
	}
	p.n.cap.Rights &^= Manage
	t.put(p.n, free)
	p.n = nil
	return free, nil
}

// Return puts a capability in flight back where it came from, with all its
// rights, if that slot is still free, and drops it otherwise.
func (t *Table) Return(p *Parcel) {
	if p == nil || p.n == nil || p.n.dead {
		return
	}
	if t.slots[p.slot] != nil {
		p.Drop()
		return
	}
	t.put(p.n, p.slot)
	p.n = nil
}

// Drop closes a capability that is still in flight.
func (p *Parcel) Drop() {
	if p != nil && p.n != nil && !p.n.dead {
		n := p.n
		n.orphan()
		p.n = nil
		n.cap.died()
	}
}

// Cap is the capability in flight; it reports false if there is none, or it was
// revoked.
func (p *Parcel) Cap() (Cap, bool) {
	if p == nil || p.n == nil || p.n.dead {
		return Cap{}, false
	}
	return p.n.cap, true
}

// Held is one capability, whatever becomes of its slot. A slot that was revoked
// may hold somebody else's capability by the time it is used; a Held never does.
// The zero value stands for none.
type Held struct{ n *node }

// Hold names the capability in slot.
func (t *Table) Hold(slot Slot) Held {
	n, err := t.node(slot)
	if err != nil {
		return Held{}
	}
	return Held{n}
}

// Cap is the capability, and where it is. It reports false if it is not in the
// table any more: closed, revoked or moved on.
func (h Held) Cap(t *Table) (c Cap, slot Slot, ok bool) {
	if h.n == nil || h.n.table != t {
		return Cap{}, NoSlot, false
	}
	return h.n.cap, h.n.slot, true
}

// Move is Send and Receive in one step: nothing has moved on an error.
func (t *Table) Move(slot Slot, to *Table) (Slot, error) {
	n, err := t.node(slot)
	if err != nil {
		return NoSlot, err
	}
	if n.cap.Kind.Fixed() && to != t {
		return NoSlot, ErrRights
	}
	rights := n.cap.Rights
	p := t.Send(slot)
	got, err := to.Receive(p)
	if err != nil {
		t.Return(p)
		return NoSlot, err
	}
	if to == t {
		n.cap.Rights = rights
	}
	return got, nil
}

// Close drops one's own capability. What was derived from it goes on living as
// the children of its parent, so that an ancestor's revocation still finds it.
func (t *Table) Close(slot Slot) error {
	n, err := t.node(slot)
	if err != nil {
		return err
	}
	n.orphan()
	t.take(n)
	n.cap.died()
	return nil
}

// orphan takes a capability out of the tree and hands its children on.
func (n *node) orphan() {
	for c := n.children; c != nil; c = n.children {
		c.leave()
		if n.parent != nil {
			c.adopt(n.parent)
		}
	}
	n.leave()
}

// Revoke kills everything derived from the capability in slot, in whatever
// table it is by now, and keeps the capability itself. It returns how many
// capabilities died.
func (t *Table) Revoke(slot Slot) (int, error) {
	n, err := t.node(slot)
	if err != nil {
		return 0, err
	}
	killed := 0
	for n.children != nil {
		leaf := n.children
		for leaf.children != nil {
			leaf = leaf.children
		}
		leaf.leave()
		leaf.dead = true
		if leaf.table != nil { // Otherwise it is in flight.
			leaf.table.take(leaf)
		}
		leaf.cap.died()
		killed++
	}
	return killed, nil
}

// Clear closes every capability of the table, as a task's exit does.
func (t *Table) Clear() {
	for slot := range Slots {
		if t.slots[slot] != nil {
			_ = t.Close(Slot(slot)) // The slot is in range and full: Close cannot fail.
		}
	}
}

// Each calls fn for every held capability in slot order.
func (t *Table) Each(fn func(Slot, Cap)) {
	for slot, n := range t.slots {
		if n != nil {
			fn(Slot(slot), n.cap)
		}
	}
}

func (t *Table) put(n *node, slot Slot) {
	n.table, n.slot = t, slot
	t.slots[slot] = n
	t.used++
}

func (t *Table) take(n *node) {
	t.slots[n.slot] = nil
	t.used--
	n.table = nil
}

func (t *Table) lowestFree() Slot {
	for slot := range t.slots {
		if t.slots[slot] == nil {
			return Slot(slot)
		}
	}
	return NoSlot
}

func (t *Table) highestFree() Slot {
	for slot := Slots - 1; slot >= 0; slot-- {
		if t.slots[slot] == nil {
			return Slot(slot)
		}
	}
	return NoSlot
}

func (n *node) adopt(parent *node) {
	n.parent = parent
	n.prev, n.next = nil, parent.children
	if n.next != nil {
		n.next.prev = n
	}
	parent.children = n
}

func (n *node) leave() {
	if n.parent == nil {
		return
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		n.parent.children = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	}
	n.parent, n.prev, n.next = nil, nil, nil
}
