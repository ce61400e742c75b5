package identityd

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
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/tests/rig"
)

// TestLockWaitsForNobody stops Argon2id and the writing of the database, and
// locks and ends sessions meanwhile.
func TestLockWaitsForNobody(t *testing.T) {
	w := newAlice(t, 1)
	var first, second uint64
	w.do(func(ctx context.Context) {
		first, second = w.session(ctx), w.session(ctx)
		expect(t, "unseal", w.unseal(ctx, first, right), nil)
	})
	w.svc.argon.free, w.svc.writing.free = 0, 0
	var late [2]error
	over := make(chan struct{}, 2)
	for i, sid := range []uint64{first, second} {
		w.login.Go(func(ctx context.Context) {
			late[i] = w.unseal(ctx, sid, right)
			over <- struct{}{}
		})
	}
	w.do(func(ctx context.Context) {
		for w.svc.proving != 2 {
			expect(t, "sleep", w.login.Sleep(ctx, time.Millisecond), nil)
		}
		expect(t, "lock", w.lock(ctx, first), nil)
		expect(t, "end", w.end(ctx, second), nil)
		if len(w.mint.open) != 0 || w.active(ctx, first).Unsealed {
			t.Error("not sealed")
		}
		w.svc.argon.leave()
		w.svc.writing.leave()
	})
	w.Seeded.Run(func() bool { return len(over) == 2 })
	expect(t, "the unseal that lock overtook", late[0], ipc.Sealed)
	expect(t, "the unseal that end overtook", late[1], ipc.Denied)
	w.do(func(ctx context.Context) {
		if len(w.mint.open) != 0 || w.active(ctx, first).Unsealed {
			t.Error("unsealed after the lock")
		}
		expect(t, "unseal once more", w.unseal(ctx, first, right), nil)
	})
}

// TestLockOfTheSealed locks a session that is sealed, while an unseal of it is
// under way and a token for it is out: the unseal comes to nothing, and the
// token is void.
func TestLockOfTheSealed(t *testing.T) {
	w := newAlice(t, 1)
	var sid uint64
	w.do(func(ctx context.Context) {
		sid = w.session(ctx)
		q := &wire.IssueTokenRequest{Sid: sid, App: "demo.notes", Holder: uint64(w.login.ID()), Rights: uint32(capability.Get)}
		_, err := w.issue(ctx, w.login, w.slot, q)
		expect(t, "a token", err, nil)
	})
	before := w.Kernel.Stats().Tokens
	w.svc.argon.free = 0
	var late error
	over := make(chan struct{})
	w.login.Go(func(ctx context.Context) {
		defer close(over)
		late = w.unseal(ctx, sid, right)
	})
	w.do(func(ctx context.Context) {
		for w.svc.proving != 1 {
			expect(t, "sleep", w.login.Sleep(ctx, time.Millisecond), nil)
		}
		expect(t, "lock", w.lock(ctx, sid), nil)
		w.svc.argon.leave()
	})
	if !w.Sched.Await(over, nil) {
		t.Fatal("the unseal waits forever")
	}
	expect(t, "the unseal that lock overtook", late, ipc.Sealed)
	w.do(func(ctx context.Context) {
		if len(w.mint.open) != 0 || w.active(ctx, sid).Unsealed {
			t.Error("unsealed after the lock")
		}
	})
	if before != 1 || w.Kernel.Stats().Tokens != 0 {
		t.Errorf("%d tokens before the lock, and %d after it", before, w.Kernel.Stats().Tokens)
	}
}

