package capability

import "errors"

// Ways in which a table can contradict itself. Each is a mistake of this
// package or of who keeps the table.
var (
	errCount  = errors.New("capability: the count of a table is not that of its slots")
	errPlace  = errors.New("capability: a capability does not know its slot")
	errGrown  = errors.New("capability: a capability has a right that its parent has not")
	errKind   = errors.New("capability: a capability is of another kind, or for another object, than its parent")
	errTree   = errors.New("capability: a capability is not among its parent's children")
	errUndead = errors.New("capability: a revoked capability is held")
	errRows   = errors.New("capability: a live token has no row, or a dead one has")
	errWider  = errors.New("capability: a token has a right or a life that its parent has not")
)

// Sound looks for what can never be in a table: rights that grew, capabilities
// that are lost, held twice or held though revoked. It is for tests and for who
// explores; it changes nothing.
func (t *Table) Sound() error {
	held := 0
	for slot, n := range t.slots {
		if n == nil {
			continue
		}
		held++
		if n.table != t || n.slot != Slot(slot) {
			return errPlace
		}
		if err := n.check(); err != nil {
			return err
		}
	}
	if held != t.used {
		return errCount
	}
	return nil
}

func (n *node) check() error {
	if n.dead {
		return errUndead
	}
	p := n.parent
	if p == nil {
		return nil
	}
	if p.dead {
		return errUndead // What revocation kills, it kills with all its children.
	}
	// A capability that moved has lost Manage, and its children need not.
	if n.cap.Rights&^Manage&^p.cap.Rights != 0 {
		return errGrown
	}
	alias := p.cap.Kind == KindVMO && n.cap.Kind == KindVMOReadOnly
	if n.cap.Object != p.cap.Object || n.cap.Kind != p.cap.Kind && !alias {
		return errKind
	}
	for c := p.children; c != nil; c = c.next {
		if c == n {
			return nil
		}
	}
	return errTree
}

// Sound looks for what can never be in a table of tokens.
func (ts *Tokens) Sound() error {
	for serial, r := range ts.rows {
		if !r.live || r.Serial != serial {
			return errRows
		}
		if p := r.parent; p != nil && (!p.live || r.Rights&^p.Rights != 0 || outlives(r.Expires, p.Expires)) {
			return errWider
		}
	}
	return nil
}
