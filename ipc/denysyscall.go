package ipc

import (
	"errors"

	"nexus.internal/os/capability"
)

// asks says what a system call asks of the capability that it names. A call
// that is not in it asks for whatever is in the slot.
var asks = [numSyscalls]struct {
	kind  capability.Kind
	right capability.Rights
}{
	SyscallCloseEndpoint: {capability.KindEndpoint, capability.Manage},
	SyscallReceive:       {capability.KindEndpoint, capability.Recv},
	SyscallReadOnly:      {capability.KindVMO, capability.Map},
	SyscallReadMemory:    {capability.KindVMO, capability.Map},
	SyscallWriteMemory:   {capability.KindVMO, capability.Map},
	SyscallMemorySize:    {capability.KindVMO, capability.Map},
	SyscallNewEndpoint:   {capability.KindEndpointFactory, 0},
	SyscallStartSession:  {capability.KindSessionAuthority, 0},
	SyscallOpenSession:   {capability.KindSessionAuthority, 0},
	SyscallSealSession:   {capability.KindSessionAuthority, 0},
	SyscallEndSession:    {capability.KindSessionAuthority, 0},
	SyscallDrainSession:  {capability.KindSessionAuthority, 0},
	SyscallMintToken:     {capability.KindSessionAuthority, 0},
	SyscallRevokeToken:   {capability.KindSessionAuthority, 0},
	SyscallInspect:       {capability.KindInspector, 0},
}

// denial begins the record of a system call that is no request. A task that has
// exited asks for nothing any more, and has none.
func (t *Task) denial(number uint16, slot Slot, code Code) Denial {
	return Denial{Time: t.kernel.now, Stage: StageSyscall, Syscall: number, Code: code, Task: t.id, Name: t.name, Slot: slot}
}

// deny records a system call that was refused for the capability that it names,
// if that is what the code means; need are the rights that it asked for besides.
// The kernel's lock is held.
func (t *Task) deny(number uint16, slot Slot, code Code, need capability.Rights) {
	held, err := t.table.Lookup(slot)
	switch code {
	case PermissionDenied, NoSuchEndpoint, Unsupported:
	case InvalidArgument:
		if !errors.Is(err, capability.ErrBadSlot) || number == SyscallNewMemory {
			return // An argument was wrong, and not the slot.
		}
	default:
		return
	}
	if t.exited {
		return
	}
	d := t.denial(number, slot, code)
	if err == nil {
		d.Kind, d.Rights = held.Kind, held.Rights
		if ep, ok := held.Object.(*endpoint); ok {
			d.at(ep)
		}
	}
	d.Cause, d.Missing = lacks(number, held, err, slot, code, need)
	t.kernel.audit.add(&d)
}

// lacks finds out what a capability lacks for a system call.
func lacks(number uint16, held capability.Cap, err error, slot Slot, code Code, need capability.Rights) (Cause, capability.Rights) {
	ask := asks[number]
	missing := (need | ask.right) &^ held.Rights
	switch {
	case errors.Is(err, capability.ErrBadSlot) && slot != NoSlot:
		return CauseSlotRange, 0
	case err != nil:
		return CauseEmptySlot, 0
	case code == NoSuchEndpoint:
		return CauseClosed, 0
	case code == Unsupported:
		return CauseNoInbox, 0
	case ask.kind == capability.KindEndpoint && held.Kind != ask.kind:
		return CauseNotEndpoint, 0
	case ask.kind == capability.KindVMO && held.Kind == capability.KindVMOReadOnly && missing == 0:
		return CauseReadOnly, 0
	case ask.kind != 0 && held.Kind != ask.kind && held.Kind != capability.KindVMOReadOnly:
		return CauseKind, 0
	case missing != 0:
		return CauseNoRight, missing
	case number == SyscallDerive && held.Kind.Fixed():
		return CauseMoveFixed, 0
	}
	return CauseStranger, 0
}

// denyToken records a system call that was refused for the token that it shows,
// or for asking more than that token has.
func (t *Task) denyToken(number uint16, token *capability.Token, code Code, cause Cause, why capability.Refusal, need capability.TokenRights) {
	if t.exited {
		return
	}
	d := t.denial(number, NoSlot, code)
	d.Cause, d.Refusal, d.Needed = cause, why, need
	if token != nil {
		t.kernel.blameToken(&d, token)
	}
	t.kernel.audit.add(&d)
}
