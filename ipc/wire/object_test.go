package wire

import (
	"context"
	"errors"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
)

// Operations of the service below.
const (
	opEchoObject uint16 = iota + 1 // answers the payload where it came
	opPlain                        // expects nothing to come along
	opPanics                       // with an object at hand
)

// objects is a service that takes objects.
func objects(p *peers, seen *[]ipc.Slot) {
	OnObject(&p.svc.Mux, opEchoObject, func(_ context.Context, r *ipc.Request, q *PutRequest) (*GetReply, error) {
		b, err := Payload(r, q.Value, q.Size, 5000)
		if err != nil {
			return nil, err
		}
		inline, size, err := Deliver(r, b, q.Size > 0)
		return &GetReply{Value: inline, Size: size}, err
	})
	On(&p.svc.Mux, opPlain, func(_ context.Context, r *ipc.Request, _ *PutRequest) (*PutReply, error) {
		*seen = append(*seen, r.Moved)
		return &PutReply{}, nil
	})
	OnObject(&p.svc.Mux, opPanics, func(context.Context, *ipc.Request, *PutRequest) (*PutReply, error) { panic("a bug") })
}

// left says how many memory objects there are, and how many capabilities the
// service has.
func (p *peers) left() (objects, slots int) { return p.Kernel.Stats().Memories, p.task.Slots() }

// TestObjects lends objects to a service: what it reads, what it writes, and that
// nothing is left whatever comes of the call.
func TestObjects(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *peers) {
		var seen []ipc.Slot
		objects(p, &seen)
		for name, x := range map[string]struct {
			op     uint16
			q      *PutRequest
			object int // bytes, 0 for none
			only   bool
			wanted error
			answer string
		}{
			"in a frame":         {opEchoObject, &PutRequest{Value: []byte("abc")}, 0, false, nil, "abc"},
			"in an object":       {opEchoObject, &PutRequest{Size: 5000}, 5000, false, nil, strings.Repeat("o", 5000)},
			"a part of it":       {opEchoObject, &PutRequest{Size: 1}, 5000, false, nil, "o"},
			"too much":           {opEchoObject, &PutRequest{Size: 5001}, 5001, false, ipc.TooLarge, ""},
			"too short":          {opEchoObject, &PutRequest{Size: 5000}, 4999, false, ipc.Malformed, ""},
			"none":               {opEchoObject, &PutRequest{Size: 5000}, 0, false, ipc.Malformed, ""},
			"both":               {opEchoObject, &PutRequest{Size: 1, Value: []byte("v")}, 1, false, ipc.Malformed, ""},
			"read-only":          {opEchoObject, &PutRequest{Size: 1}, 1, true, ipc.PermissionDenied, ""},
			"more than needed":   {opEchoObject, &PutRequest{Value: []byte("abc")}, 9, false, nil, "abc"},
			"where none is":      {opPlain, &PutRequest{}, 9, false, nil, ""},
			"unknown operation":  {9, &PutRequest{}, 9, false, ipc.Unsupported, ""},
			"a panic":            {opPanics, &PutRequest{}, 9, false, ipc.Unavailable, ""},
			"refused by the bus": {63, &PutRequest{}, 9, false, ipc.Unsupported, ""},
		} {
			before := len(p.Crashes())
			p.Do(p.app, func(ctx context.Context) {
				m := ipc.Msg{Slot: p.slot, Op: x.op, Move: ipc.NoSlot}
				var loan *Loan
				var err error
				content := []byte(strings.Repeat("o", x.object))
				switch {
				case x.object > 0 && x.only:
					loan, err = LendReadOnly(p.app, content)
				case x.object > 0:
					loan, err = Lend(p.app, content, 0)
				}
				if err != nil {
					t.Fatal(err)
				}
				defer loan.End()
				if loan != nil {
					m.Move = loan.Object
				}
				var r GetReply
				err = Call(ctx, p.app, m, x.q, &r)
				answer := string(r.Value)
				if r.Size > 0 {
					b, readErr := loan.Read(r.Size)
					err, answer = errors.Join(err, readErr), string(b)
				}
				if !errors.Is(err, x.wanted) || answer != x.answer {
					t.Errorf("%s: %.20q, %v; want %.20q, %v", name, answer, err, x.answer, x.wanted)
				}
			})
			if objects, slots := p.left(); objects != 0 || slots != 0 {
				t.Errorf("%s: %d objects are left, and the service has %d capabilities", name, objects, slots)
			}
			if n := len(p.Crashes()) - before; (n == 1) != (x.op == opPanics) {
				t.Errorf("%s: %d panics", name, n)
			}
		}
		if len(seen) != 1 || seen[0] != ipc.NoSlot {
			t.Errorf("a handler that expects nothing saw %v", seen)
		}
	})
}

// TestServiceKeepsNothing: without the lender's help, too, a service is left with
// no capability that came along.
func TestServiceKeepsNothing(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *peers) {
		var seen []ipc.Slot
		objects(p, &seen)
		for _, op := range []uint16{opEchoObject, opPlain, opPanics, 9} {
			slot, err := p.app.NewMemory(9)
			if err != nil {
				t.Fatal(err)
			}
			p.Do(p.app, func(ctx context.Context) {
				_ = Call(ctx, p.app, ipc.Msg{Slot: p.slot, Op: op, Move: slot}, &PutRequest{}, &GetReply{})
			})
			if objects, slots := p.left(); objects != 0 || slots != 0 {
				t.Errorf("operation %d: %d objects are left, and the service has %d capabilities", op, objects, slots)
			}
		}
	})
}

// TestLoanReads: what a service claims to have written is within the object.
func TestLoanReads(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *peers) {
		loan, err := Lend(p.app, []byte("abc"), 9)
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range map[uint32]error{0: nil, 3: nil, 9: nil, 10: ipc.Malformed, ^uint32(0): ipc.Malformed} {
			if b, err := loan.Read(n); !errors.Is(err, want) || want == nil && string(b) != "abc\x00\x00\x00\x00\x00\x00"[:n] {
				t.Errorf("%d bytes: %q, %v", n, b, err)
			}
		}
		loan.End()
		if _, err := loan.Read(1); !errors.Is(err, ipc.PermissionDenied) {
			t.Errorf("after the end: %v", err)
		}
		if n, _ := p.left(); n != 0 {
			t.Errorf("%d objects are left", n)
		}
		for size, want := range map[int]error{ipc.MaxMemory: nil, ipc.MaxMemory + 1: ipc.InvalidArgument, 0: ipc.InvalidArgument} {
			loan, err := Lend(p.app, nil, size)
			if !errors.Is(err, want) {
				t.Errorf("lending %d bytes: %v", size, err)
			}
			loan.End()
		}
	})
}
