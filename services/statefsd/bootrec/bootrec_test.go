package bootrec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"testing"

	"nexus.internal/os/services/statefsd/bootrec"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGolden pins the bytes.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		mode  bootrec.Mode
		count uint64
		want  string
	}{
		{bootrec.System, 1, "4e58425401000100010000000000000093cf96ef"},
		{bootrec.Insecure, 0x0102030405060708, "4e5842540100020008070605040302013cf86d54"},
	} {
		p, err := bootrec.Encode(c.mode, c.count)
		must(t, err)
		if got := hex.EncodeToString(p); got != c.want || len(p) != bootrec.Size {
			t.Errorf("%v %d: %s, want %s", c.mode, c.count, got, c.want)
		}
		mode, count, err := bootrec.Decode(p)
		if mode != c.mode || count != c.count || err != nil {
			t.Errorf("decoded %v, %d, %v", mode, count, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	if _, err := bootrec.Encode(bootrec.System, 0); !errors.Is(err, bootrec.ErrCount) {
		t.Errorf("count 0: %v", err)
	}
	for _, m := range []bootrec.Mode{0, 3, 255} {
		if _, err := bootrec.Encode(m, 1); !errors.Is(err, bootrec.ErrMode) {
			t.Errorf("mode %d: %v", m, err)
		}
	}
}

func wantDamage(t *testing.T, err error, offset int64) {
	t.Helper()
	var d *bootrec.Damage
	if !errors.Is(err, bootrec.ErrDamaged) || !errors.As(err, &d) || d.File != bootrec.File || d.Offset != offset {
		t.Fatalf("error %v, want damage of %q at %d", err, bootrec.File, offset)
	}
}

// TestDecodeNamesTheOffset has one fault each, with a right checksum where the
// fault lies elsewhere.
func TestDecodeNamesTheOffset(t *testing.T) {
	good, err := bootrec.Encode(bootrec.System, 7)
	must(t, err)
	for n := range good {
		_, _, err := bootrec.Decode(good[:n])
		wantDamage(t, err, int64(n))
	}
	_, _, err = bootrec.Decode(append(bytes.Clone(good), 0))
	wantDamage(t, err, bootrec.Size)
	for at, offset := range map[int]int64{0: 0, 3: 0, 4: 4, 5: 4, 6: 6, 7: 7} {
		p := bytes.Clone(good)
		p[at] ^= 0x80
		binary.LittleEndian.PutUint32(p[16:], crc32.Checksum(p[:16], crc32.MakeTable(crc32.Castagnoli)))
		_, _, err := bootrec.Decode(p)
		wantDamage(t, err, offset)
	}
	p := bytes.Clone(good)
	clear(p[8:16])
	binary.LittleEndian.PutUint32(p[16:], crc32.Checksum(p[:16], crc32.MakeTable(crc32.Castagnoli)))
	_, _, err = bootrec.Decode(p)
	wantDamage(t, err, 8)
}

func TestDecodeRefusesEveryFlippedBit(t *testing.T) {
	good, err := bootrec.Encode(bootrec.Insecure, math.MaxUint64)
	must(t, err)
	for bit := range len(good) * 8 {
		p := bytes.Clone(good)
		p[bit/8] ^= 1 << (bit % 8)
		if _, _, err := bootrec.Decode(p); !errors.Is(err, bootrec.ErrDamaged) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
}

func TestBoots(t *testing.T) {
	d := simdisk.New()
	count, first, err := bootrec.Load(d, bootrec.System)
	if count != 0 || !first || err != nil {
		t.Fatalf("empty disk: %d, %v, %v", count, first, err)
	}
	must(t, bootrec.Commit(d, bootrec.System, 1))
	for want := range uint64(3) {
		d = d.Crash() // committed is durable
		count, first, err := bootrec.Load(d, bootrec.System)
		if count != want+1 || first || err != nil {
			t.Fatalf("boot %d: %d, %v, %v", want+1, count, first, err)
		}
		must(t, bootrec.Commit(d, bootrec.System, count+1))
	}
	before := d.Hash()
	if _, _, err := bootrec.Load(d, bootrec.Insecure); !errors.Is(err, bootrec.ErrMode) {
		t.Fatalf("the other mode: %v", err)
	}
	if err := bootrec.Commit(d, bootrec.System, 0); !errors.Is(err, bootrec.ErrCount) {
		t.Fatalf("a count that went past its end: %v", err)
	}
	if d.Hash() != before {
		t.Fatal("a refused call changed the disk")
	}
}

func TestMissingBesideState(t *testing.T) {
	d := simdisk.New()
	must(t, d.Replace("state-of-somebody-else", nil))
	if _, first, err := bootrec.Load(d, bootrec.System); !first || err != nil {
		t.Fatalf("nothing below the state directory: %v, %v", first, err)
	}
	must(t, d.Replace("state/identity/users", nil))
	_, first, err := bootrec.Load(d, bootrec.System)
	wantDamage(t, err, 0)
	if first {
		t.Fatal("a disk with state is called new")
	}
}

func TestDamagedIsNeverFirst(t *testing.T) {
	for _, content := range []string{"", "NXBT", "12345678901234567890", "a file that is longer than a record"} {
		d := simdisk.New()
		must(t, d.Replace(bootrec.File, []byte(content)))
		before := d.Hash()
		_, first, err := bootrec.Load(d, bootrec.System)
		if first || !errors.Is(err, bootrec.ErrDamaged) {
			t.Fatalf("%q: %v, %v", content, first, err)
		}
		if d.Hash() != before {
			t.Fatal("loading changed the disk")
		}
	}
}

// TestUnreadableIsNeverFirst fails every disk access of Load in turn.
func TestUnreadableIsNeverFirst(t *testing.T) {
	injected := errors.New("injected")
	made := simdisk.New()
	must(t, bootrec.Commit(made, bootrec.System, 1))
	for name, d := range map[string]*simdisk.Disk{"new disk": simdisk.New(), "disk with a record": made} {
		whole := d.Clone()
		_, _, err := bootrec.Load(whole, bootrec.System)
		must(t, err)
		if whole.Calls() == 0 {
			t.Fatalf("%s: loaded without looking", name)
		}
		for n := range whole.Calls() {
			c := d.Clone()
			c.SetFault(simdisk.FailAt(n+1, injected))
			_, first, err := bootrec.Load(c, bootrec.System)
			if first || !errors.Is(err, injected) {
				t.Fatalf("%s, access %d fails: %v, %v", name, n+1, first, err)
			}
		}
	}
}

func TestCommitFails(t *testing.T) {
	d := simdisk.New()
	must(t, bootrec.Commit(d, bootrec.System, 1))
	d.SetFault(simdisk.FailFrom(1, disk.ErrNoSpace))
	if err := bootrec.Commit(d, bootrec.System, 2); !errors.Is(err, disk.ErrNoSpace) {
		t.Fatalf("commit: %v", err)
	}
	count, _, err := bootrec.Load(d.Crash(), bootrec.System)
	if count != 1 || err != nil {
		t.Fatalf("afterwards: %d, %v", count, err)
	}
}

func TestModeNames(t *testing.T) {
	for _, m := range []bootrec.Mode{bootrec.System, bootrec.Insecure} {
		got, err := bootrec.ParseMode(m.String())
		if got != m || err != nil {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	for _, name := range []string{"", "System", "unknown mode"} {
		if _, err := bootrec.ParseMode(name); !errors.Is(err, bootrec.ErrMode) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range []bootrec.Mode{bootrec.System, bootrec.Insecure} {
		p, err := bootrec.Encode(m, 5)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		mode, count, err := bootrec.Decode(p)
		if err != nil {
			var d *bootrec.Damage
			if !errors.As(err, &d) || d.Offset < 0 || d.Offset > int64(max(len(p), bootrec.Size)) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := bootrec.Encode(mode, count)
		if err != nil || !bytes.Equal(again, p) {
			t.Fatalf("%x decodes and encodes to %x, %v", p, again, err)
		}
	})
}
