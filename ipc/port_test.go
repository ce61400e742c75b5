package ipc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/tests/rig"
)

// box is an inbox with a task that sends to it and one that receives from it.
type box struct {
	*world
	sender, receiver *ipc.Task
	send, recv       ipc.Slot
	master           ipc.Slot // init's
}

func newBox(t *testing.T, depth int) *box {
	b := &box{world: newWorld(t, rig.NewSeeded(t, 1, nil), plan{depth: 8, parallel: 8})}
	b.sender, b.receiver = b.Task(ipc.TaskSpec{Name: "sender"}), b.Task(ipc.TaskSpec{Name: "receiver"})
	b.master = b.Endpoint(b.receiver, ipc.EndpointSpec{Inbox: true, Depth: depth})
	b.send, b.recv = b.Connect(b.sender, b.master), b.give(b.receiver, b.master, capability.Recv)
	return b
}

func (b *box) give(to *ipc.Task, slot ipc.Slot, rights capability.Rights) ipc.Slot {
	b.t.Helper()
	got, err := b.Init.Derive(slot, rights, to)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// message is one without a capability.
func message(slot ipc.Slot, op uint16, payload string) ipc.Outgoing {
	return ipc.Outgoing{Slot: slot, Header: frame.Header{Type: op, Len: uint32(len(payload))}, Payload: []byte(payload)}
}

// moving is one with a capability.
func moving(slot ipc.Slot, payload string, move ipc.Slot) ipc.Outgoing {
	m := message(slot, 1, payload)
	m.Header.Flags, m.Header.Src = frame.CapMove, uint32(move)
	return m
}

func nonblocking(m ipc.Outgoing) ipc.Outgoing {
	m.Flags = ipc.SysNonblock
	return m
}

// got is what a receive came to.
type got struct {
	in      ipc.Incoming
	payload string
	err     error
	over    bool
}

func receive(ctx context.Context, t *ipc.Task, slot ipc.Slot, size int, flags ipc.SysFlags, deadline ipc.Time) *got {
	buf := make([]byte, size)
	g := new(got)
	g.in, g.err = t.Receive(ctx, slot, buf, flags, deadline)
	g.payload, g.over = string(buf[:g.in.N]), true
	return g
}

// later starts a receive and lets it wait.
func (b *box) later(flags ipc.SysFlags, deadline ipc.Time) (*got, <-chan struct{}) {
	g, done := new(got), make(chan struct{})
	b.receiver.Go(func(ctx context.Context) {
		defer close(done)
		*g = *receive(ctx, b.receiver, b.recv, 64, flags, deadline)
	})
	b.settle()
	return g, done
}

func (b *box) settle() { b.Do(b.sender, func(ctx context.Context) { settle(ctx, b.sender) }) }

func (b *box) post(m ipc.Outgoing) (err error) {
	b.t.Helper()
	b.Do(b.sender, func(ctx context.Context) { err = b.sender.Send(ctx, m) })
	return err
}

func (b *box) now(size int, flags ipc.SysFlags) (g *got) {
	b.t.Helper()
	b.Do(b.receiver, func(ctx context.Context) { g = receive(ctx, b.receiver, b.recv, size, flags|ipc.SysNonblock, 0) })
	return g
}

func wants(t *testing.T, what string, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Errorf("%s: %v; want %v", what, err, wanted)
	}
}

// TestMessage: what arrives is what was sent, stamped by the kernel, also when
// the sender has exited by then.
func TestMessage(t *testing.T) {
	b := newBox(t, 4)
	m := message(b.send, 0xfffe, "hello")
	m.Header.Dst = 0x11223344 // A sender's word, which is not believed.
	wants(t, "send", b.post(m), nil)
	b.sender.Exit()
	g := b.nowOf()
	wants(t, "receive", g.err, nil)
	number := b.Kernel.View().Endpoints
	want := ipc.Incoming{N: 5, Service: ipc.ServiceID("sender"),
		Header: frame.Header{Dst: number[len(number)-1].ID, Type: 0xfffe, Len: 5}}
	if g.in != want || g.payload != "hello" {
		t.Errorf("received %+v with %q, not %+v", g.in, g.payload, want)
	}
	wants(t, "nothing is left", b.nowOf().err, ipc.QueueEmpty)
}

