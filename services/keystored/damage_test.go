package keystored_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// write puts bytes into the place of a file of the disk.
func write(t testing.TB, d *simdisk.Disk, path string, data []byte) {
	t.Helper()
	if err := d.Replace(path, data); err != nil {
		t.Fatal(err)
	}
}

// stored is a vault of four batches with the head at the second, as a process
// that was killed leaves it, and the offsets of its segments.
func stored(t *testing.T) (d *simdisk.Disk, offsets []int64) {
	t.Helper()
	s := newSystem(t)
	c := s.alice()
	mark := func() { offsets = append(offsets, int64(len(read(t, s.disk, kvPath)))) }
	offsets = append(offsets, 0)
	mark()
	s.must(c.app("mail").put("one", "1"))
	c.lock()
	c = s.again()
	mark()
	s.must(c.app("mail").put("two", "2"))
	mark()
	s.must(c.app("calendar").put("three", "3"))
	return s.disk.Reopen(), offsets
}

// reboot starts a system on the disk.
func reboot(t *testing.T, d *simdisk.Disk) *system {
	t.Helper()
	return boot(t, rig.New(t), d, vault.Limits{})
}

// files answers every file of the disk.
func files(t testing.TB, d *simdisk.Disk) map[string]string {
	t.Helper()
	paths, err := d.List("")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, p := range paths {
		all[p] = string(read(t, d, p))
	}
	return all
}

func TestDamage(t *testing.T) {
	good, offsets := stored(t)
	kv, head := read(t, good, kvPath), read(t, good, headPath)
	flip := func(data []byte, at int64) []byte {
		data = bytes.Clone(data)
		data[at] ^= 1
		return data
	}
	for _, c := range []struct {
		name     string
		kv, head []byte // nil for absent
		create   bool
		file     string
		offset   int64
	}{
		{"before the head", flip(kv, offsets[1]+80), head, false, kvState, offsets[1]},
		{"in the first header", flip(kv, 8), head, false, kvState, 0},
		{"beyond the head, before a later batch", flip(kv, offsets[2]+80), head, false, kvState, offsets[2]},
		{"cut before the head", kv[:offsets[1]-1], head, false, kvState, offsets[0]},
		{"empty", []byte{}, head, false, kvState, 0},
		{"gone", nil, head, false, kvState, 0},
		{"gone while creating", nil, head, true, kvState, 0},
		{"all gone", nil, nil, false, kvState, 0},
		{"head gone", kv, nil, false, hdState, 0},
		{"head gone while creating", kv, nil, true, hdState, 0},
		{"new vault without a head", kv[:offsets[1]], nil, false, hdState, 0},
		{"head empty", kv, []byte{}, false, hdState, 0},
		{"head not authentic", kv, flip(head, 100), false, hdState, 0},
		{"head's header", kv, flip(head, 10), false, hdState, 0},
		{"head too long", kv, append(bytes.Clone(head), 0), false, hdState, vault.HeadSize},
		{"too long", make([]byte, vault.MaxVault+1), head, false, kvState, vault.MaxVault},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := simdisk.New()
			if c.kv != nil {
				write(t, d, kvPath, c.kv)
			}
			if c.head != nil {
				write(t, d, headPath, c.head)
			}
			before := files(t, d)
			s := reboot(t, d)
			wantFault(t, s.session("alice").unseal(c.create), ipc.Damaged, c.file, c.offset)
			bob := s.session("bob")
			s.must(bob.unseal(true))
			s.must(bob.app("mail").put("name", "value"))
			after := files(t, d)
			for path, data := range before {
				if after[path] != data {
					t.Errorf("%s was changed", path)
				}
			}
			for path := range after {
				if _, ok := before[path]; !ok && !strings.Contains(path, "/bob/") {
					t.Errorf("%s was made", path)
				}
			}
		})
	}
}

