package disk_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/faultdisk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// subject is a disk under test, and how to have it as a later process would.
type subject interface {
	disk.Disk
	Stats() disk.Stats
}

type opener func(t *testing.T) (d subject, reopen func(t *testing.T) subject)

func openSim(t *testing.T) (subject, func(*testing.T) subject) {
	d := simdisk.New()
	return d, func(t *testing.T) subject {
		must(t, d.Close())
		d = d.Reopen()
		return d
	}
}

func openReal(t *testing.T) (subject, func(*testing.T) subject) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	t.Cleanup(func() { _ = d.Close() })
	return d, func(t *testing.T) subject {
		must(t, d.Close())
		d = mustOpen(t, dir)
		return d
	}
}

// openFault is the disk in memory behind the one that can be made to fail.
func openFault(t *testing.T) (subject, func(*testing.T) subject) {
	inner, reopen := openSim(t)
	return faulty{faultdisk.New(inner, nil), inner}, func(t *testing.T) subject {
		again := reopen(t)
		return faulty{faultdisk.New(again, nil), again}
	}
}

type faulty struct {
	*faultdisk.Disk
	inner subject
}

func (f faulty) Stats() disk.Stats { return f.inner.Stats() }

func mustOpen(t *testing.T, dir string) *disk.Dir {
	t.Helper()
	d, err := disk.Open(dir)
	must(t, err)
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	var own *disk.Error
	if want != nil && want != io.EOF && !errors.As(err, &own) {
		t.Fatalf("%v is no *disk.Error", err)
	}
}

func wantFile(t *testing.T, d disk.Disk, path, want string) {
	t.Helper()
	size, err := d.Stat(path)
	must(t, err)
	p := make([]byte, size)
	n, err := d.ReadAt(path, p, 0)
	must(t, err)
	if string(p[:n]) != want {
		t.Fatalf("%s contains %q, want %q", path, p[:n], want)
	}
}

func wantNone(t *testing.T, d disk.Disk, path string) {
	t.Helper()
	_, err := d.Stat(path)
	wantErr(t, err, disk.ErrNotExist)
	_, err = d.ReadAt(path, make([]byte, 1), 0)
	wantErr(t, err, disk.ErrNotExist)
}

// TestSuite runs what package disk promises over every implementation.
func TestSuite(t *testing.T) {
	cases := []struct {
		name string
		run  func(t *testing.T, d subject, reopen func(*testing.T) subject)
	}{
		{"Append", suiteAppend},
		{"Read", suiteRead},
		{"Truncate", suiteTruncate},
		{"Replace", suiteReplace},
		{"Rename", suiteRename},
		{"Remove", suiteRemove},
		{"List", suiteList},
		{"Absent", suiteAbsent},
		{"Conflict", suiteConflict},
		{"Path", suitePath},
		{"Reopen", suiteReopen},
		{"Closed", suiteClosed},
		{"Counts", suiteCounts},
		{"ManyFiles", suiteManyFiles},
		{"Concurrent", suiteConcurrent},
		{"Crossing", suiteCrossing},
	}
	for name, open := range map[string]opener{"real": openReal, "sim": openSim, "fault": openFault} {
		for _, c := range cases {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				d, reopen := open(t)
				c.run(t, d, reopen)
			})
		}
	}
}

func suiteAppend(t *testing.T, d subject, _ func(*testing.T) subject) {
	wantErr(t, d.Append("a/b/c", 1, []byte("x")), disk.ErrNotExist)
	wantNone(t, d, "a/b/c")
	must(t, d.Append("a/b/c", 0, []byte("one")))
	wantErr(t, d.Append("a/b/c", 0, []byte("x")), disk.ErrOffset)
	wantErr(t, d.Append("a/b/c", 2, []byte("x")), disk.ErrOffset)
	wantErr(t, d.Append("a/b/c", 4, []byte("x")), disk.ErrOffset)
	wantErr(t, d.Append("a/b/c", -1, []byte("x")), disk.ErrOffset)
	must(t, d.Append("a/b/c", 3, []byte("two")))
	wantFile(t, d, "a/b/c", "onetwo")
	must(t, d.Sync("a/b/c"))
	must(t, d.Append("a/b/c", 6, nil))
	wantFile(t, d, "a/b/c", "onetwo")
	must(t, d.Append("empty", 0, nil))
	wantFile(t, d, "empty", "")
}

