package machine

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// Kind is a kind of fault.
type Kind string

// The kinds of fault that can be asked for.
const (
	Crash   Kind = "crash"   // a service panics
	Power   Kind = "power"   // the power is cut
	Disk    Kind = "disk"    // a call of the disk fails
	Delay   Kind = "delay"   // a request is late
	Drop    Kind = "drop"    // a request or a reply is lost
	Exhaust Kind = "exhaust" // a request finds a budget used up
)

// Kinds lists them all.
var Kinds = []Kind{Crash, Power, Disk, Delay, Drop, Exhaust}

// Rule asks for one fault, once.
type Rule struct {
	Kind Kind
	// Service is whose requests count, for all kinds but Power and Disk.
	Service string
	// Op counts requests of one operation only, if it is not 0.
	Op uint16
	// Reply: the fault is at the reply instead of the request.
	Reply bool
	// N is the number of the request or call from now, 1 for the next.
	N int
	// Delay is for Delay.
	Delay time.Duration
	// Call counts calls of one kind only, for Disk; otherwise any call counts.
	// For Power the calls that change something count.
	Call simdisk.Kind
	// Full is for Disk: no space is left, instead of an I/O error.
	Full bool
}

// Faults are the faults that were asked for and have not come yet, and how
// often each kind came. It is safe for concurrent use.
type Faults struct {
	mu    sync.Mutex
	rules []Rule
	fired map[Kind]int
	cut   func()
}

// errIO is what a call of the disk that was asked to fail fails with.
var errIO = errors.New("an I/O error that was asked for")

var _ ipc.Injector = (*Faults)(nil)

// Add asks for a fault.
func (f *Faults) Add(r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, r)
}

// Note counts a fault that somebody made come by other means.
func (f *Faults) Note(k Kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note(k)
}

func (f *Faults) note(k Kind) {
	if f.fired == nil {
		f.fired = make(map[Kind]int)
	}
	f.fired[k]++
}

// Fired answers how often each kind came.
func (f *Faults) Fired() map[Kind]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.fired)
}

// Clear takes back what has not come yet.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// take counts an occasion down for every rule that is about it, and answers
// the first rule whose turn it is.
func (f *Faults) take(about func(*Rule) bool) (Rule, bool) {
	due := -1
	for i := range f.rules {
		r := &f.rules[i]
		if !about(r) {
			continue
		}
		if r.N--; r.N <= 0 && due < 0 {
			due = i
		}
	}
	if due < 0 {
		return Rule{}, false
	}
	r := f.rules[due]
	f.rules = slices.Delete(f.rules, due, due+1)
	f.note(r.Kind)
	return r, true
}

// Inject implements ipc.Injector.
func (f *Faults) Inject(p ipc.Passage) (ipc.Fault, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules) == 0 {
		return ipc.FaultNone, 0
	}
	r, ok := f.take(func(r *Rule) bool {
		return r.Service == p.To && (r.Op == 0 || r.Op == p.Op) && r.at() == p.Point
	})
	if !ok {
		return ipc.FaultNone, 0
	}
	switch r.Kind {
	case Drop:
		return ipc.FaultDrop, 0
	case Delay:
		return ipc.FaultDelay, r.Delay
	case Exhaust:
		return ipc.FaultExhaust, 0
	}
	return ipc.FaultCrash, 0
}

// at is the point of a request's way at which the rule's fault is; 0 for those
// that are no fault of a request.
func (r *Rule) at() ipc.Point {
	switch r.Kind {
	case Crash, Drop:
		if r.Reply {
			return ipc.AtReply
		}
		if r.Kind == Crash {
			return ipc.AtDeliver
		}
		return ipc.AtSend
	case Delay, Exhaust:
		return ipc.AtSend
	}
	return 0
}

// disk is the fault hook of the disk.
func (f *Faults) disk(op simdisk.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules) == 0 {
		return nil
	}
	r, ok := f.take(func(r *Rule) bool {
		return r.Kind == Power && op.Kind.Writes() || r.Kind == Disk && (r.Call == "" || r.Call == op.Kind)
	})
	switch {
	case !ok:
		return nil
	case r.Kind == Power:
		f.cut()
		return disk.ErrOff
	case r.Full:
		return disk.ErrNoSpace
	}
	return errIO
}
