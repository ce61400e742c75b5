package simdisk_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/faultdisk"
	"nexus.internal/os/services/statefsd/simdisk"
)

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
}

// contents reads the whole disk.
func contents(t *testing.T, d disk.Disk) map[string]string {
	t.Helper()
	all := make(map[string]string)
	paths, err := d.List("")
	must(t, err)
	for _, path := range paths {
		size, err := d.Stat(path)
		must(t, err)
		p := make([]byte, size)
		_, err = d.ReadAt(path, p, 0)
		must(t, err)
		all[path] = string(p)
	}
	return all
}

func wantContents(t *testing.T, d disk.Disk, want map[string]string) {
	t.Helper()
	if got := contents(t, d); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("contains %q, want %q", got, want)
	}
}

func TestCrashLosesWhatIsNotSynced(t *testing.T) {
	d := simdisk.New()
	must(t, d.Append("new", 0, []byte("lost with its entry")))
	must(t, d.Append("f", 0, []byte("kept")))
	must(t, d.Sync("f"))
	must(t, d.Append("f", 4, []byte("+lost")))
	must(t, d.Append("cut", 0, []byte("0123456789")))
	must(t, d.Truncate("cut", 3))
	must(t, d.Append("cut", 3, []byte("x")))
	must(t, d.Replace("r", []byte("replaced")))
	must(t, d.Append("from", 0, []byte("renamed")))
	must(t, d.Rename("from", "to"))
	must(t, d.Replace("gone", nil))
	must(t, d.Remove("gone"))
	wantContents(t, d, map[string]string{
		"new": "lost with its entry", "f": "kept+lost", "cut": "012x", "r": "replaced", "to": "renamed",
	})
	after := map[string]string{"f": "kept", "cut": "012", "r": "replaced", "to": "renamed"}
	wantContents(t, d.Crash(), after)
	wantContents(t, d.Reopen(), contents(t, d))
	wantContents(t, d.Reopen().Crash(), after)
	if d.Hash() != d.Crash().Hash() || d.Hash() != d.Crash().Crash().Hash() {
		t.Fatal("the hash is not that of what a crash leaves")
	}
}

func TestClonesAreApart(t *testing.T) {
	d := simdisk.New()
	must(t, d.Replace("f", []byte("ab")))
	c := d.Clone()
	must(t, c.Append("f", 2, []byte("c")))
	must(t, c.Append("g", 0, nil))
	must(t, d.Append("f", 2, []byte("D")))
	wantContents(t, d, map[string]string{"f": "abD"})
	wantContents(t, c, map[string]string{"f": "abc", "g": ""})
	crashed := c.Crash()
	must(t, crashed.Append("f", 2, []byte("E")))
	wantContents(t, c, map[string]string{"f": "abc", "g": ""})
}

func TestHashTellsStatesApart(t *testing.T) {
	d := simdisk.New()
	seen := map[[32]byte]string{d.Hash(): "empty"}
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"a", func() error { return d.Replace("a", nil) }},
		{"ab", func() error { return d.Replace("ab", nil) }},
		{"a=b", func() error { return d.Replace("a", []byte("b")) }},
		{"a=bc", func() error { return d.Replace("a", []byte("bc")) }},
		{"c=bc", func() error { return d.Rename("a", "c") }},
	} {
		must(t, s.do())
		if other, ok := seen[d.Hash()]; ok {
			t.Fatalf("%s has the hash of %s", s.name, other)
		}
		seen[d.Hash()] = s.name
	}
	before := d.Hash()
	must(t, d.Append("c", 2, []byte("d")))
	if d.Hash() != before {
		t.Fatal("un-synced bytes are in the hash")
	}
	must(t, d.Sync("c"))
	if d.Hash() == before {
		t.Fatal("synced bytes are not in the hash")
	}
}

var errInjected = errors.New("injected")

