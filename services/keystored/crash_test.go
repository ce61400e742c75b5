package keystored_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// vaultHeaderOfVersion1 is a header of the future, with a right checksum.
func vaultHeaderOfVersion1(h []byte) []byte {
	h = append([]byte(nil), h...)
	h[4] = 1
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
		if i%12 == 0 {
			value = strings.Repeat(value, 17)[:vault.ValueBytes]
		}
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
	compacted := false
	eachCall(t, func(t *testing.T, n uint64) bool {
		s := newSystem(t)
		c := s.session("alice")
		s.disk.SetFault(simdisk.FailFrom(s.disk.Calls()+n, errBroken))
		model, unsure, created := map[string]string{}, "", false
		if c.unseal(true) == nil {
			created = true
			model, unsure = workload(c.app("mail"))
		}
		calls := s.disk.Calls()
		after := s.disk.Crash()
		compacted = compacted || exists(after, kvPath+".new")
		s = boot(t, rig.New(t), after, vault.Limits{})
		c = s.session("alice")
		s.must(c.unseal(!created))
		checkModel(t, c.app("mail"), model, unsure)
		return created && unsure == "" && calls < n
	})
	if !compacted && !testing.Short() {
		t.Error("no power cut fell into a compaction")
	}
}

// eachCall runs fn for 1, 2, … till it says that there is no such call any
// more, each time as a test of its own so that boots are torn down.
func eachCall(t *testing.T, fn func(t *testing.T, n uint64) (over bool)) {
	t.Helper()
	step := uint64(1)
	if testing.Short() {
		step = 13
	}
	over := false
	for n := uint64(1); !over && !t.Failed(); n += step {
		t.Run(fmt.Sprint("call ", n), func(t *testing.T) { over = fn(t, n) })
	}
}

// TestEveryCallFailsOnce fails one call of the disk: whoever asked gets an
// error, nothing acknowledged is lost, and the vault works afterwards.
func TestEveryCallFailsOnce(t *testing.T) {
	eachCall(t, func(t *testing.T, n uint64) bool {
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
			return true
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
		return false
	})
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

// TestFileIsBounded has no compaction succeed: the file grows up to its limit
// and not beyond, and works again when the disk does.
func TestFileIsBounded(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	s.disk.SetFault(func(op simdisk.Op) error {
		if strings.HasSuffix(op.Path, ".new") {
			return errBroken
		}
		return nil
	})
	put := func(i int) string { return fmt.Sprint(i, big) }
	n := 0
	var err error
	for ; err == nil && n < 3*vault.MaxVault/len(big); n++ {
		err = a.put("name", put(n))
	}
	wantFault(t, err, ipc.IOError, kvState+".new", 0)
	length := len(read(t, s.disk, kvPath))
	if length > vault.MaxVault || length < vault.MaxVault-vault.MaxBatchBytes-vault.MaxSegment {
		t.Errorf("the file stopped growing at %d bytes", length)
	}
	a.wantGet("name", put(n-2))
	reboot(t, s.disk.Crash()).again().app("mail").wantGet("name", put(n-2))
	s.disk.SetFault(nil)
	s.must(a.put("name", "last"))
	if length := len(read(t, s.disk, kvPath)); length > vault.CompactAbove {
		t.Errorf("the file still has %d bytes", length)
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
