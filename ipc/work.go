package ipc

import (
	"iter"

	"nexus.internal/os/capability"
)

// job says what a coroutine of a service does.
type job uint8

const (
	jobStart job = iota + 1
	jobEvent
	jobServe
	jobPanic // a panic that was asked for
)

// Work is one activation of a service: its start, an event or a request, on a
// coroutine of its own. The task's host runs one at a time.
type Work struct {
	fiber  fiber
	task   *Task
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	job    job
	gen    uint32
	event  Event
	call   *call   // being served
	req    Request // the handler's view of it, and the handler's to spoil
	done   bool
	crash  bool // the handler is to panic, because that was asked for
	failed *PanicReport
	err    error // of a start
}

// Attach makes t a service that runner hosts; factory makes its instances. The
// first one is started with Restart.
func (t *Task) Attach(runner Runner, factory func() Service) {
	t.kernel.lock()
	defer t.kernel.unlock()
	t.runner, t.factory = runner, factory
	t.lender, _ = runner.(Lender)
}

// Restart makes a new instance of the service and lets it start. The host
// calls it, for the first start and after Crash. It reports false if the task
// has exited.
func (t *Task) Restart() bool {
	svc := t.factory()
	k := t.kernel
	k.lock()
	defer k.unlock()
	if t.exited {
		return false
	}
	t.service = svc
	t.starting = true
	t.generation++
	if _, ok := svc.(EventHandler); ok {
		k.subscribe(t)
	}
	k.ring.add(TraceEvent{Time: k.now, From: t.id, Kind: TraceStart})
	k.wakeTask(t)
	return true
}

func (k *Kernel) wakeTask(t *Task) {
	if t.runner != nil {
		k.woken = append(k.woken, wakeup{runner: t.runner})
	}
}

// Next returns what the task has to do next, or nil. What was begun goes before
// what is new, news before requests, and the endpoints take turns, so that a
// flood at one of them does not starve another. Only the host calls it.
func (t *Task) Next() *Work {
	k := t.kernel
	k.lock()
	defer k.unlock()
	if w := t.resumes.pop(); w != nil {
		return w
	}
	if t.exited {
		return nil
	}
	if t.sabotaged && t.ready {
		t.sabotaged = false
		return t.begin(jobPanic)
	}
	if t.starting && len(t.active) == 0 {
		t.starting = false
		return t.begin(jobStart)
	}
	if !t.ready {
		return nil
	}
	if len(t.events) > 0 {
		w := t.begin(jobEvent)
		w.event = t.events[0]
		t.events = t.events[1:]
		return w
	}
	return k.deliver(t)
}

// deliver takes the next request that may be delivered. The token is checked
// again: it may have died in the queue.
func (k *Kernel) deliver(t *Task) *Work {
	for range t.facets {
		ep := t.facets[t.turn%len(t.facets)]
		t.turn++
		for ep.first != nil && ep.serving < ep.parallel {
			c := ep.pop()
			if why := k.recheck(c); why != capability.Accepted {
				k.stats.Refused++
				why = k.denyCall(StageDelivery, c, why)
				k.traceCall(TraceRefuse, c, len(c.body), Denied, why)
				k.reject(c, Denied)
				continue
			}
			if w := k.accept(t, ep, c); w != nil {
				return w
			}
		}
	}
	return nil
}

// accept begins to serve a request, unless it brings a capability for which
// there is no room: then its caller gets NoSpace and the capability back.
func (k *Kernel) accept(t *Task, ep *endpoint, c *call) *Work {
	moved := NoSlot
	if c.parcel != nil {
		slot, err := t.table.Receive(c.parcel)
		if err == capability.ErrFull {
			k.reject(c, NoSpace)
			return nil
		}
		moved = slot
	}
	w := t.begin(jobServe)
	c.state = callServing
	ep.serving++
	if c.session != nil {
		c.stamp.Unsealed = c.session.unsealed
	}
	w.call = c
	w.req = Request{
		Op: c.op, Facet: ep.facet, Body: c.body, Sender: c.sender, Stamp: c.stamp,
		Moved: moved, kernel: k, call: c, id: c.id,
	}
	if moved != NoSlot {
		w.req.moved = t.table.Hold(moved)
	}
	if c.caller != nil {
		w.fiber.deadline = c.caller.expires
	}
	if fault, _ := k.inject(AtDeliver, c.sender.Name, ep, c.op); fault == FaultCrash {
		w.crash = true
	}
	k.traceCall(TraceDeliver, c, len(c.body), OK, capability.Accepted)
	k.admitWaiting(ep)
	return w
}

// begin takes an idle coroutine, or makes one.
func (t *Task) begin(j job) *Work {
	var w *Work
	if n := len(t.idle); n > 0 {
		w = t.idle[n-1]
		t.idle = t.idle[:n-1]
	} else {
		w = newWork(t)
	}
	w.job, w.gen, w.done, w.crash, w.failed, w.err = j, t.generation, false, false, nil, nil
	w.fiber.reset(t, w)
	t.active = append(t.active, w)
	return w
}

