package keystored_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

func TestLockAndUnseal(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	old := c.app("mail")
	s.must(old.put("name", "value"))
	c.lock()
	_, err := old.get("name")
	wantErr(t, "get with the old token", err, ipc.Denied)
	_, err = c.app("mail").get("name")
	wantErr(t, "get while sealed", err, ipc.Sealed)
	s.must(c.unseal(false))
	c.app("mail").wantGet("name", "value")
	_, err = old.get("name")
	wantErr(t, "get with the old token", err, ipc.Denied)
}

// TestHeadIsWrittenAtTheLastLock and not before: one sync per put.
func TestHeadIsWrittenAtTheLastLock(t *testing.T) {
	s := newSystem(t)
	one := s.alice()
	two := s.session("alice")
	s.must(two.unseal(false))
	s.must(one.app("mail").put("name", "value"))
	before := read(t, s.disk, headPath)
	one.lock()
	if !bytes.Equal(before, read(t, s.disk, headPath)) {
		t.Error("a head was written while a session still has the vault")
	}
	two.app("mail").wantGet("name", "value")
	two.lock()
	head := read(t, s.disk, headPath)
	if bytes.Equal(before, head) {
		t.Error("no head was written at the last lock")
	}
	calls := s.disk.Stats()
	three := s.again()
	three.lock()
	if after := s.disk.Stats(); after.Writes != calls.Writes || !bytes.Equal(head, read(t, s.disk, headPath)) {
		t.Error("opening and closing an unchanged vault wrote something")
	}
}

func TestHeadIsNeverMoreThan64Behind(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	first := read(t, s.disk, headPath)
	for i := range vault.HeadEvery {
		s.must(a.put("name", fmt.Sprint(i)))
	}
	if !bytes.Equal(first, read(t, s.disk, headPath)) {
		t.Errorf("the head was written before %d records", vault.HeadEvery)
	}
	s.must(a.put("name", "one more"))
	second := read(t, s.disk, headPath)
	if bytes.Equal(first, second) {
		t.Errorf("the head is %d records behind", vault.HeadEvery+1)
	}
	// After a kill it is as far behind as it was.
	for i := range 40 {
		s.must(a.put("name", fmt.Sprint(i)))
	}
	s = boot(t, rig.New(t), s.disk.Reopen(), vault.Limits{})
	a = s.again().app("mail")
	for i := range vault.HeadEvery - 41 {
		s.must(a.put("name", fmt.Sprint(i)))
	}
	if !bytes.Equal(second, read(t, s.disk, headPath)) {
		t.Error("the head was written again too early")
	}
	s.must(a.put("name", "one more"))
	if bytes.Equal(second, read(t, s.disk, headPath)) {
		t.Error("after a kill the head is too far behind")
	}
}

// TestHeadAfterAKill is written at the lock though nothing was put since.
func TestHeadAfterAKill(t *testing.T) {
	s := newSystem(t)
	s.must(s.alice().app("mail").put("name", "value"))
	d := s.disk.Reopen()
	before := read(t, d, headPath)
	boot(t, rig.New(t), d, vault.Limits{}).again().lock()
	if bytes.Equal(before, read(t, d, headPath)) {
		t.Error("the head was not written")
	}
}

// TestHeadThatCannotBeWritten stops puts before the window would grow.
func TestHeadThatCannotBeWritten(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	s.disk.SetFault(func(op simdisk.Op) error {
		if op.Kind == simdisk.Replace && op.Path == headPath {
			return errBroken
		}
		return nil
	})
	for i := range vault.HeadEvery {
		s.must(a.put("name", fmt.Sprint(i)))
	}
	wantFault(t, a.put("name", "one more"), ipc.IOError, hdState, 0)
	a.wantGet("name", "63")
	s.disk.SetFault(nil)
	s.must(a.put("name", "one more"))
}

func TestPanicAndReopen(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.must(a.put("name", "value"))
	s.panics.Store(true)
	_, err := a.get("name")
	wantErr(t, "get that panics", err, ipc.Unavailable)
	a.wantGet("name", "value")
	s.must(a.put("name", "again"))
	a.wantGet("name", "again")
	if s.keystored.Generation() != 2 || s.marks("keystore: ready") != 2 {
		t.Errorf("generation %d", s.keystored.Generation())
	}
	c.lock()
	s.again().app("mail").wantGet("name", "again")
}

