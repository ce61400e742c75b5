package keymintd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

func TestUnsealSealUnseal(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		expect(t, "create", w.create(ctx, alice, guard(1, "password")), nil)
		expect(t, "second protector", w.add(ctx, alice, guard(1, "password"), guard(2, "pin")), nil)
		s := w.start(alice)
		a := s.app("demo")
		_, err := a.seal(ctx, 1, "n", "v")
		expect(t, "a record before unseal", err, ipc.Sealed)
		expect(t, "wrong secret", s.unsealKeys(ctx, guard(1, "passwort")), ipc.BadSecret)
		expect(t, "the other one's secret", s.unsealKeys(ctx, guard(2, "password")), ipc.BadSecret)
		expect(t, "unknown protector", s.unsealKeys(ctx, guard(3, "password")), ipc.NotFound)
		expect(t, "right secret", s.unsealKeys(ctx, guard(1, "password")), nil)
		_, err = a.seal(ctx, 1, "n", "v")
		expect(t, "a record before the kernel knows", err, ipc.Sealed)
		expect(t, "open", w.boss.OpenSession(w.auth, s.sid), nil)
		_, err = a.key(ctx)
		expect(t, "key", err, nil)
		record, err := a.seal(ctx, 1, "n", "v")
		expect(t, "a record", err, nil)
		expect(t, "unseal of what is unsealed", s.unsealKeys(ctx, guard(2, "pin")), nil)
		expect(t, "wrong unseal of what is unsealed", s.unsealKeys(ctx, guard(2, "nip")), ipc.BadSecret)
		got, err := a.open(ctx, 1, record)
		expect(t, "opening", err, nil)
		if got != "n=v" {
			t.Errorf("opened %q", got)
		}
		s.lock(ctx)
		w.noKeys()
		_, err = a.open(ctx, 1, record)
		expect(t, "the old token", err, ipc.Denied)
		a = s.app("demo")
		_, err = a.open(ctx, 1, record)
		expect(t, "a new token of the locked session", err, ipc.Sealed)
		expect(t, "unseal with the pin", s.unseal(ctx, guard(2, "pin")), nil)
		got, err = a.open(ctx, 1, record)
		expect(t, "opening again", err, nil)
		if got != "n=v" {
			t.Errorf("opened %q", got)
		}
	})
}

// noKeys fails the test if the running instance has keys of anybody.
func (w *world) noKeys() {
	w.t.Helper()
	if len(w.svc.sessions) != 0 || len(w.svc.accounts) != 0 {
		w.t.Errorf("%d sessions and %d accounts have keys", len(w.svc.sessions), len(w.svc.accounts))
	}
	if n := secret.ReadStats().InUse - w.secrets; n != 0 {
		w.t.Errorf("%d secrets are in use", n)
	}
}

// TestNothingIsInUseAfterALock goes through everything that makes secrets, what
// is refused included.
func TestNothingIsInUseAfterALock(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		expect(t, "create", w.create(ctx, alice, guard(1, "password")), nil)
		expect(t, "second protector", w.add(ctx, alice, guard(1, "password"), guard(2, "pin")), nil)
		expect(t, "the same again", w.add(ctx, alice, guard(1, "password"), guard(2, "pin")), ipc.Exists)
		expect(t, "by a wrong one", w.add(ctx, alice, guard(1, "passwort"), guard(3, "pin")), ipc.BadSecret)
		w.noKeys()
		s := w.start(alice)
		expect(t, "wrong secret", s.unsealKeys(ctx, guard(1, "passwort")), ipc.BadSecret)
		w.noKeys()
		expect(t, "unseal", s.unseal(ctx, guard(1, "password")), nil)
		expect(t, "unseal again", s.unsealKeys(ctx, guard(2, "pin")), nil)
		a := s.app("demo")
		_, err := a.key(ctx)
		expect(t, "key", err, nil)
		record, err := a.seal(ctx, 1, "n", "v")
		expect(t, "seal", err, nil)
		_, err = a.open(ctx, 1, record)
		expect(t, "open", err, nil)
		_, err = a.open(ctx, 2, record)
		expect(t, "open in another place", err, ipc.Damaged)
		segment, err := a.sealSegment(ctx, "header", "body")
		expect(t, "seal a segment", err, nil)
		_, err = a.openSegment(ctx, "header", segment)
		expect(t, "open it", err, nil)
		_, err = a.openSegment(ctx, "redaeh", segment)
		expect(t, "open another", err, ipc.Damaged)
		_, err = a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		_, err = a.generate(ctx, "k")
		expect(t, "generate again", err, ipc.Exists)
		_, err = a.sign(ctx, "k", []byte("message"))
		expect(t, "sign", err, nil)
		blob, err := a.wrap(ctx, "k")
		expect(t, "wrap", err, nil)
		blob[len(blob)-1] ^= 1
		_, err = a.unwrap(ctx, "k2", blob)
		expect(t, "unwrap of what was changed", err, ipc.Denied)
		if n := secret.ReadStats().InUse - w.secrets; n < 6 {
			t.Errorf("%d secrets in use, with two keys of the user, two of the vault, a ring and a signing key", n)
		}
		s.lock(ctx)
		w.noKeys()
	})
}

