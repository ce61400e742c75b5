package disk

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openTest(t *testing.T) *Dir {
	t.Helper()
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func check(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// breakHandle closes the descriptor under the file, so that the next system
// call on it fails.
func breakHandle(t *testing.T, d *Dir, path string) {
	t.Helper()
	if err := d.files[path].h.Close(); err != nil {
		t.Fatal(err)
	}
}

func poisonedRefuses(t *testing.T, d *Dir, path string) {
	t.Helper()
	size, err := d.Stat(path)
	check(t, err, nil)
	check(t, d.Append(path, size, []byte("x")), ErrPoisoned)
	check(t, d.Append(path, 0, []byte("x")), ErrPoisoned)
	check(t, d.Sync(path), ErrPoisoned)
	check(t, d.Truncate(path, 0), ErrPoisoned)
	check(t, d.Rename(path, "elsewhere"), ErrPoisoned)
	now, err := d.Stat(path)
	check(t, err, nil)
	if now != size {
		t.Fatalf("a poisoned file changed its size from %d to %d", size, now)
	}
}

func TestFailedSyncPoisons(t *testing.T) {
	for name, heal := range map[string]func(d *Dir) error{
		"replace": func(d *Dir) error { return d.Replace("a/f", []byte("ab")) },
		"rename": func(d *Dir) error {
			return errors.Join(d.Append("new", 0, []byte("ab")), d.Rename("new", "a/f"))
		},
		"remove": func(d *Dir) error {
			return errors.Join(d.Remove("a/f"), d.Append("a/f", 0, []byte("ab")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := openTest(t)
			check(t, d.Append("a/f", 0, []byte("ab")), nil)
			breakHandle(t, d, "a/f")
			if err := d.Sync("a/f"); err == nil || errors.Is(err, ErrPoisoned) {
				t.Fatalf("sync: %v", err)
			}
			poisonedRefuses(t, d, "a/f")
			check(t, d.Append("a/g", 0, []byte("another file")), nil)
			check(t, d.Sync("a/g"), nil)
			check(t, heal(d), nil)
			check(t, d.Append("a/f", 2, []byte("c")), nil)
			check(t, d.Sync("a/f"), nil)
		})
	}
}

func TestFailedWritePoisons(t *testing.T) {
	d := openTest(t)
	check(t, d.Append("f", 0, nil), nil)
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	check(t, err, nil)
	breakHandle(t, d, "f")
	d.files["f"].h = full
	check(t, d.Append("f", 0, []byte("x")), ErrNoSpace)
	poisonedRefuses(t, d, "f")
}

func TestFailedTruncatePoisons(t *testing.T) {
	d := openTest(t)
	check(t, d.Append("f", 0, []byte("ab")), nil)
	readOnly, err := d.root.Open("f")
	check(t, err, nil)
	breakHandle(t, d, "f")
	d.files["f"].h = readOnly
	if err := d.Truncate("f", 1); err == nil {
		t.Fatal("truncated through a descriptor that cannot write")
	}
	poisonedRefuses(t, d, "f")
}

// TestFailedDirectorySync breaks the one directory that can be broken from
// here, the top: then nothing that needs its entries is called durable again.
func TestFailedDirectorySync(t *testing.T) {
	d := openTest(t)
	check(t, d.Append("f", 0, []byte("ab")), nil)
	check(t, d.top.Close(), nil)
	if err := d.Sync("f"); err == nil {
		t.Fatal("sync is a success though the directory's failed")
	}
	poisonedRefuses(t, d, "f")
	check(t, d.Replace("f", []byte("cd")), ErrPoisoned)
	check(t, d.Replace("a/g", nil), ErrPoisoned)
	check(t, d.Append("h", 0, nil), nil)
	check(t, d.Sync("h"), ErrPoisoned)
	check(t, d.Remove("h"), ErrPoisoned)
}

// TestReplaceFails leaves the old content and no temporary file.
func TestReplaceFails(t *testing.T) {
	d := openTest(t)
	check(t, d.Replace("a/f", []byte("old")), nil)
	check(t, d.root.Mkdir("a/g", 0o700), nil)
	check(t, d.Replace("a/g", []byte("new")), ErrConflict)
	check(t, d.root.WriteFile("a/~new-3", []byte("in the way"), 0o600), nil)
	check(t, d.Replace("a/f", []byte("new")), ErrConflict)
	p := make([]byte, 3)
	if _, err := d.ReadAt("a/f", p, 0); err != nil || string(p) != "old" {
		t.Fatalf("%q, %v", p, err)
	}
	entries, err := d.readDir("a")
	check(t, err, nil)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) && e.Name() != "~new-3" {
			t.Fatalf("%s is left over", e.Name())
		}
	}
}

// TestOpenFilesAreBounded counts descriptors, and takes the sync that closing
// one with pending bytes needs as part of the bargain.
func TestOpenFilesAreBounded(t *testing.T) {
	d := openTest(t)
	name := func(i int) string { return fmt.Sprintf("f%d", i) }
	for i := range maxOpen {
		check(t, d.Append(name(i), 0, []byte("x")), nil)
	}
	if n, s := openFiles(d), d.Stats().Syncs; n != maxOpen || s != 0 {
		t.Fatalf("%d open files and %d syncs at the limit", n, s)
	}
	for i := range 5 {
		check(t, d.Append(name(maxOpen+i), 0, []byte("x")), nil)
	}
	if n, s := openFiles(d), d.Stats().Syncs; n != maxOpen || s != 5 {
		t.Fatalf("%d open files and %d syncs past the limit", n, s)
	}
	for i := range 5 {
		if d.files[name(i)] != nil {
			t.Fatalf("%s was used least recently and is still open", name(i))
		}
	}
}

func openFiles(d *Dir) (n int) {
	for _, f := range d.files {
		if f.h != nil {
			n++
		}
	}
	return n
}

// TestFailedRoomPoisonsItsOwner closes a file with pending bytes whose sync
// fails: the caller that needed room isn't told, the file's next user is.
func TestFailedRoomPoisonsItsOwner(t *testing.T) {
	d := openTest(t)
	check(t, d.Append("first", 0, []byte("x")), nil)
	breakHandle(t, d, "first")
	for i := range maxOpen {
		check(t, d.Append(fmt.Sprintf("f%d", i), 0, []byte("x")), nil)
	}
	poisonedRefuses(t, d, "first")
}

// TestDirectorySyncs counts the syncs of directories: each is synced when an
// entry in it may have changed, and not again.
func TestDirectorySyncs(t *testing.T) {
	d := openTest(t)
	steps := []struct {
		name  string
		do    func() error
		syncs uint64
	}{
		{"create", func() error { return d.Append("a/b/f", 0, []byte("x")) }, 0},
		{"first sync: file, b, a, top", func() error { return d.Sync("a/b/f") }, 4},
		{"nothing new", func() error { return d.Sync("a/b/f") }, 0},
		{"sibling", func() error { return d.Append("a/b/g", 0, []byte("x")) }, 0},
		{"sibling's sync: file, b", func() error { return d.Sync("a/b/g") }, 2},
		{"replace: file, b", func() error { return d.Replace("a/b/f", []byte("y")) }, 2},
		{"replace in a new directory: file, c, a", func() error { return d.Replace("a/c/f", []byte("y")) }, 3},
		{"rename: file, c, b", func() error { return d.Rename("a/b/f", "a/c/g") }, 3},
		{"rename in place: file, c", func() error { return d.Rename("a/c/g", "a/c/f") }, 2},
		{"remove: c, and c goes", func() error { return d.Remove("a/c/f") }, 1},
		{"truncate: file, and a without c", func() error { return d.Truncate("a/b/g", 0) }, 2},
		{"c again: file, c, a", func() error { return d.Replace("a/c/f", nil) }, 3},
	}
	for _, s := range steps {
		before := d.Stats().Syncs
		check(t, s.do(), nil)
		if got := d.Stats().Syncs - before; got != s.syncs {
			t.Fatalf("%s: %d syncs, want %d", s.name, got, s.syncs)
		}
	}
	check(t, errors.Join(d.Remove("a/b/g"), d.Remove("a/c/f")), nil)
	if len(d.dirs) != 1 {
		t.Fatalf("%d directories are known, and only the top is left", len(d.dirs))
	}
}

// TestChangeDuringSync changes a directory while it is being synced, and lets
// a slow sync end after a later one: neither may be taken to cover more than
// it does, nor to undo what is covered.
func TestChangeDuringSync(t *testing.T) {
	st := &dirState{changes: 1}
	slow, need, err := st.begin()
	check(t, err, nil)
	st.changes++
	later, _, err := st.begin()
	check(t, err, nil)
	check(t, st.end(slow, nil), nil)
	if _, still, _ := st.begin(); !need || !still {
		t.Fatal("a sync was taken to cover a change that came after its start")
	}
	check(t, st.end(later, nil), nil)
	check(t, st.end(slow, nil), nil)
	if _, still, _ := st.begin(); still {
		t.Fatal("a sync that ended late undid another one")
	}
}

// TestRenamesTakeFilesInOrder lets a rename wait for one of its two files: it
// must not hold the other one if that comes later, or two renames that cross
// could wait for each other.
func TestRenamesTakeFilesInOrder(t *testing.T) {
	d := openTest(t)
	check(t, d.Replace("b", nil), nil)
	users := func(path string) int {
		d.mu.Lock()
		defer d.mu.Unlock()
		if f := d.files[path]; f != nil {
			return f.refs
		}
		return 0
	}
	held := d.hold("a")
	done := make(chan error)
	go func() { done <- d.Rename("b", "a") }()
	for users("a") < 2 {
		runtime.Gosched()
	}
	if users("b") != 0 {
		t.Error("the rename holds one file while it waits for the other")
	}
	d.let(held)
	check(t, <-done, nil)
}

func TestClassify(t *testing.T) {
	for err, want := range map[error]error{
		unix.ENOENT: ErrNotExist, unix.ENOSPC: ErrNoSpace, unix.EDQUOT: ErrNoSpace,
		unix.EROFS: ErrReadOnly, unix.EACCES: ErrReadOnly, unix.EPERM: ErrReadOnly,
		unix.EISDIR: ErrConflict, unix.ENOTDIR: ErrConflict, unix.EEXIST: ErrConflict,
		unix.EIO: unix.EIO,
	} {
		check(t, fail("append", "f", &os.PathError{Op: "x", Path: "y", Err: err}), want)
	}
	check(t, failRead("read", "f", unix.EACCES), unix.EACCES)
	if err := failRead("read", "f", unix.EACCES); errors.Is(err, ErrReadOnly) {
		t.Fatalf("a file that cannot be read is called %v", err)
	}
	if text := fail("append", "a/f", unix.ENOSPC).Error(); text != "disk: append a/f: no space left" {
		t.Fatalf("text %q", text)
	}
}
