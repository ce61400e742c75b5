package ipc_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// inspector is a task that may look, and its slot for that.
type inspector struct {
	t    *testing.T
	task *ipc.Task
	slot ipc.Slot
}

func (w *world) inspector() *inspector {
	w.t.Helper()
	task := w.Task(ipc.TaskSpec{Name: "inspector"})
	slot, err := w.Kernel.GrantInspector(task)
	if err != nil {
		w.t.Fatal(err)
	}
	return &inspector{w.t, task, slot}
}

// after returns the records after one, at most the whole ring.
func (i *inspector) after(id ipc.AuditID) []ipc.Denial {
	i.t.Helper()
	all, err := i.task.Denials(i.slot, id, ipc.MaxDenials)
	if err != nil {
		i.t.Fatal(err)
	}
	return all
}

// newest is the last record, the zero value if there is none.
func (i *inspector) newest() ipc.Denial {
	i.t.Helper()
	v, err := i.task.Inspect(i.slot)
	if err != nil {
		i.t.Fatal(err)
	}
	if v.Denials == 0 {
		return ipc.Denial{}
	}
	d, err := i.task.Explain(i.slot, ipc.AuditID{Boot: 1, Serial: v.Denials})
	if err != nil {
		i.t.Fatal(err)
	}
	return d
}

// TestDenials: each refusal that is not about a token has its own cause, and
// the record says which slot, what it holds, and where it was to go.
func TestDenials(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, see := w.app("app"), w.inspector()
	closed := w.Endpoint(w.svc, ipc.EndpointSpec{Ops: deskOps})
	shut := w.Connect(c.task, closed)
	if err := w.Init.CloseEndpoint(closed); err != nil {
		t.Fatal(err)
	}
	bare := w.Endpoint(w.svc, ipc.EndpointSpec{Ops: deskOps})
	plain := w.Connect(c.task, bare)
	letters := w.Connect(c.task, w.Endpoint(w.svc, ipc.EndpointSpec{Inbox: true}))
	useless, err := w.Init.Derive(w.ep, capability.Recv, c.task)
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := w.Kernel.GrantInspector(c.task)
	if err != nil {
		t.Fatal(err)
	}
	const free = ipc.Slot(200)
	at := func(d ipc.Denial, facet uint8, endpoint uint32) ipc.Denial {
		d.Endpoint, d.Owner, d.Facet = endpoint, "desk", facet
		return d
	}
	end, send, manage := capability.KindEndpoint, capability.Send, capability.Manage
	for _, x := range []struct {
		m    ipc.Msg
		code ipc.Code
		want ipc.Denial
	}{
		{ipc.Msg{Slot: capability.Slots, Move: ipc.NoSlot}, ipc.InvalidArgument, ipc.Denial{Cause: ipc.CauseSlotRange, Slot: capability.Slots}},
		{ipc.Msg{Slot: free, Move: ipc.NoSlot}, ipc.PermissionDenied, ipc.Denial{Cause: ipc.CauseEmptySlot, Slot: free}},
		{ipc.Msg{Slot: fixed, Move: ipc.NoSlot}, ipc.PermissionDenied, ipc.Denial{Cause: ipc.CauseNotEndpoint, Slot: fixed, Kind: capability.KindInspector, Rights: manage}},
		{ipc.Msg{Slot: useless, Move: ipc.NoSlot}, ipc.PermissionDenied, ipc.Denial{Cause: ipc.CauseNoRight, Slot: useless, Kind: end, Rights: capability.Recv, Missing: send}},
		{ipc.Msg{Slot: shut, Move: ipc.NoSlot}, ipc.NoSuchEndpoint, at(ipc.Denial{Cause: ipc.CauseClosed, Slot: shut, Kind: end, Rights: send}, 1, 2)},
		{ipc.Msg{Slot: plain, Op: opUnknown, Move: ipc.NoSlot}, ipc.Unsupported, at(ipc.Denial{Cause: ipc.CauseOpcode, Slot: plain, Kind: end, Rights: send, Op: opUnknown}, 2, 3)},
		{ipc.Msg{Slot: plain, Op: ipc.MaxOps, Move: ipc.NoSlot}, ipc.Unsupported, at(ipc.Denial{Cause: ipc.CauseOpcode, Slot: plain, Kind: end, Rights: send, Op: ipc.MaxOps}, 2, 3)},
		{ipc.Msg{Slot: letters, Op: opEcho, Move: ipc.NoSlot}, ipc.Unsupported, at(ipc.Denial{Cause: ipc.CauseInbox, Slot: letters, Kind: end, Rights: send, Op: opEcho}, 3, 4)},
		{ipc.Msg{Slot: c.slot, Op: opEcho, Move: free}, ipc.PermissionDenied, at(ipc.Denial{Cause: ipc.CauseMoveEmpty, Slot: free, Op: opEcho}, 0, 1)},
		{ipc.Msg{Slot: c.slot, Op: opEcho, Move: fixed}, ipc.PermissionDenied, at(ipc.Denial{Cause: ipc.CauseMoveFixed, Slot: fixed, Kind: capability.KindInspector, Rights: manage, Op: opEcho}, 0, 1)},
		{ipc.Msg{Slot: plain, Op: opEcho, Move: c.slot}, ipc.PermissionDenied, at(ipc.Denial{Cause: ipc.CauseNotTaken, Slot: c.slot, Kind: end, Rights: send, Op: opEcho}, 2, 3)},
	} {
		if x.m.Op == 0 {
			x.m.Op, x.want.Op = opEcho, opEcho
		}
		before := see.newest().ID
		c.do(func(ctx context.Context) {
			got, err := c.task.Call(ctx, x.m, nil)
			want(t, x.want.Cause.String(), string(got.Body), err, x.code)
		})
		all := see.after(before)
		if len(all) != 1 {
			t.Fatalf("%v: %d records", x.want.Cause, len(all))
		}
		x.want.ID, x.want.Time = ipc.AuditID{Boot: 1, Serial: before.Serial + 1}, all[0].Time
		x.want.Stage, x.want.Code, x.want.Task, x.want.Name = ipc.StageSend, x.code, c.task.ID(), "app"
		if all[0] != x.want || x.want.Time == 0 || all[0].Reason() != x.want.Cause.String() {
			t.Errorf("recorded is\n%+v, want\n%+v", all[0], x.want)
		}
	}
}

