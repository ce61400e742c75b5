package ipc_test

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/tests/rig"
	"nexus.internal/os/tests/vectors"
)

// TestVectors runs what only a kernel can: tokens that are minted and presented
// through its system calls, and the headers of requests that it delivered.
func TestVectors(t *testing.T) {
	tokens, headers := newTokenVectors(t), newHeaderVectors(t)
	vectors.Run(t, "ipc",
		vectors.Each("token.json", "rows", tokens.mint),
		vectors.Each("token.json", "vectors", tokens.present),
		vectors.Each("header.json", "delivered", headers.deliver))
}

// tokenVectors is the system that tests/vectors/README.md describes for
// token.json: tasks 4 and 5, and four sessions.
type tokenVectors struct {
	*world
	trace   *trace
	clients map[uint64]*client
	sids    []uint64
	ended   bool // what is to happen to the sessions has happened
}

func newTokenVectors(t *testing.T) *tokenVectors {
	if vectors.TokenKey(t).String() != hex.EncodeToString([]byte("a key for tests, not from rngd..")) {
		t.Fatal("the vectors are for another key than the rig's")
	}
	s := &tokenVectors{trace: new(trace), clients: make(map[uint64]*client)}
	s.world = newWorld(t, rig.NewSeeded(t, 1, s.trace.tap), plan{}) // Tasks 1 to 3, session 1.
	for range 2 {                                                   // Tasks 4 and 5.
		task := s.Task(ipc.TaskSpec{Name: "app"})
		s.clients[uint64(task.ID())] = &client{w: s.world, task: task, slot: s.Connect(task, s.ep)}
	}
	s.sids = []uint64{s.sid, s.session("alice"), s.session("alice"), s.session("alice")}
	return s
}

// mint makes a row's token, which the kernel must do byte for byte.
func (s *tokenVectors) mint(t *testing.T, r vectors.TokenRow) {
	token, err := s.ident.MintToken(s.auth, ipc.TokenSpec{
		SID: r.SID, App: r.AppID, Holder: ipc.TaskID(r.Holder), Rights: capability.TokenRights(r.Rights), Expires: ipc.Time(r.Expires),
	})
	if got := hex.EncodeToString(token[:]); err != nil || got != r.Sealed() {
		t.Errorf("minted\n%s, %v; want\n%s", got, err, r.Sealed())
	}
	if r.Dead == "revoked" {
		if err := s.ident.RevokeToken(s.auth, &token); err != nil {
			t.Error(err)
		}
	}
}

// end seals one session and ends another, once all rows are minted.
func (s *tokenVectors) end(t *testing.T) {
	if s.ended {
		return
	}
	s.ended = true
	s.seal(s.sids[2])
	if err := s.ident.EndSession(s.auth, s.sids[3]); err != nil {
		t.Error(err)
	}
}

// present shows the kernel a vector's token through a call.
func (s *tokenVectors) present(t *testing.T, v vectors.Token) {
	s.end(t)
	c, op := s.clients[v.Holder], map[string]uint16{"get": opGet, "put": opPut}[v.Need]
	if c == nil || op == 0 {
		t.Fatalf("no task %d or no operation for %q", v.Holder, v.Need)
	}
	var token *capability.Token
	if len(v.Token) != 0 {
		token = (*capability.Token)(v.Token)
	}
	c.do(func(ctx context.Context) {
		_ = c.task.Sleep(ctx, time.Duration(v.At)-time.Duration(c.task.Now()))
		body, err := c.send(ctx, ipc.Msg{Op: op, Token: token, Body: []byte("x")})
		if v.Expect == capability.Accepted.String() {
			if err != nil || body != "x" || s.Kernel.Now() != ipc.Time(v.At) {
				t.Errorf("%q, %v at %d", body, err, s.Kernel.Now())
			}
			return
		}
		want(t, v.Name, body, err, ipc.Denied)
		if e := s.trace.last(ipc.TraceRefuse); e.Refusal.String() != v.Expect || e.Time != ipc.Time(v.At) {
			t.Errorf("refused as %v at %d, want %s at %d", e.Refusal, e.Time, v.Expect, v.At)
		}
	})
}

// headerVectors is an app, and a receiver that describes each request, as
// docs/IPC.md says, by the header that the target OS's would have seen.
type headerVectors struct {
	*rig.Rig
	app  *ipc.Task
	ep   ipc.Slot // init's, to connect by
	slot ipc.Slot
	got  frame.Header
}

func newHeaderVectors(t *testing.T) *headerVectors {
	tr := new(trace)
	s := &headerVectors{Rig: rig.NewSeeded(t, 1, tr.tap)}
	svc := s.Task(ipc.TaskSpec{Name: "receiver"})
	ops := make([]ipc.Op, ipc.MaxOps)
	for i := range ops {
		ops[i].Code = uint16(i)
	}
	s.ep = s.Endpoint(svc, ipc.EndpointSpec{Ops: ops, Takes: true})
	s.Host(svc, func() ipc.Service {
		return handler(func(_ context.Context, r *ipc.Request) {
			s.got = frame.Header{Dst: tr.last(ipc.TraceDeliver).Endpoint, Type: r.Op, Len: uint32(len(r.Body))}
			if r.Moved != ipc.NoSlot {
				s.got.Src, s.got.Flags = uint32(r.Moved), frame.CapMove
			}
			_ = r.Reply(ipc.OK, nil)
		})
	})
	s.app = s.Task(ipc.TaskSpec{Name: "app"})
	s.slot = s.Connect(s.app, s.ep)
	return s
}

func (s *headerVectors) deliver(t *testing.T, v vectors.Delivered) {
	s.Do(s.app, func(ctx context.Context) {
		move := ipc.NoSlot
		if v.Moves {
			move = s.Connect(s.app, s.ep)
		}
		if _, err := s.app.Call(ctx, ipc.Msg{Slot: s.slot, Op: v.Op, Body: make([]byte, v.Len), Move: move}, nil); err != nil {
			t.Error(err)
		}
	})
	if got := vectors.Hex(s.got.Append(nil)).String(); got != v.Header.String() {
		t.Errorf("%s, want %s", got, v.Header)
	}
}

// handler is a service that is one function.
type handler func(ctx context.Context, r *ipc.Request)

func (h handler) Start(context.Context) error               { return nil }
func (h handler) Serve(ctx context.Context, r *ipc.Request) { h(ctx, r) }
