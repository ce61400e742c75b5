package keystored_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// vaultHeaderOfVersion2 is a header of the future, with a right checksum.
func vaultHeaderOfVersion2(h []byte) []byte {
	h = append([]byte(nil), h...)
	h[4] = 2
	binary.LittleEndian.PutUint32(h[68:], crc32.Checksum(h[:68], crc32.MakeTable(crc32.Castagnoli)))
	return h
}

// big makes a compaction due soon.
var big = strings.Repeat("v", 4000)

// workload puts and deletes until the vault was compacted at least once, and
// answers what was acknowledged and which name's fate is open.
func workload(a *app) (model map[string]string, open string) {
	model = map[string]string{}
	for i := range 30 {
		name := fmt.Sprint("name-", i%7)
		value := fmt.Sprint(i, big)
		var err error
		if i%5 == 4 {
			err = a.delete(name)
			if err == nil {
				delete(model, name)
			}
		} else if err = a.put(name, value); err == nil {
			model[name] = value
		}
		if err != nil && !errors.Is(err, ipc.NotFound) {
			return model, name
		}
	}
	return model, ""
}

// checkModel compares what an app has with a model, but for one name.
func checkModel(t *testing.T, a *app, model map[string]string, except string) {
	t.Helper()
	names, err := a.list()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, name := range names {
		have[name] = true
	}
	for name, want := range model {
		if got, err := a.get(name); name != except && (err != nil || got != want) {
			t.Fatalf("%s: %d bytes, %v; want %d bytes", name, len(got), err, len(want))
		}
	}
	for name := range have {
		if _, ok := model[name]; !ok && name != except {
			t.Fatalf("%s is there and should not be", name)
		}
	}
}

// TestPowerCutAtEveryCall cuts the power before the n-th call of the disk, for
// all n: what was acknowledged is there at the next boot.
func TestPowerCutAtEveryCall(t *testing.T) {
	step := uint64(1)
	if testing.Short() {
		step = 13
	}
	compacted := false
	for n := uint64(1); ; n += step {
		s := newSystem(t)
		c := s.session("alice")
		s.disk.SetFault(simdisk.FailFrom(s.disk.Calls()+n, errBroken))
		model, created := map[string]string{}, false
		unsure := ""
		if c.unseal(true) == nil {
			created = true
			model, unsure = workload(c.app("mail"))
		}
		calls := s.disk.Calls()
		after := s.disk.Crash()
		compacted = compacted || exists(after, kvPath+".new")
		s = boot(t, rig.New(t), after, vault.Limits{})
		c = s.session("alice")
		if err := c.unseal(!created); err != nil {
			t.Fatalf("power cut before call %d: %v", n, err)
		}
		checkModel(t, c.app("mail"), model, unsure)
		if created && unsure == "" && calls < n {
			break
		}
	}
	if !compacted && !testing.Short() {
		t.Error("no power cut fell into a compaction")
	}
}

// TestEveryCallFailsOnce fails one call of the disk: whoever asked gets an
// error, nothing acknowledged is lost, and the vault works afterwards.
func TestEveryCallFailsOnce(t *testing.T) {
	step := uint64(1)
	if testing.Short() {
		step = 13
	}
	for n := uint64(1); ; n += step {
		s := newSystem(t)
		c := s.session("alice")
		first := s.disk.Calls()
		s.disk.SetFault(simdisk.FailAt(first+n, errBroken))
		if c.unseal(true) != nil {
			s.must(c.unseal(true))
		}
		a := c.app("mail")
		model, unsure := workload(a)
		if s.disk.Calls() < first+n {
			break
		}
		if unsure != "" {
			// The vault goes on, and what failed is not visible.
			checkModel(t, a, model, "")
		}
		s.must(a.put("after", "value"))
		model["after"] = "value"
		c.lock()
		checkModel(t, s.again().app("mail"), model, "")
		again := boot(t, rig.New(t), s.disk.Crash(), vault.Limits{})
		checkModel(t, again.again().app("mail"), model, "")
	}
}

func TestCompaction(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.must(c.app("calendar").put("kept", "value"))
	write(t, s.disk, kvPath+".new", []byte("a stale leftover"))
	most, length, head := 0, 0, []byte(nil)
	for i := range 60 {
		s.must(a.put("name", fmt.Sprint(i, big)))
		before, old := length, head
		length, head = len(read(t, s.disk, kvPath)), read(t, s.disk, headPath)
		if most = max(most, length); length < before && bytes.Equal(head, old) {
			t.Error("no head was written after the compaction")
		}
	}
	s.mint.setFail(func(op uint16, _ ipc.Stamp) error {
		if op == wire.OpOpenRecord {
			return ipc.Damaged
		}
		return nil
	})
	var f *wire.Fault
	kv := read(t, s.disk, kvPath)
	if _, err := a.get("name"); !errors.As(err, &f) || f.Offset >= int64(len(kv)) || string(kv[f.Offset:f.Offset+4]) != "NXVS" {
		t.Errorf("a damaged record is said to be at %v", err)
	}
	s.mint.setFail(nil)
	if most > vault.CompactAbove+2*vault.MaxSegment {
		t.Errorf("the file grew to %d bytes", most)
	}
	if exists(s.disk, kvPath+".new") {
		t.Error("the new file is left")
	}
	a.wantGet("name", "59"+big)
	c.lock()
	c = s.again()
	c.app("mail").wantGet("name", "59"+big)
	c.app("calendar").wantGet("kept", "value")
}

