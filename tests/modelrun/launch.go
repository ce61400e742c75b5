package modelrun

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/tests/model"
)

// fit makes an operation one that can be asked for: tasks that exist, deadlines
// that nobody else has, and not too much of anything. A service has one endpoint
// only: with two, whose turn it is would be the kernel's to say.
func (w *World) fit(op *model.Op) {
	if len(w.tasks) > 0 {
		op.Task, op.To = wrap(op.Task, len(w.tasks)), wrap(op.To, len(w.tasks))
	}
	switch op.Kind {
	case model.NewTask:
		if len(w.tasks) >= maxTasks {
			*op = model.Op{Kind: model.Pass}
		}
	case model.StartSession:
		if len(w.Model.Sessions) >= maxSessions {
			*op = model.Op{Kind: model.Pass}
		}
	case model.MintToken, model.DeriveToken:
		if len(w.Model.Tokens) >= maxTokens {
			*op = model.Op{Kind: model.Pass}
		}
	case model.NewEndpoint:
		op.Inbox = op.Inbox || w.hosts[op.To] != nil && (len(w.facets[op.To]) > 0 || w.planned[op.To])
		if !op.Inbox {
			w.planned[op.To] = true
		}
	}
	for op.Within != 0 && w.taken(w.Model.Now+op.Within) {
		op.Within++
	}
}

func wrap(n, count int) int { return ((n % count) + count) % count }

func (w *World) taken(at uint64) bool {
	for _, f := range w.Model.Flows {
		if f.Deadline == at {
			return true
		}
	}
	return false
}

// launch begins an operation as a flow of control of its task.
func (w *World) launch(n int, op model.Op) {
	if op.Kind == model.NewTask { // The first one has no task yet.
		w.order = append(w.order, turn{op: n, answers: -1})
		w.results[n] = w.newTask(op)
		return
	}
	at := uint64(w.kernel.Now())
	w.tasks[op.Task].Go(func(ctx context.Context) {
		w.order = append(w.order, turn{op: n, answers: -1})
		w.results[n] = w.perform(ctx, n, op, at)
	})
}

func (w *World) newTask(op model.Op) model.Result {
	spec := ipc.TaskSpec{Name: model.Name(len(w.tasks)), Guards: op.Guards}
	if len(w.tasks) > 0 {
		spec.Parent = w.tasks[op.Task].ID()
	}
	t, err := w.kernel.NewTask(spec)
	if err != nil {
		return result(err)
	}
	if op.Service {
		w.host(len(w.tasks), t)
	}
	w.tasks = append(w.tasks, t)
	return model.Result{}
}

// result turns an error into what the model calls it.
func result(err error) model.Result {
	var c ipc.Code
	if err != nil && !errors.As(err, &c) {
		c = 0xffff // Nothing the model would say.
	}
	return model.Result{Code: c}
}

func slot(s ipc.Slot, err error) model.Result {
	if err != nil {
		return result(err)
	}
	return model.Result{Slot: s}
}

func (w *World) perform(ctx context.Context, n int, op model.Op, at uint64) model.Result {
	t, to := w.tasks[op.Task], w.tasks[op.To]
	switch op.Kind {
	case model.Grant:
		if op.Cap == capability.KindEndpointFactory {
			return slot(w.kernel.GrantFactory(t))
		}
		return slot(w.kernel.GrantAuthority(t))
	case model.NewEndpoint:
		return w.newEndpoint(t, to, op)
	case model.CloseEndpoint:
		return result(t.CloseEndpoint(op.Slot))
	case model.Clone:
		return slot(t.Clone(op.Slot))
	case model.Derive:
		return slot(t.Derive(op.Slot, op.Rights, to))
	case model.Close:
		return result(t.Close(op.Slot))
	case model.Revoke:
		killed, err := t.Revoke(op.Slot)
		r := result(err)
		r.N = killed
		return r
	case model.Exit:
		t.Exit()
	case model.Call:
		return w.call(ctx, t, n, op)
	case model.Send:
		return result(t.Send(ctx, ipc.Outgoing{
			Slot: op.Slot, Header: header(op), Payload: []byte(model.Payload(n, op.Size)), Token: w.tokenBytes(op.Token),
			Flags: ipc.SysFlags(op.Sys), Deadline: deadline(at, op.Within),
		}))
	case model.Receive:
		return w.receive(ctx, t, op, at)
	case model.NewMemory:
		return slot(t.NewMemory(op.Size))
	case model.ReadOnly:
		return slot(t.ReadOnly(op.Slot))
	case model.ReadMemory:
		buf := make([]byte, max(0, op.Size))
		read, err := t.ReadMemory(op.Slot, op.N, buf)
		r := result(err)
		r.N, r.Body = read, string(buf[:read])
		return r
	case model.WriteMemory:
		return result(t.WriteMemory(op.Slot, op.N, []byte(model.Payload(n, op.Size))))
	case model.Answer:
		w.answer(n, op)
	case model.Restart:
		w.restart(op.Task)
	case model.StartSession, model.OpenSession, model.SealSession, model.EndSession:
		return w.session(t, op)
	case model.MintToken, model.DeriveToken, model.RevokeToken:
		return w.token(t, to, op, at)
	}
	return model.Result{}
}

