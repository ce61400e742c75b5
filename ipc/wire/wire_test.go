package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// service is a multiplexer that is hosted.
type service struct{ Mux }

func (*service) Start(context.Context) error { return nil }

// peers is a service behind an endpoint with opcodes 1 to 9, and an app.
type peers struct {
	*rig.Rig
	svc  *service
	task *ipc.Task // the service's
	app  *ipc.Task
	slot ipc.Slot
}

func newPeers(t *testing.T, r *rig.Rig) *peers {
	t.Helper()
	return newPeersOf(t, r, 9, new(service))
}

// newPeersOf hosts a service behind opcodes from 1.
func newPeersOf(t *testing.T, r *rig.Rig, ops int, svc *service) *peers {
	t.Helper()
	p := &peers{Rig: r, svc: svc, task: r.Task(ipc.TaskSpec{Name: "service"})}
	ep := r.Endpoint(p.task, ipc.EndpointSpec{Depth: 4, Parallel: 4, Takes: true, Ops: rig.Ops(ops)})
	r.Host(p.task, func() ipc.Service { return p.svc })
	p.app = r.Task(ipc.TaskSpec{Name: "app"})
	p.slot = r.Connect(p.app, ep)
	return p
}

// call runs one typed call.
func (p *peers) call(op uint16, q, reply proto.Message) (err error) {
	p.Do(p.app, func(ctx context.Context) {
		err = Call(ctx, p.app, ipc.Msg{Slot: p.slot, Op: op, Move: ipc.NoSlot}, q, reply)
	})
	return err
}

// raw sends bytes that need not be a message.
func (p *peers) raw(op uint16, body []byte) (out []byte, err error) {
	p.Do(p.app, func(ctx context.Context) {
		var got ipc.Reply
		got, err = p.app.Call(ctx, ipc.Msg{Slot: p.slot, Op: op, Body: body, Move: ipc.NoSlot}, nil)
		out = got.Body
	})
	return out, err
}

func inBothModes(t *testing.T, test func(t *testing.T, p *peers)) {
	t.Run("goroutines", func(t *testing.T) { test(t, newPeers(t, rig.New(t))) })
	t.Run("seeded", func(t *testing.T) { test(t, newPeers(t, rig.NewSeeded(t, 1, nil))) })
}

func TestCall(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *peers) {
		On(&p.svc.Mux, 1, func(_ context.Context, r *ipc.Request, q *PutRequest) (*GetReply, error) {
			if r.Sender.Name != "app" {
				t.Errorf("sender %+v", r.Sender)
			}
			return &GetReply{Value: append([]byte(q.Name+"="), q.Value...)}, nil
		})
		q := &PutRequest{Name: "mail", Value: []byte("hunter2")}
		for range 3 {
			var reply GetReply
			if err := p.call(1, q, &reply); err != nil || string(reply.Value) != "mail=hunter2" {
				t.Errorf("%q, %v", reply.Value, err)
			}
		}
		if string(q.Value) != "hunter2" {
			t.Error("the caller's message was touched")
		}
	})
}

// TestServeRefuses: what is no request of the operation reaches no handler.
func TestServeRefuses(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *peers) {
		On(&p.svc.Mux, 1, func(context.Context, *ipc.Request, *PutRequest) (*PutReply, error) {
			t.Error("the handler saw it")
			return &PutReply{}, nil
		})
		good, err := encode(nil, &PutRequest{Name: "n", Value: []byte("v")})
		if err != nil {
			t.Fatal(err)
		}
		for what, body := range map[string][]byte{
			"rubbish": {0xff, 0xff}, "truncated": good[:len(good)-1], "trailing": append(slices.Clone(good), 0),
			"invalid UTF-8": {0x0a, 1, 0xff}, "unknown field": {0x78, 1}, "wrong type": {0x08, 1},
			"length beyond the frame": {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, "ten zero tags": make([]byte, 10),
		} {
			if out, err := p.raw(1, body); !errors.Is(err, ipc.Malformed) || len(out) != 0 {
				t.Errorf("%s: %x, %v", what, out, err)
			}
		}
		if out, err := p.raw(2, good); !errors.Is(err, ipc.Unsupported) || len(out) != 0 {
			t.Errorf("an opcode without a handler: %x, %v", out, err)
		}
	})
}

