package ipc_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// bare is a world without a desk's work to do, and one client in it.
func bare(t *testing.T) (*world, *client) {
	t.Helper()
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	return w, w.app("app")
}

// object makes a memory object.
func (c *client) object(size int) ipc.Slot {
	c.w.t.Helper()
	slot, err := c.task.NewMemory(size)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return slot
}

// wantMemory checks that the kernel counts so many objects and bytes, and that
// its books agree with each other.
func (w *world) wantMemory(what string, objects, size int) {
	w.t.Helper()
	if s := w.Kernel.Stats(); s.Memories != objects || s.MemoryBytes != size {
		w.t.Errorf("%s: %d objects of %d bytes, want %d of %d", what, s.Memories, s.MemoryBytes, objects, size)
	}
	if err := w.Kernel.Check(); err != nil {
		w.t.Errorf("%s: %v", what, err)
	}
}

func wantCode(t *testing.T, what string, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Errorf("%s: %v, want %v", what, err, wanted)
	}
}

func TestMemorySizes(t *testing.T) {
	w, c := bare(t)
	for size, wanted := range map[int]error{
		-1: ipc.InvalidArgument, 0: ipc.InvalidArgument, 1: nil,
		ipc.MaxMemory - 1: nil, ipc.MaxMemory: nil, ipc.MaxMemory + 1: ipc.InvalidArgument,
	} {
		slot, err := c.task.NewMemory(size)
		wantCode(t, "a new object", err, wanted)
		if wanted != nil {
			continue
		}
		if n, err := c.task.MemorySize(slot); slot != capability.Slots-1 || n != size || err != nil {
			t.Errorf("an object of %d bytes in slot %d has %d, %v", size, slot, n, err)
		}
		w.wantMemory("one object", 1, size)
		wantCode(t, "close", c.task.Close(slot), nil)
	}
	w.wantMemory("none", 0, 0)
}

// TestMemoryBounds reads and writes at every edge of an object.
func TestMemoryBounds(t *testing.T) {
	_, c := bare(t)
	slot := c.object(8)
	for _, x := range []struct {
		off, n int
		wanted error
	}{
		{0, 8, nil}, {0, 9, ipc.InvalidArgument}, {7, 1, nil}, {7, 2, ipc.InvalidArgument}, {8, 0, nil}, {8, 1, ipc.InvalidArgument},
		{9, 0, ipc.InvalidArgument}, {-1, 1, ipc.InvalidArgument}, {1<<63 - 1, 1, ipc.InvalidArgument}, {-1 << 63, 1, ipc.InvalidArgument},
	} {
		wantCode(t, "write", c.task.WriteMemory(slot, x.off, bytes.Repeat([]byte{'x'}, x.n)), x.wanted)
	}
	wantCode(t, "write", c.task.WriteMemory(slot, 0, []byte("abcdefgh")), nil)
	wantCode(t, "write over the end", c.task.WriteMemory(slot, 4, []byte("12345")), ipc.InvalidArgument)
	for _, x := range []struct {
		off, room int
		read      string
		wanted    error
	}{
		{0, 9, "abcdefgh", nil}, {0, 3, "abc", nil}, {6, 3, "gh", nil}, {8, 3, "", nil}, {9, 3, "", ipc.InvalidArgument}, {-1, 3, "", ipc.InvalidArgument},
	} {
		buf := make([]byte, x.room)
		n, err := c.task.ReadMemory(slot, x.off, buf)
		wantCode(t, "read", err, x.wanted)
		if string(buf[:n]) != x.read {
			t.Errorf("read %q at %d, want %q", buf[:n], x.off, x.read)
		}
	}
}

