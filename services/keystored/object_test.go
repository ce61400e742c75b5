package keystored_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// noneLeft checks that no memory object is left, whoever made it, and that the
// kernel's books are right.
func (s *system) noneLeft() {
	s.t.Helper()
	if st := s.rig.Kernel.Stats(); st.Memories != 0 || st.MemoryBytes != 0 {
		s.t.Errorf("%d memory objects of %d bytes are left", st.Memories, st.MemoryBytes)
	}
	if err := s.rig.Kernel.Check(); errors.Is(err, ipc.ErrInconsistent) {
		s.t.Error(err)
	}
}

// long is a value of the longest kind that says which one it is.
func long(mark string) string {
	return strings.Repeat(mark, vault.ValueBytes/len(mark)+1)[:vault.ValueBytes]
}

// TestLongValues puts, replaces and deletes values over a frame, beside short
// ones, through locks, compactions and a restart.
func TestLongValues(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a, other := c.app("mail"), c.app("calendar")
	s.must(a.put("short", "value"))
	for i := range 12 {
		s.must(a.put("long", long(fmt.Sprint(i, " "))))
		s.must(other.put("long", long(fmt.Sprint("other's ", i))))
		a.wantGet("long", long(fmt.Sprint(i, " ")))
	}
	s.noneLeft()
	if n := len(read(t, s.disk, kvPath)); n > 8*vault.MaxLargeSegment {
		t.Errorf("24 long values, of which two live, take %d bytes", n)
	}
	c.lock()
	check := func(s *system) {
		t.Helper()
		c := s.again()
		c.app("mail").wantGet("long", long("11 "))
		c.app("mail").wantGet("short", "value")
		c.app("calendar").wantGet("long", long("other's 11"))
		if names, err := c.app("mail").list(); err != nil || !slices.Equal(names, []string{"long", "short"}) {
			t.Errorf("list: %v, %v", names, err)
		}
		s.noneLeft()
	}
	check(s)
	check(boot(t, rig.New(t), s.disk.Crash(), vault.Limits{}))
	a = s.again().app("mail")
	s.must(a.put("long", "short now"))
	a.wantGet("long", "short now")
	s.must(a.put("long", long("again")))
	s.must(a.delete("long"))
	_, err := a.get("long")
	wantErr(t, "get", err, ipc.NotFound)
}

// TestLongPutIsWhole interrupts the replacement of one long value by another at
// every call of the disk: afterwards there is the one or the other.
func TestLongPutIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, how := range []string{"power cut", "failure"} {
		eachCall(t, func(t *testing.T, n uint64) bool {
			s := newSystem(t)
			a := s.alice().app("mail")
			s.must(a.put("long", long("old")))
			first := s.disk.Calls()
			if how == "failure" {
				s.disk.SetFault(simdisk.FailAt(first+n, errBroken))
			} else {
				s.disk.SetFault(simdisk.FailFrom(first+n, errBroken))
			}
			err := a.put("long", long("new"))
			over := s.disk.Calls() < first+n
			s.noneLeft()
			s.disk.SetFault(nil)
			again := boot(t, rig.New(t), s.disk.Crash(), vault.Limits{})
			got, getErr := again.again().app("mail").get("long")
			again.must(getErr)
			switch {
			case got != long("old") && got != long("new"):
				t.Errorf("%s: %d bytes that are neither the old nor the new value", how, len(got))
			case err == nil && got != long("new"):
				t.Errorf("%s: an acknowledged value is gone", how)
			}
			seen[got[:3]] = true
			return over
		})
	}
	if !seen["old"] || !seen["new"] {
		t.Errorf("only one outcome was ever seen: %v", seen)
	}
}

// TestTornLongPut cuts the file anywhere in the segment of a long value that was
// written last and not acknowledged: it is a torn tail, and the old value is there.
func TestTornLongPut(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	s.must(a.put("long", long("old")))
	s.must(a.put("another", long("x"))) // So that nothing is compacted.
	before := len(read(t, s.disk, kvPath))
	s.must(a.put("long", long("new")))
	kv := read(t, s.disk, kvPath)
	for _, cut := range []int{before + 1, before + 71, before + 72, before + 7000, len(kv) - 1} {
		d := s.disk.Reopen()
		write(t, d, kvPath, kv[:cut])
		again := boot(t, rig.New(t), d, vault.Limits{})
		again.again().app("mail").wantGet("long", long("old"))
		if side := fmt.Sprint(kvPath, ".tail-", before); len(read(t, d, side)) != cut-before {
			t.Errorf("cut at %d: the side file is not the tail", cut)
		}
	}
}

