package ipc_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/tests/rig"
)

// kinds are those of the events that are about a call, in their order.
func (tr *trace) kinds(call uint64) (all []ipc.EventKind) {
	for _, e := range tr.events {
		if e.Call == call {
			all = append(all, e.Kind)
		}
	}
	return all
}

// TestEnds: each way for a call to end has its one event, which says whose call
// it was, at which endpoint and for what; what is answered later is late.
func TestEnds(t *testing.T) {
	send, deliver, late := ipc.TraceSend, ipc.TraceDeliver, ipc.TraceLate
	for name, x := range map[string]struct {
		fault once
		op    uint16
		while func(w *world, c *client)
		want  []ipc.EventKind
		code  ipc.Code
	}{
		"answered": {op: opEcho, want: []ipc.EventKind{send, deliver, ipc.TraceReply}},
		"expired while served": {op: opHold, want: []ipc.EventKind{send, deliver, ipc.TraceExpire, late}, code: ipc.TimedOut,
			while: func(w *world, c *client) {
				c.do(func(ctx context.Context) {
					_ = c.task.Sleep(ctx, 2*time.Second)
					_, _ = c.call(ctx, opOpen, "")
					settle(ctx, c.task)
				})
			}},
		"the reply is lost": {fault: once{at: ipc.AtReply, fault: ipc.FaultDrop}, op: opEcho,
			want: []ipc.EventKind{send, deliver, ipc.TraceExpire}, code: ipc.TimedOut},
		"the reply is lost, and the caller exits": {fault: once{at: ipc.AtReply, fault: ipc.FaultDrop}, op: opEcho,
			want: []ipc.EventKind{send, deliver, ipc.TraceCancel}, code: ipc.Unavailable,
			while: func(w *world, c *client) {
				w.Do(w.Init, func(ctx context.Context) { settle(ctx, w.Init) })
				c.task.Exit()
			}},
		"its caller exits": {op: opHold, want: []ipc.EventKind{send, deliver, ipc.TraceCancel}, code: ipc.Unavailable,
			while: func(w *world, c *client) {
				w.Do(w.Init, func(ctx context.Context) { settle(ctx, w.Init) })
				c.task.Exit()
			}},
		"its session is sealed": {op: opHoldGet, want: []ipc.EventKind{send, deliver, ipc.TraceReply}, code: ipc.Denied,
			while: func(w *world, c *client) {
				w.Do(w.Init, func(ctx context.Context) { settle(ctx, w.Init) })
				w.seal(w.sid)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &trace{}
			r := rig.NewSeeded(t, 1, tr.tap)
			w := newWorld(t, r, plan{depth: 4, parallel: 2})
			c := w.app("app")
			fault := x.fault
			w.Kernel.SetInjector(&fault)
			tr.events = nil
			done := c.start(func(ctx context.Context) {
				short, cancel := c.task.WithTimeout(ctx, time.Second)
				defer cancel()
				_, _ = c.call(short, x.op, "payload")
			})
			if x.while != nil {
				x.while(w, c)
			}
			w.await(done)
			call := tr.last(deliver).Call
			for _, e := range tr.events {
				if e.Kind == send && e.Op == x.op {
					call = e.Call
				}
			}
			if got := tr.kinds(call); !slices.Equal(got, x.want) {
				t.Errorf("its events are %v, want %v", got, x.want)
			}
			end := tr.last(x.want[len(x.want)-1])
			if end.Kind == late {
				end = tr.last(x.want[len(x.want)-2])
			}
			if end.From != c.task.ID() || end.To != w.svc.ID() || end.Endpoint == 0 || end.Op != x.op || end.Code != x.code {
				t.Errorf("the end is %+v", end)
			}
		})
	}
}

