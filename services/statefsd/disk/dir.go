package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Dir is the Disk on real files below one directory.
//
// The system calls that the calls come down to, for a file a/f that exists.
// Those in brackets are for a file that isn't open yet; Append, Truncate and
// Sync leave it open. Every path also has its directories opened and closed on
// the way.
//
//	Stat      fstatat
//	ReadAt    [fstatat openat] pread [close]
//	Append    [fstatat openat] fstat pwrite
//	Truncate  [fstatat openat] fstat ftruncate fsync
//	Sync      [fstatat openat] fdatasync
//	Replace   mkdirat(a) openat(a/~new-1, O_EXCL) write fsync close renameat fsync(a)
//	Rename    [fstatat openat] fdatasync mkdirat renameat fsync(to's) fsync(from's)
//	Remove    fstatat unlinkat fsync(a) unlinkat(a, AT_REMOVEDIR)
//	List      openat getdents close, for each directory
//
// fdatasync suffices for what was appended, because a file's size is part of
// what it makes durable. It is left out where nothing was appended since the
// last one. What makes something durable also does fsync on every directory
// from the file up to the top in which an entry may have changed since it was
// last synced, and on each at its first use, because an earlier process may
// have left it un-synced. A new file adds a mkdirat for each of its parents.
type Dir struct {
	root *os.Root
	top  *os.File // the directory itself; its descriptor holds the lock

	life   sync.RWMutex // held shared by every call, alone by Close
	closed bool

	names sync.Mutex // held while directories and entries come and go
	swept bool       // by names: leftovers of earlier processes are removed
	temps uint64     // by names: temporary files so far

	mu    sync.Mutex // never held over a system call
	files map[string]*file
	dirs  map[string]*dirState
	clock uint64 // counts uses, to find the file that wasn't used longest

	syncs, reads, writes atomic.Uint64
}

// The limit of descriptors that stay open, and the permissions of what is
// created: its owner alone reads it.
const (
	maxOpen  = 64
	fileMode = 0o600
	dirMode  = 0o700
)

// Open opens the directory, and makes it if it doesn't exist. Opening an
// existing one changes nothing on disk. It stays locked until Close: a second
// Open, in this process or another one, fails with ErrInUse. The lock is on
// the directory's descriptor, so it needs no file and ends with the process.
func Open(dir string) (*Dir, error) {
	d, err := open(dir)
	if err != nil {
		return nil, fail("open", dir, err)
	}
	return d, nil
}

func open(dir string) (*Dir, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDurable(filepath.Clean(dir)); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, ErrNotDir
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(top)
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	if err := claim(int(self.Fd())); err != nil {
		_ = self.Close()
		_ = root.Close()
		return nil, err
	}
	return &Dir{
		root:  root,
		top:   self,
		files: make(map[string]*file),
		dirs:  make(map[string]*dirState),
	}, nil
}

// makeDurable makes a directory and the parents that are missing, each durable
// before the next.
func makeDurable(dir string) error {
	up := filepath.Dir(dir)
	if _, err := os.Stat(up); errors.Is(err, fs.ErrNotExist) {
		if err := makeDurable(up); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	parent, err := os.Open(up)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// claim locks the directory and makes sure that it can be written to, without
// writing: a boot that can keep nothing must fail before it changes anything.
func claim(fd int) error {
	err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrInUse
	}
	if err != nil {
		return err
	}
	err = unix.Faccessat(fd, top, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	if err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return ErrReadOnly
	}
	return nil
}

// Close implements Disk. It waits for the calls that run, and lets another
// process have the directory.
func (d *Dir) Close() error {
	d.life.Lock()
	defer d.life.Unlock()
	if d.closed {
		return fail("close", top, ErrClosed)
	}
	d.closed = true
	var errs []error
	for _, f := range d.files {
		if f.h != nil {
			errs = append(errs, f.h.Close())
			f.h = nil
		}
	}
	errs = append(errs, d.top.Close(), d.root.Close())
	return fail("close", top, errors.Join(errs...))
}

// Stats answers what was done since Open.
func (d *Dir) Stats() Stats {
	return Stats{Syncs: d.syncs.Load(), Reads: d.reads.Load(), Writes: d.writes.Load()}
}

// enter begins a call on a path, leave ends it.
func (d *Dir) enter(op, path string) error {
	d.life.RLock()
	if d.closed {
		d.life.RUnlock()
		return fail(op, path, ErrClosed)
	}
	return nil
}

func (d *Dir) leave() { d.life.RUnlock() }

// enterWrite is enter for a call that changes something.
func (d *Dir) enterWrite(op, path string) error {
	if err := d.enter(op, path); err != nil {
		return err
	}
	if err := d.sweep(); err != nil {
		d.leave()
		return fail(op, path, err)
	}
	return nil
}