// TestLongPutsSideBySide has many apps put long values at once. Those that come
// in while one batch is written share the next, as many as it may hold.
func TestLongPutsSideBySide(t *testing.T) {
	s := newSystem(t)
	s.delay.Store(int64(20 * time.Millisecond))
	c := s.alice()
	var done []<-chan struct{}
	var apps []*app
	for i := range 14 {
		a := c.app(fmt.Sprint("app", i))
		apps = append(apps, a)
		done = append(done, a.background(func(ctx context.Context) {
			if err := a.putIn(ctx, "long", long(fmt.Sprint("of ", i))); err != nil {
				t.Error(err)
			}
		}))
	}
	for _, d := range done {
		s.await(d)
	}
	s.noneLeft()
	c.lock()
	c = s.again()
	for i := range apps {
		c.app(fmt.Sprint("app", i)).wantGet("long", long(fmt.Sprint("of ", i)))
	}
}

// TestLongQuota: long values count like others, and one over the quota leaves
// nothing behind.
func TestLongQuota(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	for i := range 3 {
		s.must(a.put(fmt.Sprint(i), long("x")))
	}
	wantErr(t, "a fourth one", a.put("3", long("x")), ipc.Quota)
	rest := vault.AppBytes - 3*(vault.ValueBytes+1) - 1
	wantErr(t, "a byte over", a.put("3", long("x")[:rest]+"x"), ipc.Quota)
	s.must(a.put("3", long("x")[:rest]))
	s.must(a.put("0", long("y")))
	a.wantGet("0", long("y"))
	s.noneLeft()
}

// lentGet asks for a value with an object of that many bytes, and says that it
// has room for said bytes.
func (a *app) lentGet(ctx context.Context, name string, bytes int, said uint32, readOnly bool) (p *wire.GetReply, seen string, err error) {
	p = new(wire.GetReply)
	lend := func() (*wire.Loan, error) { return wire.Lend(a.task, nil, bytes) }
	if readOnly {
		lend = func() (*wire.Loan, error) { return wire.LendReadOnly(a.task, make([]byte, bytes)) }
	}
	loan, err := lend()
	if err != nil {
		return p, "", err
	}
	defer loan.End()
	m := ipc.Msg{Slot: a.slot, Op: wire.OpGet, Token: a.token, Move: loan.Object}
	err = wire.Call(ctx, a.task, m, &wire.GetRequest{Name: name, Room: said}, p)
	b, readErr := loan.Read(uint32(bytes))
	return p, strings.TrimRight(string(b), "\x00"), errors.Join(err, readErr)
}

// TestGetIntoAnObject tries every kind of object. A value is never cut off.
func TestGetIntoAnObject(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	s.must(a.put("long", strings.Repeat("v", 5000)))
	s.must(a.put("short", "value"))
	a.do(func(ctx context.Context) {
		for _, x := range []struct {
			name     string
			bytes    int
			said     uint32
			readOnly bool
			wanted   error
			value    string
			size     uint32
			written  bool
		}{
			{"long", 5000, 5000, false, nil, "", 5000, true},
			{"long", 9000, 9000, false, nil, "", 5000, true},
			{"long", 4999, 4999, false, nil, "", 5000, false},
			{"long", 5000, 0, false, nil, "", 5000, false},
			{"long", 4999, 5000, false, ipc.InvalidArgument, "", 0, false},
			{"long", 5000, 5000, true, ipc.PermissionDenied, "", 0, false},
			{"short", 5000, 5000, false, nil, "value", 0, false},
			{"none", 5000, 5000, false, ipc.NotFound, "", 0, false},
		} {
			p, seen, err := a.lentGet(ctx, x.name, x.bytes, x.said, x.readOnly)
			if !errors.Is(err, x.wanted) || string(p.Value) != x.value || p.Size != x.size || (len(seen) > 0) != x.written {
				t.Errorf("%+v: %v, %q, size %d, %d bytes written", x, err, p.Value, p.Size, len(seen))
			}
		}
		var p wire.GetReply
		err := a.call(ctx, wire.OpGet, &wire.GetRequest{Name: "long", Room: 5000}, &p)
		wantErr(t, "room without an object", err, ipc.PermissionDenied)
		put := &wire.PutRequest{Name: "long", Size: 5000}
		wantErr(t, "a size without an object", a.call(ctx, wire.OpPut, put, &wire.PutReply{}), ipc.Malformed)
		for _, op := range []uint16{wire.OpDelete, wire.OpList} {
			loan, err := wire.Lend(a.task, nil, 9)
			s.must(err)
			m := ipc.Msg{Slot: a.slot, Op: op, Token: a.token, Move: loan.Object}
			_, _ = a.task.Call(ctx, m, nil)
			if n := s.rig.Kernel.Stats().Memories; n != 1 {
				t.Errorf("%d objects", n)
			}
			loan.End()
		}
	})
	a.wantGet("long", strings.Repeat("v", 5000))
	s.noneLeft()
	if n := s.keystored.Slots(); n != 2 {
		t.Errorf("keystored holds %d capabilities, and two are its own", n)
	}
}

