package keymintd

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
)

const aliceRoot = "identity/alice/root.keys"

func TestCreateRootNeverReplaces(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		expect(t, "create", w.create(ctx, alice, guard(1, "a")), nil)
		for name, content := range map[string]string{
			"good": onDisk(t, d)[aliceRoot], "empty": "", "damaged": "x", "too long": strings.Repeat("x", rootMost+1),
		} {
			put(t, d, aliceRoot, content)
			expect(t, "create over a file that is "+name, w.create(ctx, alice, guard(2, "b")), ipc.Exists)
			if onDisk(t, d)[aliceRoot] != content {
				t.Errorf("the %s file was changed", name)
			}
		}
		d.SetFault(func(op simdisk.Op) error {
			if op.Kind == simdisk.Stat && op.Path == "state/identity/bob/root.keys" {
				return errDisk
			}
			return nil
		})
		err := w.create(ctx, bob, guard(1, "b"))
		expectFault(t, "create where nothing can be read", err, ipc.IOError, rootPath("bob"), 0)
		d.SetFault(nil)
		if _, made := onDisk(t, d)["identity/bob/root.keys"]; made {
			t.Error("a root was made because reading failed")
		}
	})
}

func TestConcurrentCreateRoot(t *testing.T) {
	eachSeed(t, 50, func(t *testing.T, seed uint64) {
		w := boot(t, seed, simdisk.New())
		var won []string
		var flows []func(ctx context.Context)
		for i := range 4 {
			flows = append(flows, func(ctx context.Context) {
				word := fmt.Sprint("word ", i)
				if err := w.create(ctx, alice, guard(1, word)); err == nil {
					won = append(won, word)
				} else {
					expect(t, "create", err, ipc.Exists)
				}
			})
		}
		w.all(flows...)
		if len(won) != 1 {
			t.Fatalf("%d roots were made", len(won))
		}
		w.do(func(ctx context.Context) {
			expect(t, "unseal", w.start(alice).unseal(ctx, guard(1, won[0])), nil)
		})
	})
}

func TestProtectors(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		word := func(id uint64) *wire.Protector { return guard(id, fmt.Sprint("word ", id)) }
		expect(t, "create", w.create(ctx, alice, word(1)), nil)
		expect(t, "add with a wrong secret", w.add(ctx, alice, guard(1, "x"), word(2)), ipc.BadSecret)
		expect(t, "add with an unknown protector", w.add(ctx, alice, word(5), word(2)), ipc.NotFound)
		expect(t, "add the same", w.add(ctx, alice, word(1), guard(1, "new")), ipc.Exists)
		for id := uint64(2); id <= MaxProtectors+1; id++ {
			want := error(nil)
			if id > MaxProtectors {
				want = ipc.LimitReached
			}
			before := onDisk(t, d)[aliceRoot]
			expect(t, fmt.Sprint("add protector ", id), w.add(ctx, alice, word(id-1), word(id)), want)
			if changed := onDisk(t, d)[aliceRoot] != before; changed == (want != nil) {
				t.Errorf("protector %d: changed %v", id, changed)
			}
		}
		s := w.start(alice)
		for id := uint64(1); id <= MaxProtectors; id++ {
			expect(t, fmt.Sprint("unseal with ", id), s.unsealKeys(ctx, word(id)), nil)
		}
		before := onDisk(t, d)[aliceRoot]
		for name, ids := range map[string][]uint64{
			"nothing": {}, "0": {0}, "one twice": {1, 1}, "five": {1, 2, 3, 4, 5},
		} {
			expect(t, "keep "+name, w.keep(ctx, alice, word(1), ids...), ipc.Malformed)
		}
		expect(t, "keep only unknown ones", w.keep(ctx, alice, word(1), 9), ipc.NotFound)
		expect(t, "keep an unknown one too", w.keep(ctx, alice, word(1), 1, 9), ipc.NotFound)
		writes := d.Stats().Writes
		expect(t, "keep under a wrong secret", w.keep(ctx, alice, guard(1, "wrong"), 4, 2), ipc.BadSecret)
		expect(t, "keep under an unknown protector", w.keep(ctx, alice, guard(9, "9"), 4, 2), ipc.NotFound)
		expect(t, "keep under none", w.keep(ctx, alice, nil, 4, 2), ipc.Malformed)
		expect(t, "keep all", w.keep(ctx, alice, word(1), 4, 3, 2, 1), nil)
		if onDisk(t, d)[aliceRoot] != before || d.Stats().Writes != writes {
			t.Error("a refused or empty change was written")
		}
		expect(t, "keep two", w.keep(ctx, alice, word(1), 4, 2), nil)
		for id, want := range map[uint64]error{1: ipc.NotFound, 2: nil, 3: ipc.NotFound, 4: nil} {
			expect(t, fmt.Sprint("unseal with ", id), s.unsealKeys(ctx, word(id)), want)
		}
	})
}

