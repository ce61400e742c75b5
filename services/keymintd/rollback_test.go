package keymintd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

const aliceHead = "identity/alice/keys.head"

// lag says how far keys.head is behind each of alice's key files on the disk.
func (w *world) lag(d disk.Disk) map[string]uint64 {
	w.t.Helper()
	all := onDisk(w.t, d)
	of := owner{alice.name, alice.inc}
	k, err := decodeRootKeys([]byte(all["identity/alice/root.keys"]), of)
	if err != nil {
		w.t.Fatal(err)
	}
	p := guard(1, "password")
	root, err := k.open(of, protector{p.Id, p.Auth}, w.svc.salt)
	if err != nil {
		w.t.Fatal(err)
	}
	keys := deriveSubkeys(root)
	defer (&account{rootKeys: keys}).wipe()
	defer root.Wipe()
	h, err := openKeyHead(keys.head, of, []byte(all[aliceHead]))
	if err != nil {
		w.t.Fatal(err)
	}
	lag := map[string]uint64{"root.keys": k.generation - h.generation}
	for path, file := range all {
		name, ok := strings.CutPrefix(path, "identity/alice/apps/")
		if !ok {
			continue
		}
		id, err := hex.DecodeString(strings.TrimSuffix(name, ".ring"))
		if err != nil {
			w.t.Fatal(err)
		}
		r, err := openRing(keys.rings, keys.names, of, [KeyIDSize]byte(id), []byte(file))
		if err != nil {
			w.t.Fatal(err)
		}
		row, known := h.row([KeyIDSize]byte(id))
		if !known {
			w.t.Errorf("the ring of %s has no row", r.app)
		}
		if lag[r.app] = r.generation - row.generation; lag[r.app] == 0 && int(row.names) != len(r.names()) {
			w.t.Errorf("%d signing keys in the row of %s, which has %d", row.names, r.app, len(r.names()))
		}
		r.wipe()
	}
	return lag
}

// TestNeverTwoBehind fails a third of all writes: whatever happens, keys.head is
// at most one behind, and nothing is ever taken for an older copy.
func TestNeverTwoBehind(t *testing.T) {
	behind := 0
	eachSeed(t, 12, func(t *testing.T, seed uint64) {
		d := simdisk.New()
		w := boot(t, seed, d)
		var s *seat
		w.do(func(ctx context.Context) { s = w.unsealed(ctx, alice) })
		rnd := rand.New(rand.NewPCG(seed, 0))
		faulty := func(op simdisk.Op) error {
			if op.Kind == simdisk.Replace && rnd.IntN(3) == 0 {
				return errDisk
			}
			return nil
		}
		for i := range 60 {
			w.do(func(ctx context.Context) {
				a := s.app(fmt.Sprint("app", rnd.IntN(3)))
				d.SetFault(faulty)
				var err error
				switch rnd.IntN(5) {
				case 0, 1:
					_, err = a.generate(ctx, fmt.Sprint("k", i))
				case 2:
					err = a.delete(ctx, fmt.Sprint("k", i-1-rnd.IntN(4)))
				case 3:
					err = w.add(ctx, alice, guard(1, "password"), guard(uint64(i+2), "pin"))
				case 4:
					err = w.keep(ctx, alice, guard(1, "password"), 1)
				}
				d.SetFault(nil)
				if err != nil && !errors.Is(err, ipc.IOError) && !errors.Is(err, ipc.NotFound) && !errors.Is(err, ipc.LimitReached) {
					t.Errorf("operation %d: %v", i, err)
				}
			})
			for file, n := range w.lag(d) {
				if n > 1 {
					t.Fatalf("keys.head is %d behind %s after operation %d", n, file, i)
				}
				behind += int(n)
			}
		}
		w = boot(t, seed, d.Crash())
		w.do(func(ctx context.Context) {
			s := w.unsealed(ctx, alice)
			for i := range 3 {
				_, err := s.app(fmt.Sprint("app", i)).list(ctx, "")
				expect(t, "list", err, nil)
			}
		})
	})
	if behind == 0 {
		t.Error("the head was never behind")
	}
}

