package modelrun

import (
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/model"
)

// Draw chooses a number from 0 to n-1.
type Draw func(n int) int

// Town is a world to walk in: a service that takes capabilities, two clients
// that can call it, an inbox of each client to which the other can send, a child
// of the first client, and a session with a token for each client.
//
//	task 0  factory, authority, everything that it made
//	task 1  the service
//	task 2  slot 0: SEND on the service, 1: RECV on its inbox, 2: SEND on task 3's, 3: SEND on task 5
//	task 3  the same, with SEND on its own inbox as well
//	task 4  task 2's child, nothing
//	task 5  a service with session keys to guard; it takes no capabilities
func (w *World) Town(draw Draw) error {
	spec := model.Op{Kind: model.NewEndpoint, Slot: w.Factory, To: 1, Depth: 1 + draw(3), Parallel: 1 + draw(3), Takes: true, Raw: draw(4) == 0}
	ops := []model.Op{
		{Kind: model.NewTask, Service: true}, {Kind: model.NewTask}, {Kind: model.NewTask}, {Kind: model.NewTask, Task: 2},
		{Kind: model.NewTask, Service: true, Guards: true},
		spec,
		{Kind: model.NewEndpoint, Slot: w.Factory, To: 2, Inbox: true, Depth: 1 + draw(3)},
		{Kind: model.NewEndpoint, Slot: w.Factory, To: 3, Inbox: true, Depth: 1 + draw(3)},
		{Kind: model.NewEndpoint, Slot: w.Factory, To: 5, Depth: 1, Parallel: 1},
		{Kind: model.StartSession, Slot: w.Auth},
		{Kind: model.MintToken, Slot: w.Auth, To: 2, TokenRights: capability.Get},
		{Kind: model.MintToken, Slot: w.Auth, To: 3, TokenRights: capability.Get | capability.Put},
	}
	service, inbox2, inbox3, guard := w.Auth-1, w.Auth-2, w.Auth-3, w.Auth-4
	for _, task := range []int{2, 3} {
		own, other, rights := inbox2, inbox3, capability.Recv
		if task == 3 {
			own, other, rights = inbox3, inbox2, capability.Recv|capability.Send
		}
		ops = append(ops,
			model.Op{Kind: model.Derive, Slot: service, To: task, Rights: capability.Send},
			model.Op{Kind: model.Derive, Slot: own, To: task, Rights: rights},
			model.Op{Kind: model.Derive, Slot: other, To: task, Rights: capability.Send},
			model.Op{Kind: model.Derive, Slot: guard, To: task, Rights: capability.Send})
	}
	if draw(2) == 0 { // Then the clients alone decide whether there is a sender.
		ops = append(ops, model.Op{Kind: model.Close, Slot: inbox2}, model.Op{Kind: model.Close, Slot: inbox3})
	}
	for i, op := range ops {
		op.Move = ipc.NoSlot
		w.quiet = i < len(ops)-1 // What is there then is compared once.
		if err := w.Do(op); err != nil {
			return err
		}
	}
	return nil
}

// weights say how often a walk does what.
var weights = [model.Kinds]int{
	model.NewTask: 1, model.Grant: 1, model.NewEndpoint: 3, model.CloseEndpoint: 2, model.Clone: 6, model.Derive: 8,
	model.Close: 5, model.Revoke: 4, model.Exit: 1, model.Call: 24, model.Send: 24, model.Receive: 20, model.Answer: 8,
	model.NewMemory: 3, model.ReadOnly: 2, model.ReadMemory: 3, model.WriteMemory: 3, model.Restart: 3, model.StartSession: 1, model.OpenSession: 1, model.SealSession: 1, model.EndSession: 1,
	model.MintToken: 4, model.DeriveToken: 2, model.RevokeToken: 2, model.Pass: 3,
}

// AnyKind draws a kind of operation by its weight.
func AnyKind(draw Draw) model.Kind {
	total := 0
	for _, n := range weights {
		total += n
	}
	n := draw(total)
	for k, weight := range weights {
		if n -= weight; n < 0 {
			return model.Kind(k)
		}
	}
	return model.Pass
}

