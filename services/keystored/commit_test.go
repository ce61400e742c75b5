package keystored_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

var errBroken = errors.New("the disk is broken")

// together runs fn n times side by side, as flows of control of the app, and
// answers the errors in order.
func (a *app) together(n int, fn func(ctx context.Context, i int) error) []error {
	a.s.t.Helper()
	errs := make([]error, n)
	done := make([]<-chan struct{}, n)
	for i := range n {
		done[i] = a.background(func(ctx context.Context) { errs[i] = fn(ctx, i) })
	}
	for i := range n {
		a.s.await(done[i])
	}
	return errs
}

func (a *app) putAll(n int, name func(i int) string) []error {
	a.s.t.Helper()
	return a.together(n, func(ctx context.Context, i int) error { return a.putIn(ctx, name(i), "value") })
}

func TestGroupCommit(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.must(a.put("first", "x"))
	const puts = 64
	before, sealed := s.disk.Stats(), s.mint.count(wire.OpSealRecord)
	reached, release := s.holdSync(never)
	go func() {
		<-reached
		s.untilSealed(sealed + puts)
		close(release)
	}()
	for i, err := range a.putAll(puts, func(i int) string { return fmt.Sprint("name-", i) }) {
		if err != nil {
			t.Errorf("put %d: %v", i, err)
		}
	}
	// One batch while the others come, one of the others, and perhaps those
	// whose record was still being sealed when that one began.
	syncs := s.disk.Stats().Syncs - before.Syncs
	t.Logf("%d puts shared %d syncs", puts, syncs)
	if syncs > 4 {
		t.Errorf("%d puts took %d syncs", puts, syncs)
	}
	if n := s.marks("keystore: put"); n != puts+1 {
		t.Errorf("%d puts are marked", n)
	}
	c.lock()
	if names, err := s.again().app("mail").list(); err != nil || len(names) != puts+1 {
		t.Errorf("after reading again: %d names, %v", len(names), err)
	}
}

// TestAPutAloneTakesOneSync is what a put costs.
func TestAPutAloneTakesOneSync(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	before := s.disk.Stats()
	s.must(a.put("name", "value"))
	after := s.disk.Stats()
	if after.Syncs-before.Syncs != 1 || after.Writes-before.Writes != 1 {
		t.Errorf("one put: %+v, %+v", before, after)
	}
}

// TestSameNameTogether has many puts and deletes of one name in flight at once.
func TestSameNameTogether(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.delay.Store(int64(time.Millisecond))
	errs := a.together(60, func(ctx context.Context, i int) error {
		if i%3 == 2 {
			return a.deleteIn(ctx, "name")
		}
		return a.putIn(ctx, "name", "value")
	})
	for i, err := range errs {
		if err != nil && (i%3 != 2 || !errors.Is(err, ipc.NotFound)) {
			t.Errorf("op %d: %v", i, err)
		}
	}
	s.must(a.put("name", "last"))
	c.lock()
	a = s.again().app("mail")
	a.wantGet("name", "last")
	if names, err := a.list(); err != nil || len(names) != 1 {
		t.Errorf("list %v, %v", names, err)
	}
}

// TestQuotaTogether has more puts in flight than there is room for.
func TestQuotaTogether(t *testing.T) {
	const room = 10
	s := boot(t, rig.New(t), simdisk.New(), vault.Limits{AppSecrets: room})
	a := s.alice().app("mail")
	s.delay.Store(int64(time.Millisecond))
	ok := 0
	for i, err := range a.putAll(40, func(i int) string { return fmt.Sprint("name-", i) }) {
		if err == nil {
			ok++
		} else if !errors.Is(err, ipc.Quota) {
			t.Errorf("put %d: %v", i, err)
		}
	}
	if names, err := a.list(); ok != room || len(names) != room || err != nil {
		t.Errorf("%d puts succeeded and %d names are there, %v", ok, len(names), err)
	}
	if n := s.marks("keystore: put"); n != room {
		t.Errorf("%d puts are marked", n)
	}
}

// TestFailedWrite fails the append or the sync of a batch: every op of it gets
// the error, nothing is visible, what was there stays, and the next put makes
// the vault good again in a new file.
func TestFailedWrite(t *testing.T) {
	for _, kind := range []simdisk.Kind{simdisk.Append, simdisk.Sync} {
		t.Run(string(kind), func(t *testing.T) {
			s := newSystem(t)
			c := s.alice()
			a := c.app("mail")
			s.must(a.put("kept", "before"))
			size := int64(len(read(t, s.disk, kvPath)))
			s.delay.Store(int64(time.Millisecond))
			s.disk.SetFault(func(op simdisk.Op) error {
				if op.Kind == kind && strings.HasSuffix(op.Path, "vault.kv") {
					return errBroken
				}
				return nil
			})
			err := a.put("kept", "after")
			wantFault(t, err, ipc.IOError, kvState, size)
			a.wantGet("kept", "before")
			if s.marks("keystore: put") != 1 {
				t.Error("a failed put is marked")
			}
			s.disk.SetFault(nil)
			s.must(a.put("new", "value"))
			a.wantGet("kept", "before")
			c.lock()
			a = s.again().app("mail")
			a.wantGet("kept", "before")
			a.wantGet("new", "value")
		})
	}
}

func TestFailedSyncFailsTheWholeBatch(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.must(a.put("kept", "x"))
	const puts = 32
	sealed := s.mint.count(wire.OpSealRecord)
	failed := false
	reached, release := s.holdSync(func(op simdisk.Op) error {
		// The second batch is the one that gathered while the first was synced.
		if op.Kind == simdisk.Sync && op.Path == kvPath && !failed {
			failed = true
			return errBroken
		}
		return nil
	})
	go func() {
		<-reached
		s.untilSealed(sealed + puts)
		close(release)
	}()
	errs := a.putAll(puts, func(i int) string { return fmt.Sprint("name-", i) })
	bad := 0
	for i, err := range errs {
		name := fmt.Sprint("name-", i)
		if err == nil {
			a.wantGet(name, "value")
			continue
		}
		bad++
		wantErr(t, name, err, ipc.IOError)
		_, err := a.get(name)
		wantErr(t, "get "+name, err, ipc.NotFound)
	}
	if bad < 2 {
		t.Errorf("%d puts failed, want a batch", bad)
	}
	// Once the vault was written anew, what failed is gone for good.
	s.must(a.put("more", "x"))
	c.lock()
	if names, err := s.again().app("mail").list(); err != nil || len(names) != puts-bad+2 {
		t.Errorf("after reading again: %d names, %v; %d puts failed", len(names), err, bad)
	}
}

// TestRightsOfTheToken is the kernel's work, asked through the real endpoint.
func TestRightsOfTheToken(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	s.must(a.put("name", "value"))
	token, err := s.identity.MintToken(s.auth, ipc.TokenSpec{SID: c.sid, App: "mail", Holder: a.task.ID(), Rights: capability.Get})
	s.must(err)
	a.token = &token
	a.wantGet("name", "value")
	wantErr(t, "put", a.put("name", "x"), ipc.Denied)
	wantErr(t, "delete", a.delete("name"), ipc.Denied)
	_, err = a.list()
	wantErr(t, "list", err, ipc.Denied)
}