// TestHeadBehindAndNoRoom: a head that is one behind, and cannot be brought up to
// date, keeps nobody from what was written, and everybody from a change.
func TestHeadBehindAndNoRoom(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	var before string
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		_, err := s.app("demo").generate(ctx, "one")
		expect(t, "generate", err, nil)
		before = onDisk(t, d)[aliceHead]
		_, err = s.app("demo").generate(ctx, "two")
		expect(t, "generate", err, nil)
		expect(t, "add", w.add(ctx, alice, guard(1, "password"), guard(2, "pin")), nil)
	})
	put(t, d, aliceHead, before)
	full := func(op simdisk.Op) error {
		if op.Kind == simdisk.Replace {
			return disk.ErrNoSpace
		}
		return nil
	}
	w = boot(t, 2, d)
	d.SetFault(full)
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		_, err := a.sign(ctx, "two", nil)
		expect(t, "sign", err, nil)
		was := onDisk(t, d)
		_, err = a.generate(ctx, "three")
		expect(t, "generate on a full disk", err, ipc.NoSpace)
		expect(t, "add on a full disk", w.add(ctx, alice, guard(1, "password"), guard(3, "word")), ipc.NoSpace)
		for path, content := range onDisk(t, d) {
			if was[path] != content {
				t.Errorf("%s was changed", path)
			}
		}
		d.SetFault(nil)
		_, err = a.generate(ctx, "three")
		expect(t, "generate", err, nil)
		expect(t, "add", w.add(ctx, alice, guard(1, "password"), guard(3, "word")), nil)
	})
	for file, n := range w.lag(d) {
		if n != 0 {
			t.Errorf("keys.head is %d behind %s", n, file)
		}
	}
}

// TestAnotherCopyOfThatGeneration: of two copies of a disk, each of which added a
// protector, one's root.keys is not the other's.
func TestAnotherCopyOfThatGeneration(t *testing.T) {
	one := simdisk.New()
	w := boot(t, 1, one)
	w.do(func(ctx context.Context) { w.unsealed(ctx, alice) })
	two := one.Clone()
	for d, word := range map[*simdisk.Disk]string{one: "a", two: "b"} {
		w := boot(t, 1, d)
		w.do(func(ctx context.Context) {
			expect(t, "add", w.add(ctx, alice, guard(1, "password"), guard(2, word)), nil)
		})
	}
	put(t, one, "identity/alice/root.keys", onDisk(t, two)["identity/alice/root.keys"])
	w = boot(t, 2, one)
	w.do(func(ctx context.Context) {
		err := w.start(alice).unsealKeys(ctx, guard(1, "password"))
		expectFault(t, "unseal", err, ipc.RolledBack, "state:/identity/alice/root.keys", 0)
		err = w.add(ctx, alice, guard(1, "password"), guard(3, "word"))
		expectFault(t, "add", err, ipc.RolledBack, "state:/identity/alice/root.keys", 0)
	})
}

// TestRowsThatACrashLeft: an app whose ring was announced and not made takes no
// other one's place; one whose ring was made does.
func TestRowsThatACrashLeft(t *testing.T) {
	for writes, room := range map[int]bool{1: true, 2: false} {
		d := simdisk.New()
		w := bootWith(t, rig.NewSeeded(t, 1, nil), d, &testChance{}, Limits{Apps: 2})
		w.do(func(ctx context.Context) {
			s := w.unsealed(ctx, alice)
			left := writes
			d.SetFault(func(op simdisk.Op) error {
				if op.Kind == simdisk.Replace {
					if left--; left < 0 {
						return errDisk
					}
				}
				return nil
			})
			_, err := s.app("gone").key(ctx)
			expect(t, "the first ring", err, ipc.IOError)
			d.SetFault(nil)
			_, err = s.app("one").key(ctx)
			expect(t, "the second", err, nil)
			_, err = s.app("two").key(ctx)
			expect(t, fmt.Sprint("the third, after writes: ", writes), err, map[bool]error{true: nil, false: ipc.LimitReached}[room])
			_, err = s.app("gone").key(ctx)
			expect(t, fmt.Sprint("the first again, after writes: ", writes), err, map[bool]error{true: ipc.LimitReached, false: nil}[room])
		})
	}
}