func TestKeysOutliveTheBoot(t *testing.T) {
	d := simdisk.New()
	var record, segment, public, id []byte
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		var err error
		id, err = a.key(ctx)
		expect(t, "key", err, nil)
		record, err = a.seal(ctx, 7, "name", "value")
		expect(t, "seal", err, nil)
		segment, err = a.sealSegment(ctx, "header", "body")
		expect(t, "segment", err, nil)
		public, err = a.generate(ctx, "k")
		expect(t, "generate", err, nil)
	})
	w = bootWith(t, rig.NewSeeded(t, 2, nil), d.Crash(), &testChance{drawn: 5000}, Limits{})
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		again, err := a.key(ctx)
		expect(t, "key", err, nil)
		if !bytes.Equal(again, id) || len(id) != KeyIDSize {
			t.Errorf("the key id is %x, was %x", again, id)
		}
		got, err := a.open(ctx, 7, record)
		expect(t, "record", err, nil)
		if got != "name=value" {
			t.Errorf("opened %q", got)
		}
		got, err = a.openSegment(ctx, "header", segment)
		expect(t, "segment", err, nil)
		if got != "body" {
			t.Errorf("opened %q", got)
		}
		got2, err := a.public(ctx, "k")
		expect(t, "public", err, nil)
		if !bytes.Equal(got2, public) {
			t.Error("another public key")
		}
	})
}

func TestAppsAndUsersAreApart(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		sa, sb := w.unsealed(ctx, alice), w.unsealed(ctx, bob)
		one, two, other := sa.app("one"), sa.app("two"), sb.app("one")
		ids := make(map[string]bool)
		for _, a := range []*app{one, two, other} {
			id, err := a.key(ctx)
			expect(t, "key", err, nil)
			ids[string(id)] = true
		}
		if len(ids) != 3 {
			t.Errorf("%d key ids for three apps", len(ids))
		}
		record, err := one.seal(ctx, 1, "n", "v")
		expect(t, "seal", err, nil)
		segment, err := one.sealSegment(ctx, "h", "b")
		expect(t, "segment", err, nil)
		for name, a := range map[string]*app{"another app": two, "another user": other} {
			_, err := a.open(ctx, 1, record)
			expect(t, "the record as "+name, err, ipc.Damaged)
			var place *wire.Fault
			if errors.As(err, &place) {
				t.Errorf("%s was told a place: %v", name, err)
			}
		}
		got, err := two.openSegment(ctx, "h", segment)
		expect(t, "the segment as another app of the user", err, nil)
		if got != "b" {
			t.Errorf("opened %q", got)
		}
		_, err = other.openSegment(ctx, "h", segment)
		expect(t, "the segment as another user", err, ipc.Damaged)
		_, err = one.open(ctx, 2, record)
		expect(t, "the record at another place", err, ipc.Damaged)
		_, err = one.openSegment(ctx, "H", segment)
		expect(t, "the segment under another header", err, ipc.Damaged)
	})
}

