package disk

import (
	"errors"
	"io"
	"os"
	"path"
	"strconv"
)

// Stat implements Disk.
func (d *Dir) Stat(path string) (int64, error) {
	if err := CheckPath(path); err != nil {
		return 0, fail("stat", path, err)
	}
	if err := d.enter("stat", path); err != nil {
		return 0, err
	}
	defer d.leave()
	size, err := d.size(path)
	return size, failRead("stat", path, err)
}

func (d *Dir) size(path string) (int64, error) {
	info, err := d.root.Lstat(path)
	if gone(err) || err == nil && !info.Mode().IsRegular() {
		return 0, ErrNotExist
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ReadAt implements Disk.
func (d *Dir) ReadAt(path string, p []byte, off int64) (int, error) {
	if err := CheckPath(path); err != nil {
		return 0, fail("read", path, err)
	}
	if off < 0 {
		return 0, fail("read", path, ErrOffset)
	}
	if err := d.enter("read", path); err != nil {
		return 0, err
	}
	defer d.leave()
	f := d.hold(path)
	defer d.let(f)
	n, err := d.readAt(f, p, off)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, failRead("read", path, err)
}

func (d *Dir) readAt(f *file, p []byte, off int64) (int, error) {
	h := f.h
	if h == nil {
		var err error
		h, err = d.openRegular(f.path, os.O_RDONLY)
		if errors.Is(err, ErrConflict) {
			return 0, ErrNotExist
		}
		if err != nil {
			return 0, err
		}
		defer func() { _ = h.Close() }() // it was only read
	}
	d.reads.Add(1)
	return h.ReadAt(p, off)
}

// Append implements Disk.
func (d *Dir) Append(path string, off int64, p []byte) error {
	return d.change("append", path, func(f *file) error {
		if f.poisoned {
			return ErrPoisoned
		}
		if err := d.openHandle(f, off == 0); err != nil {
			return err
		}
		info, err := f.h.Stat()
		if err != nil {
			return err
		}
		if info.Size() != off {
			return ErrOffset
		}
		f.pending = true
		d.writes.Add(1)
		if _, err := f.h.WriteAt(p, off); err != nil {
			f.poisoned = true
			return err
		}
		return nil
	})
}

// Truncate implements Disk.
func (d *Dir) Truncate(path string, size int64) error {
	return d.change("truncate", path, func(f *file) error {
		if f.poisoned {
			return ErrPoisoned
		}
		if err := d.openHandle(f, false); err != nil {
			return err
		}
		info, err := f.h.Stat()
		if err != nil {
			return err
		}
		if size < 0 || size > info.Size() {
			return ErrOffset
		}
		d.writes.Add(1)
		d.syncs.Add(1)
		if err := errors.Join(f.h.Truncate(size), f.h.Sync()); err != nil {
			f.poisoned = true
			return err
		}
		f.pending = false
		return d.settle(f)
	})
}

// Sync implements Disk.
func (d *Dir) Sync(path string) error {
	return d.change("sync", path, func(f *file) error {
		if f.poisoned {
			return ErrPoisoned
		}
		if err := d.openHandle(f, false); err != nil {
			return err
		}
		if err := d.flush(f); err != nil {
			return err
		}
		return d.settle(f)
	})
}

// settle makes the entries durable that lead to a file whose content is.
func (d *Dir) settle(f *file) error {
	err := d.syncParents(f.path)
	f.poisoned = err != nil
	return err
}

// Replace implements Disk.
func (d *Dir) Replace(path string, p []byte) error {
	return d.change("replace", path, func(f *file) error {
		temp, err := d.writeTemp(path, p)
		if err != nil {
			return err
		}
		if err := d.root.Rename(temp, path); err != nil {
			return errors.Join(err, d.root.Remove(temp))
		}
		f.closeHandle()
		d.touch(parent(path))
		return d.settle(f)
	})
}

// writeTemp makes a durable file beside the one that it will replace.
func (d *Dir) writeTemp(target string, p []byte) (string, error) {
	temp, h, err := d.createTemp(target)
	if err != nil {
		return "", err
	}
	d.writes.Add(1)
	d.syncs.Add(1)
	_, err = h.Write(p)
	err = errors.Join(err, h.Sync(), h.Close())
	if err != nil {
		return "", errors.Join(err, d.root.Remove(temp))
	}
	return temp, nil
}

func (d *Dir) createTemp(target string) (string, *os.File, error) {
	d.names.Lock()
	defer d.names.Unlock()
	if err := d.makeParents(target); err != nil {
		return "", nil, err
	}
	d.temps++
	temp := path.Join(parent(target), tempPrefix+strconv.FormatUint(d.temps, 10))
	h, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	return temp, h, err
}

// Rename implements Disk.
func (d *Dir) Rename(from, to string) error {
	if err := CheckPath(to); err != nil {
		return fail("rename", to, err)
	}
	if from == to {
		return d.Sync(from)
	}
	if err := CheckPath(from); err != nil {
		return fail("rename", from, err)
	}
	if err := d.enterWrite("rename", from); err != nil {
		return err
	}
	defer d.leave()
	// Always in the same order, or two renames could wait for each other.
	a, b := d.hold(min(from, to)), d.hold(max(from, to))
	defer d.let(a)
	defer d.let(b)
	if a.path == from {
		return fail("rename", from, d.rename(a, b))
	}
	return fail("rename", from, d.rename(b, a))
}

func (d *Dir) rename(from, to *file) error {
	if from.poisoned {
		return ErrPoisoned
	}
	if err := d.openHandle(from, false); err != nil {
		return err
	}
	if err := d.flush(from); err != nil {
		return err
	}
	d.names.Lock()
	defer d.names.Unlock()
	if err := d.makeParents(to.path); err != nil {
		return err
	}
	if err := d.root.Rename(from.path, to.path); err != nil {
		return err
	}
	from.closeHandle()
	to.closeHandle()
	d.touch(parent(from.path))
	d.touch(parent(to.path))
	if err := d.settle(to); err != nil {
		return err
	}
	if err := d.syncDir(parent(from.path)); err != nil {
		to.poisoned = true
		return err
	}
	d.prune(parent(from.path))
	return nil
}

// Remove implements Disk.
func (d *Dir) Remove(path string) error {
	return d.change("remove", path, func(f *file) error {
		if _, err := d.size(path); err != nil {
			if gone(err) || errors.Is(err, ErrNotExist) {
				f.poisoned = false // Nothing is left that a write could harm.
			}
			return err
		}
		d.names.Lock()
		defer d.names.Unlock()
		if err := d.root.Remove(path); err != nil {
			return err
		}
		f.closeHandle()
		f.poisoned = false
		d.touch(parent(path))
		if err := d.syncDir(parent(path)); err != nil {
			return err
		}
		d.prune(parent(path))
		return nil
	})
}

// change runs a call that changes one file.
func (d *Dir) change(op, path string, do func(f *file) error) error {
	if err := CheckPath(path); err != nil {
		return fail(op, path, err)
	}
	if err := d.enterWrite(op, path); err != nil {
		return err
	}
	defer d.leave()
	f := d.hold(path)
	defer d.let(f)
	return fail(op, path, do(f))
}