// TestProtectorsOpenOneRoot changes the password and looks that nothing else
// changed.
func TestProtectorsOpenOneRoot(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		_, err := a.key(ctx)
		expect(t, "key", err, nil)
		record, err := a.seal(ctx, 1, "n", "v")
		expect(t, "seal", err, nil)
		expect(t, "add", w.add(ctx, alice, guard(1, "password"), guard(2, "new password")), nil)
		expect(t, "keep", w.keep(ctx, alice, guard(2, "new password"), 2), nil)
		s.lock(ctx)
		expect(t, "the old password", s.unsealKeys(ctx, guard(1, "password")), ipc.NotFound)
		expect(t, "the new password", s.unseal(ctx, guard(2, "new password")), nil)
		got, err := s.app("demo").open(ctx, 1, record)
		expect(t, "open", err, nil)
		if got != "n=v" {
			t.Errorf("opened %q", got)
		}
	})
}

// TestFailedWriteOfRootKeys leaves the old protectors in place.
func TestFailedWriteOfRootKeys(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		noWrite := func(op simdisk.Op) error {
			if op.Kind == simdisk.Replace {
				return errDisk
			}
			return nil
		}
		d.SetFault(noWrite)
		expectFault(t, "create", w.create(ctx, alice, guard(1, "a")), ipc.IOError, rootPath("alice"), 0)
		d.SetFault(nil)
		expect(t, "create again", w.create(ctx, alice, guard(1, "a")), nil)
		before := onDisk(t, d)[aliceRoot]
		d.SetFault(noWrite)
		expectFault(t, "add", w.add(ctx, alice, guard(1, "a"), guard(2, "b")), ipc.IOError, rootPath("alice"), 0)
		d.SetFault(nil)
		if onDisk(t, d)[aliceRoot] != before {
			t.Error("a failed write changed the file")
		}
		s := w.start(alice)
		expect(t, "unseal with the new one", s.unsealKeys(ctx, guard(2, "b")), ipc.NotFound)
		expect(t, "unseal", s.unsealKeys(ctx, guard(1, "a")), nil)
	})
}

func TestDamagedRootKeysConcernOneUser(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		expect(t, "create", w.create(ctx, alice, guard(1, "a")), nil)
		good := onDisk(t, d)[aliceRoot]
		for name, c := range map[string]struct {
			content string
			offset  int64
		}{
			"empty":     {"", 0},
			"a bit":     {flipped(good, 50), int64(len(good) - 32)},
			"too long":  {good + strings.Repeat("x", rootMost), rootMost},
			"no wrap":   {string(appendSum([]byte(good[:43] + "\x07" + good[44:len(good)-32]))), 43},
			"some wrap": {string(appendSum([]byte(flipped(good[:len(good)-32], 120)))), 43 + 57},
			"a tag":     {string(appendSum([]byte(flipped(good[:len(good)-32], 148)))), 148},
		} {
			put(t, d, aliceRoot, c.content)
			s := w.start(alice)
			expectFault(t, "unseal of "+name, s.unsealKeys(ctx, guard(1, "a")), ipc.Damaged, rootPath("alice"), c.offset)
			expect(t, "end", w.boss.EndSession(w.auth, s.sid), nil)
			if onDisk(t, d)[aliceRoot] != c.content {
				t.Error("the damaged file was changed")
			}
		}
		if err := d.Remove("state/" + aliceRoot); err != nil {
			t.Fatal(err)
		}
		expectFault(t, "unseal of nothing", w.start(alice).unsealKeys(ctx, guard(1, "a")), ipc.Damaged, rootPath("alice"), 0)
		expectFault(t, "add to nothing", w.add(ctx, alice, guard(1, "a"), guard(2, "b")), ipc.Damaged, rootPath("alice"), 0)
		expectFault(t, "keep of nothing", w.keep(ctx, alice, guard(1, "a"), 1), ipc.Damaged, rootPath("alice"), 0)
		w.unsealed(ctx, bob)
	})
}