// TestErrorsOfHandlers: a code, wrapped or not, reaches the caller, and
// anything else is Unavailable and tells nothing.
func TestErrorsOfHandlers(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *peers) {
		var answer error
		On(&p.svc.Mux, 1, func(context.Context, *ipc.Request, *GetRequest) (*GetReply, error) { return nil, answer })
		for code := ipc.OK + 1; code.Valid(); code++ {
			for _, answer = range []error{code, fmt.Errorf("in some place: %w", code), errors.Join(errors.New("secret"), code)} {
				var reply GetReply
				if err := p.call(1, &GetRequest{}, &reply); !errors.Is(err, code) || err != error(code) {
					t.Errorf("%v: %v", answer, err)
				}
			}
		}
		for _, answer = range []error{errors.New("the secret is swordfish"), ipc.OK, fmt.Errorf("%w", ipc.OK), context.Canceled, ipc.Code(999)} {
			var reply GetReply
			if err := p.call(1, &GetRequest{}, &reply); err != error(ipc.Unavailable) {
				t.Errorf("%v: %v", answer, err)
			}
		}
		answer = nil
		var reply GetReply
		if err := p.call(1, &GetRequest{}, &reply); err != nil {
			t.Errorf("no message and no error: %v", err)
		}
	})
}

// TestFaults: where the damage is crosses IPC, for the two codes that say so,
// and how long to wait for the one that does.
func TestFaults(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *peers) {
		var answer error
		On(&p.svc.Mux, 1, func(context.Context, *ipc.Request, *GetRequest) (*GetReply, error) { return nil, answer })
		call := func() error { return p.call(1, &GetRequest{}, &GetReply{}) }
		for _, code := range []ipc.Code{ipc.Damaged, ipc.IOError} {
			fault := &Fault{Code: code, File: "state:/identity/alice/vault.kv", Offset: 1 << 40}
			for _, answer = range []error{fault, fmt.Errorf("reading: %w", fault)} {
				err := call()
				var got *Fault
				if !errors.Is(err, code) || !errors.As(err, &got) || *got != *fault {
					t.Errorf("%v: %#v", answer, err)
				}
				if text := err.Error(); text != code.Error()+": state:/identity/alice/vault.kv at offset 1099511627776" {
					t.Errorf("the text is %q", text)
				}
			}
			for _, file := range []string{strings.Repeat("x", ipc.MaxFrame), "\xff"} { // No frame can carry these.
				answer = &Fault{Code: code, File: file}
				if err := call(); err != error(code) {
					t.Errorf("a place that does not travel: %v", err)
				}
			}
			answer = code
			if err := call(); err != error(code) {
				t.Errorf("a plain code: %v", err)
			}
		}
		for _, answer = range []error{&Later{Seconds: 86400}, fmt.Errorf("guessing: %w", &Later{Seconds: 86400})} {
			err := call()
			var got *Later
			if !errors.Is(err, ipc.TryLater) || !errors.As(err, &got) || got.Seconds != 86400 || err.Error() != "try later: in 86400 s" {
				t.Errorf("%v: %v", answer, err)
			}
		}
		answer = ipc.TryLater
		if err := call(); err != error(ipc.TryLater) {
			t.Errorf("a plain code: %v", err)
		}
		answer = &Fault{Code: ipc.NotFound, File: "state:/x"}
		if err := call(); err != error(ipc.NotFound) {
			t.Errorf("another code with a place: %v", err)
		}
	})
}

// forger answers with bytes of its own.
type forger struct {
	code ipc.Code
	body []byte
}

func (*forger) Start(context.Context) error               { return nil }
func (f *forger) Serve(_ context.Context, r *ipc.Request) { _ = r.Reply(f.code, f.body) }

// TestForgedReplies: a reply that does not decode is Malformed, and a place that
// does not decode leaves the code.
func TestForgedReplies(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	f := new(forger)
	task := r.Task(ipc.TaskSpec{Name: "forger"})
	ep := r.Endpoint(task, ipc.EndpointSpec{Ops: rig.Ops(1)})
	r.Host(task, func() ipc.Service { return f })
	p := &peers{Rig: r, app: r.Task(ipc.TaskSpec{Name: "app"})}
	p.slot = r.Connect(p.app, ep)
	for _, body := range [][]byte{{0xff}, {0x78, 1}, {0x0a, 5, 1}} {
		f.code, f.body = ipc.OK, body
		reply := GetReply{Value: []byte("old")}
		if err := p.call(1, &GetRequest{}, &reply); err != error(ipc.Malformed) {
			t.Errorf("reply %x: %v", body, err)
		}
		f.code = ipc.Damaged
		if err := p.call(1, &GetRequest{}, &reply); err != error(ipc.Damaged) {
			t.Errorf("fault %x: %v", body, err)
		}
		f.code = ipc.TryLater
		if err := p.call(1, &GetRequest{}, &reply); err != error(ipc.TryLater) {
			t.Errorf("wait %x: %v", body, err)
		}
	}
	f.code, f.body = ipc.Damaged, []byte("\x0a\x07a\nb\x1b[2J")
	if err := p.call(1, &GetRequest{}, &GetReply{}); err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("a file's name is not escaped: %q", err)
	}
}

