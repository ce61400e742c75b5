package ipc

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"

	"nexus.internal/os/capability"
)

// AuditKeySize is the size of the key that makes digests, in bytes.
const AuditKeySize = 32

// AuditID names one audit record of the kernel, and never another one on the
// same state directory. It prints as "kBOOT-SERIAL", so k3-17 is the 17th of
// the third boot.
type AuditID struct {
	Boot   uint32
	Serial uint64 // from 1
}

func (id AuditID) String() string {
	return "k" + strconv.FormatUint(uint64(id.Boot), 10) + "-" + strconv.FormatUint(id.Serial, 10)
}

// ParseAuditID reads what String prints, and no other spelling of it.
func ParseAuditID(text string) (AuditID, bool) {
	boot, serial, _ := strings.Cut(strings.TrimPrefix(text, "k"), "-")
	b, errBoot := strconv.ParseUint(boot, 10, 32)
	n, errSerial := strconv.ParseUint(serial, 10, 64)
	id := AuditID{Boot: uint32(b), Serial: n}
	return id, errBoot == nil && errSerial == nil && id.String() == text
}

// Digest names a target without telling it: HMAC-SHA256 under a key of this
// boot, cut to 16 bytes. Within a boot the same target has the same digest. The
// zero value stands for a target that is not known.
type Digest [16]byte

