package identityd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

var right = password("correct horse")

// newAlice is a world with one user.
func newAlice(t *testing.T, seed uint64) *world {
	w := newWorld(t, seed, newDisk())
	w.do(func(ctx context.Context) { expect(t, "create", w.create(ctx, "alice", right), nil) })
	return w
}

// session starts one of alice's.
func (w *world) session(ctx context.Context) uint64 {
	sid, err := w.start(ctx, "alice", right)
	expect(w.t, "start", err, nil)
	return sid
}

func TestSessionFromStartToEnd(t *testing.T) {
	w := newAlice(t, 1)
	var want []string
	w.do(func(ctx context.Context) {
		sid := w.session(ctx)
		state := func(what string, active, unsealed bool, keys int) {
			got := w.active(ctx, sid)
			user := ""
			if active {
				user = "alice"
			}
			if got.Active != active || got.Unsealed != unsealed || got.User != user || len(w.mint.open) != keys {
				t.Errorf("%s: %v, %d sessions with keys", what, got, len(w.mint.open))
			}
		}
		state("started", true, false, 0)
		expect(t, "unseal", w.unseal(ctx, sid, right), nil)
		state("unsealed", true, true, 1)
		expect(t, "unseal by a wrong secret", w.unseal(ctx, sid, password("wrong horse")), ipc.BadSecret)
		runs := w.svc.runs
		expect(t, "unseal again", w.unseal(ctx, sid, right), nil)
		if w.svc.runs != runs+1 {
			t.Error("unsealing what is unsealed proved nothing")
		}
		expect(t, "lock", w.lock(ctx, sid), nil)
		state("locked", true, false, 0)
		expect(t, "lock again", w.lock(ctx, sid), nil)
		expect(t, "unseal after the lock", w.unseal(ctx, sid, right), nil)
		state("unsealed again", true, true, 1)
		expect(t, "end", w.end(ctx, sid), nil)
		state("ended", false, false, 0)
		expect(t, "end again", w.end(ctx, sid), ipc.Denied)
		expect(t, "lock what has ended", w.lock(ctx, sid), ipc.Denied)
		expect(t, "unseal what has ended", w.unseal(ctx, sid, right), ipc.Denied)
		expect(t, "unseal what never was", w.unseal(ctx, sid+1, right), ipc.Denied)
		if other := w.session(ctx); other == sid {
			t.Error("a sid was used twice")
		}
		want = []string{
			"identityd: ready", "identity: user created (user=alice)",
			fmt.Sprintf("identity: session start (sid=%d)", sid), fmt.Sprintf("identity: session unseal (sid=%d)", sid),
			fmt.Sprintf("identity: session lock (sid=%d)", sid), fmt.Sprintf("identity: session lock (sid=%d)", sid),
			fmt.Sprintf("identity: session unseal (sid=%d)", sid), fmt.Sprintf("identity: session end (sid=%d)", sid),
			fmt.Sprintf("identity: session start (sid=%d)", sid+1),
		}
	})
	if !slices.Equal(w.markers(), want) {
		t.Errorf("console %q", w.markers())
	}
	if want := []string{"alice create", "alice"}; !slices.Equal(w.store.opened, want) {
		t.Errorf("vault opened %q", w.store.opened)
	}
	if n := w.Kernel.Stats().Tokens; n != 0 {
		t.Errorf("%d tokens left", n)
	}
}

func TestQueryFacetAnswersActiveOnly(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		sid := w.session(ctx)
		for op := wire.OpCreateUser; op <= wire.OpRemoveCredential; op++ {
			_, err := w.login.Call(ctx, ipc.Msg{Slot: w.query, Op: op, Move: ipc.NoSlot}, nil)
			want := error(ipc.Unsupported)
			if op == wire.OpActiveSession {
				want = nil
			}
			expect(t, fmt.Sprint("op ", op), err, want)
		}
		if !w.active(ctx, sid).Active {
			t.Error("not active")
		}
	})
}

func TestSessionLimits(t *testing.T) {
	w := newWorld(t, 1, newDisk())
	w.do(func(ctx context.Context) {
		var sids []uint64
		for i := range MaxSessions/MaxSessionsPerUser + 1 {
			user := fmt.Sprint("user", i)
			expect(t, "create", w.create(ctx, user, right), nil)
			for n := 1; n <= MaxSessionsPerUser+1; n++ {
				want := error(nil)
				if n > MaxSessionsPerUser || len(sids) >= MaxSessions {
					want = ipc.LimitReached
				}
				_, err := w.start(ctx, user, password("wrong horse"))
				expect(t, "a wrong secret at any limit", err, ipc.BadSecret)
				sid, err := w.start(ctx, user, right)
				expect(t, fmt.Sprintf("session %d of %s", n, user), err, want)
				if err == nil {
					sids = append(sids, sid)
				}
			}
		}
		if len(sids) != MaxSessions {
			t.Errorf("%d sessions", len(sids))
		}
		expect(t, "end one", w.end(ctx, sids[0]), nil)
		_, err := w.start(ctx, "user0", right)
		expect(t, "start in its place", err, nil)
	})
}

