package ipc_test

import (
	"context"
	"fmt"
	"runtime"
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

// checked returns a call: 64 bytes to the echo service and back, with the token,
// by the flow of control that ctx belongs to.
func (s *system) checked(ctx context.Context) func() error {
	body, out := make([]byte, 64), make([]byte, 0, 64)
	return func() error {
		_, err := s.app.Call(ctx, ipc.Msg{Slot: s.slot, Op: 1, Token: &s.token, Body: body, Move: ipc.NoSlot}, out)
		return err
	}
}

// benchmarkOwn measures this call from a flow of control that the app's task
// started: it runs the receiver on its own time.
func (s *system) benchmarkOwn(b *testing.B) {
	b.ReportAllocs()
	s.Do(s.app, func(ctx context.Context) {
		call := s.checked(ctx)
		b.ResetTimer()
		for range b.N {
			if err := call(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func (s *system) mint(tb testing.TB, holder *ipc.Task, rights capability.TokenRights) capability.Token {
	token, err := s.ident.MintToken(s.auth, ipc.TokenSpec{SID: s.sid, App: "notes", Holder: holder.ID(), Rights: rights})
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// cell is one case of the checked call's matrix.
type cell struct{ callers, endpoints, size int }

func (c cell) String() string {
	return fmt.Sprintf("callers=%d/endpoints=%d/size=%d", c.callers, c.endpoints, c.size)
}

// cells are all cases. tests/peers has the same.
func cells() (all []cell) {
	for _, callers := range []int{1, 32} {
		for _, endpoints := range []int{1, 8} {
			for _, size := range []int{0, 64, 256, ipc.MaxFrame} {
				all = append(all, cell{callers, endpoints, size})
			}
		}
	}
	return all
}

// matrix is a system in which every caller is an app with a token of its own,
// and every endpoint belongs to another echo service.
type matrix struct {
	cell
	*system
	apps   []*ipc.Task
	slots  [][]ipc.Slot // of each app, one for each endpoint
	tokens []capability.Token
}

func newMatrix(tb testing.TB, c cell) *matrix {
	m := &matrix{cell: c, system: newSystem(tb)}
	var endpoints []ipc.Slot
	for i := range c.endpoints {
		svc := m.Task(ipc.TaskSpec{Name: fmt.Sprint("echo", i)})
		endpoints = append(endpoints, m.Endpoint(svc, ipc.EndpointSpec{Depth: 64, Parallel: 64, Ops: []ipc.Op{{Code: 1, Need: capability.Get}}}))
		m.Host(svc, newEcho)
	}
	for i := range c.callers {
		app := m.Task(ipc.TaskSpec{Name: fmt.Sprint("app", i)})
		m.apps = append(m.apps, app)
		m.tokens = append(m.tokens, m.mint(tb, app, capability.Get))
		var slots []ipc.Slot
		for _, ep := range endpoints {
			slots = append(slots, m.Connect(app, ep))
		}
		m.slots = append(m.slots, slots)
	}
	return m
}

// run makes n calls, shared out among the callers, each of which goes round the
// endpoints. 32 frames are more than the byte budget of one owner: who is told
// NoSpace tries again, as an app would.
func (m *matrix) run(ctx context.Context, n int) error {
	errs := make(chan error, m.callers)
	for i := range m.callers {
		share := n / m.callers
		if i < n%m.callers {
			share++
		}
		go func() { errs <- m.call(ctx, i, share) }()
	}
	var failed error
	for range m.callers {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	return failed
}

func (m *matrix) call(ctx context.Context, caller, n int) error {
	body, out := make([]byte, m.size), make([]byte, 0, m.size)
	for done := 0; done < n; {
		slot := m.slots[caller][(caller+done)%m.endpoints]
		r, err := m.apps[caller].Call(ctx, ipc.Msg{Slot: slot, Op: 1, Token: &m.tokens[caller], Body: body, Move: ipc.NoSlot}, out)
		switch {
		case err == ipc.NoSpace:
			runtime.Gosched()
		case err != nil:
			return err
		case len(r.Body) != m.size:
			return fmt.Errorf("an answer of %d bytes", len(r.Body))
		default:
			done++
		}
	}
	return nil
}

// BenchmarkCheckedCall is a call with a token and its answer; with many callers,
// the time in which one is done on average.
func BenchmarkCheckedCall(b *testing.B) {
	for _, c := range cells() {
		b.Run(c.String(), func(b *testing.B) {
			m := newMatrix(b, c)
			b.ReportAllocs()
			b.ResetTimer()
			if err := m.run(context.Background(), b.N); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkPingPong is a message to another task's inbox and one back, by the
// target OS's send and receive.
func BenchmarkPingPong(b *testing.B) {
	p := newPingPong(b)
	b.ReportAllocs()
	b.ResetTimer()
	if err := p.run(b.N); err != nil {
		b.Fatal(err)
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

// BenchmarkCheckedCallOwn is the checked call of 64 bytes from a flow of control of the app's own.
func BenchmarkCheckedCallOwn(b *testing.B) { newSystem(b).benchmarkOwn(b) }

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
