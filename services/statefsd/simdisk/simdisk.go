// Package simdisk is the disk in memory: it behaves as package disk promises
// and no better, so that what a caller forgot to make durable is lost at a
// power cut.
//
// It keeps for each file what a reader sees and how much of it is durable, and
// can show every disk that a power cut may leave: loss.go. Hooks make it fail:
// fault.go. It calls nothing, and has no clock, chance or goroutine: the same
// calls leave the same disk. It never touches a real file.
package simdisk

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"nexus.internal/os/services/statefsd/disk"
)

// Kind is which call of disk.Disk an Op is.
type Kind string

// The calls. Close is never an Op.
const (
	Stat     Kind = "stat"
	Read     Kind = "read"
	Append   Kind = "append"
	Truncate Kind = "truncate"
	Sync     Kind = "sync"
	Replace  Kind = "replace"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	List     Kind = "list"
)

// Writes says whether the call changes something.
func (k Kind) Writes() bool { return k != Stat && k != Read && k != List }

// Op is one call, as the fault hook sees it.
type Op struct {
	N    uint64 // this is the disk's N-th call, from 1
	Kind Kind
	Path string // for List the prefix
	To   string // for Rename
	Off  int64  // for Read and Append; for Truncate the new size
	Len  int    // for Read, Append and Replace, in bytes
}

// file is a file that can be read. Content only grows at its end or is
// changed durably, so that what is durable is always its beginning.
type file struct {
	data    []byte
	durable int  // bytes of data that a power cut leaves
	entry   bool // a power cut leaves the directory entry
}

func (f *file) settle() { f.durable, f.entry = len(f.data), true }

func (f *file) clone() *file {
	return &file{data: slices.Clip(f.data), durable: f.durable, entry: f.entry}
}

// Disk implements disk.Disk. Use New.
type Disk struct {
	mu       sync.Mutex
	files    map[string]*file
	below    map[string]int // files below each directory
	poisoned map[string]bool
	unsure   []change // oldest first
	fault    func(Op) error
	readOnly bool
	closed   bool
	calls    uint64
	stats    disk.Stats

	off atomic.Bool // apart, so that the fault hook may set it
}

var _ disk.Disk = (*Disk)(nil)

// New makes an empty disk.
func New() *Disk {
	return &Disk{
		files:    make(map[string]*file),
		below:    make(map[string]int),
		poisoned: make(map[string]bool),
	}
}

// TakeAway makes every later call fail with disk.ErrOff, as if the power were
// gone. The fault hook may call it, in the middle of a call, which is then the
// first to fail.
func (d *Disk) TakeAway() { d.off.Store(true) }

// SetReadOnly makes every call that changes something fail with
// disk.ErrReadOnly, or lets it work again.
func (d *Disk) SetReadOnly(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readOnly = on
}

// Calls answers how many operations there were: the next has the number after
// it.
func (d *Disk) Calls() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Stats answers what was done. Unlike a real directory this disk has no syncs
// of directories apart.
func (d *Disk) Stats() disk.Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Clone answers a disk in the same state, closed or poisoned as this one is,
// with a count of its own and without the fault hook. It costs a few words for
// each file: bytes that are there never change, so that both can have them.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New()
	for path, f := range d.files {
		c.put(path, f.clone())
	}
	maps.Copy(c.poisoned, d.poisoned)
	c.unsure = slices.Clone(d.unsure)
	c.readOnly, c.closed = d.readOnly, d.closed
	return c
}

// Reopen answers the disk as the next process finds it when the machine kept
// running: un-synced bytes are still there and still not durable.
func (d *Disk) Reopen() *Disk {
	c := d.Clone()
	clear(c.poisoned)
	c.closed = false
	return c
}

// Hash digests what a power cut would leave. Disks with equal hashes are
// equal after Crash.
func (d *Disk) Hash() [sha256.Size]byte {
	c := d.Clone()
	c.undo(0)
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		f := c.files[path]
		if f.entry {
			digest(h, []byte(path))
			digest(h, f.data[:f.durable])
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func digest(w io.Writer, p []byte) {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
	// A hash takes every write.
	_, _ = w.Write(n[:])
	_, _ = w.Write(p)
}

// put makes f the file at path, drop takes away what is there.
func (d *Disk) put(path string, f *file) {
	if d.files[path] == nil {
		for dir := range parents(path) {
			d.below[dir]++
		}
	}
	d.files[path] = f
}

func (d *Disk) drop(path string) {
	if d.files[path] == nil {
		return
	}
	delete(d.files, path)
	for dir := range parents(path) {
		if d.below[dir]--; d.below[dir] == 0 {
			delete(d.below, dir)
		}
	}
}

// blocked says whether a file at path would stand where a directory is, or
// below another file.
func (d *Disk) blocked(path string) bool {
	for dir := range parents(path) {
		if d.files[dir] != nil {
			return true
		}
	}
	return d.below[path] > 0
}

// parents yields the directories above a path.
func parents(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range len(path) {
			if path[i] == '/' && !yield(path[:i]) {
				return
			}
		}
	}
}
