package ipc

// What tests outside the package need to see of the inside.

// FreeBuffers returns every pooled payload buffer, whole.
func (k *Kernel) FreeBuffers() (all [][]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, class := range k.buffers.free {
		for _, b := range class {
			all = append(all, b[:cap(b)])
		}
	}
	return all
}

// FreeCallsAreBlank says whether no request that is over has left anything
// behind for the next one.
func (k *Kernel) FreeCallsAreBlank() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := k.freeCalls; c != nil; c = c.next {
		if c.id != 0 || c.state != callFree || c.caller != nil || c.body != nil || c.parcel != nil || c.row != nil ||
			c.session != nil || c.parent != nil || c.reply != nil || c.payer != nil || c.nonce != 0 || c.stamp != (Stamp{}) || c.sender != (Sender{}) || c.nextSID != nil || c.prevSID != nil {
			return false
		}
	}
	return true
}

// KnownSession says whether the kernel still keeps a record of the session.
func (k *Kernel) KnownSession(sid uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sessions[sid] != nil
}

// RaiseEpoch makes a session's epoch another one and leaves its tokens alone,
// which the kernel itself never does.
func (k *Kernel) RaiseEpoch(sid uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sessions[sid].epoch++
}

// UseUpSIDs makes the next session the last one of this boot.
func (k *Kernel) UseUpSIDs() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastSID = ^uint32(0) - 1
}

// Memories returns the bytes of every memory object, themselves and no copy.
func (k *Kernel) Memories() (all [][]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for m := range k.memories {
		all = append(all, m.bytes)
	}
	return all
}

// Timers counts the waits that have a deadline.
func (k *Kernel) Timers() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for f := k.timers; f != nil; f = f.timerNext {
		n++
	}
	return n
}

// SetInjector gives a kernel that runs an injector.
func (k *Kernel) SetInjector(i Injector) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.injector = i
}

// Miscount makes one of the kernel's counts wrong, and says which.
func (k *Kernel) Miscount(what string) (undo func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := new(int)
	switch what {
	case "queued":
		n = &k.queued
	case "memory":
		n = &k.memoryBytes
	case "owner's memory":
		n = &k.tasks[k.lastTask].memoryBytes
	case "capabilities":
		for m := range k.memories {
			n = &m.caps
		}
	case "owner":
		n = &k.tasks[k.lastTask].queuedBytes
	case "serving":
		for _, t := range k.tasks {
			for _, ep := range t.facets {
				n = &ep.serving
			}
		}
	case "depth":
		for _, t := range k.tasks {
			for _, ep := range t.facets {
				n = &ep.queued
			}
		}
	case "epoch":
		for _, s := range k.sessions {
			s.epoch++
			return func() { s.epoch-- }
		}
	}
	*n++
	return func() { *n-- }
}

// SwitchTrace switches the trace ring on or off, which nothing else can.
func (k *Kernel) SwitchTrace(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ring.off = !on
}

// BufferSize is the memory that a payload of n bytes takes.
func (k *Kernel) BufferSize(n int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.buffers.take(n)
	defer k.buffers.give(b)
	return cap(b)
}