// TestNoDenial: what is no refusal leaves no record.
func TestNoDenial(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{depth: 1, parallel: 1})
	c, see := w.app("app"), w.inspector()
	_, held := c.begin(ipc.Msg{Op: opHold})
	c.do(func(ctx context.Context) { settle(ctx, c.task) })
	_, queued := c.begin(ipc.Msg{Op: opGet, Token: &c.token})
	c.do(func(ctx context.Context) {
		settle(ctx, c.task)
		body, err := c.send(ctx, ipc.Msg{Op: opEcho, Nonblock: true})
		want(t, "a full queue", body, err, ipc.QueueFull)
		soon, cancel := c.task.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		body, err = c.send(soon, ipc.Msg{Op: opEcho})
		want(t, "a deadline", body, err, ipc.TimedOut)
		body, err = c.send(ctx, ipc.Msg{Op: opEcho, Body: make([]byte, ipc.MaxFrame+1)})
		want(t, "too large", body, err, ipc.TooLarge)
	})
	w.open(held, queued)
	if d := see.newest(); d != (ipc.Denial{}) {
		t.Errorf("recorded is %+v", d)
	}
}

// TestAuditRing: the ring keeps the newest MaxDenials records, counts the rest,
// and finds exactly what it keeps.
func TestAuditRing(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, see := w.app("app"), w.inspector()
	total := 0
	for _, n := range []int{0, 1, ipc.MaxDenials - 1, ipc.MaxDenials, ipc.MaxDenials + 1, 2*ipc.MaxDenials + 7} {
		c.do(func(ctx context.Context) {
			for ; total < n; total++ {
				_, _ = c.send(ctx, ipc.Msg{Op: opGet})
			}
		})
		dropped := max(0, n-ipc.MaxDenials)
		if s := w.Kernel.Stats(); s.Denials != uint64(n) || s.Dropped != uint64(dropped) {
			t.Errorf("%d records: counted %d, dropped %d", n, s.Denials, s.Dropped)
		}
		all := see.after(ipc.AuditID{})
		if len(all) != n-dropped {
			t.Fatalf("%d records: %d are kept", n, len(all))
		}
		for i, d := range all {
			if d.ID != (ipc.AuditID{Boot: 1, Serial: uint64(dropped + i + 1)}) {
				t.Fatalf("%d records: the one at %d is %v", n, i, d.ID)
			}
		}
		for _, serial := range []int{0, dropped, dropped + 1, n, n + 1} {
			kept := serial > dropped && serial <= n
			d, err := see.task.Explain(see.slot, ipc.AuditID{Boot: 1, Serial: uint64(serial)})
			if kept != (err == nil) || kept && d.ID.Serial != uint64(serial) || !kept && (err != ipc.NotFound || d != ipc.Denial{}) {
				t.Errorf("%d records: %d is %v, %v", n, serial, d.ID, err)
			}
			some, err := see.task.Denials(see.slot, ipc.AuditID{Boot: 1, Serial: uint64(serial)}, 2)
			if want := min(2, max(0, n-max(serial, dropped))); err != nil || len(some) != want || want > 0 && some[0].ID.Serial != uint64(max(serial, dropped)+1) {
				t.Errorf("%d records: two after %d are %d, %v", n, serial, len(some), err)
			}
		}
	}
}

