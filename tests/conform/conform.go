package conform

import (
	"errors"
	"fmt"
	"slices"

	"nexus.internal/os/ipc"
)

// ErrNoBehaviour says that no kernel that does as the model does leaves such a trace.
var ErrNoBehaviour = errors.New("the trace is no behaviour of the model")

// Bounds says how many requests may wait at an endpoint, and how many may be
// served at once.
type Bounds func(owner string, facet uint8) (depth, parallel int)

// Checker follows the trace of a machine, over all its boots.
type Checker struct {
	bounds Bounds
	first  error
	last   ipc.TraceEvent
	events int

	known
}

// known is what is known of the present boot.
type known struct {
	tasks     map[ipc.TaskID]*task
	endpoints map[uint32]*endpoint
	calls     map[uint64]*call
	newest    uint64 // number of a call
	sessions  map[uint64]*session
	lastSID   uint64
	closing   map[uint32]bool // endpoints of which a queued request was told that they close
}

type task struct {
	name   string
	up     bool // its service can be given requests
	exited bool
}

// there says whether there is such a task, and it has not exited.
func (t *task) there() bool { return t != nil && !t.exited }

type endpoint struct {
	owner    ipc.TaskID
	inbox    bool
	closed   bool
	depth    int
	parallel int
	queue    []*call
	serving  []*call
	lost     int // answers that a fault may have lost here, till their callers give up
}

type state uint8

const (
	queued state = iota
	serving
	lost // its handler has ended, its caller waits for an answer that will not come
	over
)

type call struct {
	ipc.TraceEvent // its send
	state          state
	epoch          uint32
	left           bool // its caller waits no more
}

type session struct {
	epoch  uint32
	ended  bool
	voided bool // by the last session event: all who depended on it are being told
}

// lives says whether there is such a session, and it has not ended.
func (s *session) lives() bool { return s != nil && !s.ended }

// New makes a checker.
func New(bounds Bounds) *Checker {
	c := &Checker{bounds: bounds}
	c.begin()
	return c
}

func (c *Checker) begin() {
	c.known = known{
		tasks: make(map[ipc.TaskID]*task), endpoints: make(map[uint32]*endpoint), calls: make(map[uint64]*call),
		sessions: make(map[uint64]*session), closing: make(map[uint32]bool),
	}
	c.last = ipc.TraceEvent{}
}

// Verdict is nil, or the first event that does not fit: an ErrNoBehaviour.
func (c *Checker) Verdict() error { return c.first }

// Events counts what was looked at.
func (c *Checker) Events() int { return c.events }

// Event is the next event of the trace. A task with number 1 begins a new boot.
func (c *Checker) Event(e ipc.TraceEvent) {
	if c.first != nil {
		return
	}
	c.events++
	if e.Kind == ipc.TraceTask && e.From == 1 {
		c.begin()
	}
	if err := c.event(e); err != nil {
		c.first = fmt.Errorf("%w: event %d, %+v: %w", ErrNoBehaviour, c.events, e, err)
	}
	c.last = e
}

func (c *Checker) event(e ipc.TraceEvent) error {
	if e.Time < c.last.Time {
		return errors.New("time went back")
	}
	if err := c.acting(e); err != nil {
		return err
	}
	if err := c.settled(e); err != nil {
		return err
	}
	if rule := rules[e.Kind]; rule != nil {
		return rule(c, e)
	}
	return nil
}

// rules say of each kind of event when it may be, and what is known after it. A
// kind without one says nothing about the kernel's state.
var rules = map[ipc.EventKind]func(*Checker, ipc.TraceEvent) error{
	ipc.TraceTask:     (*Checker).made,
	ipc.TraceEndpoint: (*Checker).endpointMade,
	ipc.TraceSend:     (*Checker).send,
	ipc.TraceDeliver:  (*Checker).deliver,
	ipc.TraceReceive:  (*Checker).receive,
	ipc.TraceReply:    (*Checker).reply,
	ipc.TraceRefuse:   (*Checker).refuse,
	ipc.TraceExpire:   (*Checker).left,
	ipc.TraceCancel:   (*Checker).left,
	ipc.TraceLate:     (*Checker).late,
	ipc.TraceStart:    (*Checker).start,
	ipc.TraceCrash:    (*Checker).crash,
	ipc.TraceExit:     (*Checker).exit,
	ipc.TraceSyscall:  (*Checker).syscall,
	ipc.TraceSession:  (*Checker).session,
	ipc.TraceToken:    (*Checker).token,
	ipc.TraceFault:    (*Checker).fault,
}

