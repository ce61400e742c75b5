package ipc

import (
	"io"
	"sync"

	"nexus.internal/os/capability"
)

// Config is what a kernel needs to boot.
type Config struct {
	// Executor runs the tasks and keeps the time. Required.
	Executor Executor
	// TokenKey seals the tokens of this boot. It must come from the system's
	// source of chance and be used for nothing else.
	TokenKey [capability.TokenKeySize]byte
	// Boot is the number of this boot on this state directory, 1 or more. It
	// is the upper half of every sid, so that no sid is ever used twice.
	Boot uint32
	// AuditKey makes the digests in audit records. It must come from the
	// system's source of chance and be used for nothing else.
	AuditKey [AuditKeySize]byte
	// Console receives marker lines, each one whole with its newline. Nil
	// discards them.
	Console io.Writer
	// Tap, if set, sees every trace event, in order and under the kernel's
	// lock: it must be quick and must not call the kernel.
	Tap func(TraceEvent)
	// Denied, if set, sees every audit record, as Tap sees every event.
	Denied func(Denial)
	// Injector, if set, makes things go wrong on purpose.
	Injector Injector
}

// Stats counts what a kernel did. Counters only go up; levels are as of now.
type Stats struct {
	Calls   uint64 // requests that entered a queue
	Refused uint64 // requests that a right, an opcode or a token refused
	Expired uint64 // calls whose deadline passed
	Replies uint64 // replies that reached their caller
	Late    uint64 // replies that found their caller gone or their token void
	// Undelivered counts answers that found no room in their inbox, or no inbox.
	Undelivered uint64
	Repeated    uint64 // second replies to one request
	Crashes     uint64 // panics of services
	Muted       uint64 // markers of tasks that may not print them, or have exited
	Denials     uint64 // audit records, those that the ring has dropped included
	Dropped     uint64 // audit records that the ring has dropped

	QueuedBytes int // bytes in queues now
	MemoryBytes int // bytes of memory objects now
	Memories    int
	Tasks       int
	Endpoints   int
	Sessions    int
	Tokens      int
}

// Kernel is one emulated machine from boot to shutdown.
type Kernel struct {
	mu   sync.Mutex
	exec Executor
	now  Time // when the lock was taken

	tasks     map[TaskID]*Task
	lastTask  TaskID
	endpoints map[uint32]*endpoint
	lastEP    uint32
	queued    int
	lastCall  uint64

	memories    map[*memory]bool // those to which there is a capability
	memoryBytes int

	sessions    map[uint64]*session
	sidBase     uint64
	lastSID     uint32
	subscribers []*Task
	apps        map[string]uint64
	tokens      *capability.Tokens

	timers    *fiber
	alarm     Time
	emptied   []*endpoint // whose last sender went in this kernel call
	woken     []wakeup
	spare     []wakeup
	freeCalls *call
	freeFiber *fiber
	buffers   bufferPool
	ring      ring
	audit     audit
	injector  Injector
	stats     Stats

	console sync.Mutex
	out     io.Writer
}

// New makes a kernel without tasks.
func New(cfg Config) *Kernel {
	k := &Kernel{
		exec:      cfg.Executor,
		tasks:     make(map[TaskID]*Task),
		endpoints: make(map[uint32]*endpoint),
		memories:  make(map[*memory]bool),
		sessions:  make(map[uint64]*session),
		sidBase:   uint64(cfg.Boot) << 32,
		apps:      make(map[string]uint64),
		tokens:    capability.NewTokens(&cfg.TokenKey),
		injector:  cfg.Injector,
		out:       cfg.Console,
	}
	k.ring.tap = cfg.Tap
	k.audit.init(&cfg)
	clear(cfg.TokenKey[:])
	return k
}

// Now is the kernel's clock.
func (k *Kernel) Now() Time { return k.exec.Now() }

// Stats returns the counters and levels as of now.
func (k *Kernel) Stats() Stats {
	k.lock()
	defer k.unlock()
	s := k.stats
	s.QueuedBytes = k.queued
	s.MemoryBytes, s.Memories = k.memoryBytes, len(k.memories)
	s.Tasks = len(k.tasks)
	s.Endpoints = len(k.endpoints)
	s.Sessions = len(k.sessions)
	s.Tokens = k.tokens.Live()
	s.Denials, s.Dropped = k.audit.total, k.audit.dropped()
	return s
}

// wakeup is somebody to wake once the kernel's lock is released.
type wakeup struct {
	parker Parker
	runner Runner
}

func (w wakeup) do() {
	if w.parker != nil {
		w.parker.Unpark()
	} else {
		w.runner.Wake()
	}
}

// lock takes the kernel's lock and reads the clock, once for all that is done
// under it.
func (k *Kernel) lock() {
	k.mu.Lock()
	k.now = k.exec.Now()
}

// unlock releases the kernel's lock and wakes whoever the holder made ready. If
// it is deferred and the holder panics, it is guard instead.
func (k *Kernel) unlock() {
	if r := recover(); r != nil {
		k.broken(r)
	}
	if len(k.emptied) > 0 {
		k.tellDeserted()
	}
	switch len(k.woken) {
	case 0:
		k.mu.Unlock()
	case 1:
		w := k.woken[0]
		k.woken = k.woken[:0]
		k.mu.Unlock()
		w.do()
	default:
		all := k.woken
		k.woken, k.spare = k.spare[:0], nil
		k.mu.Unlock()
		for _, w := range all {
			w.do()
		}
		clear(all)
		k.mu.Lock()
		if k.spare == nil {
			k.spare = all[:0]
		}
		k.mu.Unlock()
	}
}

// Tick ends every wait whose deadline has passed. The executor calls it after
// an alarm; calling it at any other time is harmless.
func (k *Kernel) Tick() {
	k.lock()
	defer k.unlock()
	now := k.now
	next := Time(0)
	for f := k.timers; f != nil; {
		if f.expires <= now {
			// This may let others in or have them refused: the list is
			// another one afterwards.
			k.expire(f)
			f, next = k.timers, 0
			continue
		}
		if f.expires != never && (next == 0 || f.expires < next) {
			next = f.expires
		}
		f = f.timerNext
	}
	k.alarm = next
	if next != 0 {
		k.exec.Alarm(next)
	}
}

func (k *Kernel) expire(f *fiber) {
	if f.waiting == waitTransit && k.now < f.due {
		k.arrive(f)
		return
	}
	code := TimedOut
	if f.waiting == waitSleep {
		code = OK
	} else {
		k.stats.Expired++
	}
	k.abort(f, code)
}

// never is the deadline of who waits without one. It still stands on the list,
// which holds everybody who waits for something that others do.
const never = ^Time(0)

// setTimer puts a waiting fiber on the list of deadlines.
func (k *Kernel) setTimer(f *fiber, at Time) {
	f.expires = at
	f.timerPrev, f.timerNext = nil, k.timers
	if k.timers != nil {
		k.timers.timerPrev = f
	}
	k.timers = f
	if at != never && (k.alarm == 0 || at < k.alarm) {
		k.alarm = at
		k.exec.Alarm(at)
	}
}

func (k *Kernel) clearTimer(f *fiber) {
	if f.expires == 0 {
		return
	}
	if f.timerPrev != nil {
		f.timerPrev.timerNext = f.timerNext
	} else {
		k.timers = f.timerNext
	}
	if f.timerNext != nil {
		f.timerNext.timerPrev = f.timerPrev
	}
	f.timerPrev, f.timerNext, f.expires = nil, nil, 0
}
