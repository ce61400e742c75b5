// Package seeded runs actors and tasks one at a time, in an order drawn from a
// seed, in virtual time. Whatever can run is in one list; each step draws one
// and runs it till it parks. Time stands still while anybody can run and then
// jumps to the next deadline. The same seed and the same program give the same
// order, on any machine.
//
// It starts no goroutine, but to end the process: flows of control are coroutines. Everything must be
// called from the one goroutine that calls Run.
package seeded

import (
	"context"
	"errors"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"time"

	"nexus.internal/os/actors"
	"nexus.internal/os/ipc"
)

// ErrForeign refuses a caller that no task started: when it would run is not
// the seed's to say.
var ErrForeign = errors.New("seeded: the context was not made by a task")

// Executor is a scheduler by seed. It is an actors.Scheduler.
type Executor struct {
	rng    *rand.Rand
	now    ipc.Time
	alarm  ipc.Time
	kernel actors.Ticker
	ready  []func()
	steps  uint64
	stops  []func()
	watch  func()
}

var _ actors.Scheduler = (*Executor)(nil)

// New makes an executor for a seed. Virtual time begins at 1 ns.
func New(seed uint64) *Executor {
	return &Executor{rng: rand.New(rand.NewPCG(seed, 0x6e65787573)), now: 1}
}

// Sequential says that everything runs on one goroutine.
func (e *Executor) Sequential() {}

// Steps counts what has run so far.
func (e *Executor) Steps() uint64 { return e.steps }

// Bind names the kernel whose deadlines the alarms are for.
func (e *Executor) Bind(k actors.Ticker) { e.kernel = k }

// Now is virtual time.
func (e *Executor) Now() ipc.Time { return e.now }

// Alarm notes the next deadline.
func (e *Executor) Alarm(at ipc.Time) { e.alarm = at }

// Yield does nothing: nobody runs beside who was drawn.
func (e *Executor) Yield() {}

// Go makes a coroutine; it runs when it is drawn.
func (e *Executor) Go(fn func(p ipc.Parker)) {
	p := &parker{executor: e}
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		p.yield = yield
		fn(p)
	})
	p.resume = func() { next() }
	e.stops = append(e.stops, stop)
	e.ready = append(e.ready, p.resume)
}

// Offload makes the job and its consequence one event.
func (e *Executor) Offload(fn, done func()) {
	e.ready = append(e.ready, func() {
		fn()
		done()
	})
}

// Foreign refuses.
func (e *Executor) Foreign(context.Context) (ipc.Parker, ipc.Time, error) { return nil, 0, ErrForeign }

// Release takes nothing back, because Foreign gives nothing.
func (e *Executor) Release(ipc.Parker) {}

// Fatal ends the process.
func (e *Executor) Fatal(report string) { actors.Die(report) }

// Dispatcher puts an actor's turns among what can run.
func (e *Executor) Dispatcher() actors.Dispatcher { return dispatcher{e} }

// Await runs until done or cut is closed; it reports false if cut is, or if
// nothing can run any more.
func (e *Executor) Await(done, cut <-chan struct{}) bool {
	finished := false
	e.Run(func() bool {
		finished = closed(done)
		return finished || closed(cut)
	})
	return finished
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Advance does nothing: virtual time moves by itself when somebody sleeps.
func (e *Executor) Advance(time.Duration) {}

// Watch has fn called after every step, for who follows a run step by step.
func (e *Executor) Watch(fn func()) { e.watch = fn }

// Run runs until stop says so, which is asked before each step. It reports
// false if nobody can run and no deadline is left: whoever waits, waits forever.
func (e *Executor) Run(stop func() bool) bool {
	for !stop() {
		if len(e.ready) == 0 && !e.advance() {
			return false
		}
		if len(e.ready) > 0 {
			e.step()
		}
	}
	return true
}

// Settle runs till nobody can run at the present time.
func (e *Executor) Settle() {
	for len(e.ready) > 0 {
		e.step()
	}
}

// Pass settles and then lets d of virtual time go by: the deadlines in it come
// in their order, and each is settled before the next.
func (e *Executor) Pass(d time.Duration) {
	end := e.now.Add(d)
	for e.Settle(); e.alarm != 0 && e.alarm <= end; e.Settle() {
		e.advance()
	}
	e.now = max(e.now, end)
}

func (e *Executor) step() {
	i := e.rng.IntN(len(e.ready))
	last := len(e.ready) - 1
	run := e.ready[i]
	e.ready[i] = e.ready[last]
	e.ready[last] = nil
	e.ready = e.ready[:last]
	e.steps++
	run()
	if e.watch != nil {
		e.watch()
	}
}

// advance moves time to the next deadline.
func (e *Executor) advance() bool {
	if e.alarm == 0 {
		return false
	}
	if e.alarm > e.now {
		e.now = e.alarm
	}
	e.alarm = 0
	e.kernel.Tick()
	return true
}

// Close drops what has not run and makes every flow of control that is parked
// run out: its kernel calls fail from now on.
func (e *Executor) Close() {
	e.ready = nil
	for _, stop := range e.stops {
		stop()
	}
	e.stops = nil
}

type dispatcher struct{ executor *Executor }

func (d dispatcher) Schedule(turn func()) { d.executor.ready = append(d.executor.ready, turn) }

// Throughput is one piece of work a turn, so that the seed orders all of them.
func (d dispatcher) Throughput() int { return 1 }

// Lends is false: who runs next is the seed's to say.
func (d dispatcher) Lends() bool { return false }

// parker parks a coroutine.
type parker struct {
	executor *Executor
	yield    func(struct{}) bool
	resume   func()
	unparked bool
	parked   bool
}

// Park gives the turn back. Being unparked first makes it return at once; it
// returns false only when the executor is closed.
func (p *parker) Park(<-chan struct{}) bool {
	for !p.unparked {
		p.parked = true
		if !p.yield(struct{}{}) {
			return false // Close: whatever it waited for will not come.
		}
	}
	p.unparked, p.parked = false, false
	return true
}

// Unpark puts the coroutine among what can run.
func (p *parker) Unpark() {
	p.unparked = true
	if p.parked {
		p.executor.ready = append(p.executor.ready, p.resume)
	}
}

// Rand is chance by seed, for those who make up what happens in a run. The
// system itself never sees it.
type Rand = rand.Rand

// Chance is the stream of that name, of a seed.
func Chance(seed uint64, stream string) *Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream)) // A hash takes every write.
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