// TestLaterUserOfTheSameName has nothing of the earlier one.
func TestLaterUserOfTheSameName(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		if _, err := a.key(ctx); err != nil {
			t.Fatal(err)
		}
		record, err := a.seal(ctx, 1, "n", "v")
		expect(t, "seal", err, nil)
		root := onDisk(t, d)["identity/alice/root.keys"]
		expect(t, "remove", w.removeRoot(ctx, alice.name), nil)
		later := person{alice.name, [Incarnation]byte{9}}
		a = w.unsealed(ctx, later).app("demo")
		if _, err := a.key(ctx); err != nil {
			t.Fatal(err)
		}
		_, err = a.open(ctx, 1, record)
		expect(t, "the earlier user's record", err, ipc.Damaged)
		put(t, d, "identity/alice/root.keys", root)
		err = w.start(later).unsealKeys(ctx, guard(1, "password"))
		expectFault(t, "the earlier user's file", err, ipc.Damaged, rootPath("alice"), rootIncarnation)
	})
}

// TestSessionsOfOneUserShareRings is about a ring that one session changes
// while another has read it: nothing may be lost.
func TestSessionsOfOneUserShareRings(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		first, second := w.unsealed(ctx, alice), w.unsealed(ctx, alice)
		for i, s := range []*seat{first, second, first, second} {
			_, err := s.app("demo").generate(ctx, fmt.Sprint("k", i))
			expect(t, "generate", err, nil)
		}
		first.lock(ctx)
		names, err := second.app("demo").list(ctx, "")
		expect(t, "list after the other's lock", err, nil)
		if strings.Join(names, " ") != "k0 k1 k2 k3" {
			t.Errorf("names %q", names)
		}
		_, err = first.app("demo").list(ctx, "")
		expect(t, "list in the locked session", err, ipc.Sealed)
		second.lock(ctx)
		w.noKeys()
	})
	w = boot(t, 2, d.Crash())
	w.do(func(ctx context.Context) {
		names, err := w.unsealed(ctx, alice).app("demo").list(ctx, "")
		expect(t, "list", err, nil)
		if strings.Join(names, " ") != "k0 k1 k2 k3" {
			t.Errorf("names %q", names)
		}
	})
}

// TestKeysAreOfOneEpoch has keys of an epoch that the kernel's stamp is not of.
func TestKeysAreOfOneEpoch(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		_, err := a.key(ctx)
		expect(t, "key", err, nil)
		for _, epoch := range []uint32{0, 2} {
			w.svc.sessions[s.sid].epoch = epoch
			_, err = a.key(ctx)
			expect(t, fmt.Sprint("key in epoch ", epoch), err, ipc.Sealed)
		}
	})
}

// TestNewsOfTheKernelSeals seals without a word to keymintd.
func TestNewsOfTheKernelSeals(t *testing.T) {
	for name, over := range map[string]func(w *world, s *seat) error{
		"seal": func(w *world, s *seat) error { return w.boss.SealSession(w.auth, s.sid) },
		"end":  func(w *world, s *seat) error { return w.boss.EndSession(w.auth, s.sid) },
	} {
		w := boot(t, 1, simdisk.New())
		w.do(func(ctx context.Context) {
			s := w.unsealed(ctx, alice)
			_, err := s.app("demo").generate(ctx, "k")
			expect(t, "generate", err, nil)
			acct := w.svc.sessions[s.sid].acct
			key := acct.rings["demo"].keys[0].seed.Expose()
			expect(t, name, over(w, s), nil)
			expect(t, "drain", w.boss.DrainSession(ctx, w.auth, s.sid), nil)
			w.noKeys()
			if !acct.wiped || !zero(key) {
				t.Errorf("%s left keys in memory", name)
			}
		})
	}
}

