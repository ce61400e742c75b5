package ipc_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("../tests/vectors/" + name)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tokenRow is a token that the kernel must mint, byte for byte.
type tokenRow struct {
	Name, AppID, Dead, Body, MAC                     string
	Rights, Epoch, SID, App, Serial, Holder, Expires uint64
}

// TestTokenVectors builds the system of tests/vectors/token.json and shows its
// kernel each vector through a call.
func TestTokenVectors(t *testing.T) {
	var v struct {
		Key     string
		Rows    []tokenRow
		Vectors []struct {
			Name, Token, Need, Expect string
			Holder, At                uint64
		}
	}
	readVectors(t, "token.json", &v)
	tr := new(trace)
	w := newWorld(t, rig.NewSeeded(t, 1, tr.tap), plan{}) // Tasks 1 to 3, session 1.
	if v.Key != hex.EncodeToString([]byte("a key for tests, not from rngd..")) {
		t.Fatal("the vectors are for another key than the rig's")
	}
	clients := make(map[uint64]*client)
	for range 2 { // Tasks 4 and 5.
		task := w.Task(ipc.TaskSpec{Name: "app"})
		clients[uint64(task.ID())] = &client{w: w, task: task, slot: w.Connect(task, w.ep)}
	}
	sids := []uint64{w.sid, w.session("alice"), w.session("alice"), w.session("alice")}
	w.mintRows(t, v.Rows)
	w.seal(sids[2])
	if err := w.ident.EndSession(w.auth, sids[3]); err != nil {
		t.Error(err)
	}
	ops := map[string]uint16{"get": opGet, "put": opPut}
	for _, vec := range v.Vectors {
		c := clients[vec.Holder]
		if c == nil || ops[vec.Need] == 0 {
			t.Fatalf("%s: no task %d or no operation for %q", vec.Name, vec.Holder, vec.Need)
		}
		var token *capability.Token
		if vec.Token != "" {
			token = new(capability.Token)
			if n, err := hex.Decode(token[:], []byte(vec.Token)); n != capability.TokenSize || err != nil {
				t.Fatalf("%s: %d bytes, %v", vec.Name, n, err)
			}
		}
		c.do(func(ctx context.Context) {
			_ = c.task.Sleep(ctx, time.Duration(vec.At)-time.Duration(c.task.Now()))
			body, err := c.send(ctx, ipc.Msg{Op: ops[vec.Need], Token: token, Body: []byte("x")})
			if vec.Expect == capability.Accepted.String() {
				if err != nil || body != "x" || w.Kernel.Now() != ipc.Time(vec.At) {
					t.Errorf("%s: %q, %v at %d", vec.Name, body, err, w.Kernel.Now())
				}
				return
			}
			want(t, vec.Name, body, err, ipc.Denied)
			if e := tr.last(ipc.TraceRefuse); e.Refusal.String() != vec.Expect || e.Time != ipc.Time(vec.At) {
				t.Errorf("%s: refused as %v at %d, want %s at %d", vec.Name, e.Refusal, e.Time, vec.Expect, vec.At)
			}
		})
	}
}

func (w *world) mintRows(t *testing.T, rows []tokenRow) {
	t.Helper()
	for _, r := range rows {
		token, err := w.ident.MintToken(w.auth, ipc.TokenSpec{
			SID: r.SID, App: r.AppID, Holder: ipc.TaskID(r.Holder), Rights: capability.TokenRights(r.Rights), Expires: ipc.Time(r.Expires),
		})
		if err != nil || hex.EncodeToString(token[:]) != r.Body+r.MAC {
			t.Errorf("%s: minted\n%x, %v; want\n%s", r.Name, token[:], err, r.Body+r.MAC)
		}
		if r.Dead == "revoked" {
			if err := w.ident.RevokeToken(w.auth, &token); err != nil {
				t.Error(err)
			}
		}
	}
}

// header is the target OS's message header. The emulation does not carry it:
// the kernel's own record of a delivered request holds the same facts.
type header struct {
	src, dst  uint32
	ty, flags uint16
	len       uint32
}

func (h header) String() string {
	var b [16]byte
	binary.LittleEndian.PutUint32(b[0:], h.src)
	binary.LittleEndian.PutUint32(b[4:], h.dst)
	binary.LittleEndian.PutUint16(b[8:], h.ty)
	binary.LittleEndian.PutUint16(b[10:], h.flags)
	binary.LittleEndian.PutUint32(b[12:], h.len)
	return hex.EncodeToString(b[:])
}

// TestHeaderVectors encodes the golden headers, and then describes requests that
// were delivered, as docs/IPC.md says, by the header that the target OS's
// receiver would have seen.
func TestHeaderVectors(t *testing.T) {
	var v struct {
		Layout []struct {
			Name, Bytes   string
			Src, Dst, Len uint32
			Ty, Flags     uint16
		}
		Delivered []struct {
			Name, Header string
			Op           uint16
			Len          int
			Moves        bool
		}
	}
	readVectors(t, "header.json", &v)
	for _, x := range v.Layout {
		if got := (header{x.Src, x.Dst, x.Ty, x.Flags, x.Len}).String(); got != x.Bytes {
			t.Errorf("%s: %s, want %s", x.Name, got, x.Bytes)
		}
	}
	var got header
	tr := new(trace)
	r := rig.NewSeeded(t, 1, tr.tap)
	svc := r.Task(ipc.TaskSpec{Name: "receiver"})
	ops := make([]ipc.Op, ipc.MaxOps)
	for i := range ops {
		ops[i].Code = uint16(i)
	}
	ep := r.Endpoint(svc, ipc.EndpointSpec{Ops: ops, Takes: true})
	r.Host(svc, func() ipc.Service {
		return handler(func(_ context.Context, r *ipc.Request) {
			got = header{dst: tr.last(ipc.TraceDeliver).Endpoint, ty: r.Op, len: uint32(len(r.Body))}
			if r.Moved != ipc.NoSlot {
				got.src, got.flags = uint32(r.Moved), 1 // CAP_MOVE
			}
			_ = r.Reply(ipc.OK, nil)
		})
	})
	app := r.Task(ipc.TaskSpec{Name: "app"})
	slot := r.Connect(app, ep)
	for _, x := range v.Delivered {
		r.Do(app, func(ctx context.Context) {
			move := ipc.NoSlot
			if x.Moves {
				move = r.Connect(app, ep)
			}
			if _, err := app.Call(ctx, ipc.Msg{Slot: slot, Op: x.Op, Body: make([]byte, x.Len), Move: move}, nil); err != nil {
				t.Errorf("%s: %v", x.Name, err)
			}
		})
		if got.String() != x.Header {
			t.Errorf("%s: %s, want %s", x.Name, got, x.Header)
		}
	}
}

// handler is a service that is one function.
type handler func(ctx context.Context, r *ipc.Request)

func (h handler) Start(context.Context) error               { return nil }
func (h handler) Serve(ctx context.Context, r *ipc.Request) { h(ctx, r) }
