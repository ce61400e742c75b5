package ui_v18b_host

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/simdisk"
)

// TestNoSecretIsInUseAfterALock counts what is in the pool of secrets of the
// whole system: nothing, whenever no session is unsealed. The two passwords are
// the test's own.
func TestNoSecretIsInUseAfterALock(t *testing.T) {
	before := secret.ReadStats()
	none := func(when string, own int) {
		t.Helper()
		now := secret.ReadStats()
		if n := now.InUse - before.InUse; n != own {
			t.Errorf("%s: %d secrets are in use, %d of them the test's", when, n, own)
		}
		if n := now.Outside - before.Outside; n != 0 {
			t.Errorf("%s: %d secrets are outside the pool", when, n)
		}
	}
	w := fresh(t)
	none("after the boot", 0)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	notes, mail, bobs := alice.app("notes"), alice.app("mail"), bob.app("notes")
	for _, a := range []*app{notes, mail, bobs} {
		a.put("short", "a value")
		a.put("long", long(a.ID))
		a.holds("short", "a value")
		a.holds("long", long(a.ID))
		for op, err := range a.everything("x") {
			if op != "unwrap" && err != nil {
				t.Errorf("%s: %v", op, err)
			}
		}
	}
	all := secret.ReadStats().InUse - before.InUse
	if all < 2+3*3 {
		t.Errorf("%d secrets are in use, of two users and three apps with keys", all)
	}
	alice.lock()
	some := secret.ReadStats().InUse - before.InUse
	if some <= 2 || some >= all {
		t.Errorf("%d secrets are in use of one user, %d were of two", some, all)
	}
	notes.denied("short")
	bob.endSession()
	none("after a lock and an end", 2)
	alice.unseal()
	alice.app("notes").holds("long", long("notes"))
	w.end()
	none("after the shutdown", 2)
	alice.password.Secret.Wipe()
	bob.password.Secret.Wipe()
	none("without the passwords", 0)
}

// TestLockWipesAmidRequests locks while 1,000 flows of control of eight apps ask
// for values, as fast as they are answered: when the lock has answered, nothing
// of the session is in the pool. How long it took is printed, and a quiet lock
// beside it.
func TestLockWipesAmidRequests(t *testing.T) {
	const apps = 8
	flows := 1000
	if raceDetector {
		flows = 64 // More of them keep the services from running, for minutes.
	}
	before := secret.ReadStats().InUse
	w := start(t, simdisk.New(), func(c *boot.Config) { c.Tap = nil }) // Millions of events are nobody's to keep.
	alice := w.newUser("alice")
	var quiet, amid []time.Duration
	for range 5 {
		var all []*app
		for i := range apps {
			a := alice.app(fmt.Sprint("app", i))
			a.put("token", "v")
			all = append(all, a)
		}
		var answered, denied atomic.Int64
		var over sync.WaitGroup
		body := frame(t, &wire.GetRequest{Name: "token"})
		for i := range flows {
			over.Go(func() {
				a := all[i%apps]
				for {
					switch a.send(a.Config.Store, wire.OpGet, body).code {
					case ipc.Denied:
						denied.Add(1)
						return
					case ipc.OK:
						answered.Add(1)
					}
				}
			})
		}
		for answered.Load() < int64(flows) {
			time.Sleep(time.Millisecond)
		}
		begun := time.Now()
		alice.lock()
		amid = append(amid, time.Since(begun))
		if n := secret.ReadStats().InUse - before; n != 1 {
			t.Errorf("%d secrets are in use when the lock has answered, and one is the test's", n)
		}
		over.Wait()
		alice.unseal()
		begun = time.Now()
		alice.lock()
		quiet = append(quiet, time.Since(begun))
		alice.unseal()
	}
	slices.Sort(quiet)
	slices.Sort(amid)
	t.Logf("a lock amid %d flows takes %.0f times as long as a quiet one", flows, float64(amid[2])/float64(quiet[2]))
}
