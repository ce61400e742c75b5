package keystored_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// background runs fn as a flow of control of the app.
func (a *app) background(fn func(ctx context.Context)) <-chan struct{} {
	done := make(chan struct{})
	a.task.Go(func(ctx context.Context) {
		defer close(done)
		fn(ctx)
	})
	return done
}

// TestVoidInMidPut locks the session at any step of a put: the caller gets an
// error, and afterwards the old value or the new one is there.
func TestVoidInMidPut(t *testing.T) {
	finished, cut := 0, 0
	eachSeed(t, 60, func(t *testing.T, r *rig.Rig, rng *rand.Rand) {
		s := boot(t, r, simdisk.New(), vault.Limits{})
		c := s.alice()
		a := c.app("mail")
		s.must(a.put("name", "old"))
		var err error
		done := a.background(func(ctx context.Context) { err = a.putIn(ctx, "name", "new") })
		s.runSteps(rng.IntN(60))
		c.lock()
		if s.marks("keystore: head FAIL") != 0 {
			t.Error("the head was not written")
		}
		s.await(done)
		got, getErr := s.again().app("mail").get("name")
		switch {
		case getErr != nil:
			t.Error(getErr)
		case err == nil && got != "new":
			t.Error("an acknowledged put is lost")
		case err != nil && !errors.Is(err, ipc.Denied) && !errors.Is(err, ipc.Sealed):
			t.Errorf("the put ended with %v", err)
		case got != "new" && got != "old":
			t.Errorf("got %q", got)
		}
		if err == nil {
			finished++
		} else {
			cut++
		}
	})
	t.Logf("%d puts finished, %d were cut off", finished, cut)
	if cut == 0 || finished == 0 {
		t.Errorf("%d puts finished, %d were cut off", finished, cut)
	}
}

// TestVoidWhileOpening locks during the opening: nothing is left open.
func TestVoidWhileOpening(t *testing.T) {
	eachSeed(t, 80, func(t *testing.T, r *rig.Rig, rng *rand.Rand) {
		s := boot(t, r, simdisk.New(), vault.Limits{})
		c := s.alice()
		s.must(c.app("mail").put("name", "value"))
		c.lock()
		done := make(chan struct{})
		var err error
		s.identity.Go(func(ctx context.Context) {
			defer close(done)
			err = c.openVault(ctx, false)
		})
		s.runSteps(rng.IntN(120))
		c.lock()
		s.await(done)
		if err == nil {
			c.lock() // The opening was done before the first lock, or began after it.
		}
		// If the vault were still open, this would not read it again.
		opened := s.mint.count(wire.OpOpenSegment)
		s.again().app("mail").wantGet("name", "value")
		if s.mint.count(wire.OpOpenSegment) == opened {
			t.Error("the vault stayed open without a session")
		}
	})
}

// awaitAppends lets events happen till the vault was appended to n times.
func (s *system) awaitAppends(n int) {
	s.disk.SetFault(func(op simdisk.Op) error {
		if op.Kind == simdisk.Append && op.Path == kvPath {
			n--
		}
		return nil
	})
	s.rig.Seeded.Run(func() bool { return n <= 0 })
}

// TestVoidWhileWaiting locks a session that waits for another one to open the
// vault: the other one's vault stays open.
func TestVoidWhileWaiting(t *testing.T) {
	eachSeed(t, 80, func(t *testing.T, r *rig.Rig, rng *rand.Rand) {
		s := boot(t, r, simdisk.New(), vault.Limits{})
		s.alice().lock()
		one, two := s.session("alice"), s.session("alice")
		var done [2]chan struct{}
		var errs [2]error
		for i, c := range []*session{one, two} {
			done[i] = make(chan struct{})
			s.identity.Go(func(ctx context.Context) {
				defer close(done[i])
				errs[i] = c.openVault(ctx, false)
			})
		}
		s.runSteps(rng.IntN(120))
		two.lock()
		s.await(done[0])
		s.await(done[1])
		s.must(errs[0])
		opened := s.mint.count(wire.OpOpenSegment)
		_, err := one.app("mail").get("name")
		wantErr(t, "get", err, ipc.NotFound)
		if s.mint.count(wire.OpOpenSegment) != opened {
			t.Error("the vault was closed under a session that has it open")
		}
	})
}

// TestUnsealWhileAnotherCloses locks the only session in mid-put while another
// session of the user comes: it finds a vault that nobody writes to.
func TestUnsealWhileAnotherCloses(t *testing.T) {
	eachSeed(t, 60, func(t *testing.T, r *rig.Rig, rng *rand.Rand) {
		s := boot(t, r, simdisk.New(), vault.Limits{})
		one := s.alice()
		a := one.app("mail")
		s.must(a.put("name", "old"))
		two := s.session("alice")
		// Several big puts make a batch of several segments.
		var puts []<-chan struct{}
		for i := range 14 {
			puts = append(puts, a.background(func(ctx context.Context) { _ = a.putIn(ctx, fmt.Sprint("big-", i), big) }))
		}
		s.awaitAppends(2 + rng.IntN(4))
		s.runSteps(rng.IntN(6))
		s.must(s.identity.SealSession(s.auth, one.sid))
		s.must(two.unseal(false))
		b := two.app("mail")
		s.must(b.put("name", "newest"))
		b.wantGet("name", "newest")
		for _, put := range puts {
			s.await(put)
		}
	})
}

// TestCutOffWhileNamesAreRead locks, or removes the user, while several first
// requests of an app wait for its names: all are told, and nothing panics.
func TestCutOffWhileNamesAreRead(t *testing.T) {
	for name, cut := range map[string]func(s *system, c *session){
		"lock":   func(_ *system, c *session) { c.lock() },
		"forget": func(s *system, _ *session) { s.must(s.forget("alice")) },
	} {
		t.Run(name, func(t *testing.T) {
			eachSeed(t, 40, func(t *testing.T, r *rig.Rig, rng *rand.Rand) {
				cutOffWhileNamesAreRead(boot(t, r, simdisk.New(), vault.Limits{}), rng.IntN(20), cut)
			})
		})
	}
}

func cutOffWhileNamesAreRead(s *system, after int, cut func(s *system, c *session)) {
	c := s.alice()
	for i := range 3 {
		s.must(c.app("mail").put(fmt.Sprint(i), "value"))
	}
	c.lock()
	c = s.again()
	a := c.app("mail")
	var gets []<-chan struct{}
	for range 4 {
		gets = append(gets, a.background(func(ctx context.Context) {
			value, err := a.getIn(ctx, "1")
			if !errors.Is(err, ipc.Denied) && !errors.Is(err, ipc.Damaged) && (err != nil || value != "value") {
				s.t.Errorf("%q, %v", value, err)
			}
		}))
	}
	s.runSteps(after)
	cut(s, c)
	for _, got := range gets {
		s.await(got)
	}
	if n := len(s.rig.Crashes()); n != 0 {
		s.t.Errorf("%d panics", n)
	}
}