func (b *box) nowOf() *got { return b.now(64, 0) }

// TestMalformedSend: what is no message is refused before any slot is looked at.
func TestMalformedSend(t *testing.T) {
	b := newBox(t, 1)
	for name, change := range map[string]func(m *ipc.Outgoing){
		"a length that is not the payload's": func(m *ipc.Outgoing) { m.Header.Len++ },
		"a length beyond any payload's":      func(m *ipc.Outgoing) { m.Header.Len = 1 << 31 },
		"an unknown flag of the header":      func(m *ipc.Outgoing) { m.Header.Flags = 2 },
		"an unknown flag of the call":        func(m *ipc.Outgoing) { m.Flags = 8 },
		"a receiver's flag":                  func(m *ipc.Outgoing) { m.Flags = ipc.SysTruncate },
		"a slot to move out of range":        func(m *ipc.Outgoing) { m.Header.Flags, m.Header.Src = frame.CapMove, capability.Slots },
		"a payload over a frame": func(m *ipc.Outgoing) {
			m.Payload, m.Header.Len = make([]byte, ipc.MaxFrame+1), ipc.MaxFrame+1
		},
		"a slot out of range": func(m *ipc.Outgoing) { m.Slot = capability.Slots },
	} {
		m := message(b.send, 1, "x")
		change(&m)
		wants(t, name, b.post(m), ipc.InvalidArgument)
	}
	m := message(b.send, 1, "x")
	m.Slot = 200
	wants(t, "an empty slot", b.post(m), ipc.PermissionDenied)
	wants(t, "a capability that is not there", b.post(moving(b.send, "x", 100)), ipc.PermissionDenied)
	b.Do(b.receiver, func(ctx context.Context) {
		wants(t, "sending with RECV", b.receiver.Send(ctx, message(b.recv, 1, "x")), ipc.PermissionDenied)
		_, err := b.receiver.Receive(ctx, b.recv, nil, 8, 0)
		wants(t, "an unknown flag", err, ipc.InvalidArgument)
		_, err = b.receiver.Receive(ctx, capability.Slots, nil, 0, 0)
		wants(t, "receiving from a slot out of range", err, ipc.InvalidArgument)
		_, err = b.receiver.Receive(ctx, 99, nil, 0, 0)
		wants(t, "receiving from an empty slot", err, ipc.PermissionDenied)
	})
	b.Do(b.sender, func(ctx context.Context) {
		_, err := b.sender.Receive(ctx, b.send, nil, 0, 0)
		wants(t, "receiving with SEND", err, ipc.PermissionDenied)
		_, err = b.sender.Call(ctx, ipc.Msg{Slot: b.send, Op: 1, Move: ipc.NoSlot}, nil)
		wants(t, "calling an inbox", err, ipc.Unsupported)
	})
	b.Do(b.Init, func(ctx context.Context) {
		_, err := b.Init.Receive(ctx, b.ep, nil, ipc.SysNonblock, 0)
		wants(t, "receiving from a service's endpoint", err, ipc.Unsupported)
	})
	wants(t, "nothing was sent", b.nowOf().err, ipc.QueueEmpty)
}

// TestTruncate: without the flag a message that does not fit stays, at the byte.
func TestTruncate(t *testing.T) {
	b := newBox(t, 2)
	wants(t, "send", b.post(message(b.send, 1, "12345678")), nil)
	for size := range 8 {
		g := b.now(size, 0)
		wants(t, "too small", g.err, ipc.InvalidArgument)
	}
	g := b.now(5, ipc.SysTruncate)
	if g.err != nil || g.payload != "12345" || g.in.Header.Len != 8 {
		t.Errorf("cut: %q of %d, %v", g.payload, g.in.Header.Len, g.err)
	}
	wants(t, "send", b.post(message(b.send, 1, "12345678")), nil)
	if g := b.now(8, 0); g.err != nil || g.payload != "12345678" {
		t.Errorf("whole: %q, %v", g.payload, g.err)
	}
}