// Op draws an operation of a kind, mostly one that has a chance to succeed.
func (w *World) Op(kind model.Kind, draw Draw) model.Op {
	op := model.Op{Kind: kind, Move: ipc.NoSlot, Token: -1}
	if op.Task = w.somebody(draw); kind == model.Exit && draw(4) > 0 {
		op.Task = len(w.tasks) - 1 - draw(min(2, len(w.tasks))) // The first ones hold the town together.
	}
	op.To = draw(len(w.tasks))
	switch kind {
	case model.NewTask:
		op.Service, op.Guards = draw(4) == 0, draw(8) == 0
	case model.Grant:
		op.Cap = capability.KindEndpointFactory + capability.Kind(draw(2))*(capability.KindSessionAuthority-capability.KindEndpointFactory)
	case model.NewEndpoint:
		op.Task, op.Slot = w.holder(op.Task, capability.KindEndpointFactory, draw)
		op.Depth, op.Parallel, op.Takes, op.Inbox, op.Raw = draw(4), draw(3), draw(2) == 0, draw(3) > 0, draw(4) == 0
	case model.Clone, model.Close, model.Revoke, model.CloseEndpoint:
		op.Slot = w.slot(op.Task, 0, draw)
	case model.Derive:
		op.Slot, op.Rights = w.slot(op.Task, 0, draw), capability.Rights(draw(16))
		if draw(2) == 0 {
			op.Rights &= capability.Send | capability.Recv
		}
		if draw(16) == 0 {
			op.Rights |= 16
		}
	case model.Call, model.Send:
		w.message(&op, draw)
	case model.Receive:
		op.Slot = w.slot(op.Task, capability.Recv, draw)
		op.Sys, op.Size = uint8(draw(8)), size(draw)
		if draw(8) == 0 {
			op.Sys |= 8
		}
		op.Within = within(draw)
	case model.NewMemory:
		op.Size = []int{-1, 0, 1, 64, ipc.MaxFrame, ipc.MaxMemory - 1, ipc.MaxMemory, ipc.MaxMemory + 1}[draw(8)]
	case model.ReadOnly, model.ReadMemory, model.WriteMemory:
		op.Slot, op.N, op.Size = w.slot(op.Task, capability.Map, draw), []int{0, 1, 60, 64, 65, ipc.MaxMemory, -1}[draw(7)], size(draw)
	case model.Answer:
		op.Task, op.N, op.Size, op.Code = 1, draw(3), size(draw), []ipc.Code{ipc.OK, ipc.OK, ipc.NotFound, ipc.Quota}[draw(4)]
	case model.Restart:
		op.Task = []int{1, 5, op.Task}[draw(3)]
	case model.StartSession, model.OpenSession, model.SealSession, model.EndSession:
		op.Task, op.Slot = w.holder(op.Task, capability.KindSessionAuthority, draw)
		op.Session = draw(len(w.Model.Sessions) + 1)
	case model.MintToken, model.DeriveToken, model.RevokeToken:
		w.tokenOp(&op, draw)
	case model.Pass:
		op.Within = []uint64{1, 10, 100, 1000, 40e9}[draw(5)]
	}
	return op
}

// somebody is a task, mostly one that holds something.
func (w *World) somebody(draw Draw) int {
	task := draw(len(w.tasks))
	for i := 0; i < len(w.tasks) && draw(16) > 0; i++ {
		if n := (task + i) % len(w.tasks); len(w.Model.Table(n)) > 0 {
			return n
		}
	}
	return task
}

// message draws what Call and Send take.
func (w *World) message(op *model.Op, draw Draw) {
	op.Slot, op.Type, op.Size = w.slot(op.Task, capability.Send, draw), uint16(1+draw(7)), size(draw)
	if draw(16) == 0 {
		op.Type = []uint16{0, 8, 63, 64, 0xffff}[draw(5)]
	}
	if op.Token = w.tokenFor(op.Task, draw); draw(8) == 0 {
		op.Token = -1 - draw(900)
	}
	if draw(2) == 0 {
		op.Move = w.slot(op.Task, 0, draw)
	}
	if draw(3) == 0 {
		op.Sys = uint8(ipc.SysNonblock)
	}
	op.Within = within(draw)
	if op.Kind == model.Send {
		switch draw(24) {
		case 0:
			op.Flags = 1 << (1 + draw(15))
		case 1:
			op.Sys |= 1 << (1 + draw(7))
		case 2:
			op.Misstate = 1 - 2*draw(2)
		}
	}
	if op.Kind == model.Send && op.Size+op.Misstate < 0 {
		op.Misstate = 1
	}
}

func (w *World) tokenOp(op *model.Op, draw Draw) {
	if op.Kind == model.DeriveToken {
		op.Token = w.tokenFor(op.Task, draw)
	} else {
		op.Task, op.Slot = w.holder(op.Task, capability.KindSessionAuthority, draw)
		op.Session, op.Token = draw(len(w.Model.Sessions)+1), draw(len(w.Model.Tokens)+1)
	}
	if draw(2) == 0 {
		op.To = 2 + draw(3)
	}
	op.TokenRights = capability.TokenRights(draw(16))
	if draw(16) == 0 {
		op.TokenRights |= 1 << (8 + draw(8))
	}
	op.Within = within(draw)
}

// tokenFor is a token of a task, mostly.
func (w *World) tokenFor(task int, draw Draw) int {
	first := draw(len(w.Model.Tokens) + 1)
	for i := range w.Model.Tokens {
		n := (first + i) % len(w.Model.Tokens)
		if w.Model.Tokens[n].Holder.Number == task {
			return n
		}
	}
	return first
}

// holder is a task that has a capability of the kind, and where; any if there is none.
func (w *World) holder(task int, kind capability.Kind, draw Draw) (int, ipc.Slot) {
	if draw(8) > 0 {
		for i := range w.tasks {
			for _, c := range w.Model.Table((task + i) % len(w.tasks)) {
				if c.Kind == kind {
					return c.Task.Number, c.Slot
				}
			}
		}
	}
	return task, w.slot(task, 0, draw)
}

// slot is one that holds what has a right, mostly; else one that is filled, or empty, or out of range.
func (w *World) slot(task int, right capability.Rights, draw Draw) ipc.Slot {
	table := w.Model.Table(task)
	how := draw(12)
	if len(table) == 0 || how == 0 {
		return []ipc.Slot{5, 100, capability.Slots - 1, capability.Slots, ipc.NoSlot - 1}[draw(5)]
	}
	first := draw(len(table))
	for i := range table {
		if c := table[(first+i)%len(table)]; how > 1 && c.Rights&right == right {
			return c.Slot
		}
	}
	return table[first].Slot
}

// size draws sizes around those that make a difference.
func size(draw Draw) int {
	return []int{0, 1, 4, 7, 8, 9, 16, 64, ipc.MaxFrame - 10, ipc.MaxFrame - 9, ipc.MaxFrame, ipc.MaxFrame + 1}[draw(12)]
}

func within(draw Draw) uint64 {
	return []uint64{0, 0, 1, 2, 5, 20}[draw(6)]
}
