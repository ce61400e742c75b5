package ui_v18b_host

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"

	"nexus.internal/os/services/statefsd/disk"
)

// contents reads every file of a disk.
func contents(t testing.TB, d disk.Disk) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	paths, err := d.List("")
	must(t, err)
	for _, path := range paths {
		all[path] = content(t, d, path)
	}
	return all
}

func content(t testing.TB, d disk.Disk, path string) []byte {
	t.Helper()
	size, err := d.Stat(path)
	must(t, err)
	p := make([]byte, size)
	if _, err := d.ReadAt(path, p, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return p
}

// guessesFile is written by every guess, a right one included.
const guessesFile = "state/identity/guesses"

// same says that the disk has these files and no others, but for those named.
func same(t testing.TB, d disk.Disk, before map[string][]byte, but ...string) {
	t.Helper()
	after := contents(t, d)
	for _, path := range but {
		delete(after, path)
		before = maps.Clone(before)
		delete(before, path)
	}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if was, there := before[path]; !there {
			t.Errorf("%s was made", path)
		} else if !bytes.Equal(was, after[path]) {
			t.Errorf("%s was changed", path)
		}
	}
	for path := range before {
		if _, there := after[path]; !there {
			t.Errorf("%s was removed", path)
		}
	}
}

// gated is a disk on which a sync of one file can be held up.
type gated struct {
	disk.Disk
	mu   sync.Mutex
	held *gate
}

type gate struct {
	path    string
	arrived chan struct{}
	opened  chan struct{}
	once    sync.Once
}

// open lets the sync go on.
func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// hold makes the next sync of the file wait, at the latest till the test ends.
// The gate's arrived is closed when it does.
func (g *gated) hold(t testing.TB, path string) *gate {
	held := &gate{path: path, arrived: make(chan struct{}), opened: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = held
	t.Cleanup(held.open)
	return held
}

// Sync implements disk.Disk.
func (g *gated) Sync(path string) error {
	g.mu.Lock()
	held := g.held
	if held != nil && held.path == path {
		g.held = nil
	} else {
		held = nil
	}
	g.mu.Unlock()
	if held != nil {
		close(held.arrived)
		<-held.opened
	}
	return g.Disk.Sync(path)
}
