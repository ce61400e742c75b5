package keystored_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// TestLeaderLosesItsToken has the session of the leading handler end while the
// segment is being sealed: only that op fails, and the others of the batch are
// written by another leader.
func TestLeaderLosesItsToken(t *testing.T) {
	seed, shared := newSeed(t), 0
	for n := range uint64(60) {
		s := boot(t, rig.NewSeeded(t, seed+n, nil), simdisk.New(), vault.Limits{})
		one := s.alice()
		two := s.session("alice")
		s.must(two.unseal(false))
		a, b := one.app("mail"), two.app("mail")
		s.must(a.put("x", "x"))
		s.must(b.put("x", "x"))
		// The first segment to be sealed ends the session that it is sealed for.
		ended, sealed := uint64(0), s.mint.count(wire.OpSealRecord)
		s.mint.setFail(func(op uint16, stamp ipc.Stamp) error {
			if op != wire.OpSealSegment || ended != 0 {
				return nil
			}
			if ended = stamp.SID; s.mint.calls[wire.OpSealRecord] == sealed+2 {
				shared++
			}
			return s.identity.EndSession(s.auth, stamp.SID)
		})
		results := map[uint64]error{}
		first := make(chan struct{})
		a.task.Go(func(ctx context.Context) {
			defer close(first)
			results[one.sid] = a.putIn(ctx, "of-one", "value")
		})
		b.do(func(ctx context.Context) { results[two.sid] = b.putIn(ctx, "of-two", "value") })
		if !s.rig.Sched.Await(first) {
			t.Fatalf("seed %d: a put waits forever", seed+n)
		}
		for sid, err := range results {
			if sid == ended {
				wantErr(t, "the session that ended", err, ipc.Denied)
			} else if err != nil {
				t.Fatalf("seed %d: the other session: %v", seed+n, err)
			}
		}
		if len(results) != 2 || ended == 0 {
			t.Fatalf("seed %d: %d results, session %d ended", seed+n, len(results), ended)
		}
	}
	if shared == 0 {
		t.Error("the two puts were never in one batch")
	}
}

// TestSequencesStayInOrder has a record that takes long to seal before one that
// is quick: what is written is in order all the same.
func TestSequencesStayInOrder(t *testing.T) {
	s := boot(t, rig.NewSeeded(t, 1, nil), simdisk.New(), vault.Limits{})
	c := s.alice()
	slow, quick := c.app("slow"), c.app("quick")
	s.must(slow.put("x", "x"))
	s.must(quick.put("x", "x"))
	s.mint.slow = "slow"
	var waited ipc.Time
	first := make(chan struct{})
	slow.task.Go(func(ctx context.Context) {
		defer close(first)
		if err := slow.putIn(ctx, "name", "slow"); err != nil {
			t.Error(err)
		}
	})
	quick.do(func(ctx context.Context) {
		begin := quick.task.Now()
		if err := quick.task.Sleep(ctx, time.Millisecond); err != nil {
			t.Error(err)
		}
		if err := quick.putIn(ctx, "name", "quick"); err != nil {
			t.Error(err)
		}
		waited = quick.task.Now() - begin
	})
	s.rig.Sched.Await(first)
	if waited < ipc.Time(time.Second) {
		t.Errorf("the later record was written first, after %d ns", waited)
	}
	s.mint.slow = ""
	c.lock()
	c = s.again()
	c.app("slow").wantGet("name", "slow")
	c.app("quick").wantGet("name", "quick")
}

// TestEndedWhileQueued ends a session whose put waits for another batch's sync:
// it is not written any more.
func TestEndedWhileQueued(t *testing.T) {
	s := newSystem(t)
	one := s.alice()
	two := s.session("alice")
	s.must(two.unseal(false))
	a, b := one.app("mail"), two.app("mail")
	s.must(a.put("x", "x"))
	s.must(b.put("x", "x"))
	sealed := s.mint.count(wire.OpSealRecord)
	reached, release := s.holdSync(never)
	puts := make(chan error, 3)
	go func() { puts <- b.put("of-two", "value") }()
	<-reached
	go func() { puts <- b.put("next-of-two", "value") }() // It will lead.
	s.untilSealed(sealed + 2)
	go func() { wantErr(t, "queued put", a.put("of-one", "value"), ipc.Denied); puts <- nil }()
	s.untilSealed(sealed + 3)
	s.must(s.identity.SealSession(s.auth, one.sid))
	close(release)
	s.must(errors.Join(<-puts, <-puts, <-puts))
	one.lock()
	b.wantGet("of-two", "value")
	_, err := b.get("of-one")
	wantErr(t, "get", err, ipc.NotFound)
}

// TestLeaderLosesPatience has the leader's caller give up during the sync: the
// batch is written all the same.
func TestLeaderLosesPatience(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a, b := c.app("mail"), c.app("calendar")
	s.must(a.put("name", "old"))
	s.must(b.put("name", "old"))
	s.delay.Store(int64(60 * time.Millisecond))
	a.do(func(ctx context.Context) {
		short, cancel := a.task.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		wantErr(t, "impatient put", a.putIn(short, "name", "new"), ipc.TimedOut)
	})
	s.must(b.put("name", "new"))
	a.wantGet("name", "new")
	if n := s.marks("keystore: put (app=mail"); n != 2 {
		t.Errorf("%d puts are marked", n)
	}
}

// TestSealRecordFails drops one op and not those behind it.
func TestSealRecordFails(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a, b := c.app("mail"), c.app("calendar")
	s.must(a.put("x", "x"))
	s.mint.setFail(func(op uint16, stamp ipc.Stamp) error {
		if op == wire.OpSealRecord && stamp.App == "mail" {
			return ipc.Unavailable
		}
		return nil
	})
	s.delay.Store(int64(time.Millisecond))
	bad := make(chan []error, 1)
	go func() { bad <- a.putAll(8, func(i int) string { return fmt.Sprint(i) }) }()
	for i, err := range b.putAll(8, func(i int) string { return fmt.Sprint(i) }) {
		if err != nil {
			t.Errorf("calendar's put %d: %v", i, err)
		}
	}
	for i, err := range <-bad {
		wantErr(t, fmt.Sprint("mail's put ", i), err, ipc.Unavailable)
	}
	if names, err := a.list(); err != nil || len(names) != 1 {
		t.Errorf("mail has %v, %v", names, err)
	}
}