func TestCrashLosesAllKeys(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		sa, sb := w.unsealed(ctx, alice), w.unsealed(ctx, bob)
		record := map[*seat][]byte{}
		for _, s := range []*seat{sa, sb} {
			a := s.app("demo")
			if _, err := a.key(ctx); err != nil {
				t.Fatal(err)
			}
			r, err := a.seal(ctx, 1, "n", "v")
			expect(t, "seal", err, nil)
			record[s] = r
		}
		broken := w.svc
		broken.sessions[sa.sid].acct.rootKeys.names.Wipe() // Its next use is a programmer's error.
		_, err := sa.app("other").key(ctx)
		expect(t, "the request that crashes the service", err, ipc.Unavailable)
		if n := secret.ReadStats().InUse - w.secrets; n != 0 {
			t.Errorf("%d secrets are in use after the crash", n)
		}
		for _, s := range []*seat{sa, sb} {
			_, err := s.app("demo").open(ctx, 1, record[s])
			expect(t, "after the crash", err, ipc.Sealed)
			expect(t, "unseal", s.unseal(ctx, guard(1, "password")), nil)
			got, err := s.app("demo").open(ctx, 1, record[s])
			expect(t, "after unseal", err, nil)
			if got != "n=v" {
				t.Errorf("opened %q", got)
			}
		}
		if w.svc == broken || len(w.Crashes()) != 1 {
			t.Errorf("%d crashes", len(w.Crashes()))
		}
	})
}

// TestFacetsAreApart sends operations through the wrong endpoint.
func TestFacetsAreApart(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		err := w.call(ctx, w.admin, wire.OpAppKey, nil, &wire.AppKeyRequest{Create: true}, &wire.AppKeyReply{})
		expect(t, "vault's operation on admin", err, ipc.Unsupported)
		err = a.onVault(ctx, wire.OpSign, &wire.SignRequest{Name: "k"}, &wire.SignReply{})
		expect(t, "keys' operation on vault", err, ipc.Unsupported)
		err = a.onVault(ctx, 63, &wire.SignRequest{}, &wire.SignReply{})
		expect(t, "an unknown operation", err, ipc.Unsupported)
		q := &wire.UnsealKeysRequest{Protector: guard(1, "password")}
		err = w.call(ctx, w.admin, wire.OpUnsealKeys, nil, q, &wire.UnsealKeysReply{})
		expect(t, "unseal without a token", err, ipc.Denied)
		err = w.call(ctx, w.admin, wire.OpUnsealKeys, s.token("demo", capability.Sign), q, &wire.UnsealKeysReply{})
		expect(t, "unseal without the right", err, ipc.Denied)
	})
}

// TestSealAtAnyMoment locks a session while its requests are under way, under
// many orders. Whatever they answer, no key may stay, and what was answered
// well must hold afterwards.
func TestSealAtAnyMoment(t *testing.T) {
	between := 0
	eachSeed(t, 200, func(t *testing.T, seed uint64) {
		d := simdisk.New()
		w := boot(t, seed, d)
		var s *seat
		var made []string
		w.do(func(ctx context.Context) { s = w.unsealed(ctx, alice) })
		a, b := s.app("one"), s.app("two")
		acct := w.svc.sessions[s.sid].acct
		w.all(
			func(ctx context.Context) { _, _ = a.key(ctx) },
			func(ctx context.Context) { _, _ = a.seal(ctx, 1, "n", "v") },
			func(ctx context.Context) {
				if _, err := a.generate(ctx, "k1"); err == nil {
					made = append(made, "k1")
				}
			},
			func(ctx context.Context) {
				if _, err := a.generate(ctx, "k2"); err == nil {
					made = append(made, "k2")
				}
			},
			func(ctx context.Context) { _, _ = b.key(ctx) },
			func(ctx context.Context) { _ = s.unsealKeys(ctx, guard(1, "password")) },
			func(ctx context.Context) {
				w.pause(ctx, seed%16)
				if len(w.svc.locks.held) > 0 {
					between++
				}
				expect(t, "seal", w.boss.SealSession(w.auth, s.sid), nil)
				expect(t, "drain", w.boss.DrainSession(ctx, w.auth, s.sid), nil)
				if w.svc.sessions[s.sid] != nil && w.svc.sessions[s.sid].epoch == 1 {
					t.Error("the sealed epoch has keys")
				}
			},
		)
		w.do(func(ctx context.Context) {
			s.lock(ctx)
			w.noKeys()
			if !acct.wiped || len(acct.rings) != 0 {
				t.Errorf("%d rings in a wiped account", len(acct.rings))
			}
			expect(t, "unseal", s.unseal(ctx, guard(1, "password")), nil)
			names, err := s.app("one").list(ctx, "")
			expect(t, "list", err, nil)
			for _, name := range made {
				if !strings.Contains(strings.Join(names, " "), name) {
					t.Errorf("%s was made, and is not there: %q", name, names)
				}
			}
			if len(w.svc.locks.held) != 0 {
				t.Errorf("locks held by nobody: %v", w.svc.locks.held)
			}
		})
		if len(w.Crashes()) != 0 {
			t.Errorf("crashed: %v", w.Crashes()[0])
		}
	})
	t.Logf("%d seeds sealed while something was under way", between)
	if onlySeed(t) == 0 && between < 50 {
		t.Error("these are too few")
	}
}

