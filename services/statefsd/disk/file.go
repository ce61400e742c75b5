package disk

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// file is what a Dir knows about a path in use. It stays known while somebody
// uses it, while its descriptor is open, and as long as it is poisoned.
type file struct {
	path string
	refs int    // by Dir.mu
	used uint64 // by Dir.mu

	mu       sync.Mutex // one call on a path at a time
	h        *os.File   // open for reading and writing, or nil
	pending  bool       // h has bytes that no sync covers, or may have
	poisoned bool
}

// hold answers the file of a path, locked. let gives it back.
func (d *Dir) hold(path string) *file {
	d.mu.Lock()
	f := d.files[path]
	if f == nil {
		f = &file{path: path}
		d.files[path] = f
	}
	f.refs++
	d.clock++
	f.used = d.clock
	d.mu.Unlock()
	f.mu.Lock()
	return f
}

func (d *Dir) let(f *file) {
	f.mu.Unlock()
	d.forget(f)
}

// forget counts a user less. Without users the file's fields are Dir.mu's.
func (d *Dir) forget(f *file) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.refs--
	if f.refs == 0 && f.h == nil && !f.poisoned {
		delete(d.files, f.path)
	}
}

// openHandle opens the file for writing unless it is open. create says whether
// an absent one may be made.
func (d *Dir) openHandle(f *file, create bool) error {
	if f.h != nil {
		return nil
	}
	d.makeRoom()
	h, err := d.openRegular(f.path, os.O_RDWR)
	switch {
	case create && errors.Is(err, ErrNotExist):
		h, err = d.create(f.path)
	case !create && errors.Is(err, ErrConflict):
		err = ErrNotExist
	}
	if err != nil {
		return err
	}
	// An earlier process may have left bytes in it that no sync covers.
	f.h, f.pending = h, true
	return nil
}

// openRegular opens an existing file, and nothing that isn't one: to open a
// named pipe would wait for ever, and a link may lead elsewhere.
func (d *Dir) openRegular(path string, flag int) (*os.File, error) {
	info, err := d.root.Lstat(path)
	if gone(err) {
		return nil, ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrConflict
	}
	return d.root.OpenFile(path, flag|unix.O_NONBLOCK, 0)
}

// create makes an empty file and the directories above it.
func (d *Dir) create(path string) (*os.File, error) {
	d.names.Lock()
	defer d.names.Unlock()
	if err := d.makeParents(path); err != nil {
		return nil, err
	}
	h, err := d.root.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	d.touch(parent(path))
	return h, nil
}

// closeHandle forgets the descriptor. What it wrote is durable, or must no
// longer matter: an error of close has nothing to tell.
func (f *file) closeHandle() {
	if f.h != nil {
		_ = f.h.Close()
		f.h = nil
	}
	f.pending = false
}

// makeRoom closes the descriptor that wasn't used longest when too many are
// open. One with pending bytes is synced before, because their loss would be
// reported to that descriptor and perhaps to no later one; if that fails, the
// file is poisoned, which its next user learns. When all are in use the limit
// is passed by as many as there are calls in progress.
func (d *Dir) makeRoom() {
	f := d.victim()
	if f == nil {
		return
	}
	if !f.mu.TryLock() {
		d.forget(f) // somebody came for it: to wait here could be for ever
		return
	}
	_ = d.flush(f)
	f.closeHandle()
	d.let(f)
}

// victim answers a file that is open and not in use, and counts as its user.
func (d *Dir) victim() *file {
	d.mu.Lock()
	defer d.mu.Unlock()
	var v *file
	open := 0
	for _, f := range d.files {
		if f.refs > 0 {
			open++
			continue
		}
		if f.h == nil {
			continue
		}
		open++
		if v == nil || f.used < v.used {
			v = f
		}
	}
	if open <= maxOpen || v == nil {
		return nil
	}
	v.refs++
	return v
}

// flush makes the file's bytes durable, not its directory entry. A failure
// poisons the file: the operating system may have dropped the bytes and would
// call a second sync a success.
func (d *Dir) flush(f *file) error {
	if f.poisoned {
		return fail("sync", f.path, ErrPoisoned)
	}
	if !f.pending {
		return nil
	}
	d.syncs.Add(1)
	if err := datasync(f.h); err != nil {
		f.poisoned = true
		return fail("sync", f.path, err)
	}
	f.pending = false
	return nil
}

func datasync(h *os.File) error {
	for {
		err := unix.Fdatasync(int(h.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
