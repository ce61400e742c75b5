// Package audit writes down audit records, the kernel's and policyd's, finds
// them again, and says in words what they mean.
//
// A record is one line of JSON. It is what is left of a refusal for those who
// may look; it has no payload, no byte of a token, and targets only as digests.
// The package calls nobody: it is given records and a reader or a writer.
package audit

import (
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/policyd"
)

// Record is one line: a denial of the kernel or a decision of policyd.
type Record struct {
	ID     string   `json:"id"`   // kBOOT-SERIAL or pBOOT-SERIAL
	Time   ipc.Time `json:"time"` // nanoseconds since boot
	Reason string   `json:"reason"`

	Denial   *Denial   `json:"denial,omitempty"`
	Decision *Decision `json:"decision,omitempty"`
}

// Denial is what the kernel's record says, in words where it has numbers; see
// ipc.Denial. What is empty or 0 is not known or does not apply.
type Denial struct {
	Stage    string `json:"stage"`
	Code     string `json:"code"`
	Call     uint64 `json:"call,omitempty"`
	Task     uint64 `json:"task"`
	Name     string `json:"name"`
	Slot     *int   `json:"slot,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Rights   string `json:"rights,omitempty"`
	Missing  string `json:"missing,omitempty"`
	Endpoint uint32 `json:"endpoint,omitempty"`
	Owner    string `json:"owner,omitempty"`
	Facet    uint8  `json:"facet,omitempty"`
	Op       string `json:"op,omitempty"`      // its name, or its number
	Syscall  string `json:"syscall,omitempty"` // instead of op, what was refused if it was no request

	Token *Token `json:"token,omitempty"`
}

// Token is what the kernel's record says of a token.
type Token struct {
	Field        string `json:"field,omitempty"`
	Genuine      bool   `json:"genuine"`
	Needed       string `json:"needed"`
	Held         string `json:"held,omitempty"`
	SID          uint64 `json:"sid,omitempty"`
	Epoch        uint32 `json:"epoch,omitempty"`
	SessionEpoch uint32 `json:"sessionEpoch,omitempty"`
	App          string `json:"app,omitempty"`  // digest
	User         string `json:"user,omitempty"` // digest
}

// Decision is what policyd's record says; see policyd.Record.
type Decision struct {
	Subject string `json:"subject"`
	Action  string `json:"action,omitempty"`
	Target  string `json:"target"` // digest
	Allow   bool   `json:"allow"`
}

// OfDenial makes a record of the kernel's.
func OfDenial(d *ipc.Denial) Record {
	out := &Denial{
		Stage: d.Stage.String(), Code: d.Code.String(), Call: d.Call, Task: uint64(d.Task), Name: d.Name,
		Endpoint: d.Endpoint, Owner: d.Owner, Facet: d.Facet, Op: wire.OpName(d.Owner, d.Op),
	}
	if d.Syscall != 0 {
		out.Op, out.Syscall = "", ipc.SyscallName(d.Syscall)
	}
	if d.Slot != ipc.NoSlot {
		slot := int(d.Slot)
		out.Slot = &slot
	}
	if d.Kind != 0 {
		out.Kind, out.Rights = d.Kind.String(), d.Rights.String()
	}
	if d.Missing != 0 {
		out.Missing = d.Missing.String()
	}
	if d.Cause == ipc.CauseToken || d.Syscall == ipc.SyscallDeriveToken {
		out.Token = ofToken(d)
	}
	return Record{ID: d.ID.String(), Time: d.Time, Reason: d.Reason(), Denial: out}
}

func ofToken(d *ipc.Denial) *Token {
	t := &Token{
		Field: d.Field.String(), Genuine: d.Genuine, Needed: d.Needed.String(), SID: d.SID, Epoch: d.TokenEpoch,
		SessionEpoch: d.SessionEpoch, App: d.App.String(), User: d.User.String(),
	}
	if d.Refusal != capability.RefusedMissing && d.Refusal != capability.RefusedLength {
		t.Held = d.Held.String()
	}
	return t
}

// OfDecision makes a record of policyd's.
func OfDecision(r *policyd.Record) Record {
	return Record{
		ID: r.ID(), Time: r.TimestampNS, Reason: r.Reason.String(),
		Decision: &Decision{Subject: r.Subject, Action: r.Action, Target: r.Target, Allow: r.Allow},
	}
}

// IsID says whether a text is an id of a record, of the kernel's or policyd's.
func IsID(text string) bool {
	if text == "" || text[0] != 'k' && text[0] != 'p' {
		return false
	}
	_, ok := ipc.ParseAuditID("k" + text[1:])
	return ok
}
