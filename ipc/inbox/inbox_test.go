package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/ipc/inbox"
	"nexus.internal/os/tests/rig"
)

// Operations of the server.
const (
	opEcho uint16 = iota + 1
	opSlow        // answers after as many seconds as the body's first byte says
	opNever
	opFail // panics
)

// server answers.
type server struct{ task *ipc.Task }

func (server) Start(context.Context) error { return nil }

func (s server) Serve(ctx context.Context, r *ipc.Request) {
	switch r.Op {
	case opSlow:
		_ = s.task.Sleep(ctx, time.Duration(r.Body[0])*time.Second)
	case opNever:
		_ = s.task.Sleep(ctx, 1000*time.Hour)
	case opFail:
		panic("asked for")
	}
	_ = r.Reply(ipc.OK, r.Body)
}

// stage is a server and a client with an inbox, by seed.
type stage struct {
	*rig.Rig
	client *ipc.Task
	server ipc.Slot
	own    ipc.Slot // SEND and RECV on the inbox
	box    *inbox.Inbox
}

func newStage(t *testing.T) *stage {
	s := &stage{Rig: rig.NewSeeded(t, 1, nil)}
	task := s.Task(ipc.TaskSpec{Name: "server"})
	ep := s.Endpoint(task, ipc.EndpointSpec{Depth: 128, Parallel: 128, Ops: rig.Ops(int(opFail))})
	s.Host(task, func() ipc.Service { return server{task} })
	s.client = s.Task(ipc.TaskSpec{Name: "client"})
	s.server = s.Connect(s.client, ep)
	master := s.Endpoint(s.client, ipc.EndpointSpec{Inbox: true, Depth: 128})
	own, err := s.Init.Derive(master, capability.Send|capability.Recv, s.client)
	if err != nil {
		t.Fatal(err)
	}
	s.own, s.box = own, inbox.New(s.client, own)
	return s
}

func (s *stage) do(fn func(ctx context.Context)) { s.Do(s.client, fn) }