func TestProvingLimit(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		for n := MaxProving - 2; n <= MaxProving; n++ { // that many others already
			w.svc.proving = n
			want := error(nil)
			if n >= MaxProving {
				want = ipc.LimitReached
			}
			sid, err := w.start(ctx, "alice", right)
			expect(t, fmt.Sprint("start beside ", n), err, want)
			if err == nil {
				expect(t, "lock", w.lock(ctx, sid), nil)
			}
		}
		for name, err := range map[string]error{
			"create": w.create(ctx, "bob", right),
			"remove": w.remove(ctx, "alice", right),
			"set":    w.set(ctx, "alice", right, right),
			"unseal": w.unseal(ctx, w.svc.sessionsOf("alice")[0].sid, right),
		} {
			expect(t, name, err, ipc.LimitReached)
		}
		w.svc.proving = 0
		expect(t, "create", w.create(ctx, "bob", right), nil)
		if w.svc.proving != 0 {
			t.Errorf("%d requests left", w.svc.proving)
		}
	})
}

func TestDamagedVaultIsRefusedAndKept(t *testing.T) {
	for name, spoil := range map[string]func(d *disk){
		"damaged": func(d *disk) { d.files[vaultFile("alice")] = []byte("damaged") },
		"gone":    func(d *disk) { delete(d.files, vaultFile("alice")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newAlice(t, 1)
			w.do(func(ctx context.Context) {
				sid := w.session(ctx)
				expect(t, "unseal", w.unseal(ctx, sid, right), nil)
				expect(t, "lock", w.lock(ctx, sid), nil)
				spoil(w.disk)
				before := len(w.disk.files)
				var fault *wire.Fault
				err := w.unseal(ctx, sid, right)
				if !errors.As(err, &fault) || fault.Code != ipc.Damaged || fault.File != vaultFile("alice") || fault.Offset != 42 {
					t.Errorf("unseal: %v", err)
				}
				if got := w.active(ctx, sid); !got.Active || got.Unsealed || len(w.mint.open) != 0 || len(w.disk.files) != before {
					t.Errorf("after it: %v, %d sessions with keys, %d files", got, len(w.mint.open), len(w.disk.files))
				}
				expect(t, "create bob", w.create(ctx, "bob", right), nil)
				other, err := w.start(ctx, "bob", right)
				expect(t, "start bob's", err, nil)
				expect(t, "unseal bob's", w.unseal(ctx, other, right), nil)
			})
		})
	}
}

func TestRemovingAUserEndsItsSessions(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		first, second := w.session(ctx), w.session(ctx)
		expect(t, "unseal", w.unseal(ctx, first, right), nil)
		expect(t, "create bob", w.create(ctx, "bob", right), nil)
		bob, err := w.start(ctx, "bob", right)
		expect(t, "start bob's", err, nil)
		expect(t, "remove", w.remove(ctx, "alice", right), nil)
		for sid, want := range map[uint64]bool{first: false, second: false, bob: true} {
			if w.active(ctx, sid).Active != want {
				t.Errorf("session %d: active is not %v", sid, want)
			}
		}
		if len(w.mint.open) != 0 || w.disk.files[vaultFile("alice")] != nil {
			t.Error("keys or vault are left")
		}
	})
}

func TestKeymintdsCrashSealsEverything(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		sid := w.session(ctx)
		expect(t, "unseal", w.unseal(ctx, sid, right), nil)
	})
	w.Do(w.task, func(ctx context.Context) {
		_, err := w.task.Call(ctx, ipc.Msg{Slot: w.svc.cfg.KeyMint, Op: opCrash, Move: ipc.NoSlot}, nil)
		expect(t, "crash", err, ipc.Unavailable)
	})
	w.do(func(ctx context.Context) {
		sid := w.svc.sessionsOf("alice")[0].sid
		if got := w.active(ctx, sid); !got.Active || got.Unsealed {
			t.Errorf("after the crash: %v", got)
		}
		expect(t, "unseal", w.unseal(ctx, sid, right), nil)
		if !w.active(ctx, sid).Unsealed || len(w.mint.open) != 1 {
			t.Error("not unsealed again")
		}
	})
}

// TestSealGoesThroughWhenKeymintdFails locks while keymintd answers nothing but
// errors: the kernel has sealed, and the caller learns that something is wrong.
func TestSealGoesThroughWhenKeymintdFails(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		sid := w.session(ctx)
		expect(t, "unseal", w.unseal(ctx, sid, right), nil)
		w.disk.fail[at(onMint, wire.OpSealKeys)] = ipc.Unavailable
		expect(t, "lock", w.lock(ctx, sid), ipc.Unavailable)
		if w.active(ctx, sid).Unsealed || len(w.mint.open) != 0 {
			t.Error("not sealed")
		}
		delete(w.disk.fail, at(onMint, wire.OpSealKeys))
		expect(t, "lock again", w.lock(ctx, sid), nil)
	})
}
