package model

import (
	"slices"

	"nexus.internal/os/ipc"
)

// settle lets everything happen that can, till nobody can go on without
// somebody else or the time.
func (m *Model) settle() {
	m.recheck()
	for m.work() {
		m.recheck()
	}
}

// work is one thing that a service has to do.
func (m *Model) work() bool {
	for _, e := range m.Endpoints {
		for _, q := range e.Serving {
			if q.Answer != nil {
				m.goOn(q)
				return true
			}
		}
		if m.deliver(e) {
			return true
		}
	}
	return false
}

// deliver hands the oldest request of an endpoint to its service.
func (m *Model) deliver(e *Endpoint) bool {
	t := e.Owner
	if e.Inbox || !t.Service || t.Down || t.Exited || len(e.Queue) == 0 || len(e.Serving) >= e.Parallel {
		return false
	}
	q := e.Queue[0]
	e.Queue = e.Queue[1:]
	m.accept(q)
	return true
}

// accept is a delivery: token and room for the capability are asked for again.
func (m *Model) accept(q *Message) {
	t := q.To.Owner
	if q.Token != nil && !m.passes(q.Token, q.From, 0) {
		m.reject(q, ipc.Denied)
		return
	}
	moved := ipc.NoSlot
	if q.Cap != nil && q.Cap.Where == InFlight {
		slot, ok := m.lowestFree(t)
		if !ok {
			m.reject(q, ipc.NoSpace)
			return
		}
		m.arrive(q.Cap, t, slot)
		q.Cap, moved = nil, slot
	}
	q.To.Serving = append(q.To.Serving, q)
	d := Delivery{
		To: t.Number, From: q.From.Number, Type: q.Type, Body: q.Body, Moved: moved, Service: serviceID(q.From), Session: -1,
	}
	if k := q.Token; k != nil {
		d.Session, d.Epoch, d.Rights, d.Unsealed = k.Session.Number, k.Epoch, k.Rights, k.Session.Unsealed
	}
	m.delivered = append(m.delivered, d)
	m.admit(q.To)
	switch q.Type {
	case Echo, EchoGet:
		m.reply(q, ipc.OK, q.Body)
		m.served(q)
	case Fail:
		m.reply(q, ipc.NotFound, q.Body)
		m.served(q)
	case Mute:
		m.served(q)
	case Crash:
		t.Down = true
		m.failServing(t)
		m.crashSessions(t)
	}
}

// reply is a handler's answer: one that is too large is refused and still owed,
// and a token that is void by now costs the caller the answer.
func (m *Model) reply(q *Message, c ipc.Code, body string) {
	if len(body) > ipc.MaxFrame {
		return
	}
	if q.Token != nil && !m.passes(q.Token, q.From, 0) {
		c, body = ipc.Denied, ""
	}
	m.respond(q, c, body)
}

// served is the end of a handler; it may have answered.
func (m *Model) served(q *Message) {
	i := slices.Index(q.To.Serving, q)
	q.To.Serving = slices.Delete(q.To.Serving, i, i+1)
	m.respond(q, ipc.Unavailable, "")
	m.forget(q)
}

// failServing ends everything that a task is serving: all who wait for it are
// told before anything else happens.
func (m *Model) failServing(t *Task) {
	var all []*Message
	for _, e := range m.Endpoints {
		if e.Owner == t {
			all = append(all, e.Serving...)
		}
	}
	for _, q := range all {
		m.respond(q, ipc.Unavailable, "")
	}
	for _, q := range all {
		m.served(q)
	}
}

// Held lists the requests that a task's service has delivered and not answered,
// over its endpoints.
func (m *Model) Held(task int) []*Message {
	var all []*Message
	for _, e := range m.Endpoints {
		if e.Owner == m.Tasks[task] {
			all = append(all, e.Serving...)
		}
	}
	return all
}

// answerHeld tells the handler of a request that is held to go on. Without one
// there is nothing to do.
func (m *Model) answerHeld(number int, op Op) Result {
	held := slices.DeleteFunc(m.Held(op.Task), func(q *Message) bool { return q.Answer != nil })
	if len(held) > 0 {
		q := held[op.N%len(held)]
		q.Answer, q.AnswerNumber = &op, number
	}
	return Result{}
}

// goOn is the rest of a handler that was told to.
func (m *Model) goOn(q *Message) {
	op := q.Answer
	q.Answer = nil
	m.reply(q, op.Code, Payload(q.AnswerNumber, op.Size))
	m.served(q)
}

// restart makes a crashed service take requests again.
func (m *Model) restart(op Op) Result {
	t := m.Tasks[op.Task]
	if t.Service && !t.Exited {
		t.Down = false
	}
	return Result{}
}