// TestNothingIsLeft ends calls with memory objects in every other way.
func TestNothingIsLeft(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.must(a.put("long", long("old")))
	for _, op := range []uint16{wire.OpSealRecord, wire.OpSealSegment, wire.OpOpenRecord} {
		s.mint.setFail(func(o uint16, _ ipc.Stamp) error {
			if o == op {
				return ipc.NoSpace
			}
			return nil
		})
		var err error
		if op == wire.OpOpenRecord {
			_, err = a.get("long")
		} else {
			err = a.put("long", long("new"))
		}
		wantErr(t, fmt.Sprint("operation ", op, " fails"), err, ipc.NoSpace)
		s.noneLeft()
	}
	s.mint.setFail(nil)
	a.wantGet("long", long("old"))
	forged := *a.token
	forged[70] ^= 1
	genuine := a.token
	a.token = &forged
	wantErr(t, "a forged token", a.put("long", long("new")), ipc.Denied)
	a.token = genuine
	s.noneLeft()
	s.panics.Store(true)
	wantErr(t, "a panic", a.put("long", long("new")), ipc.Unavailable)
	a.wantGet("long", long("old"))
	s.noneLeft()
	c.lock()
	wantErr(t, "after the lock", a.put("long", long("new")), ipc.Denied)
	_, err := a.get("long")
	wantErr(t, "after the lock", err, ipc.Denied)
	s.noneLeft()
}

// TestLongInMidCall locks the session, or has keystored or keymintd panic, at any
// moment of long puts and gets by seed: no object is left, and nothing arrives
// in one after the lock.
func TestLongInMidCall(t *testing.T) {
	eachSeed(t, 40, func(t *testing.T, r *rig.Rig, rng *rand.Rand) {
		s := boot(t, r, simdisk.New(), vault.Limits{})
		c := s.alice()
		var done []<-chan struct{}
		locked := false
		for i := range 3 {
			a := c.app(fmt.Sprint("app", i))
			done = append(done, a.background(func(ctx context.Context) {
				for j := range 4 {
					_ = a.putIn(ctx, "long", long(fmt.Sprint(i, "-", j, " ")))
					began := locked
					value, err := a.getIn(ctx, "long")
					if err == nil && (began || !strings.HasPrefix(value, fmt.Sprint(i, "-"))) {
						t.Errorf("app %d read %.8q; locked before: %v", i, value, began)
					}
				}
			}))
		}
		s.runSteps(rng.IntN(1500))
		switch rng.IntN(3) {
		case 0:
			s.panics.Store(true)
		default:
			c.lock()
			locked = true
		}
		for _, d := range done {
			s.await(d)
		}
		s.panics.Store(false)
		// What a service that panicked had asked of keymintd ends when keymintd is
		// through with it, which may be after the app was told.
		s.runSteps(3000)
		s.noneLeft()
		if n := s.keystored.Slots(); n != 2 {
			t.Errorf("keystored holds %d capabilities, and two are its own", n)
		}
	})
}

// TestObjectsOfKeystoredAreBounded watches how many keystored makes at a time.
func TestObjectsOfKeystoredAreBounded(t *testing.T) {
	most := 0
	eachSeed(t, 3, func(t *testing.T, r *rig.Rig, _ *rand.Rand) {
		s := boot(t, r, simdisk.New(), vault.Limits{})
		s.mint.setFail(func(uint16, ipc.Stamp) error {
			most = max(most, s.rig.Kernel.Stats().Memories)
			return nil
		})
		c := s.alice()
		var done []<-chan struct{}
		const apps = 9
		for i := range apps {
			a := c.app(fmt.Sprint("app", i))
			done = append(done, a.background(func(ctx context.Context) { s.must(a.putIn(ctx, "long", long("x"))) }))
		}
		for _, d := range done {
			s.await(d)
		}
		if most > apps+keystored.MaxObjects || most < apps {
			t.Errorf("%d objects at once, %d of them the apps' own", most, apps)
		}
		s.noneLeft()
	})
}
