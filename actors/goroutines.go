package actors

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"nexus.internal/os/ipc"
)

// workers bounds how many offloaded jobs run at once: enough for a sync of
// several files beside two Argon2id runs.
const workers = 8

// throughput is how much work an actor does before others get a turn. Each
// actor has a goroutine of its own, so this bounds nothing but bookkeeping.
const throughput = 64

// Goroutines is the ordinary scheduler: a resident goroutine for each actor, a
// pool of workers for offloaded jobs, the machine's monotonic clock.
type Goroutines struct {
	start time.Time
	ahead atomic.Int64 // nanoseconds that the clock was put forward
	all   sync.WaitGroup
	quit  chan struct{}
	once  sync.Once

	kernel Ticker
	alarms chan struct{}
	mu     sync.Mutex
	alarm  ipc.Time
	jobs   []offload
	more   *sync.Cond
	staff  int
	unused int
	closed bool

	residents []*resident
	parkers   sync.Pool
}

type offload struct{ fn, done func() }

var _ Scheduler = (*Goroutines)(nil)

// NewGoroutines makes an ordinary scheduler; kernel time begins now.
func NewGoroutines() *Goroutines {
	g := &Goroutines{
		start:   time.Now(),
		quit:    make(chan struct{}),
		alarms:  make(chan struct{}, 1),
		parkers: sync.Pool{New: func() any { return newParker() }},
	}
	g.more = sync.NewCond(&g.mu)
	return g
}

// Bind starts the reaper of deadlines.
func (g *Goroutines) Bind(k Ticker) {
	g.kernel = k
	g.all.Add(1)
	go g.reap()
}

// Now is the time since the scheduler was made, and what it was put forward.
func (g *Goroutines) Now() ipc.Time {
	return ipc.Time(time.Since(g.start)) + ipc.Time(g.ahead.Load()) + 1
}

// Alarm wakes the reaper if it would sleep too long.
func (g *Goroutines) Alarm(at ipc.Time) {
	g.mu.Lock()
	g.alarm = at
	g.mu.Unlock()
	select {
	case g.alarms <- struct{}{}:
	default:
	}
}

func (g *Goroutines) reap() {
	defer g.all.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		g.mu.Lock()
		at := g.alarm
		g.mu.Unlock()
		if at != 0 {
			wait := time.Duration(0)
			if now := g.Now(); at > now {
				wait = time.Duration(at - now)
			}
			timer.Reset(wait)
		}
		select {
		case <-g.quit:
			return
		case <-g.alarms:
		case <-timer.C:
			g.mu.Lock()
			g.alarm = 0
			g.mu.Unlock()
			timer.Reset(time.Hour)
			g.kernel.Tick()
		}
	}
}

// Yield puts the goroutine behind all others that can run.
func (g *Goroutines) Yield() { runtime.Gosched() }

// Go starts a goroutine that Close waits for.
func (g *Goroutines) Go(fn func(p ipc.Parker)) {
	g.all.Add(1)
	go func() {
		defer g.all.Done()
		fn(newParker())
	}()
}

// Offload gives a job to a worker.
func (g *Goroutines) Offload(fn, done func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.jobs = append(g.jobs, offload{fn, done})
	if g.unused < len(g.jobs) && g.staff < workers {
		g.staff++
		g.all.Add(1)
		go g.work()
	}
	g.more.Signal()
}

func (g *Goroutines) work() {
	defer g.all.Done()
	for {
		g.mu.Lock()
		g.unused++
		for len(g.jobs) == 0 && !g.closed {
			g.more.Wait()
		}
		g.unused--
		if len(g.jobs) == 0 {
			g.mu.Unlock()
			return
		}
		job := g.jobs[0]
		g.jobs[0] = offload{}
		g.jobs = g.jobs[1:]
		g.mu.Unlock()
		job.fn()
		job.done()
	}
}

// Foreign lets any goroutine call, for as long as its context allows.
func (g *Goroutines) Foreign(ctx context.Context) (ipc.Parker, ipc.Time, error) {
	if err := ctx.Err(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, 0, ipc.TimedOut
		}
		return nil, 0, ipc.Canceled
	}
	deadline := ipc.Time(0)
	if at, ok := ctx.Deadline(); ok {
		deadline = g.Now().Add(time.Until(at))
	}
	return g.parkers.Get().(*parker), deadline, nil
}

// Release keeps a parker for the next foreign caller.
func (g *Goroutines) Release(p ipc.Parker) { g.parkers.Put(p) }

// Fatal ends the process.
func (g *Goroutines) Fatal(report string) { Die(report) }

// Die ends the process with the report on standard error, and does not return.
// The panic is a goroutine's of its own, because others are recovered from.
func Die(report string) {
	go panic(report)
	select {}
}

// Dispatcher starts a resident goroutine for one actor.
func (g *Goroutines) Dispatcher() Dispatcher {
	d := &resident{turns: make(chan func(), 1)}
	g.mu.Lock()
	g.residents = append(g.residents, d)
	g.mu.Unlock()
	g.all.Add(1)
	go func() {
		defer g.all.Done()
		d.run()
	}()
	return d
}

// Await waits till done or cut is closed.
func (g *Goroutines) Await(done, cut <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-cut:
		return false
	}
}

// Advance puts the clock forward.
func (g *Goroutines) Advance(d time.Duration) {
	g.ahead.Add(int64(d))
	select {
	case g.alarms <- struct{}{}:
	default:
	}
}

// Close stops every goroutine, once its work is done, and waits for them.
func (g *Goroutines) Close() {
	g.once.Do(func() {
		g.mu.Lock()
		g.closed = true
		g.more.Broadcast()
		residents := g.residents
		g.mu.Unlock()
		close(g.quit)
		for _, d := range residents {
			d.turns <- nil
		}
	})
	g.all.Wait()
}

// resident runs the turns of one actor on one warm goroutine.
type resident struct {
	turns chan func() // nil ends it
}

// Schedule never blocks: a mailbox has at most one turn outstanding.
func (d *resident) Schedule(turn func()) { d.turns <- turn }

func (d *resident) Throughput() int { return throughput }

// Lends is true: a caller that runs the actor itself saves two switches.
func (d *resident) Lends() bool { return true }

func (d *resident) run() {
	for turn := range d.turns {
		if turn == nil {
			return
		}
		turn()
	}
}

// parker parks a goroutine.
type parker struct{ tokens chan struct{} }

func newParker() *parker { return &parker{tokens: make(chan struct{}, 1)} }

func (p *parker) Unpark() { p.tokens <- struct{}{} }

func (p *parker) Park(done <-chan struct{}) bool {
	if done == nil {
		<-p.tokens
		return true
	}
	select {
	case <-p.tokens:
		return true
	case <-done:
		return false
	}
}