func suiteRead(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Append("f", 0, []byte("0123456789")))
	p := make([]byte, 4)
	for _, c := range []struct {
		off  int64
		want string
		err  error
	}{
		{0, "0123", nil}, {6, "6789", nil}, {7, "789", io.EOF}, {9, "9", io.EOF}, {10, "", io.EOF}, {1 << 40, "", io.EOF},
	} {
		n, err := d.ReadAt("f", p, c.off)
		if string(p[:n]) != c.want || err != c.err {
			t.Fatalf("read at %d: %q, %v; want %q, %v", c.off, p[:n], err, c.want, c.err)
		}
	}
	n, err := d.ReadAt("f", nil, 3)
	if n != 0 || err != nil {
		t.Fatalf("empty read: %d, %v", n, err)
	}
	_, err = d.ReadAt("f", p, -1)
	wantErr(t, err, disk.ErrOffset)
}

func suiteTruncate(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Append("f", 0, []byte("0123456789")))
	wantErr(t, d.Truncate("f", 11), disk.ErrOffset)
	wantErr(t, d.Truncate("f", -1), disk.ErrOffset)
	wantFile(t, d, "f", "0123456789")
	must(t, d.Truncate("f", 10))
	must(t, d.Truncate("f", 4))
	wantFile(t, d, "f", "0123")
	wantErr(t, d.Append("f", 10, []byte("x")), disk.ErrOffset)
	must(t, d.Append("f", 4, []byte("ab")))
	wantFile(t, d, "f", "0123ab")
	must(t, d.Truncate("f", 0))
	wantFile(t, d, "f", "")
}

func suiteReplace(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Replace("x/y", []byte("first")))
	wantFile(t, d, "x/y", "first")
	p := []byte("second content")
	must(t, d.Replace("x/y", p))
	clear(p) // the disk must not have kept the caller's slice
	wantFile(t, d, "x/y", "second content")
	must(t, d.Append("x/y", 14, []byte("!")))
	must(t, d.Replace("x/y", nil))
	wantFile(t, d, "x/y", "")
	must(t, d.Append("x/y", 0, []byte("new")))
	wantFile(t, d, "x/y", "new")
}

func suiteRename(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Append("a", 0, []byte("A")))
	must(t, d.Rename("a", "deep/er/b"))
	wantNone(t, d, "a")
	wantFile(t, d, "deep/er/b", "A")
	must(t, d.Append("c", 0, []byte("C")))
	must(t, d.Rename("c", "deep/er/b"))
	wantNone(t, d, "c")
	wantFile(t, d, "deep/er/b", "C")
	must(t, d.Append("deep/er/b", 1, []byte("+")))
	must(t, d.Rename("deep/er/b", "deep/er/b"))
	wantFile(t, d, "deep/er/b", "C+")
	must(t, d.Rename("deep/er/b", "deep-er"))
	wantFile(t, d, "deep-er", "C+")
	// Nothing is below deep any more, so that a file may have that name.
	must(t, d.Append("deep", 0, nil))
}

func suiteRemove(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Append("a/b/one", 0, []byte("1")))
	must(t, d.Append("a/two", 0, []byte("2")))
	must(t, d.Remove("a/b/one"))
	wantNone(t, d, "a/b/one")
	wantFile(t, d, "a/two", "2")
	must(t, d.Append("a/b", 0, []byte("a file now")))
	must(t, d.Remove("a/b"))
	must(t, d.Append("a/b/one", 0, []byte("again")))
	wantFile(t, d, "a/b/one", "again")
}

