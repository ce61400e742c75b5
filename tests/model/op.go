package model

import (
	"fmt"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
)

// Kind says which operation an Op is.
type Kind uint8

// The operations. What each one takes of an Op stands behind it.
const (
	NewTask       Kind = iota // a child of Task: Service, Guards
	Grant                     // to Task, by who boots: Cap
	NewEndpoint               // by Task, through the factory in Slot, for To: Depth, Parallel, Takes, Inbox, Raw
	CloseEndpoint             // Slot
	Clone                     // Slot
	Derive                    // Slot, Rights, To
	Close                     // Slot
	Revoke                    // Slot
	Exit                      // of Task
	Call                      // Slot, Type, Token, Size, Move, Sys (Nonblock alone), Within
	Send                      // Slot, Type, Token, Size, Misstate, Move, Flags, Sys, Within
	Receive                   // Slot, Size (of the buffer), Sys, Within
	NewMemory                 // Size
	ReadOnly                  // Slot
	ReadMemory                // Slot, N (the offset), Size (of the buffer)
	WriteMemory               // Slot, N (the offset), Size
	Answer                    // Task's held request number N is answered: Code, Size
	Restart                   // Task, a service that has crashed, starts again
	StartSession              // Slot
	OpenSession               // Slot, Session
	SealSession               // Slot, Session
	EndSession                // Slot, Session
	MintToken                 // Slot, Session, To, TokenRights, Within
	DeriveToken               // by Task, of Token, for To: TokenRights, Within
	RevokeToken               // Slot, Token
	Pass                      // Within nanoseconds go by
	Kinds                     // how many kinds there are
)

var kindText = [Kinds]string{
	"new task", "grant", "new endpoint", "close endpoint", "clone", "derive", "close", "revoke", "exit", "call", "send",
	"receive", "new memory", "read only", "read memory", "write memory", "answer", "restart", "start session", "open session", "seal session", "end session", "mint token",
	"derive token", "revoke token", "pass",
}

func (k Kind) String() string {
	if k < Kinds {
		return kindText[k]
	}
	return "unknown"
}

// What the scripted service does with a request, by its opcode.
const (
	Echo    uint16 = iota + 1 // answers with the body
	Hold                      // answers when an Answer says so
	Fail                      // answers NotFound, and the body
	Mute                      // returns without an answer
	Crash                     // panics
	EchoGet                   // Echo, with a token that has Get
	HoldPut                   // Hold, with a token that has Put or Get
	numTypes
)

// Scripts are the operations that every service's endpoint lists.
func Scripts() []ipc.Op {
	ops := make([]ipc.Op, 0, numTypes)
	for ty := Echo; ty < numTypes; ty++ {
		ops = append(ops, ipc.Op{Code: ty, Need: needs(ty)})
	}
	return ops
}

func needs(ty uint16) capability.TokenRights {
	switch ty {
	case EchoGet:
		return capability.Get
	case HoldPut:
		return capability.Put | capability.Get
	}
	return 0
}

// Op is one operation. Tasks, sessions and tokens are named by their numbers in
// the order of their making, from 0.
type Op struct {
	Kind     Kind
	Task, To int
	Slot     ipc.Slot
	Move     ipc.Slot // ipc.NoSlot for none
	Rights   capability.Rights
	Cap      capability.Kind

	Service, Guards   bool
	Depth, Parallel   int
	Takes, Inbox, Raw bool

	Type     uint16
	Flags    uint16 // of the header, besides CapMove
	Sys      uint8
	Size     int
	Misstate int // is added to the header's length
	N        int
	Code     ipc.Code
	Within   uint64 // nanoseconds from now, 0 for none

	Session     int
	Token       int // -1 for none, -2 for one of a wrong length, -3 - n for n with a bit flipped
	TokenRights capability.TokenRights
}

// Result is what an operation answers. What an operation does not answer is zero.
type Result struct {
	Code  ipc.Code
	Slot  ipc.Slot // that was filled
	N     int      // capabilities revoked; bytes written or read
	Body  string
	Dst   int // of a message received: the inbox's number
	Type  uint16
	Flags uint16
	Len   uint32
	From  uint64 // sender_service_id
}

func (r Result) String() string {
	body := r.Body
	if len(body) > 24 {
		body = fmt.Sprintf("%s… (%d bytes)", body[:24], len(body))
	}
	return fmt.Sprintf("{%v slot %d n %d body %q dst %d type %d flags %d len %d from %x}",
		r.Code, r.Slot, r.N, body, r.Dst, r.Type, r.Flags, r.Len, r.From)
}

// Done is an operation that had to wait and has ended.
type Done struct {
	Op     int // its number, from 0
	Result Result
}

// Delivery is what a service's handler is told of a request.
type Delivery struct {
	To, From int // tasks
	Type     uint16
	Body     string
	Moved    ipc.Slot
	Service  uint64
	Session  int // -1 for none
	Epoch    uint32
	Rights   capability.TokenRights
	Unsealed bool
}

// Payload is what the n-th operation carries.
func Payload(n, size int) string {
	b := make([]byte, max(0, size))
	for i := range b {
		b[i] = byte(n + i*7)
	}
	return string(b)
}
