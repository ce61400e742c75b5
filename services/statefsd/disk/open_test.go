package disk_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nexus.internal/os/services/statefsd/disk"
)

func TestOpenInUse(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	_, err := disk.Open(dir)
	wantErr(t, err, disk.ErrInUse)
	must(t, d.Append("f", 0, []byte("still mine")))
	must(t, d.Close())
	must(t, mustOpen(t, dir).Close())
}

func TestOpenMakesDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	d := mustOpen(t, dir)
	must(t, d.Replace("x/f", []byte("1")))
	must(t, d.Append("x/g", 0, []byte("1")))
	must(t, d.Close())
	for name, want := range map[string]fs.FileMode{
		"": 0o700, "..": 0o700, "../..": 0o700, "x": 0o700, "x/f": 0o600, "x/g": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%q has mode %v", name, info.Mode())
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	pipe := filepath.Join(dir, "pipe")
	must(t, unix.Mkfifo(pipe, 0o600))
	for _, p := range []string{file, pipe} {
		_, err := disk.Open(p)
		wantErr(t, err, disk.ErrNotDir)
	}
	_, err := disk.Open(filepath.Join(file, "below"))
	wantErr(t, err, disk.ErrConflict)
	_, err = disk.Open("")
	wantErr(t, err, disk.ErrNotExist)
}

// TestOpenNotWritable opens, with the rights of an ordinary user, directories
// that it may not write to.
func TestOpenNotWritable(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("kept"), 0o644))
	must(t, os.Chmod(dir, 0o555))
	must(t, os.Chmod(filepath.Dir(dir), 0o755)) // the test's own, closed to others
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	before := snapshot(t, dir)
	unprivileged(t, func() {
		if _, err := os.ReadFile(filepath.Join(dir, "f")); err != nil {
			t.Errorf("the directory can't even be read: %v", err)
		}
		_, err := disk.Open(dir)
		wantErr(t, err, disk.ErrReadOnly)
		_, err = disk.Open(filepath.Join(dir, "new"))
		wantErr(t, err, disk.ErrReadOnly)
	})
	if after := snapshot(t, dir); !slices.Equal(before, after) {
		t.Fatalf("changed from %q to %q", before, after)
	}
}

// unprivileged runs fn as an ordinary user, on a thread of its own that isn't
// used again: only the calling thread changes its user.
func unprivileged(t *testing.T, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		fn()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		const nobody = 65534
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			if _, _, errno := unix.RawSyscall(call, nobody, nobody, nobody); errno != 0 {
				t.Errorf("becoming an ordinary user: %v", errno)
				return
			}
		}
		fn()
	}()
	<-done
}

// snapshot describes everything below a directory, times included.
func snapshot(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		must(t, err)
		info, err := e.Info()
		must(t, err)
		var content []byte
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
			must(t, err)
		}
		all = append(all, fmt.Sprint(path, info.Mode(), info.ModTime(), info.Size(), string(content)))
		return nil
	}))
	return all
}

// TestOpenChangesNothing opens a directory with all sorts of things in it,
// looks at everything and closes it.
func TestOpenChangesNothing(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	must(t, d.Replace("state/a/b", []byte("content")))
	must(t, d.Close())
	temp := filepath.Join(dir, "state", "a", "~new-7")
	must(t, os.WriteFile(temp, []byte("left over"), 0o600))
	foreign := filepath.Join(dir, "state", "not canonical")
	must(t, os.WriteFile(foreign, []byte("foreign"), 0o600))
	before := snapshot(t, dir)

	d = mustOpen(t, dir)
	if _, err := disk.Open(dir); err == nil {
		t.Fatal("opened twice")
	}
	wantFile(t, d, "state/a/b", "content")
	list, err := d.List("")
	must(t, err)
	if !slices.Equal(list, []string{"state/a/b"}) {
		t.Fatalf("list: %q", list)
	}
	must(t, d.Close())
	if after := snapshot(t, dir); !slices.Equal(before, after) {
		t.Fatalf("changed from %q to %q", before, after)
	}

	// The first write takes the left-over file away, and only that.
	d = mustOpen(t, dir)
	must(t, d.Append("other", 0, nil))
	must(t, d.Close())
	if _, err := os.Stat(temp); !os.IsNotExist(err) {
		t.Fatalf("the left-over file is still there: %v", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Fatalf("a foreign file is gone: %v", err)
	}
}

// TestNothingButFiles has links and pipes in the directory.
func TestNothingButFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(outside, []byte("outside"), 0o600))
	dir := t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(dir, "link")))
	must(t, os.Symlink(filepath.Dir(outside), filepath.Join(dir, "dirlink")))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	must(t, os.WriteFile(filepath.Join(dir, "inside"), []byte("in"), 0o600))
	must(t, os.Symlink("inside", filepath.Join(dir, "inlink")))
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	d := mustOpen(t, dir)
	defer func() { must(t, d.Close()) }()
	for _, p := range []string{"link", "loop", "inlink", "pipe"} {
		wantNone(t, d, p)
		wantErr(t, d.Append(p, 0, []byte("x")), disk.ErrConflict)
		wantErr(t, d.Sync(p), disk.ErrNotExist)
		wantErr(t, d.Remove(p), disk.ErrNotExist)
		wantErr(t, d.Rename(p, "elsewhere"), disk.ErrNotExist)
	}
	for _, err := range []error{
		d.Append("dirlink/secret", 7, []byte("x")), d.Append("dirlink/new", 0, nil),
		d.Replace("dirlink/secret", nil), d.Remove("dirlink/secret"), d.Rename("inside", "dirlink/secret"),
	} {
		if err == nil {
			t.Fatal("something outside was changed")
		}
	}
	if _, err := d.ReadAt("dirlink/secret", make([]byte, 1), 0); err == nil {
		t.Fatal("something outside was read")
	}
	must(t, d.Replace("link", []byte("a file now"))) // in the link's place, not through it
	list, err := d.List("")
	must(t, err)
	if !slices.Equal(list, []string{"inside", "link"}) {
		t.Fatalf("list: %q", list)
	}
	content, err := os.ReadFile(outside)
	must(t, err)
	entries, err := os.ReadDir(filepath.Dir(outside))
	must(t, err)
	if string(content) != "outside" || len(entries) != 1 {
		t.Fatalf("outside: %q, %v", content, entries)
	}
}
