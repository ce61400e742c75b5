package keystored_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keymintd"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// realMint is keymintd itself, with rngd, and the test as its administrator.
type realMint struct {
	adminEP ipc.Slot // init's
	admin   ipc.Slot // identity's
	rooted  map[string]bool
}

func (m *realMint) host(s *system, files ipc.Slot) ipc.Slot {
	rng := s.rig.Task(ipc.TaskSpec{Name: "rngd", Marks: []string{"rngd:"}})
	rngEP := s.rig.Endpoint(rng, ipc.EndpointSpec{Depth: 64, Parallel: 64, Ops: rig.Ops(1)})
	s.rig.Host(rng, func() ipc.Service { return rngd.New(rng, rngd.SystemSource()) })
	task := s.rig.Task(ipc.TaskSpec{Name: "keymintd", Marks: []string{"keymintd:"}, Guards: true})
	m.adminEP = s.rig.Endpoint(task, ipc.EndpointSpec{Depth: 32, Parallel: 32, Ops: []ipc.Op{
		{Code: wire.OpCreateRoot}, {Code: wire.OpUnsealKeys, Need: capability.Seal},
	}})
	ep := s.rig.Endpoint(task, ipc.EndpointSpec{Depth: 256, Parallel: 256, Takes: true, Ops: vaultOps()})
	cfg := keymintd.Config{RNG: s.rig.Connect(task, rngEP), StateFS: s.rig.Connect(task, files)}
	s.rig.Host(task, func() ipc.Service { return keymintd.New(task, cfg) })
	return ep
}

// unseal makes a root key for a new user and opens the session's keys.
func (m *realMint) unseal(ctx context.Context, c *session, create bool) error {
	if m.admin == 0 {
		m.admin = c.s.rig.Connect(c.s.identity, m.adminEP)
	}
	call := func(op uint16, token *capability.Token, q, p proto.Message) error {
		return wire.Call(ctx, c.s.identity, ipc.Msg{Slot: m.admin, Op: op, Token: token, Move: ipc.NoSlot}, q, p)
	}
	protector := &wire.Protector{Id: 1, Auth: bytes.Repeat([]byte{7}, 32)}
	if create && !m.rooted[c.user] {
		q := &wire.CreateRootRequest{User: c.user, Incarnation: append([]byte{c.s.incarnation}, make([]byte, 15)...), Protector: protector}
		if err := call(wire.OpCreateRoot, nil, q, &wire.CreateRootReply{}); err != nil {
			return err
		}
		m.rooted[c.user] = true
	}
	token, err := c.s.identity.MintToken(c.s.auth, ipc.TokenSpec{SID: c.sid, App: "identityd", Holder: c.s.identity.ID(), Rights: capability.Seal})
	if err != nil {
		return err
	}
	return call(wire.OpUnsealKeys, &token, &wire.UnsealKeysRequest{Protector: protector}, &wire.UnsealKeysReply{})
}

func bootReal(t *testing.T, d *simdisk.Disk) *system {
	t.Helper()
	s := &system{t: t, rig: rig.New(t), disk: d, incarnation: 1, real: &realMint{rooted: map[string]bool{}}}
	return start(s, vault.Limits{})
}

