package vault

import "slices"

// Names is the index of one app: which record holds which name, in byte order.
// Its zero value is empty. Names that it holds can be wiped.
type Names struct {
	entries []nameEntry
}

type nameEntry struct {
	name     []byte
	sequence uint64
}

// find answers where name is or belongs.
func (n *Names) find(name string) (int, bool) {
	return slices.BinarySearchFunc(n.entries, name, func(e nameEntry, name string) int {
		switch {
		case string(e.name) < name:
			return -1
		case string(e.name) > name:
			return 1
		}
		return 0
	})
}

// Find answers the sequence of the live record that holds name.
func (n *Names) Find(name string) (uint64, bool) {
	i, ok := n.find(name)
	if !ok {
		return 0, false
	}
	return n.entries[i].sequence, true
}

// Set notes that the record of that sequence holds name now.
func (n *Names) Set(name string, sequence uint64) {
	i, ok := n.find(name)
	if !ok {
		n.entries = slices.Insert(n.entries, i, nameEntry{name: []byte(name)})
	}
	n.entries[i].sequence = sequence
}

// Remove notes that no record holds name any more.
func (n *Names) Remove(name string) {
	if i, ok := n.find(name); ok {
		clear(n.entries[i].name)
		n.entries = slices.Delete(n.entries, i, i+1)
	}
}

// Len answers how many names there are.
func (n *Names) Len() int { return len(n.entries) }

// pageOverhead is what a name costs in a list reply beside its bytes: one byte
// of tag and at most two of length.
const pageOverhead = 3

// Page answers the names after `after` in byte order, as many as fit in room
// bytes of a reply, and whether there are more.
func (n *Names) Page(after string, room int) (names []string, more bool) {
	i, ok := n.find(after)
	if ok {
		i++
	}
	for ; i < len(n.entries); i++ {
		room -= len(n.entries[i].name) + pageOverhead
		if room < 0 {
			return names, true
		}
		names = append(names, string(n.entries[i].name))
	}
	return names, false
}

// Wipe overwrites and forgets every name.
func (n *Names) Wipe() {
	for _, e := range n.entries {
		clear(e.name)
	}
	clear(n.entries)
	n.entries = nil
}