// settled asks, when something new begins, whether what went before is complete:
// who depended on an epoch that is over is told before anything else happens, and
// so is what an endpoint's end means.
func (c *Checker) settled(e ipc.TraceEvent) error {
	switch e.Kind {
	case ipc.TraceReply, ipc.TraceRefuse, ipc.TraceSend, ipc.TraceReceive, ipc.TraceCancel:
		return nil // Consequences.
	case ipc.TraceSession, ipc.TraceExit, ipc.TraceSyscall: // One of these may close the endpoint.
	default:
		if len(c.closing) > 0 {
			return errors.New("somebody was told that an endpoint has closed, and it has not")
		}
	}
	return c.everybodyTold()
}

// acting says whether whoever does something is there to do it.
func (c *Checker) acting(e ipc.TraceEvent) error {
	switch e.Kind {
	case ipc.TraceTask, ipc.TraceDeliver, ipc.TraceReply, ipc.TraceReceive, ipc.TraceFault, ipc.TraceCancel, ipc.TraceLate:
		return nil // Something is done to them, perhaps after their end.
	case ipc.TraceSession:
		if e.From == 0 {
			return nil // The kernel itself.
		}
	case ipc.TraceRefuse:
		if e.Call != 0 || e.Code == ipc.Unavailable {
			return nil
		}
	}
	if !c.tasks[e.From].there() {
		return errors.New("it is done by a task that is not there")
	}
	return nil
}

func (c *Checker) made(e ipc.TraceEvent) error {
	if c.tasks[e.From] != nil {
		return errors.New("a task's number is used again")
	}
	c.tasks[e.From] = &task{name: e.Name}
	return nil
}

func (c *Checker) endpointMade(e ipc.TraceEvent) error {
	owner := c.tasks[e.To]
	if c.endpoints[e.Endpoint] != nil || !owner.there() {
		return errors.New("an endpoint's number is used again, or its owner is not there")
	}
	ep := &endpoint{owner: e.To, inbox: e.Name != "", depth: ipc.MaxDepth, parallel: ipc.MaxParallel}
	if !ep.inbox {
		ep.depth, ep.parallel = c.bounds(owner.name, uint8(e.Op))
	}
	c.endpoints[e.Endpoint] = ep
	return nil
}

// send is a message that was queued.
func (c *Checker) send(e ipc.TraceEvent) error {
	ep := c.endpoints[e.Endpoint]
	switch {
	case ep == nil || ep.closed || c.closing[e.Endpoint] || ep.owner != e.To:
		return errors.New("it is sent to an endpoint that is not open")
	case e.Call <= c.newest:
		return errors.New("a call's number is used again")
	case len(ep.queue) >= ep.depth:
		return fmt.Errorf("%d are queued, and %d may be", len(ep.queue), ep.depth)
	}
	q := &call{TraceEvent: e}
	if e.SID != 0 {
		s := c.sessions[e.SID]
		if !s.lives() || e.Name == "" {
			return errors.New("it has a token of a session that does not live, or of no app")
		}
		q.epoch = s.epoch
	}
	c.newest = e.Call
	c.calls[e.Call] = q
	ep.queue = append(ep.queue, q)
	return c.budgets(ep)
}

// budgets adds up the bytes that are queued.
func (c *Checker) budgets(at *endpoint) error {
	owner, system := 0, 0
	for _, ep := range c.endpoints {
		for _, q := range ep.queue {
			system += int(q.Size)
			if ep.owner == at.owner {
				owner += int(q.Size)
			}
		}
	}
	if owner > ipc.MaxOwnerBytes || system > ipc.MaxSystemBytes {
		return fmt.Errorf("%d bytes are queued at the owner's endpoints and %d in the system", owner, system)
	}
	return nil
}

// find is the call that an event belongs to; its facts must be those of its send.
func (c *Checker) find(e ipc.TraceEvent) (*call, *endpoint, error) {
	q := c.calls[e.Call]
	switch {
	case q == nil:
		return nil, nil, errors.New("it belongs to a call that is over, or never was")
	case e.Endpoint != q.Endpoint || e.Op != q.Op || e.From != q.From || e.SID != q.SID:
		return nil, nil, fmt.Errorf("it is not about the call that was sent as %+v", q.TraceEvent)
	}
	return q, c.endpoints[q.Endpoint], nil
}

// waited counts the calls whose callers wait for certain. Of one that is served
// and whose caller left, the handler's end does not show.
func waited(calls []*call) (n int) {
	for _, q := range calls {
		if !q.left {
			n++
		}
	}
	return n
}

// takeFirst takes a message out of its queue, of which it must be the oldest.
func (c *Checker) takeFirst(ep *endpoint, q *call) error {
	if q.state != queued || len(ep.queue) == 0 || ep.queue[0] != q {
		return errors.New("an older message is queued at the same endpoint")
	}
	ep.queue = ep.queue[1:]
	return nil
}

// over is the end of a call.
func (c *Checker) over(ep *endpoint, q *call) {
	ep.queue, ep.serving = without(ep.queue, q), without(ep.serving, q)
	q.state = over
	delete(c.calls, q.Call)
}