func TestAuditIDs(t *testing.T) {
	for _, id := range []ipc.AuditID{{}, {Boot: 3, Serial: 17}, {Boot: ^uint32(0), Serial: ^uint64(0)}} {
		if got, ok := ipc.ParseAuditID(id.String()); !ok || got != id {
			t.Errorf("%v reads as %v, %v", id, got, ok)
		}
	}
	if text := (ipc.AuditID{Boot: 3, Serial: 17}).String(); text != "k3-17" {
		t.Errorf("printed as %q", text)
	}
	for _, text := range []string{"", "k", "3-17", "k3", "k3-", "k-17", "k03-17", "k3-017", "k3-+17", "K3-17", "k3-17 ", "p3-17", "kk3-17", "k4294967296-1", "k1-18446744073709551616"} {
		if id, ok := ipc.ParseAuditID(text); ok {
			t.Errorf("%q reads as %v", text, id)
		}
	}
}

// TestAuditTexts: every stage and cause has a text of its own.
func TestAuditTexts(t *testing.T) {
	seen := make(map[string]bool)
	check := func(text string, known bool) {
		if (text == "unknown") == known || known && seen[text] {
			t.Errorf("a text is %q", text)
		}
		seen[text] = true
	}
	for s := range ipc.StageSyscall + 2 {
		check(s.String(), s > 0 && s <= ipc.StageSyscall)
	}
	for c := range ipc.CauseLife + 2 {
		check(c.String(), c > 0 && c <= ipc.CauseLife)
	}
}

// TestDigests: a target has one digest in a boot, an app and a user of the same
// name have two, and another key makes others. The record has no name.
func TestDigests(t *testing.T) {
	digests := func(key byte) (first, second ipc.Denial) {
		cfg := ipc.Config{Boot: 1}
		r := rig.NewSeeded(t, 1, nil)
		cfg.Executor, cfg.AuditKey[0] = r.Sched, key
		var seen []ipc.Denial
		cfg.Denied = func(d ipc.Denial) { seen = append(seen, d) }
		k := ipc.New(cfg)
		task, err := k.NewTask(ipc.TaskSpec{Name: "all"})
		if err != nil {
			t.Fatal(err)
		}
		factory, err := k.GrantFactory(task)
		if err != nil {
			t.Fatal(err)
		}
		ep, err := task.NewEndpoint(factory, task, ipc.EndpointSpec{Ops: []ipc.Op{{Code: 1, Need: capability.Put}}})
		if err != nil {
			t.Fatal(err)
		}
		auth, err := k.GrantAuthority(task)
		if err != nil {
			t.Fatal(err)
		}
		sid, err := task.StartSession(auth, "alice", [16]byte{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			token, err := task.MintToken(auth, ipc.TokenSpec{SID: sid, App: "alice", Holder: task.ID(), Rights: capability.Get})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			task.Go(func(ctx context.Context) {
				defer close(done)
				_, err := task.Call(ctx, ipc.Msg{Slot: ep, Op: 1, Token: &token, Move: ipc.NoSlot}, nil)
				want(t, "a token without the right", "", err, ipc.Denied)
			})
			if !r.Sched.Await(done, nil) {
				t.Fatal("stuck")
			}
		}
		return seen[0], seen[1]
	}
	a, again := digests(1)
	b, _ := digests(2)
	if a.App == (ipc.Digest{}) || a.User == (ipc.Digest{}) || a.App == a.User || a.App != again.App || a.User != again.User {
		t.Errorf("digests are %v and %v, and then %v and %v", a.App, a.User, again.App, again.User)
	}
	if a.App == b.App || a.User == b.User {
		t.Error("another key makes the same digests")
	}
	if len(a.App.String()) != 32 || (ipc.Digest{}).String() != "" {
		t.Errorf("a digest prints as %q", a.App)
	}
	if text := fmt.Sprintf("%+v", a); strings.Contains(strings.ReplaceAll(text, "Name:all", ""), "alice") {
		t.Errorf("the record has a name: %s", text)
	}
}

// TestDenialAllocatesNothing: not for any way to be refused.
func TestDenialAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newWorld(t, rig.New(t), plan{})
	c := w.app("app")
	layout, right, forged, revoked, stale := c.token, c.token, c.token, w.mint(c.task, ipc.TokenSpec{}), w.mint(c.task, ipc.TokenSpec{SID: w.session("bob")})
	layout[1], right[3] = 1, 1
	forged[50] ^= 1
	if err := w.ident.RevokeToken(w.auth, &revoked); err != nil {
		t.Fatal(err)
	}
	w.seal(w.sid + 1)
	ctx := context.Background()
	for name, m := range map[string]ipc.Msg{
		"missing": {}, "layout": {Token: &layout}, "unknown right": {Token: &right}, "forged": {Token: &forged},
		"revoked": {Token: &revoked}, "stale": {Token: &stale}, "empty slot": {Slot: 200}, "nothing to move": {Op: opEcho, Move: 200},
	} {
		if m.Op == 0 {
			m.Op = opGet
		}
		if n := testing.AllocsPerRun(200, func() { _, _ = c.send(ctx, m) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