func (w *World) newEndpoint(t, to *ipc.Task, op model.Op) model.Result {
	s, err := t.NewEndpoint(op.Slot, to, ipc.EndpointSpec{
		Depth: op.Depth, Parallel: op.Parallel, Takes: op.Takes, Inbox: op.Inbox, Raw: op.Raw, Ops: model.Scripts(),
	})
	if err == nil {
		n := len(w.numbers)
		w.numbers[w.made[len(w.made)-1]] = n
		if !op.Inbox {
			w.facets[op.To] = append(w.facets[op.To], n)
		}
	}
	return slot(s, err)
}

func deadline(at, within uint64) ipc.Time {
	if within == 0 {
		return 0
	}
	return ipc.Time(at + within)
}

func header(op model.Op) frame.Header {
	h := frame.Header{Dst: 0xdead, Type: op.Type, Flags: op.Flags, Len: uint32(op.Size + op.Misstate)}
	if op.Move != ipc.NoSlot {
		h.Src, h.Flags = uint32(op.Move), h.Flags|frame.CapMove
	}
	return h
}

// tokenBytes are those of a token's number, as Op.Token says.
func (w *World) tokenBytes(n int) []byte {
	switch {
	case n >= 0 && n < len(w.tokens):
		return w.tokens[n][:]
	case n == -2:
		return make([]byte, capability.TokenSize-1)
	case n <= -3 && len(w.tokens) > 0:
		forged := w.tokens[(-3-n)%len(w.tokens)]
		bit := (-3 - n) % (8 * capability.TokenSize)
		forged[bit/8] ^= 1 << (bit % 8)
		return forged[:]
	}
	return nil
}

func (w *World) call(ctx context.Context, t *ipc.Task, n int, op model.Op) model.Result {
	m := ipc.Msg{
		Slot: op.Slot, Op: op.Type, Body: []byte(model.Payload(n, op.Size)), Move: op.Move,
		Nonblock: ipc.SysFlags(op.Sys)&ipc.SysNonblock != 0,
	}
	if b := w.tokenBytes(op.Token); len(b) == capability.TokenSize {
		m.Token = (*capability.Token)(b)
	}
	if op.Within != 0 {
		var cancel context.CancelFunc
		ctx, cancel = t.WithTimeout(ctx, time.Duration(op.Within))
		defer cancel()
	}
	reply, err := t.Call(ctx, m, nil)
	r := result(err)
	r.Body = string(reply.Body)
	return r
}

// untouched is what buffers hold before a receive.
const untouched = 0xa5

func (w *World) receive(ctx context.Context, t *ipc.Task, op model.Op, at uint64) model.Result {
	buf := make([]byte, max(0, op.Size))
	for i := range buf {
		buf[i] = untouched
	}
	in, err := t.Receive(ctx, op.Slot, buf, ipc.SysFlags(op.Sys), deadline(at, op.Within))
	for i, b := range buf[in.N:] {
		if b != untouched {
			w.spoiled = fmt.Errorf("a receive that wrote %d bytes wrote byte %d", in.N, in.N+i)
		}
	}
	if err != nil {
		if in != (ipc.Incoming{}) {
			w.spoiled = fmt.Errorf("a receive that failed with %v says %+v", err, in)
		}
		return result(err)
	}
	return model.Result{
		Slot: ipc.Slot(in.Header.Src), N: in.N, Body: string(buf[:in.N]), Dst: w.numbers[in.Header.Dst], Type: in.Header.Type,
		Flags: in.Header.Flags, Len: in.Header.Len, From: in.Service,
	}
}

func (w *World) sid(n int) uint64 {
	if n < 0 || n >= len(w.sids) {
		return 1
	}
	return w.sids[n]
}

func (w *World) session(t *ipc.Task, op model.Op) model.Result {
	switch op.Kind {
	case model.StartSession:
		sid, err := t.StartSession(op.Slot, "alice", [16]byte{1})
		if err == nil {
			w.sids = append(w.sids, sid)
		}
		return result(err)
	case model.OpenSession:
		return result(t.OpenSession(op.Slot, w.sid(op.Session)))
	case model.SealSession:
		return result(t.SealSession(op.Slot, w.sid(op.Session)))
	}
	return result(t.EndSession(op.Slot, w.sid(op.Session)))
}

func (w *World) token(t, to *ipc.Task, op model.Op, at uint64) model.Result {
	var held capability.Token
	copy(held[:], w.tokenBytes(op.Token))
	var made capability.Token
	var err error
	switch op.Kind {
	case model.RevokeToken:
		return result(t.RevokeToken(op.Slot, &held))
	case model.MintToken:
		made, err = t.MintToken(op.Slot, ipc.TokenSpec{
			SID: w.sid(op.Session), App: "notes", Holder: to.ID(), Rights: op.TokenRights, Expires: deadline(at, op.Within),
		})
	case model.DeriveToken:
		made, err = t.DeriveToken(&held, to, op.TokenRights, deadline(at, op.Within))
	}
	if err == nil {
		w.tokens = append(w.tokens, made)
	}
	return result(err)
}
