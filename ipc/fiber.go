package ipc

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// waitKind says what a parked fiber waits for.
type waitKind uint8

const (
	waitNone    waitKind = iota
	waitReply            // the answer to a call
	waitRoom             // room in a full queue
	waitCond             // a Cond's broadcast
	waitSleep            // a time
	waitDrain            // the last handler of an old epoch
	waitReady            // the start of a service
	waitOffload          // work on a worker; cannot be cut short
	waitTransit          // a request that an injected fault delays
	waitLost             // an answer that an injected fault has lost
	waitReceive          // a message in an inbox
)

// origin says where a fiber comes from.
type origin uint8

const (
	foreign origin = iota // made for one kernel call of a caller that no task started
	app                   // started by Task.Go
	service               // a request, an event or the start of a service
)

// fiber is one flow of control that can park in a kernel call: a request being
// served, a goroutine or coroutine of an app, or a foreign caller. It is the
// context that its code hands to kernel calls. Apart from the fields that its
// own code reads while it runs, the kernel's lock guards it.
type fiber struct {
	task     *Task
	origin   origin
	parker   Parker // nil for a coroutine of a service
	work     *Work  // nil for the others
	deadline Time   // what its calls inherit; 0 for none
	killed   bool   // every kernel call fails: its service restarts or exits

	waiting              waitKind
	expires              Time
	timerPrev, timerNext *fiber
	call                 *call       // with waitReply
	endpoint             *endpoint   // with waitRoom, waitReceive and waitTransit
	lost                 *TraceEvent // with waitLost
	cond                 *Cond       // with waitCond
	list                 *[]*fiber   // with waitDrain and waitReady

	msg      Msg
	post     post // what msg is besides, if it goes by Send
	recv     receipt
	out      []byte
	code     Code
	due      Time        // with waitTransit: the deadline of the call
	passed   bool        // the call has met its fault, or none
	answered atomic.Bool // set when the wait is over; for who runs another task meanwhile
	next     *fiber      // in the free list
}

// fiberKey finds the fiber in a context that was derived from it.
type fiberKey struct{}

// Deadline, Done, Err and Value make a fiber a context. Kernel time is not the
// machine's, so the deadline of a fiber does not show here: the kernel itself
// ends what runs too long.

func (f *fiber) Deadline() (time.Time, bool) { return time.Time{}, false }
func (f *fiber) Done() <-chan struct{}       { return nil }
func (f *fiber) Err() error                  { return nil }

func (f *fiber) Value(key any) any {
	if _, ok := key.(fiberKey); ok {
		return f
	}
	return nil
}

// timed is a fiber's context with a deadline of its own.
type timed struct {
	context.Context
	fiber *fiber
	at    Time
}

type timedKey struct{}

func (c *timed) Value(key any) any {
	if _, ok := key.(timedKey); ok {
		return c
	}
	return c.Context.Value(key)
}

// WithTimeout returns a context whose calls end within d of now, in kernel
// time, or earlier if ctx says so. A context that no task made gets an ordinary
// timeout of the machine's clock.
func (t *Task) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	f, inherited := fiberOf(ctx)
	if f == nil {
		return context.WithTimeout(ctx, d)
	}
	at := t.kernel.exec.Now().Add(d)
	if inherited != 0 && inherited < at {
		at = inherited
	}
	return &timed{Context: ctx, fiber: f, at: at}, func() {}
}

// Detached returns a context of the same flow of control without the deadline
// of the request that it serves: each of its calls has DefaultTimeout. It is
// for work that a handler does for others as well, as a shared sync.
func (t *Task) Detached(ctx context.Context) context.Context {
	f, _ := fiberOf(ctx)
	if f == nil {
		return context.WithoutCancel(ctx)
	}
	return &timed{Context: ctx, fiber: f}
}

// fiberOf finds the fiber of a context and the deadline it implies.
func fiberOf(ctx context.Context) (*fiber, Time) {
	switch c := ctx.(type) {
	case *fiber:
		return c, c.deadline
	case *timed:
		return c.fiber, c.at
	}
	if c, ok := ctx.Value(timedKey{}).(*timed); ok {
		return c.fiber, c.at
	}
	if f, ok := ctx.Value(fiberKey{}).(*fiber); ok {
		return f, f.deadline
	}
	return nil, 0
}

