package keystored_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// TestVoidInMidPut ends the session at every step of a put: the caller gets an
// error, and afterwards the old value or the new one is there.
func TestVoidInMidPut(t *testing.T) {
	seed := newSeed(t)
	finished, cut := 0, 0
	for n := range uint64(150) {
		s := boot(t, rig.NewSeeded(t, seed+n, nil), simdisk.New(), vault.Limits{})
		c := s.alice()
		a := c.app("mail")
		s.must(a.put("name", "old"))
		var err error
		done := make(chan struct{})
		a.task.Go(func(ctx context.Context) {
			defer close(done)
			err = a.putIn(ctx, "name", "new")
		})
		steps := 0
		s.rig.Seeded.Run(func() bool { steps++; return steps > int(n%50) })
		c.lock()
		if lines := s.marks("keystore: head FAIL"); lines != 0 {
			t.Error("the head was not written")
		}
		if !s.rig.Sched.Await(done) {
			t.Fatalf("seed %d: the put waits forever", seed+n)
		}
		got, getErr := s.again().app("mail").get("name")
		switch {
		case getErr != nil:
			t.Fatalf("seed %d: %v", seed+n, getErr)
		case err == nil && got != "new":
			t.Fatalf("seed %d: an acknowledged put is lost", seed+n)
		case err != nil && !errors.Is(err, ipc.Denied) && !errors.Is(err, ipc.Sealed):
			t.Fatalf("seed %d: the put ended with %v", seed+n, err)
		case got != "new" && got != "old":
			t.Fatalf("seed %d: got %q", seed+n, got)
		}
		if err == nil {
			finished++
		} else {
			cut++
		}
	}
	t.Logf("%d puts finished, %d were cut off", finished, cut)
	if cut == 0 || finished == 0 {
		t.Errorf("%d puts finished, %d were cut off", finished, cut)
	}
}

// TestVoidWhileOpening locks during the opening: nothing is left open.
func TestVoidWhileOpening(t *testing.T) {
	seed := newSeed(t)
	for n := range uint64(150) {
		s := boot(t, rig.NewSeeded(t, seed+n, nil), simdisk.New(), vault.Limits{})
		c := s.alice()
		s.must(c.app("mail").put("name", "value"))
		c.lock()
		done := make(chan struct{})
		var err error
		s.identity.Go(func(ctx context.Context) {
			defer close(done)
			err = c.openVault(ctx, false)
		})
		steps := 0
		s.rig.Seeded.Run(func() bool { steps++; return steps > int(n) })
		c.lock()
		s.rig.Sched.Await(done)
		if err == nil {
			c.lock() // The opening was done before the first lock, or began after it.
		}
		// If the vault were still open, this would not read it again.
		opened := s.mint.count(wire.OpOpenSegment)
		s.again().app("mail").wantGet("name", "value")
		if s.mint.count(wire.OpOpenSegment) == opened {
			t.Fatalf("seed %d: the vault stayed open without a session", seed+n)
		}
	}
}

// TestUnsealWhileAnotherCloses locks the only session in mid-put while another
// session of the user comes: it finds a vault that nobody writes to.
func TestUnsealWhileAnotherCloses(t *testing.T) {
	seed := newSeed(t)
	for n := range uint64(100) {
		s := boot(t, rig.NewSeeded(t, seed+n, nil), simdisk.New(), vault.Limits{})
		one := s.alice()
		a := one.app("mail")
		s.must(a.put("name", "old"))
		two := s.session("alice")
		b := two.app("mail")
		// Several big puts make a batch of several segments.
		var puts []chan struct{}
		for i := range 5 {
			put := make(chan struct{})
			puts = append(puts, put)
			a.task.Go(func(ctx context.Context) {
				defer close(put)
				_ = a.putIn(ctx, fmt.Sprint("big-", i), big)
			})
		}
		steps := 0
		s.rig.Seeded.Run(func() bool { steps++; return steps > int(n)*6 })
		s.must(s.identity.SealSession(s.auth, one.sid))
		s.must(two.unseal(false))
		token, err := two.token("mail", b.task)
		s.must(err)
		b.token = token
		if err := b.put("name", "newest"); err != nil {
			t.Fatalf("seed %d: %v", seed+n, err)
		}
		b.wantGet("name", "newest")
		for _, put := range puts {
			if !s.rig.Sched.Await(put) {
				t.Fatalf("seed %d: a put waits forever", seed+n)
			}
		}
	}
}

// TestCutOffWhileNamesAreRead locks, or removes the user, while several first
// requests of an app wait for its names: all are told, and nothing panics.
func TestCutOffWhileNamesAreRead(t *testing.T) {
	for name, cut := range map[string]func(s *system, c *session){
		"lock":   func(_ *system, c *session) { c.lock() },
		"forget": func(s *system, _ *session) { s.must(s.forget("alice")) },
	} {
		t.Run(name, func(t *testing.T) {
			seed := newSeed(t)
			for n := range uint64(100) {
				cutOffWhileNamesAreRead(t, seed+n, int(n%20), cut)
			}
		})
	}
}

func cutOffWhileNamesAreRead(t *testing.T, seed uint64, after int, cut func(s *system, c *session)) {
	s := boot(t, rig.NewSeeded(t, seed, nil), simdisk.New(), vault.Limits{})
	c := s.alice()
	a := c.app("mail")
	for i := range 3 {
		s.must(a.put(fmt.Sprint(i), "value"))
	}
	c.lock()
	c = s.again()
	a = c.app("mail")
	var gets []chan struct{}
	for range 4 {
		got := make(chan struct{})
		gets = append(gets, got)
		a.task.Go(func(ctx context.Context) {
			defer close(got)
			value, err := a.getIn(ctx, "1")
			if !errors.Is(err, ipc.Denied) && !errors.Is(err, ipc.Damaged) && (err != nil || value != "value") {
				t.Errorf("seed %d: %q, %v", seed, value, err)
			}
		})
	}
	steps := 0
	s.rig.Seeded.Run(func() bool { steps++; return steps > after })
	cut(s, c)
	for _, got := range gets {
		if !s.rig.Sched.Await(got) {
			t.Fatalf("seed %d: a get waits forever", seed)
		}
	}
	if n := len(s.rig.Crashes()); n != 0 {
		t.Fatalf("seed %d: %d panics", seed, n)
	}
}
