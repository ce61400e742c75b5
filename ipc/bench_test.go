package ipc_test

import (
	"context"
	"fmt"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// echo answers with what it is sent.
type echo struct{}

func (echo) Start(context.Context) error             { return nil }
func (echo) Serve(_ context.Context, r *ipc.Request) { _ = r.Reply(ipc.OK, r.Body) }
func newEcho() ipc.Service                           { return echo{} }

// system is an echo service behind a token, and an app that holds one.
type system struct {
	*rig.Rig
	app   *ipc.Task
	slot  ipc.Slot
	token capability.Token
	auth  ipc.Slot
	ident *ipc.Task
	sid   uint64
}

func newSystem(tb testing.TB) *system {
	s := &system{Rig: rig.New(tb)}
	svc := s.Task(ipc.TaskSpec{Name: "echo"})
	ep := s.Endpoint(svc, ipc.EndpointSpec{Depth: 64, Parallel: 64, Ops: []ipc.Op{
		{Code: 1, Need: capability.Get}, {Code: 2}, {Code: 3, Need: capability.Put},
	}})
	s.Host(svc, newEcho)
	s.ident = s.Task(ipc.TaskSpec{Name: "identityd"})
	var err error
	if s.auth, err = s.Kernel.GrantAuthority(s.ident); err != nil {
		tb.Fatal(err)
	}
	if s.sid, err = s.ident.StartSession(s.auth, "alice", [16]byte{1}); err != nil {
		tb.Fatal(err)
	}
	s.app = s.Task(ipc.TaskSpec{Name: "app"})
	s.slot = s.Connect(s.app, ep)
	s.token = s.mint(tb, s.app, capability.Get)
	return s
}

func (s *system) mint(tb testing.TB, holder *ipc.Task, rights capability.TokenRights) capability.Token {
	token, err := s.ident.MintToken(s.auth, ipc.TokenSpec{SID: s.sid, App: "notes", Holder: holder.ID(), Rights: rights})
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func BenchmarkCheckedCall(b *testing.B) {
	for _, size := range []int{64, 256} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := newSystem(b)
			body, out := make([]byte, size), make([]byte, 0, size)
			ctx := context.Background()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := s.app.Call(ctx, ipc.Msg{Slot: s.slot, Op: 1, Token: &s.token, Body: body, Move: ipc.NoSlot}, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkChannelPair(b *testing.B) {
	there, back := make(chan []byte), make(chan []byte)
	go func() {
		for m := range there {
			back <- m
		}
	}()
	body := make([]byte, 64)
	b.ReportAllocs()
	for range b.N {
		there <- body
		<-back
	}
	close(there)
}

// BenchmarkCheckedCallOwn is the same from a flow of control that the app's
// task started: it runs the receiver on its own time.
func BenchmarkCheckedCallOwn(b *testing.B) {
	s := newSystem(b)
	body, out := make([]byte, 64), make([]byte, 0, 64)
	b.ReportAllocs()
	s.Do(s.app, func(ctx context.Context) {
		b.ResetTimer()
		for range b.N {
			if _, err := s.app.Call(ctx, ipc.Msg{Slot: s.slot, Op: 1, Token: &s.token, Body: body, Move: ipc.NoSlot}, out); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRefusedCall is a call whose token is forged: it is refused, and
// leaves an audit record.
func BenchmarkRefusedCall(b *testing.B) {
	s := newSystem(b)
	forged := s.token
	forged[50] ^= 1
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := s.app.Call(ctx, ipc.Msg{Slot: s.slot, Op: 1, Token: &forged, Move: ipc.NoSlot}, nil); err != ipc.Denied {
			b.Fatal(err)
		}
	}
}