func TestRemoveRoot(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		s, other := w.unsealed(ctx, alice), w.unsealed(ctx, bob)
		for i := range 120 { // More than one listing holds.
			_, err := s.app(fmt.Sprintf("demo%d", i)).key(ctx)
			expect(t, "key", err, nil)
		}
		_, err := other.app("demo").key(ctx)
		expect(t, "key", err, nil)
		acct := w.svc.sessions[s.sid].acct
		put(t, d, "identity/alice/vault.kv", "not keymintd's")
		expect(t, "remove", w.removeRoot(ctx, alice.name), nil)
		left := onDisk(t, d)
		for path := range left {
			if strings.HasPrefix(path, "identity/alice/") && path != "identity/alice/vault.kv" {
				t.Errorf("%s is still there", path)
			}
		}
		if !acct.wiped || len(ringFiles(t, d, "bob")) != 1 {
			t.Error("keys are in memory, or another user's are gone")
		}
		_, err = s.app("demo").key(ctx)
		expect(t, "an app of the removed user", err, ipc.Sealed)
		expect(t, "remove again", w.removeRoot(ctx, alice.name), nil)
		expect(t, "remove of nobody", w.removeRoot(ctx, "carol"), nil)
		if !maps.Equal(onDisk(t, d), left) {
			t.Error("removing again changed the disk")
		}
		_, err = other.app("demo").key(ctx)
		expect(t, "an app of another user", err, nil)
	})
}

// TestRemoveRootAtEveryCut cuts the power in the middle of a removal: rings go
// only after the root key, and the removal can be finished.
func TestRemoveRootAtEveryCut(t *testing.T) {
	prepared := simdisk.New()
	w := boot(t, 1, prepared)
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		for i := range 3 {
			_, err := s.app(fmt.Sprint("demo", i)).key(ctx)
			expect(t, "key", err, nil)
		}
	})
	cut := 0
	for n := uint64(0); ; n++ {
		d := prepared.Clone()
		w := boot(t, 1, d)
		var err error
		w.do(func(ctx context.Context) {
			d.SetFault(simdisk.FailFrom(d.Calls()+1+n, errDisk))
			err = w.removeRoot(ctx, alice.name)
		})
		if err == nil {
			break
		}
		cut++
		after := d.Crash()
		left := onDisk(t, after)
		_, root := left[aliceRoot]
		if rings := len(ringFiles(t, after, "alice")); root && rings != 3 {
			t.Errorf("cut %d: the root is there, and only %d rings", n, rings)
		}
		w = boot(t, 2, after)
		w.do(func(ctx context.Context) { expect(t, "remove again", w.removeRoot(ctx, alice.name), nil) })
		if len(onDisk(t, after)) != 1 {
			t.Errorf("cut %d: %d files are left", n, len(onDisk(t, after)))
		}
	}
	if cut < 4 {
		t.Errorf("only %d cuts", cut)
	}
}