// enter is enterUntil for a call, which has a deadline in any case.
func (t *Task) enter(ctx context.Context) (*fiber, Time, error) {
	f, deadline, err := t.enterUntil(ctx, 0)
	if err != nil {
		return nil, 0, err
	}
	return f, min(deadline, t.kernel.now.Add(DefaultTimeout)), nil
}

// enterUntil finds or makes the fiber for a kernel call of t and takes the
// kernel's lock. The deadline is the context's or at, which may be 0 for none,
// whichever is first; it is never if there is neither. On an error the lock is
// not held.
func (t *Task) enterUntil(ctx context.Context, at Time) (*fiber, Time, error) {
	f, deadline := fiberOf(ctx)
	k := t.kernel
	var parker Parker
	if f == nil {
		var err error
		if parker, deadline, err = k.exec.Foreign(ctx); err != nil {
			return nil, 0, err
		}
	} else if f.task != t {
		return nil, 0, InvalidArgument
	}
	k.lock()
	if f == nil {
		f = k.takeFiber()
		f.task, f.parker = t, parker
	}
	if f.killed || t.exited {
		k.leave(f)
		return nil, 0, Unavailable
	}
	if deadline == 0 {
		deadline = never
	}
	if at != 0 && at < deadline {
		deadline = at
	}
	return f, deadline, nil
}

// leave releases the kernel's lock at the end of a kernel call.
func (k *Kernel) leave(f *fiber) {
	if f.origin != foreign {
		k.unlock()
		return
	}
	parker := f.parker
	f.task, f.parker, f.next = nil, nil, k.freeFiber
	k.freeFiber = f
	k.unlock()
	k.exec.Release(parker)
}

// refused is leave for a call that ends without having waited.
func (k *Kernel) refused(f *fiber) {
	serves := f.task.runner != nil
	t := f.task
	k.leave(f)
	if !serves {
		t.stepAside()
	}
}

// done is the same for a call that cannot wait. A service does not yield: others
// wait for it. It is deferred, and guards.
func (t *Task) done() {
	if r := recover(); r != nil {
		t.kernel.broken(r)
	}
	serves := t.runner != nil
	t.kernel.unlock()
	if !serves {
		t.stepAside()
	}
}

// stepAside lets others run first. One flow of control of a task does at a time,
// and the others wait for it: whoever asks the kernel with many at once has one
// place among all that want a processor, not many.
func (t *Task) stepAside() {
	t.aside.Lock()
	t.kernel.exec.Yield()
	t.aside.Unlock()
}

// left ends a kernel call whose caller does not hold the lock any more.
func (k *Kernel) left(f *fiber) {
	if f.origin == foreign {
		k.mu.Lock()
		k.leave(f)
	}
}

func (k *Kernel) takeFiber() *fiber {
	f := k.freeFiber
	if f == nil {
		return new(fiber)
	}
	k.freeFiber, f.next = f.next, nil
	return f
}

// park releases the kernel's lock, stops the fiber till somebody readies it,
// and answers how its wait ended. The wait must have been registered.
func (k *Kernel) park(ctx context.Context, f *fiber) Code {
	k.unlock()
	return k.wait(ctx, f)
}

// wait is the rest of park, once the kernel's lock is released.
func (k *Kernel) wait(ctx context.Context, f *fiber) Code {
	if f.work != nil {
		f.work.yieldNow()
		return f.code
	}
	var done <-chan struct{}
	if own, _ := fiberOf(ctx); own == nil {
		done = ctx.Done()
	}
	if f.parker.Park(done) {
		return f.code
	}
	k.lock()
	if f.waiting != waitNone && f.waiting != waitOffload {
		code := Canceled
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			code = TimedOut // The context's clock was quicker than the kernel's.
		}
		k.detach(f, code)
		k.unlock()
		return code
	}
	k.unlock()
	f.parker.Park(nil) // It was readied meanwhile: take that wake-up.
	return f.code
}

