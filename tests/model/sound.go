package model

import (
	"errors"
	"fmt"
	"slices"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
)

// Sound says what can never be, whatever was done: it is asked after each step.
func (m *Model) Sound() error {
	held := make(map[string]bool)
	for _, c := range m.Caps {
		if c.Rights&^c.First != 0 {
			return errors.New("rights have grown")
		}
		if c.Origin != nil && c.First&^c.Origin.First != 0 {
			return errors.New("a capability was made with more rights than what it was made of")
		}
		if c.Where == Dead {
			continue
		}
		if c.Parent != nil && c.Parent.Where == Dead {
			return errors.New("a capability outlives its parent")
		}
		if c.Where == InFlight {
			if n := m.carriers(c); n != 1 {
				return fmt.Errorf("a capability in flight is in %d messages", n)
			}
			continue
		}
		place := fmt.Sprint(c.Task.Number, " ", c.Slot)
		if c.Task.Exited || held[place] {
			return fmt.Errorf("a capability is held by a task that has exited, or a slot is filled twice: %s", place)
		}
		held[place] = true
	}
	return m.soundQueues()
}

// carriers counts the messages that a capability travels with.
func (m *Model) carriers(c *Cap) (n int) {
	for _, e := range m.Endpoints {
		for _, q := range slices.Concat(e.Queue, e.Serving) {
			if q.Cap == c || q.Reply == c {
				n++
			}
		}
	}
	return n
}

// soundQueues holds depths and budgets, and that nobody waits for what is there.
func (m *Model) soundQueues() error {
	system, owned := 0, make(map[*Task]int)
	for _, e := range m.Endpoints {
		for _, q := range e.Queue {
			system += len(q.Body)
			owned[e.Owner] += len(q.Body)
		}
		room, receivers := m.Waiters(e)
		switch {
		case len(e.Queue) > e.Depth, len(e.Serving) > e.Parallel, system > ipc.MaxSystemBytes, owned[e.Owner] > ipc.MaxOwnerBytes:
			return fmt.Errorf("endpoint %d is over a limit", e.Number)
		case e.Closed && (len(e.Queue) > 0 || room > 0 || receivers > 0):
			return fmt.Errorf("endpoint %d is closed and not empty", e.Number)
		case room > 0 && len(e.Queue) < e.Depth, receivers > 0 && len(e.Queue) > 0:
			return fmt.Errorf("at endpoint %d somebody waits for what is there", e.Number)
		}
	}
	return nil
}

// Waiters counts who waits at an endpoint for room, and for a message.
func (m *Model) Waiters(e *Endpoint) (room, receivers int) {
	return len(m.waiting(e, Room)), len(m.waiting(e, Arrival))
}

// Table is what a task holds, in the order of the slots.
func (m *Model) Table(task int) []*Cap {
	var all []*Cap
	for _, c := range m.Caps {
		if c.Where == Held && c.Task == m.Tasks[task] {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Cap) int { return int(a.Slot) - int(b.Slot) })
	return all
}

// Levels counts what there is now.
type Levels struct{ Tasks, Endpoints, Bytes, Tokens int }

// Levels counts.
func (m *Model) Levels() (l Levels) {
	for _, t := range m.Tasks {
		if !t.Exited {
			l.Tasks++
		}
	}
	for _, e := range m.Endpoints {
		if !e.Closed {
			l.Endpoints++
		}
		for _, q := range e.Queue {
			l.Bytes += len(q.Body)
		}
	}
	for _, k := range m.Tokens {
		if m.good(k) {
			l.Tokens++
		}
	}
	return l
}

// Live counts the capabilities that are in a table or in flight, by kind.
func (m *Model) Live() map[capability.Kind]int {
	n := make(map[capability.Kind]int)
	for _, c := range m.Caps {
		if c.Where != Dead {
			n[c.Kind]++
		}
	}
	return n
}
