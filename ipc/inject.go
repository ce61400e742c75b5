package ipc

import "time"

// Point is where on a request's way a fault can be injected.
type Point uint8

// The points.
const (
	AtSend    Point = iota + 1 // all checks passed; the request is not queued yet
	AtDeliver                  // its handler is about to run
	AtReply                    // its handler has the answer
)

// Passage is a request at a point, as an Injector sees it: never its payload.
type Passage struct {
	Point    Point
	From, To string // names of tasks
	Op       uint16
}

// Fault is what an Injector wants to go wrong.
type Fault uint8

// The faults, and the points that know them. At any other point they do nothing.
const (
	FaultNone    Fault = iota
	FaultDrop          // at send and reply: the message is lost, and the caller waits till its deadline
	FaultDelay         // at send: the message is on its way for the given time, and is checked when it arrives
	FaultExhaust       // at send: NoSpace, as if a byte budget were full
	FaultCrash         // at delivery and reply: the handler panics
)

// Injector makes things go wrong on purpose, for those who test what a system
// does about it. It is asked for every request at every point, under the
// kernel's lock: it must be quick and must not call the kernel. The duration
// counts for FaultDelay.
type Injector interface {
	Inject(p Passage) (Fault, time.Duration)
}

// inject asks the injector about a request at a point.
func (k *Kernel) inject(at Point, from string, ep *endpoint, op uint16) (Fault, time.Duration) {
	if k.injector == nil {
		return FaultNone, 0
	}
	fault, delay := k.injector.Inject(Passage{Point: at, From: from, To: ep.owner.name, Op: op})
	if fault != FaultNone {
		k.ring.add(TraceEvent{Time: k.now, To: ep.owner.id, Endpoint: ep.id, Op: op, Kind: TraceFault})
	}
	return fault, delay
}

// hinder lets a request that is about to be queued meet a fault. It reports
// false if nothing is in its way. Otherwise it answers the code of the refusal,
// or the fiber waits. A request is hindered once.
func (k *Kernel) hinder(f *fiber, ep *endpoint, deadline Time) (Code, bool) {
	if f.passed {
		return OK, false
	}
	f.passed = true
	switch fault, delay := k.inject(AtSend, f.task.name, ep, f.msg.Op); fault {
	case FaultDrop:
		if f.post.oneWay {
			f.task.table.Send(f.msg.Move).Drop()
			return OK, true // It was sent, as far as its sender can tell.
		}
		k.lose(f, deadline, TraceEvent{From: f.task.id, To: ep.owner.id, Endpoint: ep.id, Op: f.msg.Op, Slot: f.msg.Slot})
		return Canceled, true
	case FaultDelay:
		f.waiting, f.due, f.endpoint = waitTransit, deadline, ep
		k.setTimer(f, min(k.now.Add(delay), deadline))
		return Canceled, true
	case FaultExhaust:
		return NoSpace, true
	}
	return OK, false
}

// lose lets a fiber wait for an answer that will not come. What it gives up in
// the end is in e: a call, or what was lost before it was one.
func (k *Kernel) lose(f *fiber, deadline Time, e TraceEvent) {
	f.waiting, f.call, f.lost = waitLost, nil, &e
	k.setTimer(f, deadline)
}

// arrive is the end of a delay: the request is checked as if it were sent now.
func (k *Kernel) arrive(f *fiber) {
	due := f.due
	k.clearTimer(f)
	k.sendAgain(f, due)
}

// Panic makes the service panic as the next thing that it does.
func (t *Task) Panic() {
	t.kernel.lock()
	defer t.kernel.unlock()
	if t.exited || t.runner == nil {
		return
	}
	t.sabotaged = true
	t.kernel.wakeTask(t)
}

// sabotage is the panic that was asked for. Like every report of a panic it
// has no value, only a place.
func sabotage() { panic(&PanicReport{Frames: "a fault that was asked for", Asked: true}) }
