package model

import (
	"slices"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
)

// at is what a task holds in a slot, or nil.
func (m *Model) at(t *Task, slot ipc.Slot) *Cap {
	for _, c := range m.Caps {
		if c.Where == Held && c.Task == t && c.Slot == slot {
			return c
		}
	}
	return nil
}

// look is at, and why there is nothing.
func (m *Model) look(t *Task, slot ipc.Slot) (*Cap, ipc.Code) {
	if slot >= capability.Slots {
		return nil, ipc.InvalidArgument
	}
	if c := m.at(t, slot); c != nil {
		return c, ipc.OK
	}
	return nil, ipc.PermissionDenied
}

func (m *Model) lowestFree(t *Task) (ipc.Slot, bool) {
	for slot := ipc.Slot(0); slot < capability.Slots; slot++ {
		if m.at(t, slot) == nil {
			return slot, true
		}
	}
	return 0, false
}

func (m *Model) highestFree(t *Task) (ipc.Slot, bool) {
	for slot := ipc.Slot(capability.Slots); slot > 0; slot-- {
		if m.at(t, slot-1) == nil {
			return slot - 1, true
		}
	}
	return 0, false
}

func fixed(k capability.Kind) bool {
	return k == capability.KindEndpointFactory || k == capability.KindSessionAuthority || k == capability.KindInspector
}

func (m *Model) newTask(op Op) Result {
	t := &Task{Number: len(m.Tasks), Service: op.Service, Guards: op.Guards}
	if len(m.Tasks) > 0 {
		t.Parent = m.Tasks[op.Task]
	}
	m.Tasks = append(m.Tasks, t)
	return Result{}
}

func (m *Model) grant(op Op) Result {
	t := m.Tasks[op.Task]
	if t.Exited {
		return code(ipc.Unavailable)
	}
	slot, ok := m.highestFree(t)
	if !ok {
		return code(ipc.NoSpace)
	}
	m.Caps = append(m.Caps, &Cap{Kind: op.Cap, Rights: capability.Manage, First: capability.Manage, Task: t, Slot: slot})
	return Result{Slot: slot}
}

func (m *Model) newEndpoint(op Op) Result {
	t, owner := m.Tasks[op.Task], m.Tasks[op.To]
	c := m.at(t, op.Slot)
	if c == nil || c.Kind != capability.KindEndpointFactory || owner != t && owner.Parent != t {
		return code(ipc.PermissionDenied)
	}
	if owner.Exited {
		return code(ipc.NoSuchEndpoint)
	}
	open, owned, facets := 0, 0, 0
	for _, e := range m.Endpoints {
		if !e.Closed {
			open++
		}
		if !e.Closed && e.Owner == owner {
			owned++
		}
		if !e.Inbox && e.Owner == owner {
			facets++
		}
	}
	slot, ok := m.highestFree(t)
	if open >= ipc.MaxEndpoints || owned >= ipc.MaxOwnerEndpoints || !op.Inbox && facets >= ipc.MaxFacets || !ok {
		return code(ipc.NoSpace)
	}
	e := &Endpoint{
		Number: len(m.Endpoints), Owner: owner, Takes: op.Takes, Inbox: op.Inbox, Raw: op.Raw,
		Depth:    max(1, min(op.Depth, ipc.MaxDepth)),
		Parallel: max(1, min(op.Parallel, ipc.MaxParallel)),
	}
	m.Endpoints = append(m.Endpoints, e)
	m.Caps = append(m.Caps, &Cap{
		Kind: capability.KindEndpoint, Rights: capability.AllRights, First: capability.AllRights, Endpoint: e, Task: t, Slot: slot,
	})
	return Result{Slot: slot}
}

