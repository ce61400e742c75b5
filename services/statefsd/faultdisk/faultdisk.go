// Package faultdisk makes any disk fail on purpose: a hook is asked before each
// call, as package simdisk asks its own, and the disk can be taken away in the
// middle of what it does. It keeps which files take no more writes, calls the
// disk below, and never changes what that has stored.
package faultdisk

import (
	"cmp"
	"errors"
	"sync"
	"sync/atomic"

	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// Disk implements disk.Disk on another one. Use New.
type Disk struct {
	below disk.Disk
	fault func(simdisk.Op) error

	mu       sync.Mutex
	calls    uint64
	poisoned map[string]bool

	off atomic.Bool // apart, so that the hook may set it
}

var _ disk.Disk = (*Disk)(nil)

// New makes a disk that asks fault, which may be nil, before it calls the disk
// below. A call that fault fails is not made, but for what a simdisk.Short or
// simdisk.Unsure says. After a failed Append, Truncate or Sync the file takes no
// more writes, as package disk has it.
func New(below disk.Disk, fault func(simdisk.Op) error) *Disk {
	return &Disk{below: below, fault: fault, poisoned: make(map[string]bool)}
}

// TakeAway makes every later call fail with disk.ErrOff, Close excepted. Calls
// that are out may still do what they do. The fault hook may call it.
func (d *Disk) TakeAway() { d.off.Store(true) }

// begin counts the call and asks the hook.
func (d *Disk) begin(op simdisk.Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off.Load() {
		return wrap(op, disk.ErrOff)
	}
	d.calls++
	op.N = d.calls
	changes := op.Kind == simdisk.Append || op.Kind == simdisk.Truncate || op.Kind == simdisk.Sync
	if (changes || op.Kind == simdisk.Rename) && d.poisoned[op.Path] {
		return wrap(op, disk.ErrPoisoned)
	}
	if d.fault == nil {
		return nil
	}
	err := d.fault(op)
	if err == nil {
		return nil
	}
	if changes {
		d.poisoned[op.Path] = true
	}
	return wrap(op, err)
}

func wrap(op simdisk.Op, err error) error {
	return &disk.Error{Op: string(op.Kind), Path: op.Path, Err: err}
}

// placed notes how a file came to path: if the disk below did it, nothing of
// what was there before matters any more; if it did and then a fault came, the
// file takes no more writes.
func (d *Disk) placed(path string, err, fault error) error {
	if err == nil {
		d.poison(path, fault != nil)
	}
	return cmp.Or(err, fault)
}

func (d *Disk) poison(path string, on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.poisoned[path] = on
}

// Stat implements disk.Disk.
func (d *Disk) Stat(path string) (int64, error) {
	if err := d.begin(simdisk.Op{Kind: simdisk.Stat, Path: path}); err != nil {
		return 0, err
	}
	return d.below.Stat(path)
}

// ReadAt implements disk.Disk.
func (d *Disk) ReadAt(path string, p []byte, off int64) (int, error) {
	if err := d.begin(simdisk.Op{Kind: simdisk.Read, Path: path, Off: off, Len: len(p)}); err != nil {
		return 0, err
	}
	return d.below.ReadAt(path, p, off)
}

// Append implements disk.Disk.
func (d *Disk) Append(path string, off int64, p []byte) error {
	fault := d.begin(simdisk.Op{Kind: simdisk.Append, Path: path, Off: off, Len: len(p)})
	p, ok := simdisk.Stored(p, fault)
	if !ok {
		return fault
	}
	return cmp.Or(d.below.Append(path, off, p), fault)
}

// Truncate implements disk.Disk.
func (d *Disk) Truncate(path string, size int64) error {
	if err := d.begin(simdisk.Op{Kind: simdisk.Truncate, Path: path, Off: size}); err != nil {
		return err
	}
	return d.below.Truncate(path, size)
}

// Sync implements disk.Disk.
func (d *Disk) Sync(path string) error {
	if err := d.begin(simdisk.Op{Kind: simdisk.Sync, Path: path}); err != nil {
		return err
	}
	return d.below.Sync(path)
}

// Replace implements disk.Disk.
func (d *Disk) Replace(path string, p []byte) error {
	fault := d.begin(simdisk.Op{Kind: simdisk.Replace, Path: path, Len: len(p)})
	if !simdisk.Done(fault) {
		return fault
	}
	return d.placed(path, d.below.Replace(path, p), fault)
}

// Rename implements disk.Disk.
func (d *Disk) Rename(from, to string) error {
	fault := d.begin(simdisk.Op{Kind: simdisk.Rename, Path: from, To: to})
	if !simdisk.Done(fault) {
		return fault
	}
	return d.placed(to, d.below.Rename(from, to), fault)
}

// Remove implements disk.Disk.
func (d *Disk) Remove(path string) error {
	fault := d.begin(simdisk.Op{Kind: simdisk.Remove, Path: path})
	if !simdisk.Done(fault) {
		return fault
	}
	err := d.below.Remove(path)
	if err == nil || errors.Is(err, disk.ErrNotExist) {
		d.poison(path, false) // Nothing is left that a write could harm.
	}
	return cmp.Or(err, fault)
}

// List implements disk.Disk.
func (d *Disk) List(prefix string) ([]string, error) {
	if err := d.begin(simdisk.Op{Kind: simdisk.List, Path: prefix}); err != nil {
		return nil, err
	}
	return d.below.List(prefix)
}

// Close implements disk.Disk.
func (d *Disk) Close() error { return d.below.Close() }