func TestTornTail(t *testing.T) {
	good, offsets := stored(t)
	kv, head := read(t, good, kvPath), read(t, good, headPath)
	last := offsets[3]
	for _, c := range []struct {
		name string
		kv   []byte
		at   int64
	}{
		{"in the header", kv[:last+10], last},
		{"in the body", kv[:len(kv)-1], last},
		{"zeros", append(bytes.Clone(kv[:last]), make([]byte, 10_000)...), last},
		{"zeros after the end", append(bytes.Clone(kv), make([]byte, 100)...), int64(len(kv))},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := simdisk.New()
			write(t, d, kvPath, c.kv)
			write(t, d, headPath, head)
			s := reboot(t, d)
			a := s.again().app("mail")
			a.wantGet("one", "1")
			a.wantGet("two", "2")
			side := fmt.Sprint(kvPath, ".tail-", c.at)
			if got := read(t, d.Crash(), side); !bytes.Equal(got, c.kv[c.at:]) {
				t.Errorf("the side file has %d bytes, the tail %d", len(got), len(c.kv)-int(c.at))
			}
			if got := read(t, d.Crash(), kvPath); !bytes.Equal(got, c.kv[:c.at]) {
				t.Error("the vault is not the file up to the tail")
			}
			s.must(a.put("four", "4"))
			s = reboot(t, d.Crash())
			s.again().app("mail").wantGet("four", "4")
		})
	}
}

// TestTornTailIsKeptBeforeItIsCut fails each write of the handling of a torn
// tail: the bytes are always in one of the two files.
func TestTornTailIsKeptBeforeItIsCut(t *testing.T) {
	good, offsets := stored(t)
	kv, head := read(t, good, kvPath), read(t, good, headPath)
	torn := kv[:len(kv)-1]
	side := fmt.Sprint(kvPath, ".tail-", offsets[3])
	for _, old := range []string{"", "an older tail of that offset"} {
		for n := uint64(1); ; n++ {
			d := simdisk.New()
			write(t, d, kvPath, torn)
			write(t, d, headPath, head)
			if old != "" {
				write(t, d, side, []byte(old))
			}
			first := d.Calls()
			s := reboot(t, d)
			d.SetFault(simdisk.FailFrom(first+n, errBroken))
			failed := s.session("alice").unseal(false)
			after := d.Crash()
			whole := bytes.Equal(read(t, after, kvPath), torn)
			if kept := exists(after, side) && bytes.Equal(read(t, after, side), torn[offsets[3]:]); kept != (s.marks("keystore: tail dropped") == 1) {
				t.Fatalf("power cut before call %d: the tail is kept: %t, and the console does not say the same", n, kept)
			}
			if !whole && (!exists(after, side) || !bytes.Equal(read(t, after, side), torn[offsets[3]:])) {
				t.Fatalf("power cut before call %d: the tail is lost", n)
			}
			s = reboot(t, after)
			s.again().app("mail").wantGet("two", "2")
			if failed == nil {
				break
			}
		}
	}
}

// TestWhatWasReadIsDurable has a killed process leave bytes that were never
// synced: once they were shown, a power cut must not take them away.
func TestWhatWasReadIsDurable(t *testing.T) {
	good, _ := stored(t)
	kv, head := read(t, good, kvPath), read(t, good, headPath)
	d := simdisk.New()
	write(t, d, headPath, head)
	if err := d.Append(kvPath, 0, kv); err != nil { // No sync.
		t.Fatal(err)
	}
	s := reboot(t, d)
	a := s.again().app("calendar")
	a.wantGet("three", "3")
	s = reboot(t, d.Crash())
	s.again().app("calendar").wantGet("three", "3")
}

// TestKeymintFailureIsNoDamage has keymintd unable to answer: the vault is not
// judged, and nothing is cut off.
func TestKeymintFailureIsNoDamage(t *testing.T) {
	good, _ := stored(t)
	for _, code := range []ipc.Code{ipc.Unavailable, ipc.Sealed, ipc.Denied, ipc.TimedOut} {
		for n := range 5 {
			d := good.Clone()
			before := files(t, d)
			s := reboot(t, d)
			left := n
			s.mint.setFail(func(op uint16, _ ipc.Stamp) error {
				if op != wire.OpOpenSegment {
					return nil
				}
				if left--; left < 0 {
					return code
				}
				return nil
			})
			wantErr(t, "unseal", s.session("alice").unseal(false), code)
			if after := files(t, d); len(after) != len(before) || after[kvPath] != before[kvPath] {
				t.Error("the disk was changed")
			}
		}
	}
	s := reboot(t, good.Clone())
	s.mint.setFail(func(uint16, ipc.Stamp) error {
		return &wire.Fault{Code: ipc.Damaged, File: "state:/identity/alice/root.keys", Offset: 7}
	})
	wantFault(t, s.session("alice").unseal(false), ipc.Damaged, "state:/identity/alice/root.keys", 7)
}