func (c *Checker) deliver(e ipc.TraceEvent) error {
	q, ep, err := c.find(e)
	if err != nil {
		return err
	}
	if err := c.takeFirst(ep, q); err != nil {
		return err
	}
	owner := c.tasks[ep.owner]
	switch {
	case e.To != ep.owner || e.Size != q.Size || ep.inbox:
		return errors.New("another one gets it, or more or less of it, or it was in an inbox")
	case ep.closed || owner.exited || !owner.up:
		return errors.New("the endpoint is closed, or its service does not run")
	case q.SID != 0 && c.stale(q):
		return errors.New("its session's epoch is over")
	}
	q.state = serving
	ep.serving = append(ep.serving, q)
	if n := waited(ep.serving); n-ep.lost > ep.parallel {
		return fmt.Errorf("%d are being served, and %d may be", n, ep.parallel)
	}
	return nil
}

func (c *Checker) stale(q *call) bool {
	s := c.sessions[q.SID]
	return s.ended || s.epoch != q.epoch
}

// receive is a message that was taken from an inbox, or the reason why none was.
func (c *Checker) receive(e ipc.TraceEvent) error {
	if e.Code != ipc.OK {
		return nil
	}
	q := c.calls[e.Call]
	if q == nil || e.Size != q.Size || e.From != q.From {
		return errors.New("what is received was not sent")
	}
	ep := c.endpoints[q.Endpoint]
	if !ep.inbox || ep.closed {
		return errors.New("it is received from no open inbox")
	}
	if err := c.takeFirst(ep, q); err != nil {
		return err
	}
	c.over(ep, q)
	return nil
}

// reply is the answer to a call: there is one.
func (c *Checker) reply(e ipc.TraceEvent) error {
	q, ep, err := c.find(e)
	if err != nil {
		return err
	}
	if q.left {
		return errors.New("its caller waits no more")
	}
	if q.SID != 0 && c.stale(q) && e.Code != ipc.Denied && e.Code != ipc.PeerClosed {
		return errors.New("its session's epoch is over, and the answer is another one than denied")
	}
	if q.state == queued {
		return c.rejected(ep, q, e.Code)
	}
	c.over(ep, q)
	return nil
}

// rejected is an answer to a request that no handler got: there are few reasons.
func (c *Checker) rejected(ep *endpoint, q *call, why ipc.Code) error {
	c.over(ep, q)
	switch {
	case why == ipc.NoSuchEndpoint:
		c.closing[q.Endpoint] = true // Which the next event of another kind has to say.
	case why == ipc.NoSpace, why == ipc.Denied && q.SID != 0:
	case why == ipc.PeerClosed, why == ipc.QueueFull: // An answer to an inbox that was lost.
	default:
		return errors.New("nobody has served it, and there is no such reason not to")
	}
	return nil
}

func without(all []*call, q *call) []*call {
	return slices.DeleteFunc(all, func(other *call) bool { return other == q })
}

// refuse is a send that did not pass, or a token that is void at delivery or at reply.
func (c *Checker) refuse(e ipc.TraceEvent) error {
	if e.Call != 0 {
		_, _, err := c.find(e)
		if err == nil && (e.SID == 0 || e.Code != ipc.Denied) {
			err = errors.New("what has no token is refused for its token")
		}
		return err
	}
	ep := c.endpoints[e.Endpoint]
	switch e.Code {
	case ipc.QueueFull:
		if ep == nil || len(ep.queue) < ep.depth {
			return errors.New("the queue is not full")
		}
	case ipc.NoSuchEndpoint:
		if ep == nil {
			return errors.New("there never was such an endpoint")
		}
		if !ep.closed {
			c.closing[e.Endpoint] = true
		}
	}
	return nil
}

// left is the end of a call without an answer: a deadline, or its caller's end,
// or that of the inbox in which it was a message. A queued one disappears. Who
// waits for room, or for what a fault lost before it was sent, has no call.
func (c *Checker) left(e ipc.TraceEvent) error {
	if e.Call == 0 {
		return nil
	}
	q, ep, err := c.find(e)
	switch {
	case err != nil:
		return err
	case q.left:
		return errors.New("its caller has left before")
	case q.state == queued && e.Code == ipc.NoSuchEndpoint:
		c.closing[q.Endpoint] = true
	}
	q.left = true
	if q.state != serving {
		c.over(ep, q)
	}
	return nil
}

// late is an answer that reached nobody. Of the handlers of an instance that has
// crashed nothing is known.
func (c *Checker) late(e ipc.TraceEvent) error {
	if q := c.calls[e.Call]; q != nil && (q.state != serving || !q.left) {
		return errors.New("it is late, and its caller waits")
	}
	return nil
}