func suiteList(t *testing.T, d subject, _ func(*testing.T) subject) {
	all := []string{"a-b", "a.b", "a/-", "a/b", "a/b.c/d", "a0", "ab/c", "b", "z/.hidden"}
	for _, p := range slices.Backward(all) {
		must(t, d.Append(p, 0, []byte(p)))
	}
	for prefix, want := range map[string][]string{
		"":          all,
		"a":         all[:7],
		"a/":        {"a/-", "a/b", "a/b.c/d"},
		"a/b":       {"a/b", "a/b.c/d"},
		"a/b.":      {"a/b.c/d"},
		"a/b.c":     {"a/b.c/d"},
		"a/b.c/":    {"a/b.c/d"},
		"a/b.c/d":   {"a/b.c/d"},
		"a/b.c/d/":  nil,
		"a/b.c/d/e": nil,
		"ab":        {"ab/c"},
		"b":         {"b"},
		"b/":        nil,
		"c":         nil,
		"none/":     nil,
		"z/.":       {"z/.hidden"},
		"z/..":      nil,
		"..":        nil,
		".":         nil,
	} {
		got, err := d.List(prefix)
		must(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("list %q: %q, want %q", prefix, got, want)
		}
	}
	for _, prefix := range []string{"/", "/a", "a//", "../", "a/../", "./", "a*", "a\x00", "~", strings.Repeat("a", disk.MaxPath+1)} {
		_, err := d.List(prefix)
		wantErr(t, err, disk.ErrPath)
	}
}

func suiteAbsent(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Append("dir/file", 0, []byte("x")))
	for _, p := range []string{"none", "dir", "dir/none", "dir/file/below", "none/none"} {
		wantNone(t, d, p)
		wantErr(t, d.Append(p, 5, nil), disk.ErrNotExist)
		wantErr(t, d.Truncate(p, 0), disk.ErrNotExist)
		wantErr(t, d.Sync(p), disk.ErrNotExist)
		wantErr(t, d.Remove(p), disk.ErrNotExist)
		wantErr(t, d.Rename(p, "other"), disk.ErrNotExist)
		wantErr(t, d.Rename(p, p), disk.ErrNotExist)
	}
	got, err := d.List("")
	must(t, err)
	if !slices.Equal(got, []string{"dir/file"}) {
		t.Fatalf("failed calls left %q", got)
	}
}

func suiteConflict(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Append("dir/file", 0, []byte("x")))
	must(t, d.Append("other", 0, []byte("y")))
	for _, p := range []string{"dir", "dir/file/below", "dir/file/be/low"} {
		wantErr(t, d.Append(p, 0, nil), disk.ErrConflict)
		wantErr(t, d.Replace(p, nil), disk.ErrConflict)
		wantErr(t, d.Rename("other", p), disk.ErrConflict)
	}
	wantErr(t, d.Rename("other", "other/below"), disk.ErrConflict)
	wantErr(t, d.Rename("dir/file", "dir"), disk.ErrConflict)
	wantFile(t, d, "other", "y")
	wantFile(t, d, "dir/file", "x")
	got, err := d.List("")
	must(t, err)
	if !slices.Equal(got, []string{"dir/file", "other"}) {
		t.Fatalf("failed calls left %q", got)
	}
}

func suitePath(t *testing.T, d subject, _ func(*testing.T) subject) {
	for _, p := range []string{"", "/a", "a/", "../a", "a/../b", "~new-1", "a b", "ä", strings.Repeat("a", disk.MaxPath+1)} {
		_, err := d.Stat(p)
		wantErr(t, err, disk.ErrPath)
		_, err = d.ReadAt(p, nil, 0)
		wantErr(t, err, disk.ErrPath)
		for _, err := range []error{
			d.Append(p, 0, nil), d.Truncate(p, 0), d.Sync(p), d.Replace(p, nil),
			d.Remove(p), d.Rename(p, "ok"), d.Rename("ok", p), d.Rename(p, p),
		} {
			wantErr(t, err, disk.ErrPath)
		}
	}
	for n := disk.MaxPath - 1; n <= disk.MaxPath; n++ {
		p := strings.Repeat("a", n)
		must(t, d.Replace(p, []byte("long")))
		wantFile(t, d, p, "long")
	}
}