// TestReopenNeverCreates has the files disappear while keystored restarts.
func TestReopenNeverCreates(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	s.must(a.put("name", "value"))
	s.panics.Store(true)
	_, err := a.get("name")
	wantErr(t, "get that panics", err, ipc.Unavailable)
	s.must(errors.Join(s.disk.Remove(kvPath), s.disk.Remove(headPath)))
	_, err = a.get("name")
	wantFault(t, err, ipc.Damaged, kvState, 0)
	if exists(s.disk, kvPath) || exists(s.disk, headPath) {
		t.Error("a vault was made")
	}
}

// TestConcurrentOpens has many requests need one vault at once: it is read once.
func TestConcurrentOpens(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	s.must(a.put("name", "value"))
	s.panics.Store(true)
	_, _ = a.get("name")
	opened, reads := s.mint.count(wire.OpOpenSegment), s.disk.Stats().Reads
	for i, err := range a.together(16, func(ctx context.Context, _ int) error {
		_, err := a.getIn(ctx, "name")
		return err
	}) {
		if err != nil {
			t.Errorf("get %d: %v", i, err)
		}
	}
	if n := s.mint.count(wire.OpOpenSegment) - opened; n != 3 {
		t.Errorf("%d segments and heads were opened, want 3", n)
	}
	if n := s.disk.Stats().Reads - reads; n != 2 {
		t.Errorf("%d reads, want 2", n)
	}
}

func TestSessionsOfOneUserShare(t *testing.T) {
	s := newSystem(t)
	one := s.alice()
	two := s.session("alice")
	s.must(two.unseal(false))
	s.must(one.app("mail").put("name", "value"))
	b := two.app("mail")
	b.wantGet("name", "value")
	s.must(b.delete("name"))
	_, err := one.app("mail").get("name")
	wantErr(t, "deleted by the other", err, ipc.NotFound)
}

// TestAnotherIncarnation is a user of the same name: the old vault is not hers.
func TestAnotherIncarnation(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	s.must(c.app("mail").put("name", "value"))
	c.lock()
	before := read(t, s.disk, kvPath)
	s.incarnation = 2
	wantFault(t, s.session("alice").unseal(true), ipc.Damaged, hdState, 0)
	wantFault(t, s.session("alice").unseal(false), ipc.Damaged, hdState, 0)
	if !bytes.Equal(before, read(t, s.disk, kvPath)) {
		t.Error("the file was changed")
	}
}

func TestForgetVault(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.must(a.put("name", "value"))
	bob := s.session("alice-b")
	s.must(bob.unseal(true))
	s.must(s.disk.Append(kvPath+".tail-368", 0, []byte("tail")))
	s.must(s.disk.Append(kvPath+".new", 0, []byte("leftover")))
	for _, bad := range []string{"", "../alice", "Alice", "alice/", "*"} {
		wantErr(t, bad, s.forget(bad), ipc.Malformed)
	}
	s.must(s.forget("alice"))
	s.must(s.forget("alice"))
	if paths, err := s.disk.List("state/identity/alice/"); err != nil || len(paths) != 0 {
		t.Errorf("left: %v, %v", paths, err)
	}
	if !exists(s.disk, "state/identity/alice-b/vault.kv") {
		t.Error("another user's vault is gone")
	}
	_, err := a.get("name")
	wantFault(t, err, ipc.Damaged, kvState, 0)
	s.incarnation = 2
	_, err = s.alice().app("mail").get("name")
	wantErr(t, "the new user", err, ipc.NotFound)
}

func TestUnknownFacetAndOp(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	a.do(func(ctx context.Context) {
		for _, body := range [][]byte{nil, {0xff}, bytes.Repeat([]byte{0x0a}, 100), []byte(strings.Repeat("x", 8192))} {
			for op := uint16(0); op < ipc.MaxOps; op++ {
				_, err := a.task.Call(ctx, ipc.Msg{Slot: a.slot, Op: op, Token: a.token, Body: body, Move: ipc.NoSlot}, nil)
				known := op >= wire.OpPut && op <= wire.OpList
				switch {
				case !known:
					wantErr(t, fmt.Sprint(op), err, ipc.Unsupported)
				case body != nil:
					wantErr(t, fmt.Sprint(op), err, ipc.Malformed)
				case op != wire.OpList:
					wantErr(t, fmt.Sprint(op), err, ipc.Malformed) // An empty name.
				}
			}
		}
	})
	if len(s.rig.Crashes()) != 0 {
		t.Error("a frame made keystored panic")
	}
}
