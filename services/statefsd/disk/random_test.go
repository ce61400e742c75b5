package disk_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"nexus.internal/os/services/statefsd/disk"
)

// seed is NEXUS_SEED, or a fresh one; the test prints it.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := rand.Uint64()
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		var err error
		s, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	t.Logf("NEXUS_SEED=%d", s)
	return s
}

// TestSameBehaviour does the same random calls on the real disk and on the one
// in memory, with reopening in between: they must answer the same.
func TestSameBehaviour(t *testing.T) {
	rnd := rand.New(rand.NewPCG(seed(t), 1))
	real, reopenReal := openReal(t)
	sim, reopenSim := openSim(t)
	for i := range 3000 {
		if rnd.IntN(200) == 0 {
			real, sim = reopenReal(t), reopenSim(t)
		}
		call := randomCall(rnd)
		want, got := call.do(sim), call.do(real)
		if got != want {
			t.Fatalf("step %d: %v answers %q on the real disk, %q in memory", i, call, got, want)
		}
	}
}

type call struct {
	kind     int
	path, to string
	off      int64
	data     string
}

// paths get in each other's way, as files, directories and prefixes.
var paths = []string{"a", "b", "ab", "a/x", "a/y", "a/x/1", "a/x/2", "a-x", "b/x", "b/x/1"}

func randomCall(rnd *rand.Rand) call {
	return call{
		kind: rnd.IntN(9),
		path: paths[rnd.IntN(len(paths))],
		to:   paths[rnd.IntN(len(paths))],
		off:  int64(rnd.IntN(6)) * int64(rnd.IntN(2)),
		data: "data"[:rnd.IntN(4)],
	}
}

// do answers what a caller would see.
func (c call) do(d disk.Disk) string {
	switch c.kind {
	case 0:
		size, err := d.Stat(c.path)
		return fmt.Sprint(size, class(err))
	case 1:
		p := make([]byte, len(c.data))
		n, err := d.ReadAt(c.path, p, c.off)
		return fmt.Sprint(string(p[:n]), class(err))
	case 2:
		return class(d.Append(c.path, c.off, []byte(c.data)))
	case 3: // at the end, where it works
		size, _ := d.Stat(c.path)
		return class(d.Append(c.path, size, []byte(c.data)))
	case 4:
		return class(d.Truncate(c.path, c.off))
	case 5:
		return class(d.Sync(c.path))
	case 6:
		return class(d.Replace(c.path, []byte(c.data)))
	case 7:
		return class(d.Rename(c.path, c.to))
	default:
		list, err := d.List(c.path)
		if len(list) > 3 {
			err = errors.Join(err, d.Remove(c.path))
		}
		return fmt.Sprint(list, class(err))
	}
}

func class(err error) string {
	all := []error{
		io.EOF, disk.ErrNotExist, disk.ErrOffset, disk.ErrPath, disk.ErrConflict,
		disk.ErrNoSpace, disk.ErrReadOnly, disk.ErrPoisoned, disk.ErrInUse, disk.ErrClosed,
	}
	i := slices.IndexFunc(all, func(e error) bool { return errors.Is(err, e) })
	if err == nil {
		return "ok"
	}
	if i < 0 {
		return err.Error()
	}
	return all[i].Error()
}
