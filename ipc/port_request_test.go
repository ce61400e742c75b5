package ipc_test

import (
	"context"
	"slices"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
)

// desk requests by Send: reply is the sender's inbox.
func (b *box) desk(t *testing.T) (desk, inbox ipc.Slot) {
	own := b.Endpoint(b.sender, ipc.EndpointSpec{Inbox: true, Depth: 2})
	return b.Connect(b.sender, b.ep), b.give(b.sender, own, capability.Send|capability.Recv)
}

// ask sends a request whose answer comes to inbox.
func (b *box) ask(m ipc.Outgoing, inbox ipc.Slot) error {
	clone, err := b.sender.Derive(inbox, capability.Send, b.sender)
	if err != nil {
		return err
	}
	m.Header.Flags, m.Header.Src = frame.CapMove, uint32(clone)
	err = b.post(m)
	if err != nil {
		_ = b.sender.Close(clone)
	}
	return err
}

// request is the payload of a request: nonce and body.
func request(slot ipc.Slot, op uint16, nonce uint64, body string) ipc.Outgoing {
	return message(slot, op, string(frame.AppendRequest(nil, nonce, []byte(body))))
}

// TestRequestBySend: the answer comes to the inbox with the nonce, errors
// included, and leaves no capability behind.
func TestRequestBySend(t *testing.T) {
	b := newBox(t, 1)
	desk, inbox := b.desk(t)
	held := b.sender.Slots()
	token := b.mint(b.sender, ipc.TokenSpec{})
	answer := func() (uint64, ipc.Code, string) {
		t.Helper()
		var g *got
		b.Do(b.sender, func(ctx context.Context) { g = receive(ctx, b.sender, inbox, ipc.MaxFrame, 0, 0) })
		wants(t, "the answer", g.err, nil)
		if g.in.Service != ipc.ServiceID("desk") {
			t.Error("the answer is not the desk's")
		}
		nonce, code, body, err := frame.ParseAnswer([]byte(g.payload))
		wants(t, "the envelope", err, nil)
		return nonce, ipc.Code(code), string(body)
	}
	wants(t, "ask", b.ask(request(desk, opEcho, 1<<40, "hello"), inbox), nil)
	if nonce, code, body := answer(); nonce != 1<<40 || code != ipc.OK || body != "hello" {
		t.Errorf("answered %d, %v, %q", nonce, code, body)
	}
	m := request(desk, opGet, 7, "secret")
	m.Token = token[:]
	wants(t, "ask with a token", b.ask(m, inbox), nil)
	if nonce, code, body := answer(); nonce != 7 || code != ipc.OK || body != "secret" {
		t.Errorf("answered %d, %v, %q", nonce, code, body)
	}
	for name, bytes := range map[string][]byte{"none": nil, "short": token[:79], "long": append(token[:], 0), "flipped": flip(token)} {
		m.Token = bytes
		wants(t, "a token: "+name, b.ask(m, inbox), ipc.Denied)
	}
	wants(t, "a request without a nonce", b.ask(message(desk, opEcho, "1234567"), inbox), ipc.InvalidArgument)
	wants(t, "nowhere to answer", b.post(request(desk, opEcho, 1, "")), ipc.InvalidArgument)
	wants(t, "a service to answer to", b.post(func() ipc.Outgoing {
		m := request(desk, opEcho, 1, "")
		m.Header.Flags, m.Header.Src = frame.CapMove, uint32(desk)
		return m
	}()), ipc.PermissionDenied)
	wants(t, "ask for a panic", b.ask(request(desk, opPanic, 9, ""), inbox), nil)
	if nonce, code, body := answer(); nonce != 9 || code != ipc.Unavailable || body != "" {
		t.Errorf("answered %d, %v, %q", nonce, code, body)
	}
	if n := b.sender.Slots(); n != held {
		t.Errorf("the sender holds %d capabilities, not %d", n, held)
	}
	if n := b.svc.Slots(); n != 0 {
		t.Errorf("the service holds %d capabilities", n)
	}
}

func flip(token capability.Token) []byte {
	token[50] ^= 1
	return token[:]
}

// TestSealAnswersRequestsBySend: a session that ends tells those who asked by
// Send as well, and what is answered later reaches nobody.
func TestSealAnswersRequestsBySend(t *testing.T) {
	b := newBox(t, 1)
	desk, inbox := b.desk(t)
	token := b.mint(b.sender, ipc.TokenSpec{})
	m := request(desk, opHoldGet, 3, "held")
	m.Token = token[:]
	wants(t, "ask", b.ask(m, inbox), nil)
	b.settle()
	b.seal(b.sid)
	var g *got
	b.Do(b.sender, func(ctx context.Context) { g = receive(ctx, b.sender, inbox, 64, ipc.SysNonblock, 0) })
	wants(t, "the answer", g.err, nil)
	nonce, code, body, err := frame.ParseAnswer([]byte(g.payload))
	if err != nil || nonce != 3 || ipc.Code(code) != ipc.Denied || len(body) != 0 {
		t.Errorf("answered %d, %v, %q, %v", nonce, ipc.Code(code), body, err)
	}
	app := b.app("app")
	app.do(func(ctx context.Context) { _, _ = app.send(ctx, ipc.Msg{Op: opOpen}) })
	b.Do(b.sender, func(ctx context.Context) { g = receive(ctx, b.sender, inbox, 64, ipc.SysNonblock, 0) })
	wants(t, "a second answer", g.err, ipc.QueueEmpty)
}

// TestUndelivered: an answer that finds no room is counted, and no service waits
// for whoever does not read.
func TestUndelivered(t *testing.T) {
	b := newBox(t, 1)
	desk, inbox := b.desk(t)
	for i := range 5 {
		wants(t, "ask", b.ask(request(desk, opEcho, uint64(i), ""), inbox), nil)
		b.settle()
	}
	if s := b.Kernel.Stats(); s.Undelivered != 3 || s.Replies != 2 {
		t.Errorf("%d answers were delivered and %d not", s.Replies, s.Undelivered)
	}
	if n := b.Kernel.Stats().QueuedBytes; n != 2*frame.AnswerSize {
		t.Errorf("%d bytes are queued", n)
	}
}

// TestPortsLeaveNothingBehind: requests by Send are wiped and used again like
// others.
func TestPortsLeaveNothingBehind(t *testing.T) {
	b := newBox(t, 1)
	desk, inbox := b.desk(t)
	for range 3 {
		wants(t, "ask", b.ask(request(desk, opEcho, 5, "canary"), inbox), nil)
		b.Do(b.sender, func(ctx context.Context) {
			if g := receive(ctx, b.sender, inbox, 64, 0, 0); g.err != nil {
				t.Error(g.err)
			}
		})
	}
	b.settle()
	if !b.Kernel.FreeCallsAreBlank() {
		t.Error("something is left in a request that is over")
	}
	for _, buf := range b.Kernel.FreeBuffers() {
		if slices.ContainsFunc(buf, func(c byte) bool { return c != 0 }) {
			t.Error("a buffer was not wiped")
		}
	}
	wants(t, "the books", b.Kernel.Check(), nil)
}