func newWork(t *Task) *Work {
	w := &Work{task: t}
	w.next, w.stop = iter.Pull(func(yield func(struct{}) bool) {
		w.yield = yield
		for {
			w.failed = catch(w.serve)
			w.done = true
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return w
}

func (w *Work) serve() {
	svc := w.task.service
	switch w.job {
	case jobStart:
		w.err = svc.Start(&w.fiber)
	case jobEvent:
		if h, ok := svc.(EventHandler); ok {
			h.Event(&w.fiber, w.event)
		}
	case jobServe:
		if w.crash {
			sabotage()
		}
		svc.Serve(&w.fiber, &w.req)
	case jobPanic:
		sabotage()
	}
}

// yieldNow parks the coroutine. Being stopped while parked cannot happen: a
// task is stopped only when nothing of it is parked.
func (w *Work) yieldNow() {
	if !w.yield(struct{}{}) {
		panic("ipc: coroutine stopped while parked")
	}
}

// Run runs the work till it parks or ends. If it panicked, the service has
// crashed: sessions are void, if that is what its crash means, before anybody
// who waited is told, and Run panics with a *PanicReport in the host, which
// restarts the service. The error is that of a start.
func (w *Work) Run() error {
	w.next()
	if !w.done {
		return nil
	}
	failed, err := w.end()
	if failed != nil {
		failed.Task = w.task.name
		panic(failed)
	}
	return err
}

// end is what follows from work that is done: a crash, if it panicked and was
// not to run out anyway, and the error of a start.
func (w *Work) end() (failed *PanicReport, err error) {
	k := w.task.kernel
	k.lock()
	defer k.unlock()
	err = w.err
	if w.failed != nil && !w.fiber.killed {
		failed = w.failed
		k.crash(w.task)
	}
	k.finish(w)
	return failed, err
}

// finish takes a coroutine back after its work.
func (k *Kernel) finish(w *Work) {
	t := w.task
	for i, other := range t.active {
		if other == w {
			last := len(t.active) - 1
			t.active[i] = t.active[last]
			t.active[last] = nil
			t.active = t.active[:last]
			break
		}
	}
	switch w.job {
	case jobStart:
		k.started(t, w)
	case jobEvent:
		if s := w.event.session; s != nil {
			s.news--
			k.drained(s)
		}
	case jobServe:
		c := w.call
		c.ep.serving--
		k.answer(c, Unavailable) // Only if the handler has not replied.
		w.call, w.req = nil, Request{}
		k.release(c)
	}
	w.event = Event{}
	t.idle = append(t.idle, w)
	if t.hasWork() {
		k.wakeTask(t)
	}
}

// hasWork says whether Next would return something.
func (t *Task) hasWork() bool {
	switch {
	case !t.resumes.empty():
		return true
	case t.exited:
		return false
	case t.starting:
		return len(t.active) == 0
	case !t.ready:
		return false
	case t.sabotaged:
		return true
	case len(t.events) > 0:
		return true
	}
	for _, ep := range t.facets {
		if ep.first != nil && ep.serving < ep.parallel {
			return true
		}
	}
	return false
}

// More says whether Next would return something.
func (t *Task) More() bool {
	t.kernel.lock()
	defer t.kernel.unlock()
	return t.hasWork()
}

// reset makes the coroutine's fiber as new for its next work.
func (f *fiber) reset(t *Task, w *Work) {
	f.task, f.origin, f.work = t, service, w
	f.deadline, f.killed = 0, false
	f.msg, f.out = Msg{}, nil
}

// started lets requests in, or says why not.
func (k *Kernel) started(t *Task, w *Work) {
	if w.gen != t.generation || t.exited {
		return
	}
	switch {
	case w.failed != nil:
		t.startErr = w.failed
	case w.err != nil:
		t.startErr = w.err
	default:
		t.ready, t.startErr = true, nil
	}
	for _, f := range t.awaiting {
		k.ready(f, OK)
	}
	t.awaiting = t.awaiting[:0]
}

// StartError says why the service's last start failed, nil if it did not.
func (t *Task) StartError() error {
	t.kernel.lock()
	defer t.kernel.unlock()
	return t.startErr
}

// Crash ends what the service was doing, when its host has met a panic outside
// of Run: whoever waits for it gets Unavailable at once, and its parked work
// runs out without being able to call the kernel. Queued requests stay for the
// next instance.
func (t *Task) Crash() {
	k := t.kernel
	k.lock()
	defer k.unlock()
	k.crash(t)
}

// crash happens in one go: nobody who was told can see a session that is not
// void yet.
func (k *Kernel) crash(t *Task) {
	t.forget()
	k.stats.Crashes++
	k.ring.add(TraceEvent{Time: k.now, From: t.id, Kind: TraceCrash})
	t.ready = false
	k.failActive(t)
	switch {
	case t.holds(capability.KindSessionAuthority):
		k.voidAll(true)
	case t.guards:
		k.voidAll(false)
	}
}

// failActive tells the callers of everything being served, and makes the parked
// handlers run out.
func (k *Kernel) failActive(t *Task) {
	for _, w := range t.active {
		if w.job == jobServe {
			k.answer(w.call, Unavailable)
		}
		w.fiber.killed = true
		k.abort(&w.fiber, Unavailable)
	}
}

// Retire stops the task's coroutines after Exit. The host calls it when nothing
// runs any more; it reports false if offloaded work is still out, in which case
// it has to be called again after more work from Next.
func (t *Task) Retire() bool {
	t.kernel.lock()
	defer t.kernel.unlock()
	if len(t.active) > 0 {
		return false
	}
	for _, w := range t.idle {
		w.stop()
	}
	t.idle = nil
	t.forget()
	return true
}

// forget has the service wipe what it keeps; the caller has the lock.
func (t *Task) forget() {
	if f, ok := t.service.(Forgetter); ok {
		f.Forget()
	}
}
