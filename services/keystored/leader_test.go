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
	s := newSystem(t)
	sessions := map[uint64]*app{}
	var apps []*app
	for range 3 {
		c := s.session("alice")
		s.must(c.unseal(len(apps) == 0))
		a := c.app("mail")
		s.must(a.put("x", "x"))
		apps = append(apps, a)
		sessions[c.sid] = a
	}
	// While the first one's put is synced, the others' gather.
	sealed := s.mint.count(wire.OpSealRecord)
	reached, release := s.holdSync(never)
	results := make([]chan error, len(apps))
	for i, a := range apps {
		results[i] = make(chan error, 1)
		go func() { results[i] <- a.put(fmt.Sprint("of-", i), "value") }()
		if i == 0 {
			<-reached
		}
	}
	s.untilSealed(sealed + 3)
	time.Sleep(5 * time.Millisecond) // Their answers reach keystored.
	// Their segment ends the session that it is sealed for.
	var loser *app
	s.mint.setWatch(func(q *wire.SealSegmentRequest, stamp ipc.Stamp) error {
		records, err := vault.DecodeBody(q.Body)
		if loser != nil || err != nil || len(records) != 2 {
			return nil
		}
		loser = sessions[stamp.SID]
		return s.identity.EndSession(s.auth, stamp.SID)
	})
	close(release)
	s.must(<-results[0])
	for i, a := range apps[1:] {
		err := <-results[i+1]
		if a == loser {
			wantErr(t, "the leader's put", err, ipc.Denied)
		} else if err != nil {
			t.Errorf("another one's put: %v", err)
		}
	}
	if loser == nil {
		t.Error("the two puts were not in one batch")
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
	first := slow.background(func(ctx context.Context) {
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
	s.await(first)
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