// TestUnsealLockEndRaces lets them run in every order that the seeds find.
// Whatever happens, identityd, kernel and keymintd agree at the end, nobody
// unseals in a lock's back, and a lock without rivals seals.
func TestUnsealLockEndRaces(t *testing.T) {
	outcomes := map[string]bool{}
	eachSeed(t, 200, func(t *testing.T, seed uint64) {
		w := newAlice(t, seed)
		var sid uint64
		w.do(func(ctx context.Context) { sid = w.session(ctx) })
		w.store.onOpen = func(sid uint64) {
			if c, ok := w.svc.sessions[sid]; ok && c.sealing > 0 {
				t.Error("a session was opened in the middle of a lock")
			}
		}
		var order []string
		note := func(what string, err error) {
			if err != nil {
				what += ": " + err.Error()
			}
			order = append(order, what)
		}
		unseal := func(ctx context.Context) {
			err := w.unseal(ctx, sid, right)
			if err != nil && !errors.Is(err, ipc.Sealed) && (!errors.Is(err, ipc.Denied) || seed%3 != 0) {
				t.Errorf("an unseal that was overtaken answers %v", err)
			}
			note("unseal", err)
		}
		lock := func(ctx context.Context) {
			expect(t, "sleep", w.login.Sleep(ctx, time.Duration(seed%7)*time.Millisecond/2), nil)
			note("lock", w.lock(ctx, sid))
		}
		end := func(ctx context.Context) {
			if seed%3 == 0 {
				expect(t, "sleep", w.login.Sleep(ctx, time.Duration(seed%5)*time.Millisecond), nil)
				note("end", w.end(ctx, sid))
			}
		}
		w.all(unseal, lock, unseal, end, lock)
		outcomes[fmt.Sprint(order)] = true
		w.do(func(ctx context.Context) {
			now := w.active(ctx, sid)
			if now.Active != (seed%3 != 0) {
				t.Errorf("active: %v", now.Active)
			}
			if _, keys := w.mint.open[sid]; keys != now.Unsealed {
				t.Errorf("%v: unsealed %v, keys %v", order, now.Unsealed, keys)
			}
			for _, what := range order {
				if what == "lock: "+ipc.Denied.Error() && now.Active {
					t.Errorf("%v: lock was denied in an active session", order)
				}
			}
			if !now.Active {
				return
			}
			expect(t, "lock", w.lock(ctx, sid), nil)
			if w.active(ctx, sid).Unsealed || len(w.mint.open) != 0 {
				t.Error("a lock without rivals did not seal")
			}
			expect(t, "unseal", w.unseal(ctx, sid, right), nil)
			if !w.active(ctx, sid).Unsealed || len(w.mint.open) != 1 {
				t.Error("an unseal without rivals did not unseal")
			}
		})
		if n := w.Kernel.Stats().Tokens; n != 0 {
			t.Errorf("%d tokens left", n)
		}
	})
	if *seedFlag == 0 && len(outcomes) < 10 {
		t.Errorf("only %d different outcomes: the seeds test little", len(outcomes))
	}
}

// TestUnsealsDoNotHarmEachOther has one of several fail: the others unseal.
func TestUnsealsDoNotHarmEachOther(t *testing.T) {
	eachSeed(t, 50, func(t *testing.T, seed uint64) {
		w := newAlice(t, seed)
		var sid uint64
		w.do(func(ctx context.Context) { sid = w.session(ctx) })
		w.disk.fail[at(onStore, wire.OpOpenVault)] = &wire.Fault{Code: ipc.IOError, File: vaultFile("alice")}
		failed := 0
		unseal := func(ctx context.Context) {
			if err := w.unseal(ctx, sid, right); err != nil {
				failed++
				expect(t, "unseal", err, ipc.IOError)
			}
		}
		w.all(unseal, unseal, unseal)
		w.do(func(ctx context.Context) {
			if failed != 1 || !w.active(ctx, sid).Unsealed || len(w.mint.open) != 1 {
				t.Errorf("%d failed, %v, %d sessions with keys", failed, w.active(ctx, sid), len(w.mint.open))
			}
		})
	})
}

// TestWhatWasProvedIsLookedAtAgain changes the user behind the back of requests
// that have read its record, or have proved their credential, already.
func TestWhatWasProvedIsLookedAtAgain(t *testing.T) {
	changes := map[string]func(db userdb.DB) userdb.DB{
		"removed": func(db userdb.DB) userdb.DB { return db.Without("alice") },
		"recreated": func(db userdb.DB) userdb.DB {
			u, _ := db.Find("alice")
			u.Incarnation[0]++
			return db.With(u)
		},
		"credential changed": func(db userdb.DB) userdb.DB {
			u, _ := db.Find("alice")
			p := u.Protectors[0]
			p.ID = u.NextProtector
			return db.With(u.WithProtector(p))
		},
	}
	type requests map[string]func(ctx context.Context, w *world, sid uint64) error
	start := func(ctx context.Context, w *world, _ uint64) error {
		_, err := w.start(ctx, "alice", right)
		return err
	}
	remove := func(ctx context.Context, w *world, _ uint64) error { return w.remove(ctx, "alice", right) }
	set := func(ctx context.Context, w *world, _ uint64) error { return w.set(ctx, "alice", right, number) }
	unseal := func(ctx context.Context, w *world, sid uint64) error { return w.unseal(ctx, sid, right) }
	for place, c := range map[string]struct {
		stop, release func(s *Service)
		requests      requests
	}{
		"before the proof": {
			func(s *Service) { s.argon.free = 0 },
			func(s *Service) { s.argon.leave() },
			requests{"start": start, "remove": remove, "set": set, "unseal": unseal},
		},
		"before the change": {
			func(s *Service) { s.writing.free = 0 },
			func(s *Service) { s.writing.leave() },
			requests{"remove": remove, "set": set},
		},
		"before the unseal": {
			func(s *Service) { s.sessionsOf("alice")[0].sealing++ },
			func(s *Service) { s.sessionsOf("alice")[0].sealing--; s.turns.Broadcast() },
			requests{"unseal": unseal},
		},
	} {
		for changed, change := range changes {
			for request, ask := range c.requests {
				t.Run(strings.Join([]string{place, changed, request}, ", "), func(t *testing.T) {
					w := newAlice(t, 1)
					w.do(func(ctx context.Context) {
						sid := w.session(ctx)
						c.stop(w.svc)
						got := error(ipc.OK)
						w.login.Go(func(ctx context.Context) { got = ask(ctx, w, sid) })
						expect(t, "sleep", w.login.Sleep(ctx, 10*time.Millisecond), nil)
						w.svc.db = change(w.svc.db)
						c.release(w.svc)
						expect(t, "sleep", w.login.Sleep(ctx, 10*time.Millisecond), nil)
						expect(t, "the request", got, ipc.BadSecret)
						if len(w.svc.sessions) != 1 || len(w.mint.open) != 0 || w.disk.roots["alice"] == nil {
							t.Error("it took effect")
						}
					})
				})
			}
		}
	}
}