// TestMemoryNeedsAuthority: what is no object with MAP is refused, whatever is
// asked of it.
func TestMemoryNeedsAuthority(t *testing.T) {
	w, c := bare(t)
	blind, err := c.task.Derive(c.object(8), 0, c.task)
	wantCode(t, "derive nothing", err, nil)
	for what, x := range map[string]struct {
		slot   ipc.Slot
		wanted error
	}{
		"no MAP":       {blind, ipc.PermissionDenied},
		"empty":        {99, ipc.PermissionDenied},
		"an endpoint":  {c.slot, ipc.PermissionDenied},
		"out of range": {capability.Slots, ipc.InvalidArgument},
		"none":         {ipc.NoSlot, ipc.InvalidArgument},
	} {
		_, err := c.task.ReadMemory(x.slot, 0, make([]byte, 1))
		wantCode(t, what+": read", err, x.wanted)
		wantCode(t, what+": write", c.task.WriteMemory(x.slot, 0, []byte{1}), x.wanted)
		_, err = c.task.MemorySize(x.slot)
		wantCode(t, what+": size", err, x.wanted)
		if x.slot != blind { // Of which an alias is blind too.
			_, err = c.task.ReadOnly(x.slot)
			wantCode(t, what+": alias", err, x.wanted)
		}
	}
	w.wantMemory("at the end", 1, 8)
}

// TestReadOnlyStaysReadOnly: neither cloning nor deriving nor moving makes an
// alias writable, and it shows what is written through the other one.
func TestReadOnlyStaysReadOnly(t *testing.T) {
	w, c := bare(t)
	slot := c.object(4)
	alias, err := c.task.ReadOnly(slot)
	wantCode(t, "alias", err, nil)
	if alias != 1 {
		t.Errorf("the alias is in slot %d, and slot 1 is free", alias)
	}
	wantCode(t, "write", c.task.WriteMemory(slot, 0, []byte("seen")), nil)
	twin, err := c.task.Clone(alias)
	wantCode(t, "clone", err, nil)
	derived, err := c.task.Derive(twin, capability.Map, c.task)
	wantCode(t, "derive", err, nil)
	second, err := c.task.ReadOnly(derived)
	wantCode(t, "alias of an alias", err, nil)
	for _, s := range []ipc.Slot{alias, twin, derived, second} {
		buf := make([]byte, 4)
		if n, err := c.task.ReadMemory(s, 0, buf); n != 4 || err != nil || string(buf) != "seen" {
			t.Errorf("slot %d: read %q, %v", s, buf[:n], err)
		}
		wantCode(t, "write through an alias", c.task.WriteMemory(s, 0, []byte("x")), ipc.PermissionDenied)
	}
	n, err := c.task.Revoke(slot)
	if w.wantMemory("revoked", 1, 4); n != 4 || err != nil {
		t.Errorf("revoke killed %d, %v", n, err)
	}
	_, err = c.task.ReadMemory(alias, 0, nil)
	wantCode(t, "a revoked alias", err, ipc.PermissionDenied)
}

// TestMemoryBudgets goes to each edge of what a task and the system may have.
func TestMemoryBudgets(t *testing.T) {
	w, c := bare(t)
	fill := func(task *ipc.Task, size int) error {
		_, err := task.NewMemory(size)
		return err
	}
	last := ipc.NoSlot
	for range ipc.MaxOwnerMemory / ipc.MaxMemory {
		last = c.object(ipc.MaxMemory)
	}
	wantCode(t, "a byte over the owner's budget", fill(c.task, 1), ipc.NoSpace)
	wantCode(t, "close", c.task.Close(last), nil)
	wantCode(t, "a byte too many", fill(c.task, ipc.MaxMemory+1), ipc.InvalidArgument)
	wantCode(t, "exactly the budget", fill(c.task, ipc.MaxMemory), nil)
	// Others take all that they can. Each may have as much as it leaves free.
	total := ipc.MaxOwnerMemory
	for range 9 {
		other := w.Task(ipc.TaskSpec{Name: "other"})
		share := min(ipc.MaxOwnerMemory, (ipc.MaxSystemMemory-total)/2)
		got := 0
		for got < share {
			size := min(ipc.MaxMemory, share-got)
			wantCode(t, "a fair share", fill(other, size), nil)
			got += size
		}
		wantCode(t, "a byte over the share", fill(other, 1), ipc.NoSpace)
		total += got
	}
	if s := w.Kernel.Stats(); s.MemoryBytes != total || total >= ipc.MaxSystemMemory || total < ipc.MaxSystemMemory-ipc.MaxMemory {
		t.Errorf("%d bytes are in use, %d by this count", s.MemoryBytes, total)
	}
	if err := w.Kernel.Check(); err != nil {
		t.Error(err)
	}
}

