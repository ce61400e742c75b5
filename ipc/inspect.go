package ipc

import (
	"maps"
	"slices"

	"nexus.internal/os/capability"
)

// GrantInspector lets a task see who holds what, what is queued, and why
// requests were refused. It cannot pass that on.
func (k *Kernel) GrantInspector(t *Task) (Slot, error) {
	return k.grant(t, capability.Cap{Kind: capability.KindInspector, Rights: capability.Manage})
}

// inspects checks that slot holds an inspector capability, before anything
// else is looked at: without one, no answer depends on what there is.
func (t *Task) inspects(slot Slot) Code {
	c, err := t.table.Lookup(slot)
	if err != nil || c.Kind != capability.KindInspector {
		t.deny(SyscallInspect, slot, PermissionDenied, 0)
		return PermissionDenied
	}
	return OK
}

// Inspect shows the kernel as it is now, with every task's capabilities. It
// needs the inspector capability in slot: PermissionDenied without.
func (t *Task) Inspect(slot Slot) (View, error) {
	k := t.kernel
	k.lock()
	defer k.unlock()
	if code := t.inspects(slot); code != OK {
		return View{}, code
	}
	return k.view(), nil
}

// Explain answers one audit record. It needs the inspector capability in slot:
// PermissionDenied without; NotFound for a record that never was or that had to
// make room.
func (t *Task) Explain(slot Slot, id AuditID) (Denial, error) {
	k := t.kernel
	k.lock()
	defer k.unlock()
	if code := t.inspects(slot); code != OK {
		return Denial{}, code
	}
	d, ok := k.audit.find(id)
	if !ok {
		return Denial{}, NotFound
	}
	return *d, nil
}

// Denials answers the first n audit records after the one with the given id, or
// after the beginning for the zero value, oldest first, of those that are kept.
// It needs the inspector capability in slot: PermissionDenied without;
// InvalidArgument for a negative n, NotFound for an id of another boot.
func (t *Task) Denials(slot Slot, after AuditID, n int) ([]Denial, error) {
	k := t.kernel
	k.lock()
	defer k.unlock()
	a := &k.audit
	switch code := t.inspects(slot); {
	case code != OK:
		return nil, code
	case n < 0:
		return nil, InvalidArgument
	case after != AuditID{} && after.Boot != a.boot:
		return nil, NotFound
	}
	first := max(after.Serial, a.dropped())
	if first >= a.total {
		return nil, nil
	}
	n = min(n, int(a.total-first))
	out := make([]Denial, 0, n)
	for i := range uint64(n) {
		out = append(out, a.ring[(first+i)%MaxDenials])
	}
	return out, nil
}

// TaskView is one task and what it holds.
type TaskView struct {
	ID    TaskID
	Name  string
	Slots []SlotView // in their order
}

// SlotView is one capability.
type SlotView struct {
	Slot   Slot
	Kind   capability.Kind
	Rights capability.Rights
	// Endpoint, Owner and Facet belong to capabilities of endpoints.
	Endpoint uint32
	Owner    string
	Facet    uint8
	// Size belongs to capabilities of memory objects: their bytes.
	Size int
}

// viewTasks shows all tasks, in the order of their making.
func (k *Kernel) viewTasks() (all []TaskView) {
	for _, id := range slices.Sorted(maps.Keys(k.tasks)) {
		t := k.tasks[id]
		all = append(all, TaskView{ID: id, Name: t.name, Slots: t.slots()})
	}
	return all
}

// slots shows what a task holds.
func (t *Task) slots() (all []SlotView) {
	t.table.Each(func(slot Slot, c capability.Cap) {
		s := SlotView{Slot: slot, Kind: c.Kind, Rights: c.Rights}
		switch o := c.Object.(type) {
		case *endpoint:
			s.Endpoint, s.Owner, s.Facet = o.id, o.owner.name, o.facet
		case *memory:
			s.Size = len(o.bytes)
		}
		all = append(all, s)
	})
	return all
}

// Held lists what a task holds, one that has exited included. Like View it is
// for who has the kernel at hand, and so not a kernel call.
func (k *Kernel) Held(t *Task) []SlotView {
	k.lock()
	defer k.unlock()
	return t.slots()
}
