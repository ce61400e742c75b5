package disk

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// dirState says how much of a directory is durable. Changes are counted, so
// that a sync which began before a change is not taken to cover it.
type dirState struct {
	changes  uint64 // 1 at first: what earlier processes did is not known to be durable
	synced   uint64 // changes that a finished sync covers
	poisoned bool
}

func (d *Dir) dir(name string) *dirState {
	st := d.dirs[name]
	if st == nil {
		st = &dirState{changes: 1}
		d.dirs[name] = st
	}
	return st
}

// touch notes that an entry of the directory has changed.
func (d *Dir) touch(name string) {
	d.mu.Lock()
	d.dir(name).changes++
	d.mu.Unlock()
}

// syncDir makes the directory's entries durable if they aren't. After a
// failure nothing below this directory is called durable any more.
func (d *Dir) syncDir(name string) error {
	d.mu.Lock()
	st := d.dir(name)
	covers, need, err := st.begin()
	d.mu.Unlock()
	if !need {
		return err
	}
	err = d.fsyncDir(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	return st.end(covers, err)
}

// begin says whether a sync is needed, and which changes one that starts now
// is sure to cover. end notes how it went.
func (st *dirState) begin() (covers uint64, need bool, err error) {
	if st.poisoned {
		return 0, false, ErrPoisoned
	}
	return st.changes, st.synced < st.changes, nil
}

func (st *dirState) end(covers uint64, err error) error {
	if err != nil {
		st.poisoned = true
		return err
	}
	st.synced = max(st.synced, covers)
	return nil
}

func (d *Dir) fsyncDir(name string) error {
	d.syncs.Add(1)
	if name == top {
		return d.top.Sync()
	}
	h, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(h.Sync(), h.Close())
}

// syncParents makes the entries durable that lead to a file.
func (d *Dir) syncParents(path string) error {
	for _, dir := range parents(path) {
		if err := d.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// makeParents makes the directories above a file. d.names is held.
func (d *Dir) makeParents(path string) error {
	dirs := parents(path)
	slices.Reverse(dirs)
	for _, dir := range dirs[1:] {
		err := d.root.Mkdir(dir, dirMode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		d.touch(parent(dir))
	}
	return nil
}

// prune removes a directory if it is empty, and then those above. It may
// fail: an empty directory is no file. d.names is held.
func (d *Dir) prune(dir string) {
	for ; dir != top; dir = parent(dir) {
		info, err := d.root.Lstat(dir)
		if err != nil || !info.IsDir() || d.root.Remove(dir) != nil {
			return
		}
		d.mu.Lock()
		delete(d.dirs, dir)
		d.mu.Unlock()
		d.touch(parent(dir))
	}
}

// tempPrefix begins the name of a temporary file. It is outside the alphabet
// of paths, so it is never a caller's file and never listed.
const tempPrefix = "~new-"

// sweep removes the temporary files of earlier processes. It waits for the
// first write, because a boot that fails must leave everything as it was.
func (d *Dir) sweep() error {
	d.names.Lock()
	defer d.names.Unlock()
	if d.swept {
		return nil
	}
	err := d.walk(top, "", func(path string, e fs.DirEntry) error {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), tempPrefix) {
			return nil
		}
		return d.root.Remove(path)
	})
	d.swept = err == nil
	return err
}

// walk calls visit for every entry below a directory that isn't itself a
// directory with a canonical name; into those it descends where something may
// start with prefix. A directory that vanishes meanwhile was empty.
func (d *Dir) walk(dir, prefix string, visit func(path string, e fs.DirEntry) error) error {
	entries, err := d.readDir(dir)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := e.Name()
		if dir != top {
			path = dir + "/" + path
		}
		if !e.IsDir() || CheckPath(path) != nil {
			err = visit(path, e)
		} else if strings.HasPrefix(path+"/", prefix) || strings.HasPrefix(prefix, path+"/") {
			err = d.walk(path, prefix, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readDir opens nothing but a directory: not what a link leads to, and not a
// named pipe, which would wait.
func (d *Dir) readDir(dir string) ([]os.DirEntry, error) {
	h, err := d.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	entries, err := h.ReadDir(-1)
	return entries, errors.Join(err, h.Close())
}

// List implements Disk.
func (d *Dir) List(prefix string) ([]string, error) {
	if err := CheckPrefix(prefix); err != nil {
		return nil, fail("list", prefix, err)
	}
	if err := d.enter("list", prefix); err != nil {
		return nil, err
	}
	defer d.leave()
	var paths []string
	err := d.walk(parent(prefix), prefix, func(path string, e fs.DirEntry) error {
		if e.Type().IsRegular() && strings.HasPrefix(path, prefix) && CheckPath(path) == nil {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		return nil, failRead("list", prefix, err)
	}
	slices.Sort(paths)
	return paths, nil
}