func (d Digest) String() string {
	if d == (Digest{}) {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// Stage says when a request was refused.
type Stage uint8

// The stages, append-only.
const (
	StageSend     Stage = iota + 1
	StageDelivery       // when its handler was about to run
	StageReply          // when its handler answered
	StageVoid           // while it was queued, waited for room, or was being served: its token died, or its sender's capability went
	StageSyscall        // a system call that is no request
)

var stageText = [...]string{StageSend: "send", StageDelivery: "delivery", StageReply: "reply", StageVoid: "void", StageSyscall: "system call"}

func (s Stage) String() string { return textOf(stageText[:], int(s)) }

// Cause says what a request was refused for.
type Cause uint8

// The causes, append-only. Those that begin with Move are about the slot of the
// capability that was to travel along.
const (
	CauseToken       Cause = iota + 1 // Refusal says why
	CauseSlotRange                    // there is no such slot in any table
	CauseEmptySlot                    // the slot holds nothing
	CauseNotEndpoint                  // what the slot holds is no endpoint
	CauseNoRight                      // the capability lacks the right in Missing
	CauseClosed                       // the endpoint is closed
	CauseOpcode                       // the endpoint does not list the opcode
	CauseMoveEmpty                    // the slot to move holds nothing
	CauseMoveFixed                    // what it holds stays with the task it was made for
	CauseNotTaken                     // the endpoint takes no capabilities
	CauseNoAnswer                     // by Send: what travels along is no SEND on an open inbox
	CauseNoNonce                      // by Send: there is no room for a nonce
	CauseInbox                        // by Call: the endpoint is an inbox, where nobody answers
	CauseNoInbox                      // by Receive: the endpoint is a service's
	CauseKind                         // what the slot holds is of another kind than the system call needs
	CauseReadOnly                     // it is a read-only alias, which nobody can write through
	CauseStranger                     // who was to get something is neither the task itself nor its live child
	CauseLife                         // by DeriveToken: the child would outlive its parent
)

var causeText = [...]string{
	CauseToken: "token", CauseSlotRange: "slot out of range", CauseEmptySlot: "empty slot", CauseNotEndpoint: "not an endpoint",
	CauseNoRight: "right missing", CauseClosed: "endpoint closed", CauseOpcode: "unsupported opcode",
	CauseMoveEmpty: "nothing to move", CauseMoveFixed: "fixed capability", CauseNotTaken: "takes no capability",
	CauseNoAnswer: "nowhere to answer", CauseNoNonce: "no nonce", CauseInbox: "an inbox",
	CauseNoInbox: "not an inbox", CauseKind: "another kind", CauseReadOnly: "read-only", CauseStranger: "not a child", CauseLife: "longer life",
}

func (c Cause) String() string { return textOf(causeText[:], int(c)) }

func textOf(texts []string, i int) string {
	if i > 0 && i < len(texts) {
		return texts[i]
	}
	return "unknown"
}

// Denial is the audit record of one refused request or other system call. It never holds a payload,
// bytes of a token, or the name of an app or a user.
type Denial struct {
	ID    AuditID
	Time  Time
	Call  uint64 // of a request that had been queued, 0 at send
	Stage Stage
	Cause Cause
	Code  Code // what the caller was told

	Task    TaskID // the caller
	Name    string // its name
	Slot    Slot   // that the refusal is about: of the endpoint, or to be moved; NoSlot if it is not known
	Kind    capability.Kind
	Rights  capability.Rights // Kind and Rights are what the slot holds now
	Missing capability.Rights // with CauseNoRight

	Endpoint uint32 // 0 if no endpoint was found, and so for the two that follow
	Owner    string
	Facet    uint8
	Op       uint16
	Syscall  uint16 // which system call it was, 0 for a request

	// What follows belongs to CauseToken, and to a refused DeriveToken.

	Refusal capability.Refusal
	Field   capability.Field // that the refusal is about; see docs/IPC.md
	// Genuine says that the kernel has sealed the token. Otherwise Held, SID
	// and TokenEpoch are what somebody claims, and App and User are empty.
	Genuine      bool
	Needed, Held capability.TokenRights
	SID          uint64
	TokenEpoch   uint32
	SessionEpoch uint32 // now; 0 if there is no such session
	App, User    Digest
}

// Reason is the refusal's text if it is about the token, and otherwise the
// cause's.
func (d *Denial) Reason() string {
	if d.Cause == CauseToken {
		return d.Refusal.String()
	}
	return d.Cause.String()
}

// audit keeps the newest MaxDenials records. The kernel's lock guards it.
type audit struct {
	ring  [MaxDenials]Denial
	total uint64
	boot  uint32
	mac   hash.Hash
	text  [len(appDigest) + capability.MaxAppID]byte
	sum   [sha256.Size]byte
	hook  func(Denial)
}

// Beginnings of what is digested, so that an app and a user of one name differ.
const (
	appDigest  = "app:"
	userDigest = "user:"
)

// A user's id and its beginning must fit the buffer for an app's.
const _ = uint(len(appDigest) + capability.MaxAppID - len(userDigest) - capability.MaxUserID)

func (a *audit) init(cfg *Config) {
	a.boot, a.hook = cfg.Boot, cfg.Denied
	a.mac = hmac.New(sha256.New, cfg.AuditKey[:])
	a.mac.Reset() // What HMAC keeps for later uses it makes here, and not at the first refusal.
	clear(cfg.AuditKey[:])
}

// add numbers a record and keeps it, in the place of the oldest one if there is
// no other. It allocates nothing.
func (a *audit) add(d *Denial) {
	a.total++
	d.ID = AuditID{Boot: a.boot, Serial: a.total}
	a.ring[(a.total-1)%MaxDenials] = *d
	if a.hook != nil {
		a.hook(*d)
	}
}

// dropped is how many records had to make room for newer ones.
func (a *audit) dropped() uint64 { return a.total - min(a.total, MaxDenials) }

// find answers a record that is still kept.
func (a *audit) find(id AuditID) (*Denial, bool) {
	if id.Boot != a.boot || id.Serial <= a.dropped() || id.Serial > a.total {
		return nil, false
	}
	return &a.ring[(id.Serial-1)%MaxDenials], true
}

// digest names a target. It allocates nothing.
func (a *audit) digest(kind, target string) (d Digest) {
	n := copy(a.text[:], kind)
	n += copy(a.text[n:], target)
	a.mac.Reset()
	a.mac.Write(a.text[:n])
	copy(d[:], a.mac.Sum(a.sum[:0]))
	return d
}
