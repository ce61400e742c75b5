package simdisk_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/faultdisk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// TestSectors loses every subset of the sectors of one append: what is lost
// before something that is left reads as zeros, what was durable stays.
func TestSectors(t *testing.T) {
	for _, c := range []struct{ durable, unsynced, sectors int }{
		{0, 1, 1}, {0, 511, 1}, {0, 512, 1}, {0, 513, 2}, {0, 1025, 3},
		{511, 1, 1}, {511, 2, 2}, {512, 1, 1}, {512, 512, 1}, {512, 513, 2}, {700, 1500, 4},
	} {
		d := simdisk.New()
		old, fresh := strings.Repeat("o", c.durable), strings.Repeat("n", c.unsynced)
		must(t, d.Append("f", 0, []byte(old)))
		must(t, d.Sync("f"))
		must(t, d.Append("f", int64(c.durable), []byte(fresh)))
		files, changes := d.Unsynced()
		if want := []simdisk.Unsynced{{Path: "f", Sectors: c.sectors}}; !reflect.DeepEqual(files, want) || changes != 0 {
			t.Fatalf("%+v: un-synced is %+v and %d changes", c, files, changes)
		}
		for mask := range 1 << c.sectors {
			for _, size := range []bool{false, true} {
				lost := d.Lose(simdisk.Loss{File: func(simdisk.Unsynced) simdisk.Left {
					return simdisk.Left{Sector: func(i int) bool { return mask>>i&1 == 1 }, Size: size}
				}})
				want := sectors(old, fresh, mask, size)
				wantContents(t, lost, map[string]string{"f": want})
				wantContents(t, lost.Crash(), map[string]string{"f": want})
			}
		}
		wantContents(t, d, map[string]string{"f": old + fresh})
	}
}

// sectors works out byte by byte what TestSectors wants.
func sectors(old, fresh string, mask int, size bool) string {
	b := []byte(old + fresh)
	end := len(old)
	for at := len(old); at < len(b); at++ {
		if mask>>(at/simdisk.Sector-len(old)/simdisk.Sector)&1 == 1 {
			end = at + 1
		} else {
			b[at] = 0
		}
	}
	if size {
		end = len(b)
	}
	return string(b[:end])
}

// TestEntries loses and leaves entries of files that were never synced.
func TestEntries(t *testing.T) {
	d := simdisk.New()
	must(t, d.Append("a", 0, []byte("1")))
	must(t, d.Append("b", 0, nil))
	must(t, d.Replace("c", []byte("3")))
	files, _ := d.Unsynced()
	if want := []simdisk.Unsynced{{"a", 1, true}, {"b", 0, true}}; !reflect.DeepEqual(files, want) {
		t.Fatalf("un-synced is %+v", files)
	}
	all := func(int) bool { return true }
	for name, c := range map[string]struct {
		left simdisk.Left
		want map[string]string
	}{
		"nothing":               {simdisk.Left{}, map[string]string{"c": "3"}},
		"bytes without entries": {simdisk.Left{Sector: all, Size: true}, map[string]string{"c": "3"}},
		"entries":               {simdisk.Left{Entry: true}, map[string]string{"a": "", "b": "", "c": "3"}},
		"entries and lengths":   {simdisk.Left{Entry: true, Size: true}, map[string]string{"a": "\x00", "b": "", "c": "3"}},
		"everything":            {simdisk.Left{Entry: true, Sector: all}, map[string]string{"a": "1", "b": "", "c": "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantContents(t, d.Lose(simdisk.Loss{File: func(simdisk.Unsynced) simdisk.Left { return c.left }}), c.want)
		})
	}
}

var errFull = fmt.Errorf("wrapped: %w", disk.ErrNoSpace)

// both runs a test on the disk in memory and on one with faults above it.
func both(t *testing.T, fn func(t *testing.T, build func(fault func(simdisk.Op) error) (disk.Disk, *simdisk.Disk))) {
	t.Run("sim", func(t *testing.T) {
		fn(t, func(fault func(simdisk.Op) error) (disk.Disk, *simdisk.Disk) {
			d := simdisk.New()
			d.SetFault(fault)
			return d, d
		})
	})
	t.Run("fault", func(t *testing.T) {
		fn(t, func(fault func(simdisk.Op) error) (disk.Disk, *simdisk.Disk) {
			d := simdisk.New()
			return faultdisk.New(d, fault), d
		})
	})
}