// TestWithKeymintd runs keystored above keymintd itself.
func TestWithKeymintd(t *testing.T) {
	const canary = "canary-of-a-secret"
	s := bootReal(t, simdisk.New())
	c := s.alice()
	mail, other := c.app("mail"), c.app("calendar")
	for i := range 40 {
		s.must(mail.put(fmt.Sprint("name-", i%8), fmt.Sprint(canary, i, big)))
		if i%10 == 9 {
			s.must(other.put("name-0", fmt.Sprint(i)))
		}
	}
	s.must(mail.delete("name-1"))
	_, err := mail.get("name-1")
	wantErr(t, "get", err, ipc.NotFound)
	longest := strings.Repeat("n", vault.NameBytes)
	s.must(mail.put(longest, strings.Repeat("v", vault.ValueBytes)))
	check := func(s *system, c *session) {
		t.Helper()
		mail, other := c.app("mail"), c.app("calendar")
		mail.wantGet("name-0", fmt.Sprint(canary, 32, big))
		mail.wantGet(longest, strings.Repeat("v", vault.ValueBytes))
		other.wantGet("name-0", "39")
		want := []string{"name-0", "name-2", "name-3", "name-4", "name-5", "name-6", "name-7", longest}
		if names, err := mail.list(); err != nil || !slices.Equal(names, want) {
			t.Errorf("list: %v, %v", names, err)
		}
	}
	check(s, c)
	c.lock()
	_, err = mail.get("name-0")
	wantErr(t, "get after the lock", err, ipc.Denied)
	s.must(c.unseal(false))
	check(s, c)
	for path, data := range files(t, s.disk) {
		for _, secret := range []string{canary, "name-0", "mail", "calendar", big[:100]} {
			if strings.Contains(data, secret) || strings.Contains(path, secret) {
				t.Errorf("%s shows %.20q", path, secret)
			}
		}
	}
	again := bootReal(t, s.disk.Crash())
	check(again, again.again())
}

// TestDamageWithKeymintd has keymintd itself refuse what was changed.
func TestDamageWithKeymintd(t *testing.T) {
	s := bootReal(t, simdisk.New())
	c := s.alice()
	s.must(c.app("mail").put("one", "1"))
	c.lock()
	first := int64(len(read(t, s.disk, kvPath)))
	c = s.again()
	s.must(c.app("mail").put("two", "2"))
	second := int64(len(read(t, s.disk, kvPath)))
	s.must(c.app("mail").put("three", "3"))
	good := s.disk.Reopen()
	kv := read(t, good, kvPath)
	for name, c := range map[string]struct {
		at      int64
		damaged int64 // where, or -1 for a torn tail
	}{
		"before the head":      {first - 1, first - 368},
		"before a later batch": {second - 1, first},
		"newest batch":         {int64(len(kv)) - 1, -1},
	} {
		d := good.Clone()
		bad := bytes.Clone(kv)
		bad[c.at] ^= 1
		write(t, d, kvPath, bad)
		s := bootReal(t, d)
		session := s.session("alice")
		err := session.unseal(false)
		if c.damaged >= 0 {
			wantFault(t, err, ipc.Damaged, kvState, c.damaged)
			if !bytes.Equal(read(t, d, kvPath), bad) {
				t.Errorf("%s: the file was changed", name)
			}
			continue
		}
		s.must(err)
		session.app("mail").wantGet("two", "2")
		_, err = session.app("mail").get("three")
		wantErr(t, name, err, ipc.NotFound)
		if side := fmt.Sprint(kvPath, ".tail-", second); !bytes.Equal(read(t, d, side), bad[second:]) {
			t.Errorf("%s: no side file", name)
		}
	}
}

// TestLostKey takes an app's key file away: that is damage, for a put as well,
// and no new key is made in its place.
func TestLostKey(t *testing.T) {
	s := bootReal(t, simdisk.New())
	c := s.alice()
	s.must(c.app("mail").put("name", "value"))
	s.must(c.app("calendar").put("name", "value"))
	c.lock()
	rings := func() (paths []string) {
		paths, err := s.disk.List("state/identity/alice/apps/")
		s.must(err)
		return paths
	}
	before := rings()
	for _, path := range before {
		d := s.disk.Clone()
		s.must(d.Remove(path))
		again := bootReal(t, d)
		c := again.again()
		damaged := 0
		for _, id := range []string{"mail", "calendar"} {
			a := c.app(id)
			if _, err := a.get("name"); err == nil {
				continue
			}
			damaged++
			file := "state:/" + strings.TrimPrefix(path, "state/")
			wantFault(t, a.put("name", "x"), ipc.Damaged, file, 0)
			wantFault(t, a.put("other", "x"), ipc.Damaged, file, 0)
			wantFault(t, a.delete("name"), ipc.Damaged, file, 0)
		}
		if damaged != 1 || exists(d, path) {
			t.Errorf("%d apps are damaged; the key is back: %v", damaged, exists(d, path))
		}
	}
	if len(before) != 2 {
		t.Errorf("%d key files", len(before))
	}
}