// TestUnsealOfAFormerIncarnation is what could only happen if a session outlived
// its user.
func TestUnsealOfAFormerIncarnation(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		sid := w.session(ctx)
		u, _ := w.svc.db.Find("alice")
		u.Incarnation[0]++
		w.svc.db = w.svc.db.With(u)
		expect(t, "unseal", w.unseal(ctx, sid, right), ipc.BadSecret)
	})
}

// TestCreatingTheSameUserAtOnce lets one of them win.
func TestCreatingTheSameUserAtOnce(t *testing.T) {
	eachSeed(t, 20, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, newDisk())
		var results []error
		create := func(ctx context.Context) { results = append(results, w.create(ctx, "alice", right)) }
		w.all(create, create, create)
		won := 0
		for _, err := range results {
			if err == nil {
				won++
			} else {
				expect(t, "create", err, ipc.Exists)
			}
		}
		if won != 1 || len(w.disk.roots["alice"].wraps) != 1 {
			t.Errorf("%v: %d wraps", results, len(w.disk.roots["alice"].wraps))
		}
		w.do(func(ctx context.Context) {
			runs := w.svc.runs
			expect(t, "create", w.create(ctx, "alice", right), ipc.Exists)
			if w.svc.runs != runs {
				t.Error("a known user costs Argon2id at creation")
			}
		})
	})
}

// TestCallersThatGaveUpGetNothing has callers with too little time: no session
// is left that nobody knows, nothing is unsealed that nobody waits for.
func TestCallersThatGaveUpGetNothing(t *testing.T) {
	w := newAlice(t, 1)
	var sid uint64
	w.do(func(ctx context.Context) { sid = w.session(ctx) })
	w.svc.argon.free = 0
	w.do(func(ctx context.Context) {
		short, cancel := w.login.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := w.start(short, "alice", right)
		expect(t, "start", err, ipc.TimedOut)
		expect(t, "unseal", w.unseal(short, sid, right), ipc.TimedOut)
		w.svc.argon.free = MaxArgonRuns
		w.svc.argon.moved.Broadcast()
		for w.svc.proving != 0 {
			expect(t, "sleep", w.login.Sleep(ctx, time.Millisecond), nil)
		}
		if len(w.svc.sessions) != 1 || w.active(ctx, sid).Unsealed || len(w.mint.open) != 0 {
			t.Errorf("%d sessions, %d with keys", len(w.svc.sessions), len(w.mint.open))
		}
	})
}

// TestArgonRunsAreBounded logs in from everywhere on real goroutines.
func TestArgonRunsAreBounded(t *testing.T) {
	w := buildWorld(t, rig.New(t), newDisk(), Params{MemoryKiB: 1024, Passes: 1, Lanes: 2})
	w.do(func(ctx context.Context) { expect(t, "create", w.create(ctx, "alice", right), nil) })
	var fns []func(context.Context)
	for range 8 {
		fns = append(fns, func(ctx context.Context) {
			for range 3 {
				sid, err := w.start(ctx, "alice", right)
				if errors.Is(err, ipc.LimitReached) {
					continue
				}
				expect(t, "start", err, nil)
				if err := w.unseal(ctx, sid, right); err != nil {
					t.Errorf("unseal: %v", err)
				}
				expect(t, "lock", w.lock(ctx, sid), nil)
				expect(t, "end", w.end(ctx, sid), nil)
			}
		})
	}
	w.all(fns...)
	w.do(func(ctx context.Context) {
		if got := w.users(ctx); len(got) != 1 {
			t.Errorf("users %v", got)
		}
	})
	if s := w.Kernel.Stats(); s.Sessions != 0 || s.Tokens != 0 {
		t.Errorf("%d sessions and %d tokens left", s.Sessions, s.Tokens)
	}
}