// TestShortWrite stores the beginning of an append, poisons the file, and is an
// ordinary failure for every other call.
func TestShortWrite(t *testing.T) {
	both(t, func(t *testing.T, build func(func(simdisk.Op) error) (disk.Disk, *simdisk.Disk)) {
		for n, want := range map[int]string{-1: "ab", 0: "ab", 1: "abc", 3: "abcde", 4: "abcde"} {
			d, _ := build(simdisk.FailAt(2, simdisk.Short{Bytes: n, Err: errFull}))
			must(t, d.Replace("f", []byte("ab")))
			wantErr(t, d.Append("f", 2, []byte("cde")), disk.ErrNoSpace)
			wantContents(t, d, map[string]string{"f": want})
			wantErr(t, d.Append("f", int64(len(want)), []byte("x")), disk.ErrPoisoned)
			wantErr(t, d.Sync("f"), disk.ErrPoisoned)
		}
		d, _ := build(simdisk.FailAt(1, simdisk.Short{Bytes: 1, Err: errFull}))
		wantErr(t, d.Append("f", 0, []byte("ab")), disk.ErrNoSpace)
		wantContents(t, d, map[string]string{"f": "a"})
		d, _ = build(simdisk.FailAt(2, simdisk.Short{Bytes: 1, Err: errFull}))
		must(t, d.Replace("f", []byte("ab")))
		wantErr(t, d.Append("f", 1, []byte("cde")), disk.ErrOffset)
		wantContents(t, d, map[string]string{"f": "ab"})
		d, _ = build(simdisk.FailAt(1, simdisk.Short{Bytes: 1, Err: errFull}))
		wantErr(t, d.Replace("f", []byte("ab")), disk.ErrNoSpace)
		wantContents(t, d, nil)
		must(t, d.Append("f", 0, []byte("x")))
	})
}

// TestUnsure has changes of entries happen and fail: a reader sees them, a power
// cut keeps as many as it is told to, in their order.
func TestUnsure(t *testing.T) {
	unsure := simdisk.Unsure{Err: errInjected}
	start := func(t *testing.T, faults ...uint64) *simdisk.Disk {
		d := simdisk.New()
		must(t, d.Replace("x/a", []byte("A")))
		must(t, d.Replace("x/b", []byte("B")))
		d.SetFault(func(op simdisk.Op) error {
			if slices.Contains(faults, op.N-2) {
				return unsure
			}
			return nil
		})
		return d
	}
	before := map[string]string{"x/a": "A", "x/b": "B"}
	for name, c := range map[string]struct {
		do    func(d *simdisk.Disk) error
		after map[string]string
	}{
		"replace": {func(d *simdisk.Disk) error { return d.Replace("x/a", []byte("new")) }, map[string]string{"x/a": "new", "x/b": "B"}},
		"make":    {func(d *simdisk.Disk) error { return d.Replace("x/c", []byte("C")) }, map[string]string{"x/a": "A", "x/b": "B", "x/c": "C"}},
		"rename":  {func(d *simdisk.Disk) error { return d.Rename("x/a", "x/b") }, map[string]string{"x/b": "A"}},
		"move":    {func(d *simdisk.Disk) error { return d.Rename("x/a", "x/c") }, map[string]string{"x/b": "B", "x/c": "A"}},
		"remove":  {func(d *simdisk.Disk) error { return d.Remove("x/a") }, map[string]string{"x/b": "B"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, 1)
			wantErr(t, c.do(d), errInjected)
			wantContents(t, d, c.after)
			wantContents(t, d.Crash(), before)
			wantContents(t, d.Lose(simdisk.Loss{Changes: 1}), c.after)
			wantContents(t, d.Clone().Reopen().Crash(), before)
			if d.Hash() != d.Crash().Hash() {
				t.Error("the hash is not that of what a crash leaves")
			}
			for path := range c.after {
				if _, there := before[path]; !there || c.after[path] != before[path] {
					wantErr(t, d.Append(path, int64(len(c.after[path])), nil), disk.ErrPoisoned)
				}
			}
			// What syncs the directory makes it durable: a sync of the next process,
			again := d.Reopen()
			for path := range c.after {
				must(t, again.Sync(path))
			}
			wantContents(t, again.Crash(), c.after)
			// or another change in it.
			must(t, d.Replace("x/z", nil))
			want := map[string]string{"x/z": ""}
			for path, text := range c.after {
				want[path] = text
			}
			wantContents(t, d.Crash(), want)
		})
	}
	t.Run("several", func(t *testing.T) {
		d := start(t, 1, 2, 3)
		wantErr(t, d.Rename("x/a", "x/b"), errInjected)
		wantErr(t, d.Replace("x/a", []byte("again")), errInjected)
		wantErr(t, d.Remove("x/b"), errInjected)
		for n, want := range []map[string]string{
			before, {"x/b": "A"}, {"x/a": "again", "x/b": "A"}, {"x/a": "again"},
		} {
			wantContents(t, d.Lose(simdisk.Loss{Changes: n}), want)
		}
		if _, n := d.Unsynced(); n != 3 {
			t.Errorf("%d changes", n)
		}
	})
	t.Run("above another disk", func(t *testing.T) {
		below := simdisk.New()
		d := faultdisk.New(below, func(op simdisk.Op) error {
			if !op.Kind.Writes() {
				return nil
			}
			return unsure
		})
		must(t, below.Replace("a", []byte("A")))
		wantErr(t, d.Rename("a", "b"), errInjected)
		wantErr(t, d.Append("b", 1, nil), disk.ErrPoisoned)
		wantErr(t, d.Replace("b", []byte("B")), errInjected)
		wantErr(t, d.Append("b", 1, nil), disk.ErrPoisoned)
		wantContents(t, d, map[string]string{"b": "B"})
		wantErr(t, d.Remove("b"), errInjected)
		wantContents(t, d, nil)
		if err := d.Rename("b", "c"); !errors.Is(err, disk.ErrNotExist) {
			t.Errorf("the error of the disk below is lost: %v", err)
		}
	})
}