// TestReceiversAreFIFO: who waited longest is served first, and one whose buffer
// is too small is told and takes nothing from the next.
func TestReceiversAreFIFO(t *testing.T) {
	b := newBox(t, 4)
	var all []*got
	var dones []<-chan struct{}
	small := new(got)
	done := make(chan struct{})
	b.receiver.Go(func(ctx context.Context) {
		defer close(done)
		*small = *receive(ctx, b.receiver, b.recv, 1, 0, 0)
	})
	b.settle()
	for range 3 {
		g, d := b.later(0, 0)
		all, dones = append(all, g), append(dones, d)
	}
	for _, text := range []string{"one", "two", "three"} {
		wants(t, "send", b.post(message(b.send, 1, text)), nil)
	}
	b.await(append(dones, done)...)
	wants(t, "the one with the small buffer", small.err, ipc.InvalidArgument)
	if all[0].payload != "one" || all[1].payload != "two" || all[2].payload != "three" {
		t.Errorf("received %q, %q, %q", all[0].payload, all[1].payload, all[2].payload)
	}
}

// TestReceiveDeadline: a wait ends at its absolute deadline, or never without.
func TestReceiveDeadline(t *testing.T) {
	b := newBox(t, 1)
	limit := b.Kernel.Now().Add(time.Hour)
	g, done := b.later(0, limit)
	never, end := b.later(0, 0)
	b.await(done)
	wants(t, "with a deadline", g.err, ipc.TimedOut)
	if now := b.Kernel.Now(); now != limit {
		t.Errorf("it ended at %d and not at %d", now, limit)
	}
	b.Do(b.sender, func(ctx context.Context) { _ = b.sender.Sleep(ctx, 1000*time.Hour) })
	if never.over {
		t.Errorf("without a deadline it ended: %v", never.err)
	}
	wants(t, "send", b.post(message(b.send, 1, "late")), nil)
	b.await(end)
	if never.payload != "late" {
		t.Errorf("received %q, %v", never.payload, never.err)
	}
}

// TestSendersAreFIFO: senders wait for room, are let in first come first served,
// and the one with a deadline leaves with its capability.
func TestSendersAreFIFO(t *testing.T) {
	b := newBox(t, 1)
	wants(t, "fills the queue", b.post(message(b.send, 1, "first")), nil)
	wants(t, "no room", b.post(nonblocking(message(b.send, 1, "x"))), ipc.QueueFull)
	clone, err := b.sender.Clone(b.send)
	wants(t, "clone", err, nil)
	errs := make([]error, 3)
	var dones []<-chan struct{}
	start := func(i int, m ipc.Outgoing) {
		done := make(chan struct{})
		dones = append(dones, done)
		b.sender.Go(func(ctx context.Context) {
			defer close(done)
			errs[i] = b.sender.Send(ctx, m)
		})
		b.settle()
	}
	leaving := moving(b.send, "leaves", clone)
	leaving.Deadline = b.Kernel.Now().Add(time.Second)
	start(0, message(b.send, 1, "second"))
	start(1, leaving)
	start(2, message(b.send, 1, "third"))
	b.await(dones[1])
	wants(t, "past its deadline", errs[1], ipc.TimedOut)
	if _, err := b.sender.Clone(clone); err != nil {
		t.Errorf("its capability is gone: %v", err)
	}
	for _, text := range []string{"first", "second", "third"} {
		if g := b.nowOf(); g.payload != text {
			t.Errorf("received %q, %v; want %q", g.payload, g.err, text)
		}
		b.settle()
	}
	b.await(dones...)
	wants(t, "second", errs[0], nil)
	wants(t, "third", errs[2], nil)
}

// TestCapMove: a capability leaves its sender's table when the message is
// queued, arrives in the receiver's lowest free slot without MANAGE, and waits
// in the queue while the receiver's table is full.
func TestCapMove(t *testing.T) {
	b := newBox(t, 2)
	held := b.sender.Slots()
	clone, err := b.sender.Clone(b.send)
	wants(t, "clone", err, nil)
	wants(t, "send", b.post(moving(b.send, "with", clone)), nil)
	if n := b.sender.Slots(); n != held {
		t.Errorf("the sender holds %d capabilities, not %d", n, held)
	}
	for b.receiver.Slots() < capability.Slots {
		if _, err := b.receiver.Clone(b.recv); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, "into a full table", b.nowOf().err, ipc.NoSpace)
	wants(t, "close", b.receiver.Close(7), nil)
	g := b.nowOf()
	if g.err != nil || g.in.Header.Src != 7 || g.in.Header.Flags != frame.CapMove || g.payload != "with" {
		t.Errorf("received %+v, %q, %v", g.in, g.payload, g.err)
	}
	b.Do(b.receiver, func(ctx context.Context) {
		wants(t, "what arrived works", b.receiver.Send(ctx, message(7, 1, "back")), nil)
	})
	if g := b.nowOf(); g.payload != "back" || g.in.Header.Flags != 0 || g.in.Header.Src != 0 {
		t.Errorf("received %+v, %q", g.in, g.payload)
	}
}

