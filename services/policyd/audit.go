package policyd

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"nexus.internal/os/ipc"
)

// Sizes of the audit log.
const (
	MaxRecords    = 256 // records that an AuditLog keeps
	DigestKeySize = 16  // bytes
	digestSize    = 16  // bytes of HMAC-SHA256 that a record keeps
)

// Record is the trace of one decision. Nothing in it is the caller's word that
// was not found canonical first.
type Record struct {
	Boot        uint32 // the number of the boot
	Serial      uint64 // of the record in the boot, from 1; AuditLog.Add gives it
	TimestampNS ipc.Time
	Subject     string // who asked to do it; for a refused question, the sender
	Action      string // empty where the question's was too long or not canonical
	Target      string // 32 hexadecimal digits; see Digest
	Allow       bool
	Reason      Reason
}

// ID names the record, and never another one on the same state directory: it is
// pBOOT-SERIAL, beside the kernel's kBOOT-SERIAL.
func (r *Record) ID() string { return fmt.Sprintf("p%d-%d", r.Boot, r.Serial) }

// Digest names a target without telling it: HMAC-SHA256 under a key of this
// boot, cut to 16 bytes, in hexadecimal. Within a boot the same target has the
// same digest; without the key nobody can try targets against a log.
func Digest(key *[DigestKeySize]byte, target string) string {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(target))
	return hex.EncodeToString(mac.Sum(nil)[:digestSize])
}

// AuditLog keeps the newest MaxRecords records and counts those that it had to
// drop. It is safe for concurrent use, since who reads it is not the service.
// The zero value is ready.
type AuditLog struct {
	mu      sync.Mutex
	ring    [MaxRecords]Record
	added   uint64
	dropped uint64
}

// Add numbers a record and keeps it, in the place of the oldest one if there is
// no other. It returns the record with its number.
func (l *AuditLog) Add(r Record) Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.added >= MaxRecords {
		l.dropped++
	}
	r.Serial = l.added + 1
	l.ring[l.added%MaxRecords] = r
	l.added++
	return r
}

// Records returns what is kept, oldest first, and how many were dropped.
func (l *AuditLog) Records() (kept []Record, dropped uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := l.dropped; i < l.added; i++ {
		kept = append(kept, l.ring[i%MaxRecords])
	}
	return kept, l.dropped
}