// TestMemoryNeedsASlot: a full table takes no object and costs no budget.
func TestMemoryNeedsASlot(t *testing.T) {
	w, c := bare(t)
	for c.task.Slots() < capability.Slots {
		w.Connect(c.task, w.ep)
	}
	_, err := c.task.NewMemory(8)
	wantCode(t, "a full table", err, ipc.NoSpace)
	w.wantMemory("a full table", 0, 0)
	wantCode(t, "close", c.task.Close(9), nil)
	slot := c.object(8)
	_, err = c.task.ReadOnly(slot)
	wantCode(t, "an alias in a full table", err, ipc.NoSpace)
	c.task.Exit()
	_, err = c.task.NewMemory(8)
	wantCode(t, "after the exit", err, ipc.Unavailable)
	w.wantMemory("after the exit", 0, 0)
}

// TestMemoryOutlivesItsCreator: an object is there, and paid for, as long as
// somebody has a capability to it, in flight as well; the last one takes it away.
func TestMemoryOutlivesItsCreator(t *testing.T) {
	var kept ipc.Slot
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 1, depth: 8, task: func(_ context.Context, _ *desk, r *ipc.Request) {
		kept = r.Moved
		_ = r.Reply(ipc.OK, nil)
	}})
	holder, c := w.app("holder"), w.app("app")
	_, held := holder.begin(ipc.Msg{Op: opHold})
	holder.do(func(ctx context.Context) { settle(ctx, holder.task) })
	slot := c.object(16)
	wantCode(t, "write", c.task.WriteMemory(slot, 0, []byte("left behind")), nil)
	_, done := c.begin(ipc.Msg{Op: opTask, Move: slot})
	c.do(func(ctx context.Context) { settle(ctx, c.task) })
	w.wantMemory("in flight", 1, 16)
	w.open(held, done)
	c.task.Exit()
	w.wantMemory("its creator has exited", 1, 16)
	buf := make([]byte, 11)
	if _, err := w.svc.ReadMemory(kept, 0, buf); err != nil || string(buf) != "left behind" {
		t.Errorf("the receiver reads %q, %v", buf, err)
	}
	wantCode(t, "close", w.svc.Close(kept), nil)
	w.wantMemory("closed", 0, 0)
}

// TestMemoryDiesInTheQueue: whatever ends a queued message ends what it brought.
func TestMemoryDiesInTheQueue(t *testing.T) {
	for name, end := range map[string]func(w *world, c *client, slot ipc.Slot){
		"exit":   func(_ *world, c *client, _ ipc.Slot) { c.task.Exit() },
		"revoke": func(_ *world, c *client, slot ipc.Slot) { _, _ = c.task.Revoke(slot); _ = c.task.Close(slot) },
	} {
		w, held := blocked(t, 1, 8)
		c := w.app("app")
		slot := c.object(16)
		twin, err := c.task.Clone(slot)
		wantCode(t, "clone", err, nil)
		_, done := c.begin(ipc.Msg{Op: opGet, Token: &c.token, Move: twin})
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
		w.wantMemory(name+": queued", 1, 16)
		end(w, c, slot)
		w.wantMemory(name, 0, 0)
		w.open(held, done)
	}
}