// TestRevokeReachesTheQueue: a capability that is revoked in a queued message is
// not there when the message arrives, and who waits through a revoked one is
// told before Revoke returns.
func TestRevokeReachesTheQueue(t *testing.T) {
	b := newBox(t, 1)
	other := b.Endpoint(b.receiver, ipc.EndpointSpec{Inbox: true})
	gift := b.give(b.sender, other, capability.Send)
	wants(t, "send", b.post(moving(b.send, "with", gift)), nil)
	if n, err := b.Init.Revoke(other); n != 1 || err != nil {
		t.Errorf("revoked %d, %v", n, err)
	}
	waiting := make(chan struct{})
	var blocked error
	b.sender.Go(func(ctx context.Context) {
		defer close(waiting)
		blocked = b.sender.Send(ctx, message(b.send, 1, "waits"))
	})
	b.settle()
	g := b.nowOf()
	if g.err != nil || g.payload != "with" || g.in.Header.Flags != 0 || g.in.Header.Src != 0 {
		t.Errorf("received %+v, %q, %v", g.in, g.payload, g.err)
	}
	b.await(waiting)
	wants(t, "the one that waited", blocked, nil)

	again := make(chan struct{})
	b.sender.Go(func(ctx context.Context) {
		defer close(again)
		blocked = b.sender.Send(ctx, message(b.send, 1, "waits in vain"))
	})
	b.settle()
	_ = b.nowOf()
	b.settle()
	_ = b.nowOf()
	r, done := b.later(0, 0)
	if n, err := b.Init.Revoke(b.master); n != 2 || err != nil {
		t.Errorf("revoked %d, %v", n, err)
	}
	b.await(again, done)
	wants(t, "a receiver through it", r.err, ipc.PermissionDenied)
	wants(t, "and once more", b.nowOf().err, ipc.PermissionDenied)
}

// TestEOF: a receiver that asks for it learns that nobody is left who could
// send: not before somebody could, not while one is in flight, not while a
// message is queued.
func TestEOF(t *testing.T) {
	b := newBox(t, 2)
	recv := b.give(b.receiver, b.master, capability.Recv)
	_ = recv
	wants(t, "init's own", b.Init.Close(b.master), nil)
	wants(t, "a sender lives", b.now(8, ipc.SysEOF).err, ipc.QueueEmpty)
	clone, err := b.sender.Clone(b.send)
	wants(t, "clone", err, nil)
	waiting, done := b.later(ipc.SysEOF, 0)
	deaf, end := b.later(0, 0)
	wants(t, "closes one of two", b.sender.Close(clone), nil)
	b.settle()
	if waiting.over {
		t.Fatalf("it ended with a sender alive: %v", waiting.err)
	}
	wants(t, "closes the last", b.sender.Close(b.send), nil)
	b.await(done)
	wants(t, "the last sender is gone", waiting.err, ipc.PeerClosed)
	wants(t, "and for who comes later", b.now(8, ipc.SysEOF).err, ipc.PeerClosed)
	wants(t, "who does not ask is not told", b.now(8, 0).err, ipc.QueueEmpty)
	if deaf.over {
		t.Errorf("who does not ask was told: %v", deaf.err)
	}
	b.receiver.Exit()
	b.await(end)
	if deaf.err == nil {
		t.Error("a receive outlived its task")
	}
}