func (s *stage) start(t *testing.T, ctx context.Context, op uint16, body string) uint64 {
	t.Helper()
	nonce, err := s.box.Start(ctx, inbox.Request{Slot: s.server, Op: op, Body: []byte(body)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return nonce
}

// forge answers as nobody asked.
func (s *stage) forge(t *testing.T, ctx context.Context, payload []byte) {
	t.Helper()
	err := s.client.Send(ctx, ipc.Outgoing{Slot: s.own, Payload: payload, Header: frame.Header{Len: uint32(len(payload))}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnyOrder: answers come in another order than they are waited for, and each
// reaches its request.
func TestAnyOrder(t *testing.T) {
	s := newStage(t)
	slots := s.client.Slots()
	s.do(func(ctx context.Context) {
		var nonces []uint64
		for i := range 10 {
			nonces = append(nonces, s.start(t, ctx, opSlow, string([]byte{byte(10 - i)})))
		}
		for i, nonce := range nonces {
			answer, err := s.box.Wait(ctx, nonce, 0)
			if err != nil || answer.Code != ipc.OK || len(answer.Body) != 1 || answer.Body[0] != byte(10-i) {
				t.Errorf("answer %d: %+v, %v", i, answer, err)
			}
			if i > 0 && nonce <= nonces[i-1] {
				t.Error("nonces do not go up")
			}
			if _, err := s.box.Wait(ctx, nonce, 0); !errors.Is(err, inbox.ErrForgotten) {
				t.Errorf("waited for twice: %v", err)
			}
		}
	})
	if got, want := s.box.Counters(), (inbox.Counters{Matched: 10, Kept: 9}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if n := s.client.Slots(); n != slots {
		t.Errorf("%d capabilities are left, not %d", n, slots)
	}
}

// TestOldestIsDropped: of more answers than are kept, the oldest goes, visibly.
func TestOldestIsDropped(t *testing.T) {
	s := newStage(t)
	s.do(func(ctx context.Context) {
		var nonces []uint64
		for i := range inbox.MaxKept + 2 {
			nonces = append(nonces, s.start(t, ctx, opEcho, fmt.Sprint(i)))
			_ = s.client.Sleep(ctx, time.Second) // So that answers come in this order.
		}
		last := s.start(t, ctx, opSlow, "\x01")
		if _, err := s.box.Wait(ctx, last, 0); err != nil {
			t.Error(err)
		}
		if n := s.box.Counters().Dropped; n != 2 {
			t.Errorf("%d answers were dropped", n)
		}
		for i, nonce := range nonces {
			answer, err := s.box.Wait(ctx, nonce, 0)
			if lost := i < 2; lost != errors.Is(err, inbox.ErrForgotten) || !lost && string(answer.Body) != fmt.Sprint(i) {
				t.Errorf("answer %d: %q, %v", i, answer.Body, err)
			}
		}
	})
}

// TestMismatches: what nobody asked for is counted, at most so often, and then
// the inbox is given up for good.
func TestMismatches(t *testing.T) {
	s := newStage(t)
	s.do(func(ctx context.Context) {
		first := s.start(t, ctx, opEcho, "first")
		if _, err := s.box.Wait(ctx, first, 0); err != nil {
			t.Error(err)
		}
		wrong := [][]byte{
			frame.AppendAnswer(nil, first, 0, nil), // a second answer
			frame.AppendAnswer(nil, 1<<40, 0, nil), // a nonce from the future
			frame.AppendAnswer(nil, 0, 0, nil),
			[]byte("short"), nil,
		}
		for i := range inbox.MaxMismatches {
			s.forge(t, ctx, wrong[i%len(wrong)])
		}
		second := s.start(t, ctx, opEcho, "second")
		answer, err := s.box.Wait(ctx, second, 0)
		if err != nil || string(answer.Body) != "second" {
			t.Errorf("behind so many mismatches: %q, %v", answer.Body, err)
		}
		third := s.start(t, ctx, opNever, "")
		s.forge(t, ctx, nil)
		if _, err := s.box.Wait(ctx, third, 0); !errors.Is(err, inbox.ErrDistrusted) {
			t.Errorf("one mismatch too many: %v", err)
		}
		if _, err := s.box.Start(ctx, inbox.Request{Slot: s.server, Op: opEcho}, 0); !errors.Is(err, inbox.ErrDistrusted) {
			t.Errorf("and afterwards: %v", err)
		}
	})
	if n := s.box.Counters().Mismatched; n != inbox.MaxMismatches+1 {
		t.Errorf("%d mismatches", n)
	}
}

// TestPending: so many requests may be under way, and no more.
func TestPending(t *testing.T) {
	s := newStage(t)
	s.do(func(ctx context.Context) {
		var nonce uint64
		for range inbox.MaxPending {
			nonce = s.start(t, ctx, opEcho, "")
		}
		if _, err := s.box.Start(ctx, inbox.Request{Slot: s.server, Op: opEcho}, 0); !errors.Is(err, ipc.LimitReached) {
			t.Errorf("one more: %v", err)
		}
		s.box.Forget(nonce)
		s.start(t, ctx, opEcho, "")
	})
}

// TestErrorsAreAnswers: a code comes with its nonce like any other answer, and
// what is refused at once leaves nothing pending.
func TestErrorsAreAnswers(t *testing.T) {
	s := newStage(t)
	s.do(func(ctx context.Context) {
		nonce := s.start(t, ctx, opFail, "")
		if answer, err := s.box.Wait(ctx, nonce, 0); err != nil || answer.Code != ipc.Unavailable || len(answer.Body) != 0 {
			t.Errorf("of a panic: %+v, %v", answer, err)
		}
		for range inbox.MaxPending + 1 {
			if _, err := s.box.Start(ctx, inbox.Request{Slot: s.server, Op: 63}, 0); !errors.Is(err, ipc.Unsupported) {
				t.Fatalf("of an unknown operation: %v", err)
			}
		}
		if n := s.client.Slots(); n != 2 {
			t.Errorf("%d capabilities are left", n)
		}
	})
}

// TestRetries end with the number of attempts or with the time, whichever is
// first.
func TestRetries(t *testing.T) {
	for name, c := range map[string]struct {
		budget  inbox.Budget
		seconds int
	}{
		"three attempts": {inbox.Budget{Attempts: 3, Each: 2 * time.Second}, 6},
		"five seconds":   {inbox.Budget{Attempts: 100, Each: 2 * time.Second, Deadline: 5_000_000_000}, 5},
	} {
		s := newStage(t)
		s.do(func(ctx context.Context) {
			q := inbox.Request{Slot: s.server, Op: opNever}
			_, err := s.box.Ask(ctx, q, c.budget)
			if now := s.Kernel.Now() / 1e9; !errors.Is(err, ipc.TimedOut) || int(now) != c.seconds {
				t.Errorf("%s: %v after %d s", name, err, now)
			}
			q.Op = opFail
			answer, err := s.box.Ask(ctx, q, inbox.Budget{Attempts: 2, Each: time.Second})
			if err != nil || answer.Code != ipc.Unavailable {
				t.Errorf("%s: %+v, %v", name, answer, err)
			}
			q.Op, q.Body = opEcho, []byte("at last")
			answer, err = s.box.Ask(ctx, q, inbox.Budget{Attempts: 1, Each: time.Second})
			if err != nil || string(answer.Body) != "at last" {
				t.Errorf("%s: %+v, %v", name, answer, err)
			}
			if _, err := s.box.Ask(ctx, q, inbox.Budget{Each: time.Second}); !errors.Is(err, ipc.InvalidArgument) {
				t.Errorf("%s, without an attempt: %v", name, err)
			}
		})
	}
}