// TestCompactionThatFails fails a step of each compaction: puts go on.
func TestCompactionThatFails(t *testing.T) {
	for _, kind := range []simdisk.Kind{simdisk.Append, simdisk.Sync, simdisk.Rename, simdisk.Remove} {
		t.Run(string(kind), func(t *testing.T) {
			s := newSystem(t)
			c := s.alice()
			a := c.app("mail")
			write(t, s.disk, kvPath+".new", []byte("a stale leftover"))
			failed := 0
			s.disk.SetFault(func(op simdisk.Op) error {
				if op.Kind == kind && strings.HasSuffix(op.Path, ".new") {
					failed++
					return errBroken
				}
				return nil
			})
			for i := range 40 {
				err := a.put("name", fmt.Sprint(i, big))
				if kind == simdisk.Rename && failed > 0 && err != nil {
					// Nobody knows which file is in place: no more writes.
					wantErr(t, "put", err, ipc.IOError)
					s.disk.SetFault(nil)
					continue
				}
				s.must(err)
			}
			if failed == 0 || kind != simdisk.Rename && failed > 3 {
				t.Errorf("%d compactions were tried", failed)
			}
			s.disk.SetFault(nil)
			s.must(a.put("name", "last"))
			a.wantGet("name", "last")
			again := boot(t, rig.New(t), s.disk.Crash(), vault.Limits{})
			again.again().app("mail").wantGet("name", "last")
		})
	}
}

// TestRenameThatLies has a compaction's rename happen and fail: nobody may
// append to what is in place before it was written again.
func TestRenameThatLies(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.lie.Store(true)
	for i := range 40 {
		s.must(a.put("name", fmt.Sprint(i, big)))
	}
	if s.lie.Load() {
		t.Error("nothing was compacted")
	}
	c.lock()
	s.again().app("mail").wantGet("name", "39"+big)
}

// TestReopenAfterFailedSync restarts keystored while the disk refuses more
// writes to the old file.
func TestReopenAfterFailedSync(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.must(a.put("name", "value"))
	s.disk.SetFault(func(op simdisk.Op) error {
		if op.Kind == simdisk.Sync && op.Path == kvPath {
			return errBroken
		}
		return nil
	})
	wantErr(t, "put", a.put("other", "value"), ipc.IOError)
	s.disk.SetFault(nil)
	c.lock()
	a = s.again().app("mail")
	a.wantGet("name", "value")
	s.must(a.put("third", "value"))
	again := boot(t, rig.New(t), s.disk.Crash(), vault.Limits{})
	again.again().app("mail").wantGet("third", "value")
}

// TestRandomRuns runs apps of one user side by side by seed, with locks, panics
// of keystored and power cuts, against a model of what was acknowledged.
func TestRandomRuns(t *testing.T) {
	seed := newSeed(t)
	for n := range uint64(40) {
		randomRun(t, seed+n)
	}
}

// fate is what is known of one name: its value, or several that it may have.
type fate map[string]bool // "" stands for absent

func randomRun(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	d := simdisk.New()
	known := map[string]fate{}
	created := false
	for range 3 {
		s := boot(t, rig.NewSeeded(t, rng.Uint64(), nil), d, vault.Limits{})
		c := s.session("alice")
		if err := c.unseal(!created); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		created = true
		for range 2 {
			randomPhase(t, s, c, rng, known)
			c = s.again()
		}
		if rng.IntN(2) == 0 {
			d = d.Crash()
		} else {
			d = d.Reopen()
		}
	}
}

// randomPhase runs three apps till they are done or somebody cuts them off.
func randomPhase(t *testing.T, s *system, c *session, rng *rand.Rand, known map[string]fate) {
	t.Helper()
	var done []chan struct{}
	for i := range 3 {
		a := c.app(fmt.Sprint("app", i))
		finished := make(chan struct{})
		done = append(done, finished)
		steps := rng.IntN(25)
		a.task.Go(func(ctx context.Context) {
			defer close(finished)
			for range steps {
				randomStep(t, ctx, a, fmt.Sprintf("app%d/name-%d", i, rng.IntN(6)), rng, known)
			}
		})
	}
	if rng.IntN(2) == 0 {
		stop, at := 0, rng.IntN(3000)
		s.rig.Seeded.Run(func() bool { stop++; return stop > at })
		if rng.IntN(2) == 0 {
			s.panics.Store(true)
		} else {
			c.lock()
		}
	}
	for _, finished := range done {
		if !s.rig.Sched.Await(finished) {
			t.Fatal("somebody waits forever")
		}
	}
	s.panics.Store(false)
	c.lock()
}

// randomStep does one op and notes what may be true after it.
func randomStep(t *testing.T, ctx context.Context, a *app, place string, rng *rand.Rand, known map[string]fate) {
	_, name, _ := strings.Cut(place, "/")
	before := known[place]
	if before == nil {
		before = fate{"": true}
	}
	switch rng.IntN(4) {
	case 0:
		value, err := a.getIn(ctx, name)
		if errors.Is(err, ipc.NotFound) {
			value, err = "", nil
		}
		if err == nil && !before[value] {
			t.Errorf("%s is %.20q, and can only be one of %d others", place, value, len(before))
		}
		if err == nil {
			known[place] = fate{value: true}
		}
	case 1:
		known[place] = settled(before, "", a.deleteIn(ctx, name), ipc.NotFound)
	default:
		value := fmt.Sprint(rng.Uint64(), strings.Repeat("v", rng.IntN(4000)))
		known[place] = settled(before, value, a.putIn(ctx, name, value), nil)
	}
}

// settled answers what a name may be after a write that ended with err.
func settled(before fate, value string, err, same error) fate {
	if err == nil || same != nil && errors.Is(err, same) {
		return fate{value: true}
	}
	after := maps.Clone(before)
	after[value] = true
	return after
}
