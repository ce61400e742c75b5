package simdisk

import (
	"io"
	"slices"
	"strings"

	"nexus.internal/os/services/statefsd/disk"
)

// begin checks what all calls check, counts, and asks the fault hook. The lock
// is held from before it to the end of the call.
func (d *Disk) begin(op Op) error {
	if d.closed {
		return wrap(op, disk.ErrClosed)
	}
	if d.off.Load() {
		return wrap(op, disk.ErrOff)
	}
	if op.Kind.Writes() && d.readOnly {
		return wrap(op, disk.ErrReadOnly)
	}
	d.calls++
	op.N = d.calls
	if d.fault == nil {
		return nil
	}
	err := d.fault(op)
	if err == nil {
		return nil
	}
	switch op.Kind {
	case Append, Truncate, Sync:
		d.poisoned[op.Path] = true
	}
	return wrap(op, err)
}

func wrap(op Op, err error) error {
	return &disk.Error{Op: string(op.Kind), Path: op.Path, Err: err}
}

// beginFile is begin for a call on one file, which may be absent: nil. It is
// answered beside an error of the hook as well.
func (d *Disk) beginFile(op Op) (*file, error) {
	if err := disk.CheckPath(op.Path); err != nil {
		return nil, wrap(op, err)
	}
	err := d.begin(op)
	return d.files[op.Path], err
}

// find is beginFile for a call that doesn't create the file.
func (d *Disk) find(op Op) (*file, error) {
	f, err := d.beginFile(op)
	if err == nil && f == nil {
		err = wrap(op, disk.ErrNotExist)
	}
	return f, err
}

// change is find for a call that a poisoned file refuses.
func (d *Disk) change(op Op) (*file, error) {
	f, err := d.beginFile(op)
	switch {
	case err != nil:
		return nil, err
	case d.poisoned[op.Path]:
		return nil, wrap(op, disk.ErrPoisoned)
	case f == nil:
		return nil, wrap(op, disk.ErrNotExist)
	}
	return f, nil
}

// Stat implements disk.Disk.
func (d *Disk) Stat(path string) (int64, error) {
	op := Op{Kind: Stat, Path: path}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.find(op)
	if err != nil {
		return 0, err
	}
	return int64(len(f.data)), nil
}

// ReadAt implements disk.Disk.
func (d *Disk) ReadAt(path string, p []byte, off int64) (int, error) {
	op := Op{Kind: Read, Path: path, Off: off, Len: len(p)}
	if off < 0 {
		return 0, wrap(op, disk.ErrOffset)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.find(op)
	if err != nil {
		return 0, err
	}
	d.stats.Reads++
	n := 0
	if off < int64(len(f.data)) {
		n = copy(p, f.data[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Append implements disk.Disk.
func (d *Disk) Append(path string, off int64, p []byte) error {
	op := Op{Kind: Append, Path: path, Off: off, Len: len(p)}
	d.mu.Lock()
	defer d.mu.Unlock()
	poisoned := d.poisoned[path]
	f, err := d.beginFile(op)
	p, stores := Stored(p, err)
	switch {
	case !stores:
		return err
	case poisoned:
		return wrap(op, disk.ErrPoisoned)
	case f == nil && off != 0:
		return wrap(op, disk.ErrNotExist)
	case f == nil && d.blocked(path):
		return wrap(op, disk.ErrConflict)
	case f == nil:
		f = &file{}
		d.put(path, f)
	case off != int64(len(f.data)):
		return wrap(op, disk.ErrOffset)
	}
	d.stats.Writes++
	f.data = append(f.data, p...)
	return err
}

// Truncate implements disk.Disk.
func (d *Disk) Truncate(path string, size int64) error {
	op := Op{Kind: Truncate, Path: path, Off: size}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.change(op)
	if err != nil {
		return err
	}
	if size < 0 || size > int64(len(f.data)) {
		return wrap(op, disk.ErrOffset)
	}
	d.stats.Writes++
	d.stats.Syncs++
	f.data = slices.Clone(f.data[:size])
	f.settle()
	return nil
}

// Sync implements disk.Disk.
func (d *Disk) Sync(path string) error {
	op := Op{Kind: Sync, Path: path}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.change(op)
	if err != nil {
		return err
	}
	if f.durable < len(f.data) || !f.entry {
		d.stats.Syncs++
	}
	d.synced(path)
	f.settle()
	return nil
}

// Replace implements disk.Disk.
func (d *Disk) Replace(path string, p []byte) error {
	op := Op{Kind: Replace, Path: path, Len: len(p)}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.beginFile(op)
	if !Done(err) {
		return err
	}
	if d.blocked(path) {
		return wrap(op, disk.ErrConflict)
	}
	d.stats.Writes++
	d.stats.Syncs++
	before := d.was(path)
	f := &file{data: slices.Clone(p)}
	f.settle()
	d.place(path, f, err)
	d.changed(err, before)
	return err
}

// place puts a durable file at path. If the entry that leads to it may not be
// durable, it takes no more writes.
func (d *Disk) place(path string, f *file, err error) {
	d.put(path, f)
	delete(d.poisoned, path)
	if err != nil {
		d.poisoned[path] = true
	}
}

// Rename implements disk.Disk.
func (d *Disk) Rename(from, to string) error {
	if from == to {
		return d.Sync(from)
	}
	op := Op{Kind: Rename, Path: from, To: to}
	if err := disk.CheckPath(to); err != nil {
		return &disk.Error{Op: string(op.Kind), Path: to, Err: err}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.beginFile(op)
	switch {
	case !Done(err):
		return err
	case d.poisoned[from]:
		return wrap(op, disk.ErrPoisoned)
	case f == nil:
		return wrap(op, disk.ErrNotExist)
	case d.blocked(to):
		return wrap(op, disk.ErrConflict)
	}
	d.stats.Syncs++
	f.settle()
	source, target := d.was(from), d.was(to)
	d.drop(from)
	d.place(to, f, err)
	d.changed(err, source, target)
	return err
}

// Remove implements disk.Disk.
func (d *Disk) Remove(path string) error {
	op := Op{Kind: Remove, Path: path}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.beginFile(op)
	if !Done(err) {
		return err
	}
	if f == nil {
		delete(d.poisoned, path) // Nothing is left that a write could harm.
		return wrap(op, disk.ErrNotExist)
	}
	d.stats.Syncs++
	before := d.was(path)
	d.drop(path)
	delete(d.poisoned, path)
	d.changed(err, before)
	return err
}

// List implements disk.Disk.
func (d *Disk) List(prefix string) ([]string, error) {
	op := Op{Kind: List, Path: prefix}
	if err := disk.CheckPrefix(prefix); err != nil {
		return nil, wrap(op, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(op); err != nil {
		return nil, err
	}
	var paths []string
	for path := range d.files {
		if strings.HasPrefix(path, prefix) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// Close implements disk.Disk.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return &disk.Error{Op: "close", Path: ".", Err: disk.ErrClosed}
	}
	d.closed = true
	return nil
}