// TestEOFInFlight: the last sender is on its way in a message.
func TestEOFInFlight(t *testing.T) {
	b := newBox(t, 2)
	wants(t, "init's own", b.Init.Close(b.master), nil)
	carrier := b.Endpoint(b.receiver, ipc.EndpointSpec{Inbox: true})
	way := b.give(b.sender, carrier, capability.Send)
	wants(t, "send the last sender away", b.post(moving(way, "", b.send)), nil)
	wants(t, "it is in flight", b.now(8, ipc.SysEOF).err, ipc.QueueEmpty)
	wants(t, "the carrier closes", b.Init.CloseEndpoint(carrier), nil)
	wants(t, "it died in flight", b.now(8, ipc.SysEOF).err, ipc.PeerClosed)
}

// TestQueuedWinsOverEOF and an inbox that never had a sender never ends.
func TestQueuedWinsOverEOF(t *testing.T) {
	b := newBox(t, 2)
	wants(t, "send", b.post(message(b.send, 1, "last words")), nil)
	wants(t, "init's own", b.Init.Close(b.master), nil)
	b.sender.Exit()
	if g := b.now(64, ipc.SysEOF); g.payload != "last words" {
		t.Errorf("received %q, %v", g.payload, g.err)
	}
	wants(t, "and then", b.now(64, ipc.SysEOF).err, ipc.PeerClosed)
}

// TestNoSenderNoEOF: whoever makes an inbox and closes what it made it with
// leaves one that nobody has ever been able to send to; it does not end.
func TestNoSenderNoEOF(t *testing.T) {
	b := newBox(t, 2)
	lonely := b.Endpoint(b.receiver, ipc.EndpointSpec{Inbox: true})
	b.recv = b.give(b.receiver, lonely, capability.Recv)
	wants(t, "init's own", b.Init.Close(lonely), nil)
	wants(t, "nobody ever", b.now(8, ipc.SysEOF).err, ipc.QueueEmpty)
}

// TestCloseWakesEverybody: senders and receivers alike.
func TestCloseWakesEverybody(t *testing.T) {
	for name, end := range map[string]func(b *box){
		"closed by MANAGE": func(b *box) { wants(b.t, "close", b.Init.CloseEndpoint(b.master), nil) },
		"the owner exits":  func(b *box) { b.receiver.Exit() },
	} {
		b := newBox(t, 1)
		reader := b.Task(ipc.TaskSpec{Name: "reader"})
		slot := b.give(reader, b.master, capability.Recv)
		var errs [2]error
		done := []chan struct{}{make(chan struct{}), make(chan struct{})}
		reader.Go(func(ctx context.Context) {
			defer close(done[0])
			_, errs[0] = reader.Receive(ctx, slot, make([]byte, 8), 0, 0)
			if errs[0] == nil {
				_, errs[0] = reader.Receive(ctx, slot, make([]byte, 8), 0, 0)
			}
		})
		b.settle()
		end(b)
		b.await(done[0])
		wants(t, name+", a receiver", errs[0], ipc.NoSuchEndpoint)
		wants(t, name+", a sender afterwards", b.post(message(b.send, 1, "x")), ipc.NoSuchEndpoint)

		b = newBox(t, 1)
		clone, err := b.sender.Clone(b.send)
		wants(t, "clone", err, nil)
		wants(t, "fill", b.post(message(b.send, 1, "x")), nil)
		b.sender.Go(func(ctx context.Context) {
			defer close(done[1])
			errs[1] = b.sender.Send(ctx, moving(b.send, "y", clone))
		})
		b.settle()
		end(b)
		b.await(done[1])
		wants(t, name+", a sender", errs[1], ipc.NoSuchEndpoint)
		if _, err := b.sender.Clone(clone); err != nil {
			t.Errorf("%s: the capability that was not sent is gone: %v", name, err)
		}
	}
}

// TestManageStays: authority to close an endpoint does not travel with a message.
func TestManageStays(t *testing.T) {
	b := newBox(t, 1)
	own := b.Endpoint(b.Init, ipc.EndpointSpec{Inbox: true})
	b.Do(b.Init, func(ctx context.Context) { wants(t, "send", b.Init.Send(ctx, moving(b.master, "", own)), nil) })
	g := b.nowOf()
	wants(t, "receive", g.err, nil)
	wants(t, "closing what came", b.receiver.CloseEndpoint(ipc.Slot(g.in.Header.Src)), ipc.PermissionDenied)
}