// TestRemoveRootAmongFirstUses removes a user while rings are being made: no
// ring may appear after the removal was answered.
func TestRemoveRootAmongFirstUses(t *testing.T) {
	between := 0
	eachSeed(t, 60, func(t *testing.T, seed uint64) {
		d := simdisk.New()
		w := boot(t, seed, d)
		var s *seat
		w.do(func(ctx context.Context) { s = w.unsealed(ctx, alice) })
		var flows []func(ctx context.Context)
		for i := range 4 {
			a := s.app(fmt.Sprint("demo", i))
			flows = append(flows, func(ctx context.Context) { _, _ = a.generate(ctx, "k") })
		}
		w.all(append(flows, func(ctx context.Context) {
			w.pause(ctx, seed%16)
			if len(w.svc.locks.held) > 0 {
				between++
			}
			expect(t, "remove", w.removeRoot(ctx, alice.name), nil)
			if left := onDisk(t, d); len(left) != 1 {
				t.Errorf("%d files after the removal", len(left))
			}
		})...)
		if left := onDisk(t, d); len(left) != 1 {
			t.Errorf("%d files at the end", len(left))
		}
	})
	t.Logf("%d seeds removed while something was under way", between)
	if onlySeed(t) == 0 && between < 20 {
		t.Error("these are too few")
	}
}

// TestRemoveRootWaitsForRings holds the lock of a ring that is being written:
// nothing may be removed before it is done.
func TestRemoveRootWaitsForRings(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) { w.unsealed(ctx, alice) })
	w.svc.locks.held["alice/demo"] = true
	w.svc.locks.held["bob/demo"] = true
	removed := false
	w.all(
		func(ctx context.Context) {
			expect(t, "remove", w.removeRoot(ctx, alice.name), nil)
			removed = true
		},
		func(ctx context.Context) {
			w.pause(ctx, 50)
			if _, there := onDisk(t, d)[aliceRoot]; removed || !there {
				t.Error("the removal did not wait")
			}
			w.svc.locks.release("alice/demo")
		},
	)
	if _, there := onDisk(t, d)[aliceRoot]; there {
		t.Error("the removal did not go on")
	}
}

func TestMalformedAdminRequests(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		expect(t, "create", w.create(ctx, alice, guard(1, "a")), nil)
		before := onDisk(t, d)
		good := guard(2, "b")
		for name, p := range map[string]*wire.Protector{
			"none": nil, "id 0": {Auth: good.Auth}, "no auth": {Id: 2}, "short auth": {Id: 2, Auth: good.Auth[:31]},
			"long auth": {Id: 2, Auth: append(good.Auth[:32:32], 0)},
		} {
			expect(t, "create with protector: "+name, w.create(ctx, bob, p), ipc.Malformed)
			expect(t, "add protector: "+name, w.add(ctx, alice, guard(1, "a"), p), ipc.Malformed)
			expect(t, "add with protector: "+name, w.add(ctx, alice, p, good), ipc.Malformed)
			expect(t, "unseal with protector: "+name, w.start(alice).unsealKeys(ctx, p), ipc.Malformed)
		}
		for _, name := range []string{"", "Alice", "alice/../bob", "alice/", "a b", "alice\n", strings.Repeat("a", 33), "*", "alicé"} {
			q := &wire.CreateRootRequest{User: name, Incarnation: alice.inc[:], Protector: good}
			err := w.call(ctx, w.admin, wire.OpCreateRoot, nil, q, &wire.CreateRootReply{})
			expect(t, fmt.Sprintf("create %q", name), err, ipc.Malformed)
			expect(t, fmt.Sprintf("remove %q", name), w.removeRoot(ctx, name), ipc.Malformed)
		}
		for _, n := range []int{0, 15, 17} {
			q := &wire.CreateRootRequest{User: "bob", Incarnation: make([]byte, n), Protector: good}
			err := w.call(ctx, w.admin, wire.OpCreateRoot, nil, q, &wire.CreateRootReply{})
			expect(t, fmt.Sprint("an incarnation of ", n), err, ipc.Malformed)
		}
		if !maps.Equal(onDisk(t, d), before) {
			t.Error("a refused request changed the disk")
		}
	})
}