// TestReadFailures fails reads of the files: an error, and nothing is made,
// not even when the disk says in the middle that there is no file.
func TestReadFailures(t *testing.T) {
	d := simdisk.New()
	s := reboot(t, d)
	c := s.alice()
	for i := range 4 {
		s.must(c.app("mail").put(fmt.Sprint(i), strings.Repeat("v", 4000)))
	}
	c.lock()
	before := files(t, d)
	for _, c := range []struct {
		path, file string
		from       int64
		err        error
		want       ipc.Code
	}{
		{kvPath, kvState, 0, errBroken, ipc.IOError},
		{kvPath, kvState, 7168, errBroken, ipc.IOError},
		{kvPath, kvState, 7168, disk.ErrNotExist, ipc.IOError},
		{headPath, hdState, 0, errBroken, ipc.IOError},
		{kvPath, kvState, 0, disk.ErrNotExist, ipc.Damaged},
	} {
		s := reboot(t, d.Clone())
		s.disk.SetFault(func(op simdisk.Op) error {
			if op.Kind == simdisk.Read && op.Path == c.path && op.Off >= c.from {
				return c.err
			}
			return nil
		})
		wantFault(t, s.session("alice").unseal(true), c.want, c.file, c.from)
		s.disk.SetFault(nil)
		if after := files(t, s.disk); len(after) != len(before) || after[kvPath] != before[kvPath] {
			t.Error("the disk was changed")
		}
	}
}

// TestDamagedRecord has one app's record fail though its segment is authentic.
func TestDamagedRecord(t *testing.T) {
	good, offsets := stored(t)
	s := reboot(t, good)
	c := s.again()
	s.mint.setFail(func(op uint16, stamp ipc.Stamp) error {
		if op == wire.OpOpenRecord && stamp.App == "calendar" {
			return ipc.Damaged
		}
		return nil
	})
	_, err := c.app("calendar").get("three")
	wantFault(t, err, ipc.Damaged, kvState, offsets[3])
	c.app("mail").wantGet("two", "2")
	s.mint.setFail(nil)
	c.app("calendar").wantGet("three", "3")
}

// TestRecordThatDoesNotFit has keymintd open a record as something else than
// the vault's own layer says.
func TestRecordThatDoesNotFit(t *testing.T) {
	good, offsets := stored(t)
	for name, twist := range map[string]func(*wire.OpenRecordReply){
		"longer name":  func(p *wire.OpenRecordReply) { p.Name += "x" },
		"longer value": func(p *wire.OpenRecordReply) { p.Value = append(p.Value, 'x') },
	} {
		s := reboot(t, good.Clone())
		c := s.again()
		s.mint.setTwist(twist)
		_, err := c.app("calendar").get("three")
		t.Log(name)
		wantFault(t, err, ipc.Damaged, kvState, offsets[3])
	}
	s := reboot(t, good.Clone())
	a := s.again().app("mail")
	s.mint.setTwist(func(p *wire.OpenRecordReply) { p.Name = "one" })
	_, err := a.get("one")
	wantFault(t, err, ipc.Damaged, kvState, offsets[2])
	s.mint.setTwist(nil)
	a.wantGet("two", "2")
	s.mint.setTwist(func(p *wire.OpenRecordReply) { p.Name = "one" })
	_, err = a.get("two")
	wantFault(t, err, ipc.Damaged, kvState, offsets[2])
}

func TestOtherVersion(t *testing.T) {
	good, _ := stored(t)
	d := good.Clone()
	kv := read(t, d, kvPath)
	h := vaultHeaderOfVersion1(kv[:vault.HeaderSize])
	write(t, d, kvPath, append(h, kv[vault.HeaderSize:]...))
	before := files(t, d)
	s := reboot(t, d)
	wantErr(t, "unseal", s.session("alice").unseal(false), ipc.Unsupported)
	if after := files(t, d); after[kvPath] != before[kvPath] || len(after) != len(before) {
		t.Error("the disk was changed")
	}
}