// ready ends a fiber's wait. The kernel's lock is held.
func (k *Kernel) ready(f *fiber, code Code) {
	k.clearTimer(f)
	f.waiting, f.code = waitNone, code
	f.answered.Store(true)
	f.call, f.endpoint, f.lost, f.cond, f.list = nil, nil, nil, nil, nil
	if f.work == nil {
		k.woken = append(k.woken, wakeup{parker: f.parker})
		return
	}
	f.task.resumes.push(f.work)
	k.wakeTask(f.task)
}

// abort cuts a fiber's wait short. Offloaded work cannot be cut short: its
// fiber goes on waiting, because the work may still write what it captured.
func (k *Kernel) abort(f *fiber, code Code) {
	if f.waiting == waitNone || f.waiting == waitOffload {
		return
	}
	k.detach(f, code)
	k.ready(f, code)
}

// detach takes a fiber off whatever it waits for; code says why.
func (k *Kernel) detach(f *fiber, code Code) {
	k.clearTimer(f)
	k.quit(f, code)
	switch f.waiting {
	case waitReply:
		k.abandon(f.call)
	case waitRoom:
		f.endpoint.room = remove(f.endpoint.room, f)
	case waitReceive:
		f.endpoint.receivers = remove(f.endpoint.receivers, f)
	case waitCond:
		f.cond.waiters = remove(f.cond.waiters, f)
	case waitDrain, waitReady:
		*f.list = remove(*f.list, f)
	}
	f.waiting, f.lost, f.endpoint = waitNone, nil, nil
}

// remove takes a fiber out of a list of those who wait. The list keeps its memory,
// so that who waits again allocates none.
func remove(list []*fiber, f *fiber) []*fiber {
	for i, g := range list {
		if g == f {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// Sleep parks for d of kernel time.
func (t *Task) Sleep(ctx context.Context, d time.Duration) error {
	f, _, err := t.enter(ctx)
	if err != nil {
		return err
	}
	k := t.kernel
	defer k.guard()
	f.waiting = waitSleep
	k.setTimer(f, k.now.Add(d))
	code := k.park(ctx, f)
	k.left(f)
	return code.err()
}

// Cond lets requests of one task wait for each other. Its zero value is ready.
// Requests of one task run one at a time, so that checking a condition and
// waiting for it cannot be torn apart.
type Cond struct {
	waiters []*fiber
}

// Wait parks till the next Broadcast. The condition must be checked again: it
// may have changed once more. The error is Unavailable when the service
// restarts or exits.
func (c *Cond) Wait(ctx context.Context, t *Task) error {
	f, _, err := t.enter(ctx)
	if err != nil {
		return err
	}
	k := t.kernel
	defer k.guard()
	f.waiting, f.cond = waitCond, c
	c.waiters = append(c.waiters, f)
	code := k.park(ctx, f)
	k.left(f)
	return code.err()
}

// Broadcast readies everybody who waits.
func (c *Cond) Broadcast() {
	if len(c.waiters) == 0 {
		return
	}
	k := c.waiters[0].task.kernel
	k.lock()
	defer k.unlock()
	for _, f := range c.waiters {
		k.ready(f, OK)
	}
	c.waiters = c.waiters[:0]
}

// Offload runs fn on a worker of the executor and parks till it has returned.
// fn may block outside the kernel; it must not touch the service's state nor
// call the kernel. A panic in fn is raised again in the caller.
func (t *Task) Offload(ctx context.Context, fn func()) error {
	failed, err := t.offload(ctx, fn)
	if failed != nil {
		panic(failed)
	}
	return err
}

func (t *Task) offload(ctx context.Context, fn func()) (failed *PanicReport, err error) {
	f, _, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	k := t.kernel
	defer k.guard()
	f.waiting = waitOffload
	k.ring.add(TraceEvent{Time: k.now, From: t.id, Kind: TraceOffload})
	k.mu.Unlock()
	k.exec.Offload(func() { failed = catch(fn) }, func() {
		k.lock()
		defer k.unlock()
		k.ready(f, OK)
	})
	k.lock()
	code := k.park(ctx, f)
	k.left(f)
	return failed, code.err()
}
