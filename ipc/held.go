package ipc

import "nexus.internal/os/capability"

// Held is one capability in a task's table.
type Held struct {
	Slot     Slot
	Kind     capability.Kind
	Rights   capability.Rights
	Endpoint uint32 // its number; 0 if it is another object's
}

// Held lists what a task holds, in the order of the slots. Like View it is for
// who has the kernel at hand, and so not a kernel call.
func (k *Kernel) Held(t *Task) []Held {
	k.lock()
	defer k.mu.Unlock()
	var all []Held
	t.table.Each(func(slot Slot, c capability.Cap) {
		h := Held{Slot: slot, Kind: c.Kind, Rights: c.Rights}
		if ep, ok := c.Object.(*endpoint); ok {
			h.Endpoint = ep.id
		}
		all = append(all, h)
	})
	return all
}