func TestFailedCallPoisons(t *testing.T) {
	for kind, do := range map[simdisk.Kind]func(d disk.Disk) error{
		simdisk.Append:   func(d disk.Disk) error { return d.Append("f", 2, []byte("c")) },
		simdisk.Sync:     func(d disk.Disk) error { return d.Sync("f") },
		simdisk.Truncate: func(d disk.Disk) error { return d.Truncate("f", 0) },
	} {
		d := simdisk.New()
		must(t, d.Append("f", 0, []byte("ab")))
		var seen simdisk.Op
		d.SetFault(func(op simdisk.Op) error { seen = op; return errInjected })
		wantErr(t, do(d), errInjected)
		if seen.Kind != kind || seen.N != 2 || seen.Path != "f" {
			t.Fatalf("the hook saw %+v for %s", seen, kind)
		}
		d.SetFault(nil)
		wantContents(t, d, map[string]string{"f": "ab"})
		for _, later := range []disk.Disk{d, d.Clone()} {
			wantErr(t, later.Append("f", 2, nil), disk.ErrPoisoned)
			wantErr(t, later.Sync("f"), disk.ErrPoisoned)
			wantErr(t, later.Truncate("f", 0), disk.ErrPoisoned)
			wantErr(t, later.Rename("f", "g"), disk.ErrPoisoned)
		}
		must(t, d.Reopen().Sync("f"))
		healed := d.Clone()
		must(t, healed.Append("g", 0, []byte("x")))
		must(t, healed.Rename("g", "f"))
		must(t, healed.Sync("f"))
		healed = d.Clone()
		must(t, healed.Remove("f"))
		must(t, healed.Append("f", 0, nil))
		must(t, d.Replace("f", []byte("x")))
		must(t, d.Append("f", 1, []byte("y")))
		must(t, d.Sync("f"))
	}
}

func TestFailedCallDoesNothing(t *testing.T) {
	calls := []func(d disk.Disk) error{
		func(d disk.Disk) error { return d.Replace("f", []byte("x")) },
		func(d disk.Disk) error { return d.Replace("new", []byte("x")) },
		func(d disk.Disk) error { return d.Rename("f", "g") },
		func(d disk.Disk) error { return d.Remove("f") },
		func(d disk.Disk) error { return d.Append("new", 0, []byte("x")) },
		func(d disk.Disk) error { _, err := d.Stat("f"); return err },
		func(d disk.Disk) error { _, err := d.ReadAt("f", nil, 0); return err },
		func(d disk.Disk) error { _, err := d.List(""); return err },
	}
	for i, do := range calls {
		d := simdisk.New()
		must(t, d.Replace("f", []byte("ab")))
		before := d.Hash()
		d.SetFault(simdisk.FailAt(2, disk.ErrNotExist)) // even an error of its own is no answer
		wantErr(t, do(d), disk.ErrNotExist)
		wantContents(t, d, map[string]string{"f": "ab"})
		if d.Hash() != before {
			t.Fatalf("call %d changed the disk", i)
		}
		must(t, d.Remove("f")) // the next call works
	}
}

func TestReadOnly(t *testing.T) {
	d := simdisk.New()
	must(t, d.Replace("f", []byte("ab")))
	d.SetReadOnly(true)
	for _, err := range []error{
		d.Append("f", 2, nil), d.Sync("f"), d.Truncate("f", 0), d.Replace("f", nil), d.Rename("f", "g"), d.Remove("f"),
	} {
		wantErr(t, err, disk.ErrReadOnly)
	}
	wantContents(t, d, map[string]string{"f": "ab"})
	d.SetReadOnly(false)
	must(t, d.Append("f", 2, nil))
}

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

// TestEveryCut cuts the power before each call of a random run: what is there
// afterwards is what the calls that returned had promised.
func TestEveryCut(t *testing.T) {
	s := seed(t)
	const calls = 60
	for cut := uint64(1); cut <= calls; cut++ {
		d := simdisk.New()
		d.SetFault(simdisk.FailFrom(cut, errInjected))
		promised := run(d, s, calls)
		wantContents(t, d.Crash(), promised)
		if cut > 1 && d.Calls() < cut {
			t.Fatalf("the run ended after %d calls, before the cut at %d", d.Calls(), cut)
		}
	}
}

