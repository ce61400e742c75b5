package simdisk

import (
	"maps"
	"slices"
	"strings"
)

// Sector is the unit in bytes, at multiples of itself in a file, in which a
// power cut leaves or loses what was not synced.
const Sector = 512

// Unsynced says what of a file is not durable.
type Unsynced struct {
	Path    string
	Sectors int  // that have such bytes; the first may begin with durable ones
	Entry   bool // the directory entry is not durable either
}

// Left is what a power cut leaves of what was not synced of a file. The zero
// value is nothing.
type Left struct {
	// Entry leaves the directory entry. Without it no more matters, unless the
	// entry is durable.
	Entry bool
	// Sector says whether the i-th of the un-synced sectors is left, from 0.
	// Nil is none of them. One that is lost before one that is left reads as
	// zeros.
	Sector func(i int) bool
	// Size leaves the file's length, so that also what is lost at its end reads
	// as zeros. Otherwise the file ends with the last sector that is left.
	Size bool
}

// Loss says what a power cut leaves of what was not synced. The zero value is
// nothing.
type Loss struct {
	// Changes is how many of the changes of entries that are not durable are
	// left, from the oldest. File systems keep their order.
	Changes int
	// File is asked for each file that has something un-synced, in byte order
	// of the paths. Nil leaves nothing.
	File func(u Unsynced) Left
}

// Unsynced answers what is not durable: files, in byte order of their paths, and
// how many changes of entries. An empty answer means that all losses are equal.
func (d *Disk) Unsynced() (files []Unsynced, changes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(d.files)) {
		if f := d.files[path]; f.durable < len(f.data) || !f.entry {
			files = append(files, f.unsynced(path))
		}
	}
	return files, len(d.unsure)
}

func (f *file) unsynced(path string) Unsynced {
	u := Unsynced{Path: path, Entry: !f.entry}
	if f.durable < len(f.data) {
		u.Sectors = (len(f.data)-1)/Sector - f.durable/Sector + 1
	}
	return u
}

// Lose answers the disk as it is after a power cut. All that is left of it is
// durable.
func (d *Disk) Lose(l Loss) *Disk {
	c := d.Reopen()
	c.undo(l.Changes)
	files, _ := c.Unsynced()
	for _, u := range files {
		var left Left
		if l.File != nil {
			left = l.File(u)
		}
		if u.Entry && !left.Entry {
			c.drop(u.Path)
			continue
		}
		f := c.files[u.Path]
		f.data = f.after(left)
		f.settle()
	}
	return c
}

// after answers what is left of a file.
func (f *file) after(left Left) []byte {
	data := slices.Clone(f.data)
	end := f.durable
	for at, i := f.durable, 0; at < len(data); i++ {
		next := min(len(data), at-at%Sector+Sector)
		if left.Sector != nil && left.Sector(i) {
			end = next
		} else {
			clear(data[at:next])
		}
		at = next
	}
	if left.Size {
		end = len(data)
	}
	return data[:end:end]
}

// Crash answers the disk as it is after a power cut: whatever was not synced
// is gone.
func (d *Disk) Crash() *Disk { return d.Lose(Loss{}) }

// Tear answers the disk as it is after a power cut that left something of what
// was not synced: keep answers how many of a file's un-synced bytes, from their
// beginning. It is asked once for each file that has some, in byte order of
// the paths.
func (d *Disk) Tear(keep func(path string, unsynced int) int) *Disk {
	c := d.Reopen()
	c.undo(0)
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		f := c.files[path]
		kept := 0
		if n := len(f.data) - f.durable; n > 0 {
			kept = max(0, min(n, keep(path, n)))
		}
		if !f.entry && kept == 0 {
			c.drop(path)
			continue
		}
		f.data = f.data[:f.durable+kept]
		f.settle()
	}
	return c
}

// A change is one of directory entries that is not durable, because the call
// failed that made it.
type change []entry

// entry says what a power cut brings back at a path; nil is nothing.
type entry struct {
	path string
	was  *file // durable, and never changed
}

// was answers the entry that a change is going to take away from a path.
func (d *Disk) was(path string) entry {
	f := d.files[path]
	if f == nil || !f.entry {
		return entry{path, nil}
	}
	f = f.clone()
	f.data = slices.Clip(f.data[:f.durable])
	return entry{path, f}
}

// changed notes how a change of entries went. One that succeeded has synced
// their directories, and made durable what had been done to them before.
func (d *Disk) changed(err error, c ...entry) {
	if err != nil {
		d.unsure = append(d.unsure, c)
		return
	}
	for _, e := range c {
		d.synced(e.path)
	}
}

// synced notes that the directory of a path was synced.
func (d *Disk) synced(path string) {
	dir := directory(path)
	d.unsure = slices.DeleteFunc(d.unsure, func(c change) bool {
		return slices.ContainsFunc(c, func(e entry) bool { return directory(e.path) == dir })
	})
}

func directory(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// undo takes back the changes of entries that are not durable, but for the
// oldest ones. The rest is durable then.
func (d *Disk) undo(but int) {
	for i := len(d.unsure) - 1; i >= max(0, but); i-- {
		for _, e := range d.unsure[i] {
			d.drop(e.path)
			if e.was != nil {
				d.put(e.path, e.was.clone())
			}
		}
	}
	d.unsure = nil
}