// TestMemoryIsWiped: the last capability to an object takes its bytes along,
// though the memory itself may be looked at later.
func TestMemoryIsWiped(t *testing.T) {
	for name, end := range map[string]func(c *client, slot ipc.Slot){
		"close": func(c *client, slot ipc.Slot) { _ = c.task.Close(slot) },
		"exit":  func(c *client, _ ipc.Slot) { c.task.Exit() },
		"revoke": func(c *client, slot ipc.Slot) {
			twin, _ := c.task.Clone(slot)
			_, _ = c.task.Revoke(slot)
			_ = c.task.Close(slot)
			_ = twin
		},
	} {
		w, c := bare(t)
		slot := c.object(64)
		inside := w.Kernel.Memories()
		wantCode(t, "write", c.task.WriteMemory(slot, 8, canary), nil)
		if len(inside) != 1 || !bytes.Contains(inside[0], canary) {
			t.Fatal("the test does not see the object's bytes")
		}
		end(c, slot)
		if bytes.ContainsFunc(inside[0], func(r rune) bool { return r != 0 }) {
			t.Errorf("%s: the bytes are still there", name)
		}
	}
}

// TestMovedObjectIsNeverAnothers: the slot of an object that was revoked in the
// hands of a service takes the next request's object; the first request's
// handler neither writes there nor closes it.
func TestMovedObjectIsNeverAnothers(t *testing.T) {
	var results []error
	slots := map[string]ipc.Slot{}
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 8, depth: 8, task: func(ctx context.Context, d *desk, r *ipc.Request) {
		slots[r.Sender.Name] = r.Moved
		if r.Sender.Name == "late" {
			for !d.opened {
				if d.gate.Wait(ctx, d.task) != nil {
					return
				}
			}
			results = append(results, r.WriteMoved(0, []byte("of late")))
			_, err := r.ReadMoved(0, make([]byte, 1))
			results = append(results, err)
			r.CloseMoved()
		}
		_ = r.Reply(ipc.OK, nil)
	}})
	late, next, opener := w.app("late"), w.app("next"), w.app("opener")
	one, two := late.object(16), next.object(16)
	twin, err := late.task.Clone(one)
	wantCode(t, "clone", err, nil)
	_, done := late.begin(ipc.Msg{Op: opTask, Move: twin})
	opener.do(func(ctx context.Context) { settle(ctx, opener.task) })
	_, err = late.task.Revoke(one)
	wantCode(t, "revoke", err, nil)
	twin, err = next.task.Clone(two)
	wantCode(t, "clone", err, nil)
	next.do(func(ctx context.Context) {
		if _, err := next.send(ctx, ipc.Msg{Op: opTask, Move: twin}); err != nil {
			t.Error(err)
		}
	})
	if slots["late"] != slots["next"] || slots["next"] == ipc.NoSlot {
		t.Fatalf("the slots are %v: this shows nothing", slots)
	}
	opener.do(func(ctx context.Context) { _, _ = opener.send(ctx, ipc.Msg{Op: opOpen}) })
	w.await(done)
	for i, err := range results {
		wantCode(t, []string{"write", "read"}[i], err, ipc.PermissionDenied)
	}
	buf := make([]byte, 16)
	if _, err := next.task.ReadMemory(two, 0, buf); err != nil || !bytes.Equal(buf, make([]byte, 16)) {
		t.Errorf("the next one's object holds %q, %v", buf, err)
	}
	if _, err := w.svc.MemorySize(slots["next"]); err != nil {
		t.Errorf("the next one's object was closed: %v", err)
	}
}