// TestExpireSaysWhere: a deadline that passes without a call says where as well.
func TestExpireSaysWhere(t *testing.T) {
	tr := &trace{}
	r := rig.NewSeeded(t, 1, tr.tap)
	w := newWorld(t, r, plan{depth: 1, parallel: 1})
	c := w.app("app")
	expired := func(what string, fn func(ctx context.Context), to ipc.TaskID, endpoint uint32, op uint16) {
		t.Helper()
		c.do(func(ctx context.Context) {
			short, cancel := c.task.WithTimeout(ctx, time.Second)
			defer cancel()
			fn(short)
		})
		e := tr.last(ipc.TraceExpire)
		if e.Call != 0 || e.From != c.task.ID() || e.To != to || e.Endpoint != endpoint || e.Op != op {
			t.Errorf("%s: %+v", what, e)
		}
		tr.events = nil
	}
	echo := func(ctx context.Context) { _, _ = c.call(ctx, opEcho, "") }
	w.Kernel.SetInjector(&once{at: ipc.AtSend, fault: ipc.FaultDrop})
	expired("a request is lost", echo, w.svc.ID(), 1, opEcho)
	w.Kernel.SetInjector(&once{at: ipc.AtSend, fault: ipc.FaultDelay, delay: time.Hour})
	expired("a request is too late", echo, w.svc.ID(), 1, opEcho)
	w.Kernel.SetInjector(nil)
	inbox, err := r.Init.Derive(r.Endpoint(c.task, ipc.EndpointSpec{Inbox: true}), capability.Recv, c.task)
	if err != nil {
		t.Fatal(err)
	}
	expired("nothing to receive", func(ctx context.Context) { _, _ = c.task.Receive(ctx, inbox, nil, 0, 0) }, c.task.ID(), 2, 0)
	_, held := c.begin(ipc.Msg{Op: opHold})
	c.do(func(ctx context.Context) { settle(ctx, c.task) })
	_, queued := c.begin(ipc.Msg{Op: opEcho})
	c.do(func(ctx context.Context) { settle(ctx, c.task) })
	expired("no room", echo, w.svc.ID(), 1, opEcho)
	c.task.Exit()
	w.await(held, queued)
}

// TestMessagesEnd: a message ends when it is received or when its inbox closes,
// and a request to which there is nowhere to answer when it has been served.
func TestMessagesEnd(t *testing.T) {
	tr := &trace{}
	r := rig.NewSeeded(t, 1, tr.tap)
	svc := r.Task(ipc.TaskSpec{Name: "raw"})
	raw := r.Endpoint(svc, ipc.EndpointSpec{Depth: 4, Raw: true, Ops: rig.Ops(2)})
	r.Host(svc, func() ipc.Service { return half{} })
	app := r.Task(ipc.TaskSpec{Name: "app"})
	letters := r.Endpoint(app, ipc.EndpointSpec{Depth: 4, Inbox: true})
	to, ask := r.Connect(app, letters), r.Connect(app, raw)
	tr.events = nil
	r.Do(app, func(ctx context.Context) {
		for _, m := range []ipc.Outgoing{{Slot: to}, {Slot: to}, {Slot: ask, Header: frame.Header{Type: 1}}, {Slot: ask, Header: frame.Header{Type: 2}}} {
			if err := app.Send(ctx, m); err != nil {
				t.Error(err)
			}
		}
		settle(ctx, app)
	})
	r.Do(r.Init, func(ctx context.Context) {
		if _, err := r.Init.Receive(ctx, letters, nil, 0, 0); err != nil {
			t.Error(err)
		}
	})
	if err := r.Init.CloseEndpoint(letters); err != nil {
		t.Fatal(err)
	}
	first := tr.events[0].Call
	for i, x := range []struct {
		want []ipc.EventKind
		code ipc.Code
	}{
		{[]ipc.EventKind{ipc.TraceSend, ipc.TraceReceive}, ipc.OK},
		{[]ipc.EventKind{ipc.TraceSend, ipc.TraceCancel}, ipc.NoSuchEndpoint},
		{[]ipc.EventKind{ipc.TraceSend, ipc.TraceDeliver, ipc.TraceCancel}, ipc.PeerClosed},
		{[]ipc.EventKind{ipc.TraceSend, ipc.TraceDeliver, ipc.TraceCancel}, ipc.Unavailable},
	} {
		call := first + uint64(i)
		if got := tr.kinds(call); !slices.Equal(got, x.want) {
			t.Errorf("message %d: events are %v, want %v", i, got, x.want)
		}
		for _, e := range tr.events {
			if e.Call == call && e.Kind == x.want[len(x.want)-1] && e.Code != x.code {
				t.Errorf("message %d ends with %v, want %v", i, e.Code, x.code)
			}
		}
	}
}

// half is a service that answers its first operation only.
type half struct{}

func (half) Start(context.Context) error { return nil }

func (half) Serve(_ context.Context, r *ipc.Request) {
	if r.Op == 1 {
		_ = r.Reply(ipc.OK, r.Body)
	}
}
