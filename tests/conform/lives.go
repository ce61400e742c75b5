package conform

import (
	"errors"
	"fmt"

	"nexus.internal/os/ipc"
)

// start is a new instance of a service, which begins when nothing is left of the
// last one.
func (c *Checker) start(e ipc.TraceEvent) error {
	c.tasks[e.From].up = true
	for _, ep := range c.endpoints {
		if ep.owner != e.From {
			continue
		}
		if n := waited(ep.serving); n > ep.lost {
			return fmt.Errorf("%d requests of the last instance were not answered", n)
		}
		for len(ep.serving) > 0 {
			c.handled(ep, ep.serving[0])
		}
	}
	return nil
}

// crash is a service's panic. What it was serving was answered before or is
// answered next.
func (c *Checker) crash(e ipc.TraceEvent) error {
	c.tasks[e.From].up = false
	return nil
}

// handled is the end of a handler that has not answered: its caller has left, or
// waits for an answer that was lost.
func (c *Checker) handled(ep *endpoint, q *call) {
	if q.left {
		c.over(ep, q)
		return
	}
	ep.serving = without(ep.serving, q)
	q.state = lost
}

// exit is the end of a task: all of its endpoints have closed, and whoever
// waited there was told before.
func (c *Checker) exit(e ipc.TraceEvent) error {
	for n, ep := range c.endpoints {
		if ep.owner == e.From {
			if err := c.closed(n, ep); err != nil {
				return err
			}
		}
	}
	c.tasks[e.From].exited = true
	return nil
}

// closed is an endpoint's end.
func (c *Checker) closed(n uint32, ep *endpoint) error {
	if ep.closed {
		return nil
	}
	ep.closed = true
	delete(c.closing, n)
	if len(ep.queue) > 0 {
		return fmt.Errorf("the endpoint closes and call %d, which is queued there, was not told", ep.queue[0].Call)
	}
	return nil
}

func (c *Checker) syscall(e ipc.TraceEvent) error {
	if e.Op != ipc.SyscallCloseEndpoint || e.Code != ipc.OK {
		return nil
	}
	ep := c.endpoints[e.Endpoint]
	if ep == nil {
		return errors.New("what closes was never made")
	}
	return c.closed(e.Endpoint, ep)
}

// session is the life of a session.
func (c *Checker) session(e ipc.TraceEvent) error {
	s := c.sessions[e.SID]
	if e.Op == ipc.SessionStarted {
		if e.SID <= c.lastSID {
			return errors.New("a sid is used again")
		}
		c.lastSID = e.SID
		c.sessions[e.SID] = &session{epoch: 1}
		return nil
	}
	if !s.lives() {
		return errors.New("a session that does not live goes on")
	}
	if e.Op == ipc.SessionSealed || e.Op == ipc.SessionEnded {
		s.epoch++
		s.ended = e.Op == ipc.SessionEnded
		s.voided = true
	}
	return nil
}

// everybodyTold says whether all who depended on an epoch that is over were told
// before anything else happened.
func (c *Checker) everybodyTold() error {
	for sid, s := range c.sessions {
		if !s.voided {
			continue
		}
		s.voided = false
		for _, q := range c.calls {
			ep := c.endpoints[q.Endpoint]
			if q.SID == sid && !q.left && c.stale(q) && ep.lost == 0 {
				return fmt.Errorf("the epoch of session %d is over, and call %d was not told", sid, q.Call)
			}
		}
	}
	return nil
}

// token is a token that was made.
func (c *Checker) token(e ipc.TraceEvent) error {
	if !c.sessions[e.SID].lives() || !c.tasks[e.To].there() {
		return errors.New("a token is made of a session that does not live, or for nobody")
	}
	return nil
}

// fault is a fault on purpose, which may have lost an answer.
func (c *Checker) fault(e ipc.TraceEvent) error {
	if ep := c.endpoints[e.Endpoint]; ep != nil {
		ep.lost++
	}
	return nil
}