// TestNothingIsWrittenAfterASeal: what a handler writes into a moved object is a
// part of its answer, and fails when the answer would.
func TestNothingIsWrittenAfterASeal(t *testing.T) {
	for name, x := range map[string]struct {
		hit    func(w *world, c *client)
		wanted error
	}{
		"nothing": {func(*world, *client) {}, nil},
		"seal":    {func(w *world, _ *client) { w.seal(w.sid) }, ipc.PeerClosed},
		"revoke":  {func(w *world, c *client) { _ = w.ident.RevokeToken(w.auth, &c.token) }, ipc.PeerClosed},
		"stale":   {func(w *world, _ *client) { w.Kernel.RaiseEpoch(w.sid) }, ipc.Denied},
	} {
		var wrote error
		w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 8, depth: 8, task: func(ctx context.Context, d *desk, r *ipc.Request) {
			for !d.opened {
				if d.gate.Wait(ctx, d.task) != nil {
					return
				}
			}
			wrote = r.WriteMoved(4, []byte("late"))
			_ = r.Reply(ipc.OK, nil)
			if err := r.WriteMoved(4, []byte("more")); !errors.Is(err, ipc.PeerClosed) {
				t.Errorf("%s: a write after the reply: %v", name, err)
			}
		}})
		c, opener := w.app("app"), w.app("opener")
		slot := c.object(8)
		twin, err := c.task.Clone(slot)
		wantCode(t, "clone", err, nil)
		_, done := c.begin(ipc.Msg{Op: opTaskGet, Token: &c.token, Move: twin})
		c.do(func(ctx context.Context) { settle(ctx, c.task) })
		x.hit(w, c)
		opener.do(func(ctx context.Context) { _, _ = opener.send(ctx, ipc.Msg{Op: opOpen}) })
		w.await(done)
		buf := make([]byte, 8)
		_, _ = c.task.ReadMemory(slot, 0, buf)
		wantCode(t, name, wrote, x.wanted)
		if got := string(buf[4:]) == "late"; got != (x.wanted == nil) {
			t.Errorf("%s: the object holds %q", name, buf)
		}
	}
}

// TestMemoryIsTraced: each call leaves an event, with its size and no byte.
func TestMemoryIsTraced(t *testing.T) {
	var tr trace
	w := newWorld(t, rig.NewSeeded(t, 1, tr.tap), plan{})
	c := w.app("app")
	slot := c.object(300)
	_, _ = c.task.ReadOnly(slot)
	_ = c.task.WriteMemory(slot, 0, make([]byte, 200))
	_, _ = c.task.ReadMemory(slot, 290, make([]byte, 100))
	_, _ = c.task.MemorySize(slot)
	_, _ = c.task.NewMemory(ipc.MaxMemory + 1)
	wanted := []ipc.TraceEvent{
		{Op: ipc.SyscallNewMemory, Slot: slot, Size: 300},
		{Op: ipc.SyscallReadOnly, Slot: slot},
		{Op: ipc.SyscallWriteMemory, Slot: slot, Size: 200},
		{Op: ipc.SyscallReadMemory, Slot: slot, Size: 10},
		{Op: ipc.SyscallMemorySize, Slot: slot, Size: 300},
		{Op: ipc.SyscallNewMemory, Slot: ipc.NoSlot, Size: 0xffff, Code: ipc.InvalidArgument},
	}
	got := tr.events[len(tr.events)-len(wanted):]
	for i, e := range got {
		wanted[i].Kind, wanted[i].From, wanted[i].Time = ipc.TraceSyscall, c.task.ID(), e.Time
		if e != wanted[i] {
			t.Errorf("got %+v\nwant %+v", e, wanted[i])
		}
		if ipc.SyscallName(e.Op) == "unknown" {
			t.Errorf("call %d has no name", e.Op)
		}
	}
}

// TestNoTraceOfTheDead: a flow of control that outlives its task gives back what
// the task had lent, and the trace does not show a task doing so after its exit.
func TestNoTraceOfTheDead(t *testing.T) {
	var tr trace
	w := newWorld(t, rig.NewSeeded(t, 1, tr.tap), plan{})
	c := w.app("app")
	slot := c.object(8)
	c.task.Exit()
	_, err := c.task.Revoke(slot)
	wantCode(t, "revoke", err, ipc.PermissionDenied)
	wantCode(t, "close", c.task.Close(slot), ipc.PermissionDenied)
	wantCode(t, "write", c.task.WriteMemory(slot, 0, nil), ipc.PermissionDenied)
	if last := tr.events[len(tr.events)-1]; last.Kind != ipc.TraceExit || last.From != c.task.ID() {
		t.Errorf("after the exit there is %+v", last)
	}
	w.wantMemory("after the exit", 0, 0)
}