// TestUnsealOvertakenBySeal lets the seal come while root.keys is being read.
func TestUnsealOvertakenBySeal(t *testing.T) {
	refused := 0
	eachSeed(t, 100, func(t *testing.T, seed uint64) {
		w := boot(t, seed, simdisk.New())
		var s *seat
		w.do(func(ctx context.Context) {
			expect(t, "create", w.create(ctx, alice, guard(1, "password")), nil)
			s = w.start(alice)
		})
		token := s.token("nexus.identityd", capability.Seal)
		w.all(
			func(ctx context.Context) {
				q := &wire.UnsealKeysRequest{Protector: guard(1, "password")}
				if err := w.call(ctx, w.admin, wire.OpUnsealKeys, token, q, &wire.UnsealKeysReply{}); err != nil {
					expect(t, "overtaken unseal", err, ipc.Denied)
					refused++
				}
			},
			func(ctx context.Context) {
				w.pause(ctx, seed%5)
				expect(t, "seal", w.boss.SealSession(w.auth, s.sid), nil)
				expect(t, "drain", w.boss.DrainSession(ctx, w.auth, s.sid), nil)
				w.noKeys()
			},
		)
		w.noKeys()
	})
	if onlySeed(t) == 0 && refused == 0 {
		t.Error("no seed let the seal overtake the unseal")
	}
}

func TestOnGoroutines(t *testing.T) {
	w := bootWith(t, rig.New(t), simdisk.New(), &testChance{}, Limits{})
	w.do(func(ctx context.Context) { w.unsealed(ctx, alice).app("demo") })
	var s *seat
	w.do(func(ctx context.Context) { s = w.unsealed(ctx, alice) })
	flows := make([]func(ctx context.Context), 8)
	for i := range flows {
		a := s.app("demo")
		flows[i] = func(ctx context.Context) {
			if _, err := a.generate(ctx, fmt.Sprint("k", i)); err != nil {
				t.Error(err)
			}
			for n := range uint64(20) {
				record, err := a.seal(ctx, n+1, "name", "value")
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := a.open(ctx, n+1, record); err != nil || got != "name=value" {
					t.Errorf("opened %q: %v", got, err)
				}
			}
		}
	}
	w.all(flows...)
	w.do(func(ctx context.Context) {
		names, err := s.app("demo").list(ctx, "")
		if err != nil || len(names) != len(flows) {
			t.Errorf("%d names: %v", len(names), err)
		}
		s.lock(ctx)
	})
}

func TestVaultIDs(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	ask := func(ctx context.Context, a *app) ([]byte, error) {
		var p wire.VaultIDReply
		err := a.onVault(ctx, wire.OpVaultID, &wire.VaultIDRequest{}, &p)
		return p.Id, err
	}
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		one, err := ask(ctx, s.app("demo"))
		expect(t, "an id", err, nil)
		two, err := ask(ctx, s.app("demo"))
		expect(t, "another one", err, nil)
		if len(one) != 32 || len(two) != 32 || bytes.Equal(one, two) {
			t.Errorf("ids %x and %x", one, two)
		}
		s.lock(ctx)
		_, err = ask(ctx, s.app("demo"))
		expect(t, "an id for a locked session", err, ipc.Sealed)
		w.chance.fail = true
		expect(t, "unseal", s.unseal(ctx, guard(1, "password")), nil)
		_, err = ask(ctx, s.app("demo"))
		expect(t, "an id without chance", err, ipc.Unavailable)
	})
}
