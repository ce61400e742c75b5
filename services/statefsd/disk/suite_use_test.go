package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"nexus.internal/os/services/statefsd/disk"
)

func suiteReopen(t *testing.T, d subject, reopen func(*testing.T) subject) {
	must(t, d.Append("dir/synced", 0, []byte("12")))
	must(t, d.Sync("dir/synced"))
	must(t, d.Append("dir/synced", 2, []byte("34")))
	must(t, d.Append("unsynced", 0, []byte("u")))
	must(t, d.Replace("replaced", []byte("r")))
	d = reopen(t)
	wantFile(t, d, "dir/synced", "1234")
	wantFile(t, d, "unsynced", "u")
	wantFile(t, d, "replaced", "r")
	// What an earlier process left un-synced is synced when asked for.
	before := d.Stats().Syncs
	must(t, d.Sync("unsynced"))
	if d.Stats().Syncs == before {
		t.Fatal("the first sync after opening did nothing")
	}
	must(t, d.Append("dir/synced", 4, []byte("5")))
	must(t, d.Remove("replaced"))
	d = reopen(t)
	wantFile(t, d, "dir/synced", "12345")
	wantNone(t, d, "replaced")
	got, err := d.List("")
	must(t, err)
	if !slices.Equal(got, []string{"dir/synced", "unsynced"}) {
		t.Fatalf("after reopening: %q", got)
	}
}

func suiteClosed(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Append("f", 0, []byte("x")))
	must(t, d.Close())
	_, statErr := d.Stat("f")
	_, readErr := d.ReadAt("f", nil, 0)
	_, listErr := d.List("")
	for _, err := range []error{
		statErr, readErr, listErr, d.Append("f", 1, nil), d.Truncate("f", 0), d.Sync("f"),
		d.Replace("f", nil), d.Rename("f", "g"), d.Remove("f"), d.Close(),
	} {
		wantErr(t, err, disk.ErrClosed)
	}
}

// suiteCounts asserts the I/Os of a file in steady use.
func suiteCounts(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Append("dir/f", 0, []byte("x")))
	must(t, d.Sync("dir/f"))
	before := d.Stats()
	const appends = 10
	for i := range appends {
		must(t, d.Append("dir/f", int64(1+2*i), []byte("y")))
		must(t, d.Append("dir/f", int64(2+2*i), []byte("z")))
		must(t, d.Sync("dir/f"))
		must(t, d.Sync("dir/f")) // nothing to do
	}
	wantStats(t, before, d.Stats(), disk.Stats{Syncs: appends, Writes: 2 * appends})
	before = d.Stats()
	wantFile(t, d, "dir/f", "x"+strings.Repeat("yz", appends))
	_, err := d.List("")
	must(t, err)
	wantStats(t, before, d.Stats(), disk.Stats{Reads: 1})
}

func wantStats(t *testing.T, before, after, want disk.Stats) {
	t.Helper()
	got := disk.Stats{Syncs: after.Syncs - before.Syncs, Reads: after.Reads - before.Reads, Writes: after.Writes - before.Writes}
	if got != want {
		t.Fatalf("I/Os %+v, want %+v", got, want)
	}
}

// suiteManyFiles has more files in use than a Dir keeps open.
func suiteManyFiles(t *testing.T, d subject, _ func(*testing.T) subject) {
	const files = 200
	for round := range 3 {
		for i := range files {
			must(t, d.Append(fmt.Sprintf("d%d/f%d", i%7, i), int64(round), []byte{byte('a' + round)}))
		}
	}
	for i := range files {
		p := fmt.Sprintf("d%d/f%d", i%7, i)
		must(t, d.Sync(p))
		wantFile(t, d, p, "abc")
	}
}

// suiteConcurrent lets many callers make, rename and remove files in
// directories that come and go under them, each its own files.
func suiteConcurrent(t *testing.T, d subject, _ func(*testing.T) subject) {
	const callers, rounds = 8, 12
	var wg sync.WaitGroup
	errs := make(chan error, callers)
	for c := range callers {
		wg.Go(func() {
			for r := range rounds {
				if err := oneRound(d, c, r); err != nil {
					errs <- fmt.Errorf("caller %d round %d: %w", c, r, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	got, err := d.List("")
	must(t, err)
	if len(got) != 0 {
		t.Fatalf("left over: %q", got)
	}
}

func oneRound(d disk.Disk, c, r int) error {
	a, b := fmt.Sprintf("x/y/a%d", c), fmt.Sprintf("x/z/b%d", c)
	if r%2 == 1 {
		a, b = b, a
	}
	text := fmt.Append(nil, c, r)
	err := errors.Join(
		d.Append(a, 0, text),
		d.Sync(a),
		d.Rename(a, b),
		d.Replace(a, text),
	)
	p := make([]byte, len(text))
	_, readErr := d.ReadAt(b, p, 0)
	if !bytes.Equal(p, text) {
		return fmt.Errorf("read %q, want %q", p, text)
	}
	_, listErr := d.List("x/")
	return errors.Join(err, readErr, listErr, d.Remove(a), d.Remove(b))
}

// suiteCrossing renames a file there and back from two sides at once: one of
// them finds nothing, none waits for ever, and the file is never lost.
func suiteCrossing(t *testing.T, d subject, _ func(*testing.T) subject) {
	must(t, d.Replace("p", []byte("the one")))
	var wg sync.WaitGroup
	for _, way := range [][2]string{{"p", "q"}, {"q", "p"}, {"p", "q"}, {"q", "p"}} {
		wg.Go(func() {
			for range 50 {
				if err := d.Rename(way[0], way[1]); err != nil && !errors.Is(err, disk.ErrNotExist) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := d.List("")
	must(t, err)
	if len(got) != 1 {
		t.Fatalf("left: %q", got)
	}
	wantFile(t, d, got[0], "the one")
}