// derive is Clone as well: with the same rights, for oneself.
func (m *Model) derive(op Op) Result {
	t, to, rights := m.Tasks[op.Task], m.Tasks[op.To], op.Rights
	if op.Kind == Clone {
		to = t
	} else if to != t && to.Parent != t || to.Exited || t.Exited {
		return code(ipc.PermissionDenied)
	}
	c, why := m.look(t, op.Slot)
	if why != ipc.OK {
		return code(why)
	}
	if op.Kind == Clone {
		rights = c.Rights
	}
	if rights&^c.Rights != 0 || to != t && (rights&capability.Manage != 0 || fixed(c.Kind)) {
		return code(ipc.PermissionDenied)
	}
	slot, ok := m.lowestFree(to)
	if !ok {
		return code(ipc.NoSpace)
	}
	m.Caps = append(m.Caps, &Cap{
		Kind: c.Kind, Rights: rights, First: rights, Endpoint: c.Endpoint, Memory: c.Memory, Origin: c, Parent: c, Task: to, Slot: slot,
	})
	return Result{Slot: slot}
}

func (m *Model) close(op Op) Result {
	c, why := m.look(m.Tasks[op.Task], op.Slot)
	if why != ipc.OK {
		return code(why)
	}
	m.drop(c)
	return Result{}
}

// drop ends one capability; its children become its parent's.
func (m *Model) drop(c *Cap) {
	if c == nil || c.Where == Dead {
		return
	}
	c.Where = Dead
	for _, child := range m.Caps {
		if child.Parent == c {
			child.Parent = c.Parent
		}
	}
}

func (m *Model) revoke(op Op) Result {
	c, why := m.look(m.Tasks[op.Task], op.Slot)
	if why != ipc.OK {
		return code(why)
	}
	n := 0
	for _, other := range m.Caps {
		if other.Where != Dead && other.below(c) {
			other.Where = Dead
			n++
		}
	}
	return Result{N: n}
}

// below says whether a capability was derived from another one, in any number of steps.
func (c *Cap) below(ancestor *Cap) bool {
	for p := c.Parent; p != nil; p = p.Parent {
		if p == ancestor {
			return true
		}
	}
	return false
}

func (m *Model) closeEndpoint(op Op) Result {
	c, why := m.look(m.Tasks[op.Task], op.Slot)
	if why != ipc.OK {
		return code(why)
	}
	if c.Endpoint == nil || c.Rights&capability.Manage == 0 {
		return code(ipc.PermissionDenied)
	}
	m.shut(c.Endpoint)
	return Result{}
}

// shut closes an endpoint and tells everybody who waits at it; what is being
// served may still be answered.
func (m *Model) shut(e *Endpoint) {
	if e.Closed {
		return
	}
	e.Closed = true
	queue := e.Queue
	e.Queue = nil
	for _, q := range queue {
		m.reject(q, ipc.NoSuchEndpoint)
	}
	for _, f := range slices.Concat(m.waiting(e, Room), m.waiting(e, Arrival)) {
		m.finish(f, code(ipc.NoSuchEndpoint))
	}
}

// exit ends a task: its endpoints close, what it serves is answered, its flows
// end, its tokens and capabilities die.
func (m *Model) exit(t *Task) {
	if t.Exited {
		return
	}
	t.Exited = true
	for _, inbox := range []bool{false, true} { // An inbox may still be told of requests that end.
		for _, e := range m.Endpoints {
			if e.Owner == t && e.Inbox == inbox {
				m.shut(e)
			}
		}
	}
	m.failServing(t)
	for _, f := range slices.Clone(m.Flows) {
		if f.Task == t {
			m.leave(f, ipc.Unavailable)
		}
	}
	m.crashSessions(t)
	for _, token := range m.Tokens {
		if token.Holder == t {
			m.kill(token)
		}
	}
	for _, c := range m.Caps {
		if c.Where == Held && c.Task == t {
			m.drop(c)
		}
	}
}

// sender says whether a live capability with SEND is left, in a table or in
// flight, and whether there ever was another one than its maker's, which is the
// first.
func (m *Model) sender(e *Endpoint) (left, ever bool) {
	first := true
	for _, c := range m.Caps {
		if c.Endpoint == e {
			ever = ever || !first && c.First&capability.Send != 0
			left = left || c.First&capability.Send != 0 && c.Where != Dead
			first = false
		}
	}
	return left, ever
}