// run does random calls and answers what must be durable after those that
// succeeded. Two files suffice, one appended to and one that comes and goes.
func run(d disk.Disk, s uint64, calls int) map[string]string {
	rnd := rand.New(rand.NewPCG(s, 2))
	promised := make(map[string]string)
	log := "" // what is in the journal, synced or not
	for i := range calls {
		text := fmt.Sprintf("<%d>", i)
		switch rnd.IntN(5) {
		case 0, 1:
			if d.Append("journal", int64(len(log)), []byte(text)) == nil {
				log += text
			}
		case 2:
			if d.Sync("journal") == nil {
				promised["journal"] = log
			}
		case 3:
			if d.Replace("x/other", []byte(text)) == nil {
				promised["x/other"] = text
			}
		case 4:
			if d.Remove("x/other") == nil {
				delete(promised, "x/other")
			}
		}
	}
	return promised
}

func TestCallsAreOrdered(t *testing.T) {
	d := simdisk.New()
	var ops []string
	d.SetFault(func(op simdisk.Op) error {
		ops = append(ops, fmt.Sprint(op.N, " ", op.Kind, " ", op.Path, op.To, " ", op.Off, " ", op.Len))
		return nil
	})
	must(t, d.Append("a", 0, []byte("xy")))
	must(t, d.Rename("a", "b"))
	_, err := d.ReadAt("b", make([]byte, 1), 1)
	must(t, err)
	must(t, d.Truncate("b", 1))
	_, err = d.List("b")
	must(t, err)
	want := []string{"1 append a 0 2", "2 rename ab 0 0", "3 read b 1 1", "4 truncate b 1 0", "5 list b 0 0"}
	if !slices.Equal(ops, want) {
		t.Fatalf("the hook saw %q, want %q", ops, want)
	}
}

// A file that could not even be made is gone for good once it is removed: another
// one may be made in its place.
func TestRemoveEndsPoison(t *testing.T) {
	for name, build := range map[string]func(fault func(simdisk.Op) error) disk.Disk{
		"sim": func(fault func(simdisk.Op) error) disk.Disk {
			d := simdisk.New()
			d.SetFault(fault)
			return d
		},
		"fault": func(fault func(simdisk.Op) error) disk.Disk { return faultdisk.New(simdisk.New(), fault) },
	} {
		t.Run(name, func(t *testing.T) {
			broken := errors.New("broken")
			d := build(simdisk.FailAt(1, broken))
			wantErr(t, d.Append("f", 0, []byte("x")), broken)
			wantErr(t, d.Append("f", 0, []byte("x")), disk.ErrPoisoned)
			wantErr(t, d.Remove("f"), disk.ErrNotExist)
			must(t, d.Append("f", 0, []byte("x")))
			must(t, d.Sync("f"))
		})
	}
}

// A power cut leaves as much of what was not synced as it is told to.
func TestTear(t *testing.T) {
	d := simdisk.New()
	must(t, d.Append("synced", 0, []byte("12")))
	must(t, d.Sync("synced"))
	must(t, d.Append("synced", 2, []byte("3456")))
	must(t, d.Append("new", 0, []byte("abc")))
	must(t, d.Append("gone", 0, []byte("abc")))
	asked := ""
	torn := d.Tear(func(path string, unsynced int) int {
		asked += fmt.Sprint(path, unsynced, " ")
		return map[string]int{"synced": 2, "new": 99, "gone": -1}[path]
	})
	wantContents(t, torn, map[string]string{"synced": "1234", "new": "abc"})
	if asked != "gone3 new3 synced4 " {
		t.Errorf("asked for %q", asked)
	}
	// What was left is durable.
	wantContents(t, torn.Crash(), map[string]string{"synced": "1234", "new": "abc"})
}

// A disk that is taken away answers nothing any more, and keeps what it had.
func TestTakeAway(t *testing.T) {
	d := simdisk.New()
	must(t, d.Replace("f", []byte("x")))
	before := d.Hash()
	d.TakeAway()
	_, err := d.Stat("f")
	wantErr(t, err, disk.ErrOff)
	wantErr(t, d.Replace("f", []byte("y")), disk.ErrOff)
	wantErr(t, d.Remove("f"), disk.ErrOff)
	if d.Hash() != before {
		t.Error("it changed")
	}
	wantContents(t, d.Crash(), map[string]string{"f": "x"})
}