// TestTooLarge: what does not fit a frame is refused before it is sent, and a
// reply that does not fit is the caller's error, not silence.
func TestTooLarge(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *peers) {
		calls := 0
		size := 0
		On(&p.svc.Mux, 1, func(context.Context, *ipc.Request, *PutRequest) (*GetReply, error) {
			calls++
			return &GetReply{Value: make([]byte, size)}, nil
		})
		room := ipc.MaxFrame - 3 // A tag and a length of two bytes.
		for n, wanted := range map[int]error{room - 1: nil, room: nil, room + 1: ipc.TooLarge} {
			calls, size = 0, 0
			if err := p.call(1, &PutRequest{Value: make([]byte, n)}, &GetReply{}); !errors.Is(err, wanted) || (calls == 1) != (wanted == nil) {
				t.Errorf("a request with %d bytes: %v, %d calls", n, err, calls)
			}
			size = n
			var reply GetReply
			if err := p.call(1, &PutRequest{}, &reply); !errors.Is(err, wanted) || wanted == nil && len(reply.Value) != n {
				t.Errorf("a reply with %d bytes: %d, %v", n, len(reply.Value), err)
			}
		}
		if err := p.call(1, &PutRequest{Name: "\xff"}, &GetReply{}); err != error(ipc.Malformed) {
			t.Errorf("invalid UTF-8: %v", err)
		}
	})
}

// TestMessagesAreWiped: once the reply is out, neither side's copy is left with
// the service, and the caller's reply is the caller's alone.
func TestMessagesAreWiped(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *peers) {
		secret := []byte(secretText)
		var kept [][]byte
		fail := error(nil)
		On(&p.svc.Mux, 1, func(_ context.Context, r *ipc.Request, q *SetCredentialRequest) (*GetReply, error) {
			reply := &GetReply{Value: bytes.Clone(q.Have.Secret)}
			kept = [][]byte{q.Have.Secret, q.Set.Secret, reply.Value, r.Body}
			for _, b := range kept {
				if !bytes.Contains(b, secret) {
					t.Error("there is nothing to wipe")
				}
			}
			if fail != nil {
				kept = slices.Delete(kept, 2, 3)
				return nil, fail
			}
			return reply, nil
		})
		for _, fail = range []error{nil, ipc.Denied, ipc.OK} {
			var reply GetReply
			q := &SetCredentialRequest{User: "alice", Have: &Credential{Secret: bytes.Clone(secret)}, Set: &Credential{Secret: bytes.Clone(secret)}}
			err := p.call(1, q, &reply)
			if (err == nil) != (fail == nil) || err == nil && !bytes.Equal(reply.Value, secret) {
				t.Errorf("%v: %q, %v", fail, reply.Value, err)
			}
			for i, b := range kept {
				if !bytes.Equal(b, make([]byte, len(b))) {
					t.Errorf("%v: %d: %q is left", fail, i, b)
				}
			}
			if !bytes.Equal(q.Have.Secret, secret) {
				t.Error("the caller's message was wiped")
			}
		}
	})
}

// TestPooledBuffersAreBlank takes what the pool has after calls with secrets.
func TestPooledBuffersAreBlank(t *testing.T) {
	p := newPeers(t, rig.NewSeeded(t, 1, nil))
	On(&p.svc.Mux, 1, func(_ context.Context, _ *ipc.Request, q *PutRequest) (*GetReply, error) {
		return &GetReply{Value: bytes.Clone(q.Value)}, nil
	})
	On(&p.svc.Mux, 2, func(context.Context, *ipc.Request, *PutRequest) (*GetReply, error) { return nil, ipc.Denied })
	for op := uint16(1); op <= 3; op++ {
		for range 10 {
			_ = p.call(op, &PutRequest{Name: "n", Value: []byte(secretText)}, &GetReply{})
		}
	}
	var all []*[]byte
	for range 50 {
		b := buffers.Get().(*[]byte)
		if whole := (*b)[:cap(*b)]; len(*b) != 0 || bytes.Contains(whole, []byte("secret")) {
			t.Errorf("a pooled buffer of %d bytes holds something", len(whole))
		}
		all = append(all, b)
	}
	for _, b := range all {
		putBuffer(b)
	}
}

// TestRefusedContext: its error is not a code and comes as it is.
func TestRefusedContext(t *testing.T) {
	p := newPeers(t, rig.NewSeeded(t, 1, nil))
	var code ipc.Code
	err := Call(context.Background(), p.app, ipc.Msg{Slot: p.slot, Op: 1, Move: ipc.NoSlot}, &GetRequest{}, &GetReply{})
	if err == nil || errors.As(err, &code) {
		t.Errorf("a foreign context in a seeded run: %v", err)
	}
}
