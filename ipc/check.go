package ipc

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"nexus.internal/os/capability"
)

// ErrInconsistent says that the kernel's books contradict each other.
var ErrInconsistent = errors.New("ipc: the kernel is inconsistent")

func inconsistent(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInconsistent, fmt.Sprintf(format, args...))
}

// Check recounts everything that the kernel keeps count of: requests and bytes
// in queues, requests being served, capabilities and their rights, tokens and
// their epochs. It is for tests and for who explores; it changes nothing.
func (k *Kernel) Check() error {
	k.lock()
	defer k.unlock()
	total, sent := 0, make(map[*Task]int)
	for _, id := range slices.Sorted(maps.Keys(k.tasks)) {
		t := k.tasks[id]
		bytes, err := t.check(sent)
		if err != nil {
			return err
		}
		total += bytes
	}
	if total != k.queued {
		return inconsistent("%d bytes are queued and %d counted", total, k.queued)
	}
	for _, t := range k.tasks {
		if t.sentBytes != sent[t] {
			return inconsistent("%s: %d bytes of it are queued and %d counted", t.name, sent[t], t.sentBytes)
		}
	}
	if err := k.checkMemory(); err != nil {
		return err
	}
	return k.checkSessions()
}

// check recounts one task and answers the bytes queued at its endpoints.
func (t *Task) check(sent map[*Task]int) (bytes int, err error) {
	if err := t.table.Sound(); err != nil {
		return 0, inconsistent("%s: %v", t.name, err)
	}
	serving := make(map[*endpoint]int)
	for _, w := range t.active {
		if w.job == jobServe {
			serving[w.call.ep]++
		}
	}
	owned := 0
	for _, ep := range slices.Concat(t.facets, t.inboxes) {
		if !ep.closed {
			owned++
		}
		n, size := 0, 0
		for c := ep.first; c != nil; c = c.next {
			if c.state != callQueued || c.ep != ep {
				return 0, inconsistent("%s.%d: a queued request is not one", t.name, ep.facet)
			}
			n++
			size += len(c.body)
			sent[c.payer] += len(c.body)
		}
		if n != ep.queued || size != ep.bytes || n > ep.depth {
			return 0, inconsistent("%s.%d: %d requests of %d bytes are queued, %d of %d counted, of at most %d",
				t.name, ep.facet, n, size, ep.queued, ep.bytes, ep.depth)
		}
		if serving[ep] != ep.serving {
			return 0, inconsistent("%s.%d: %d requests are being served and %d counted", t.name, ep.facet, serving[ep], ep.serving)
		}
		bytes += size
	}
	if bytes != t.queuedBytes || owned != t.owned {
		return 0, inconsistent("%s: %d bytes at %d endpoints, %d at %d counted", t.name, bytes, owned, t.queuedBytes, t.owned)
	}
	return bytes, nil
}

// Quiet says whether no request is queued, being served, or on its way, and no
// news is out.
func (k *Kernel) Quiet() bool {
	k.lock()
	defer k.unlock()
	for _, t := range k.tasks {
		if t.starting || len(t.active) > 0 || len(t.events) > 0 {
			return false
		}
		for _, ep := range t.facets {
			if ep.first != nil || len(ep.room) > 0 {
				return false
			}
		}
	}
	for f := k.timers; f != nil; f = f.timerNext {
		if f.waiting == waitTransit {
			return false
		}
	}
	return true
}

// checkSessions holds tokens against their sessions.
func (k *Kernel) checkSessions() error {
	if err := k.tokens.Sound(); err != nil {
		return inconsistent("%v", err)
	}
	live := 0
	for sid, s := range k.sessions {
		for _, row := range s.rows {
			if !row.Live() {
				continue
			}
			live++
			if err := k.checkRow(s, row); err != nil {
				return inconsistent("session %d: %v", sid, err)
			}
		}
		for c := s.calls; c != nil; c = c.nextSID {
			if err := c.check(s); err != nil {
				return inconsistent("session %d: %v", sid, err)
			}
		}
	}
	if live != k.tokens.Live() {
		return inconsistent("sessions have %d live tokens of %d", live, k.tokens.Live())
	}
	return nil
}

// check holds a request against its session: of an epoch that is over, nobody
// waits for one any more.
func (c *call) check(s *session) error {
	switch {
	case c.session != s || c.state == callFree:
		return errNoCall
	case c.caller == nil && c.reply == nil:
		return nil
	case c.stamp.Epoch != s.epoch:
		return errLateCall
	case c.caller == nil:
		return nil
	case c.caller.waiting != waitReply || c.caller.call != c:
		return errNoWaiter
	}
	return nil
}

var (
	errNoCall   = errors.New("a request of it is not one")
	errLateCall = errors.New("a request of an epoch that is over has somebody who waits")
	errNoWaiter = errors.New("a request's caller does not wait for it")

	errEpoch  = errors.New("a live token of an epoch that is over")
	errHolder = errors.New("a live token whose holder has exited")
)

func (k *Kernel) checkRow(s *session, row *capability.Row) error {
	switch {
	case s.ended || row.Epoch != s.epoch || row.SID != s.sid:
		return errEpoch
	case k.tasks[TaskID(row.Holder)] == nil:
		return errHolder
	}
	return nil
}
