package model

import (
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
)

// memory adds up the bytes of the objects to which a live capability leads: of
// one creator, and of all.
func (m *Model) memory(creator *Task) (own, all int) {
	seen := make(map[*Memory]bool)
	for _, c := range m.Caps {
		if o := c.Memory; o != nil && c.Where != Dead && !seen[o] {
			seen[o] = true
			all += len(o.Bytes)
			if o.Creator == creator {
				own += len(o.Bytes)
			}
		}
	}
	return own, all
}

func (m *Model) newMemory(op Op) Result {
	t := m.Tasks[op.Task]
	if t.Exited {
		return code(ipc.Unavailable)
	}
	if op.Size < 1 || op.Size > ipc.MaxMemory {
		return code(ipc.InvalidArgument)
	}
	own, all := m.memory(t)
	own, all = own+op.Size, all+op.Size
	slot, ok := m.highestFree(t)
	if own > ipc.MaxOwnerMemory || all+own > ipc.MaxSystemMemory || !ok {
		return code(ipc.NoSpace)
	}
	m.Caps = append(m.Caps, &Cap{
		Kind: capability.KindVMO, Rights: capability.Map, First: capability.Map,
		Memory: &Memory{Creator: t, Bytes: make([]byte, op.Size)}, Task: t, Slot: slot,
	})
	return Result{Slot: slot}
}

// readOnly derives an alias, which keeps the rights.
func (m *Model) readOnly(op Op) Result {
	c, why := m.look(m.Tasks[op.Task], op.Slot)
	switch {
	case why != ipc.OK:
		return code(why)
	case c.Memory == nil:
		return code(ipc.PermissionDenied)
	}
	slot, ok := m.lowestFree(c.Task)
	if !ok {
		return code(ipc.NoSpace)
	}
	m.Caps = append(m.Caps, &Cap{
		Kind: capability.KindVMOReadOnly, Rights: c.Rights, First: c.Rights, Memory: c.Memory, Origin: c, Parent: c, Task: c.Task, Slot: slot,
	})
	return Result{Slot: slot}
}

// useMemory is ReadMemory and WriteMemory.
func (m *Model) useMemory(number int, op Op) Result {
	c, why := m.look(m.Tasks[op.Task], op.Slot)
	switch {
	case why != ipc.OK:
		return code(why)
	case c.Memory == nil || c.Rights&capability.Map == 0, op.Kind == WriteMemory && c.Kind != capability.KindVMO:
		return code(ipc.PermissionDenied)
	case op.N < 0 || op.N > len(c.Memory.Bytes):
		return code(ipc.InvalidArgument)
	}
	if op.Kind == ReadMemory {
		body := string(c.Memory.Bytes[op.N:min(len(c.Memory.Bytes), op.N+max(0, op.Size))])
		return Result{N: len(body), Body: body}
	}
	if op.N+op.Size > len(c.Memory.Bytes) {
		return code(ipc.InvalidArgument)
	}
	copy(c.Memory.Bytes[op.N:], Payload(number, op.Size))
	return Result{}
}
