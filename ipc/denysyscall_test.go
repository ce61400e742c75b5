package ipc_test

import (
	"context"
	"errors"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestSyscallDenials: each system call that is refused for a capability or a
// token leaves one record, which says which call it was and why.
func TestSyscallDenials(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, see := w.app("app"), w.inspector()
	app := c.task
	letters := w.Endpoint(app, ipc.EndpointSpec{Inbox: true})
	send := w.Connect(app, letters)
	shutAt := w.Endpoint(app, ipc.EndpointSpec{Inbox: true})
	derive := func(slot ipc.Slot, rights capability.Rights) ipc.Slot {
		got, err := w.Init.Derive(slot, rights, app)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	shut, desk := derive(shutAt, capability.Recv), derive(w.ep, capability.Recv)
	if err := w.Init.CloseEndpoint(shutAt); err != nil {
		t.Fatal(err)
	}
	memory, err := app.NewMemory(8)
	if err != nil {
		t.Fatal(err)
	}
	alias, err := app.ReadOnly(memory)
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := w.Kernel.GrantFactory(app)
	if err != nil {
		t.Fatal(err)
	}
	child, err := w.Kernel.NewTask(ipc.TaskSpec{Name: "child", Parent: app.ID()})
	if err != nil {
		t.Fatal(err)
	}
	forged, short := c.token, w.mint(app, ipc.TokenSpec{Expires: ipc.Time(1) << 50})
	forged[50] ^= 1
	receive := func(slot ipc.Slot) error {
		var err error
		c.do(func(ctx context.Context) { _, err = app.Receive(ctx, slot, nil, ipc.SysNonblock, 0) })
		return err
	}
	second := func(_ any, err error) error { return err }
	const free, none = ipc.Slot(200), ipc.NoSlot
	denied, refused := ipc.PermissionDenied, ipc.Denied
	for name, x := range map[string]struct {
		call    func() error
		syscall uint16
		slot    ipc.Slot
		code    ipc.Code
		cause   ipc.Cause
		missing capability.Rights
		why     capability.Refusal
	}{
		"receive, out of range":      {func() error { return receive(capability.Slots) }, ipc.SyscallReceive, capability.Slots, ipc.InvalidArgument, ipc.CauseSlotRange, 0, 0},
		"receive, empty":             {func() error { return receive(free) }, ipc.SyscallReceive, free, denied, ipc.CauseEmptySlot, 0, 0},
		"receive, memory":            {func() error { return receive(memory) }, ipc.SyscallReceive, memory, denied, ipc.CauseNotEndpoint, 0, 0},
		"receive, no RECV":           {func() error { return receive(send) }, ipc.SyscallReceive, send, denied, ipc.CauseNoRight, capability.Recv, 0},
		"receive, closed":            {func() error { return receive(shut) }, ipc.SyscallReceive, shut, ipc.NoSuchEndpoint, ipc.CauseClosed, 0, 0},
		"receive, a service's":       {func() error { return receive(desk) }, ipc.SyscallReceive, desk, ipc.Unsupported, ipc.CauseNoInbox, 0, 0},
		"clone":                      {func() error { return second(app.Clone(free)) }, ipc.SyscallClone, free, denied, ipc.CauseEmptySlot, 0, 0},
		"derive, more rights":        {func() error { return second(app.Derive(send, capability.Recv, app)) }, ipc.SyscallDerive, send, denied, ipc.CauseNoRight, capability.Recv, 0},
		"derive, for a stranger":     {func() error { return second(app.Derive(send, capability.Send, w.svc)) }, ipc.SyscallDerive, send, denied, ipc.CauseStranger, 0, 0},
		"derive, for nobody":         {func() error { return second(app.Derive(send, capability.Send, nil)) }, ipc.SyscallDerive, send, denied, ipc.CauseStranger, 0, 0},
		"derive, a factory":          {func() error { return second(app.Derive(fixed, capability.Manage, child)) }, ipc.SyscallDerive, fixed, denied, ipc.CauseMoveFixed, 0, 0},
		"close":                      {func() error { return app.Close(free) }, ipc.SyscallClose, free, denied, ipc.CauseEmptySlot, 0, 0},
		"revoke":                     {func() error { return second(app.Revoke(capability.Slots)) }, ipc.SyscallRevoke, capability.Slots, ipc.InvalidArgument, ipc.CauseSlotRange, 0, 0},
		"close endpoint":             {func() error { return app.CloseEndpoint(send) }, ipc.SyscallCloseEndpoint, send, denied, ipc.CauseNoRight, capability.Manage, 0},
		"new endpoint, no factory":   {func() error { return second(app.NewEndpoint(send, app, ipc.EndpointSpec{})) }, ipc.SyscallNewEndpoint, send, denied, ipc.CauseKind, 0, 0},
		"new endpoint, stranger":     {func() error { return second(app.NewEndpoint(fixed, w.svc, ipc.EndpointSpec{})) }, ipc.SyscallNewEndpoint, fixed, denied, ipc.CauseStranger, 0, 0},
		"new endpoint, nobody":       {func() error { return second(app.NewEndpoint(fixed, nil, ipc.EndpointSpec{})) }, ipc.SyscallNewEndpoint, fixed, denied, ipc.CauseStranger, 0, 0},
		"read memory":                {func() error { return second(app.ReadMemory(send, 0, nil)) }, ipc.SyscallReadMemory, send, denied, ipc.CauseKind, 0, 0},
		"write an alias":             {func() error { return app.WriteMemory(alias, 0, []byte{1}) }, ipc.SyscallWriteMemory, alias, denied, ipc.CauseReadOnly, 0, 0},
		"memory size":                {func() error { return second(app.MemorySize(free)) }, ipc.SyscallMemorySize, free, denied, ipc.CauseEmptySlot, 0, 0},
		"read-only":                  {func() error { return second(app.ReadOnly(free)) }, ipc.SyscallReadOnly, free, denied, ipc.CauseEmptySlot, 0, 0},
		"start a session":            {func() error { return second(app.StartSession(send, "alice", [16]byte{})) }, ipc.SyscallStartSession, send, denied, ipc.CauseKind, 0, 0},
		"open, out of range":         {func() error { return app.OpenSession(capability.Slots, w.sid) }, ipc.SyscallOpenSession, capability.Slots, denied, ipc.CauseSlotRange, 0, 0},
		"new endpoint, out of range": {func() error { return second(app.NewEndpoint(capability.Slots, app, ipc.EndpointSpec{})) }, ipc.SyscallNewEndpoint, capability.Slots, denied, ipc.CauseSlotRange, 0, 0},
		"open":                       {func() error { return app.OpenSession(free, w.sid) }, ipc.SyscallOpenSession, free, denied, ipc.CauseEmptySlot, 0, 0},
		"seal":                       {func() error { return app.SealSession(send, w.sid) }, ipc.SyscallSealSession, send, denied, ipc.CauseKind, 0, 0},
		"end":                        {func() error { return app.EndSession(send, w.sid) }, ipc.SyscallEndSession, send, denied, ipc.CauseKind, 0, 0},
		"drain": {func() (err error) {
			c.do(func(ctx context.Context) { err = app.DrainSession(ctx, send, w.sid) })
			return err
		}, ipc.SyscallDrainSession, send, denied, ipc.CauseKind, 0, 0},
		"mint":                      {func() error { return second(app.MintToken(send, ipc.TokenSpec{SID: w.sid})) }, ipc.SyscallMintToken, send, denied, ipc.CauseKind, 0, 0},
		"revoke, no authority":      {func() error { return app.RevokeToken(send, &c.token) }, ipc.SyscallRevokeToken, send, denied, ipc.CauseKind, 0, 0},
		"inspect":                   {func() error { return second(app.Inspect(send)) }, ipc.SyscallInspect, send, denied, ipc.CauseKind, 0, 0},
		"derive token, forged":      {func() error { return second(app.DeriveToken(&forged, app, capability.Get, 0)) }, ipc.SyscallDeriveToken, none, refused, ipc.CauseToken, 0, capability.RefusedForged},
		"derive token, none":        {func() error { return second(app.DeriveToken(nil, app, capability.Get, 0)) }, ipc.SyscallDeriveToken, none, refused, ipc.CauseToken, 0, capability.RefusedMissing},
		"derive token, stranger":    {func() error { return second(app.DeriveToken(&c.token, w.svc, capability.Get, 0)) }, ipc.SyscallDeriveToken, none, denied, ipc.CauseStranger, 0, 0},
		"derive token, nobody":      {func() error { return second(app.DeriveToken(&c.token, nil, capability.Get, 0)) }, ipc.SyscallDeriveToken, none, denied, ipc.CauseStranger, 0, 0},
		"derive token, more rights": {func() error { return second(app.DeriveToken(&c.token, app, capability.Put, 0)) }, ipc.SyscallDeriveToken, none, denied, ipc.CauseToken, 0, capability.RefusedRight},
		"derive token, longer life": {func() error { return second(app.DeriveToken(&short, app, capability.Get, 0)) }, ipc.SyscallDeriveToken, none, denied, ipc.CauseLife, 0, 0},
	} {
		before := see.newest().ID
		if err := x.call(); !errors.Is(err, x.code) {
			t.Errorf("%s: %v, want %v", name, err, x.code)
		}
		all := see.after(before)
		if len(all) != 1 {
			t.Errorf("%s: %d records", name, len(all))
			continue
		}
		d := all[0]
		if d.Stage != ipc.StageSyscall || d.Syscall != x.syscall || d.Slot != x.slot || d.Code != x.code || d.Cause != x.cause ||
			d.Missing != x.missing || d.Refusal != x.why || d.Task != app.ID() || d.Name != "app" {
			t.Errorf("%s: recorded is %+v", name, d)
		}
	}
	for name, err := range map[string]error{
		"revoke, forged": w.ident.RevokeToken(w.auth, &forged), "revoke, none": w.ident.RevokeToken(w.auth, nil),
	} {
		want(t, name, "", err, ipc.Denied)
		if d := see.newest(); d.Syscall != ipc.SyscallRevokeToken || d.Cause != ipc.CauseToken {
			t.Errorf("%s: recorded is %+v", name, d)
		}
	}
}

// TestNoSyscallDenial: what is refused for no capability and no token leaves no
// record, nor does anything that a task does after its exit.
func TestNoSyscallDenial(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, see := w.app("app"), w.inspector()
	app := c.task
	inbox, err := w.Init.Derive(w.Endpoint(app, ipc.EndpointSpec{Inbox: true}), capability.Recv, app)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := app.NewMemory(8)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = app.NewMemory(0)
	_, _ = app.ReadMemory(memory, 9, nil)
	_, _ = app.DeriveToken(&c.token, app, 0, 0)
	_ = w.ident.OpenSession(w.auth, 99)
	c.do(func(ctx context.Context) {
		_, err := app.Receive(ctx, inbox, nil, ipc.SysNonblock, 0)
		want(t, "nothing there", "", err, ipc.QueueEmpty)
		_, err = app.Receive(ctx, inbox, nil, 1<<7, 0)
		want(t, "an unknown flag", "", err, ipc.InvalidArgument)
	})
	app.Exit()
	_, _ = app.Clone(inbox)
	_, _ = app.DeriveToken(&c.token, app, capability.Get, 0)
	if d := see.newest(); d != (ipc.Denial{}) {
		t.Errorf("recorded is %+v", d)
	}
}

// TestRevokedWhileWaiting: who waits through a capability that is revoked leaves
// a record, for room and for a message.
func TestRevokedWhileWaiting(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{depth: 1, parallel: 1})
	c, other, see := w.app("app"), w.app("other"), w.inspector()
	master := w.Endpoint(c.task, ipc.EndpointSpec{Inbox: true})
	inbox, err := w.Init.Derive(master, capability.Recv, c.task)
	if err != nil {
		t.Fatal(err)
	}
	_, held := other.begin(ipc.Msg{Op: opHold})
	other.do(func(ctx context.Context) { settle(ctx, other.task) })
	_, queued := other.begin(ipc.Msg{Op: opEcho})
	other.do(func(ctx context.Context) { settle(ctx, other.task) })
	waits, room := c.begin(ipc.Msg{Op: opEcho})
	message := c.start(func(ctx context.Context) {
		_, err := c.task.Receive(ctx, inbox, nil, 0, 0)
		want(t, "a message", "", err, ipc.PermissionDenied)
	})
	c.do(func(ctx context.Context) { settle(ctx, c.task) })
	for _, slot := range []ipc.Slot{c.slot, inbox} {
		if err := c.task.Close(slot); err != nil {
			t.Fatal(err)
		}
	}
	w.await(room, message)
	want(t, "room", waits.body, waits.err, ipc.PermissionDenied)
	all := see.after(ipc.AuditID{})
	if len(all) != 2 || all[0].Stage != ipc.StageVoid || all[0].Cause != ipc.CauseEmptySlot || all[0].Slot != c.slot ||
		all[1].Syscall != ipc.SyscallReceive || all[1].Cause != ipc.CauseEmptySlot || all[1].Slot != inbox {
		t.Errorf("recorded are %+v", all)
	}
	other.task.Exit()
	w.await(held, queued)
}

// TestReceiveDenialAllocatesNothing: a flood of refused receives costs no memory,
// and the ring keeps as many of its records as of any others.
func TestReceiveDenialAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newWorld(t, rig.New(t), plan{})
	c, see := w.app("app"), w.inspector()
	ctx := context.Background()
	for name, call := range map[string]func(){
		"receive":      func() { _, _ = c.task.Receive(ctx, 200, nil, ipc.SysNonblock, 0) },
		"derive token": func() { _, _ = c.task.DeriveToken(nil, c.task, capability.Get, 0) },
		"clone":        func() { _, _ = c.task.Clone(200) },
	} {
		if n := testing.AllocsPerRun(2*ipc.MaxDenials, call); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if n := len(see.after(ipc.AuditID{})); n != ipc.MaxDenials {
		t.Errorf("%d records are kept", n)
	}
}
