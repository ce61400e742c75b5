// Package inbox is the asking side of requests by Send: many requests, to
// whatever services, whose answers come to one inbox in any order and are told
// apart by their nonces. docs/spec/frames.md has the envelope's bytes.
//
// The nonce correlates and authenticates nothing: whoever can send to the inbox
// can answer. So an inbox is not shared with strangers, and one to which too much
// comes that nobody asked for is given up.
package inbox

import (
	"context"
	"errors"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
)

// Errors of an inbox, besides the kernel's codes.
var (
	// ErrDistrusted says that more than MaxMismatches answers came that nobody
	// had asked for. It is final.
	ErrDistrusted = errors.New("inbox: too many answers that nobody asked for")
	// ErrForgotten says that the answer was dropped, waited for already, or
	// never asked for.
	ErrForgotten = errors.New("inbox: no answer to that nonce is to come")
)

// Inbox belongs to one flow of control of its task, which may have many requests
// under way.
type Inbox struct {
	task  *ipc.Task
	slot  ipc.Slot
	store store
	buf   [ipc.MaxFrame]byte
}

// New makes an inbox of the capability in slot, which has SEND and RECV.
func New(t *ipc.Task, slot ipc.Slot) *Inbox { return &Inbox{task: t, slot: slot} }

// Counters says what became of answers so far.
func (b *Inbox) Counters() Counters { return b.store.counters }

// Request is one request.
type Request struct {
	Slot  ipc.Slot // SEND on the service's endpoint
	Op    uint16
	Token []byte // where the operation needs one
	Body  []byte // at most ipc.MaxFrame-frame.RequestSize bytes
}

// Answer is what the service said.
type Answer struct {
	Code ipc.Code
	Body []byte // the caller's to keep
}

// Start sends a request and returns the nonce of its answer. It waits for room
// till the deadline (kernel time, 0 for none). LimitReached means that
// MaxPending requests are under way.
func (b *Inbox) Start(ctx context.Context, q Request, deadline ipc.Time) (uint64, error) {
	if b.store.distrusted() {
		return 0, ErrDistrusted
	}
	nonce, ok := b.store.next()
	if !ok {
		return 0, ipc.LimitReached
	}
	err := b.send(ctx, q, nonce, deadline)
	if err != nil {
		b.store.forget(nonce)
	}
	return nonce, err
}

// send moves a clone of the inbox's SEND half along. If the request is not
// queued, the clone is still ours and closed.
func (b *Inbox) send(ctx context.Context, q Request, nonce uint64, deadline ipc.Time) error {
	half, err := b.task.Derive(b.slot, capability.Send, b.task)
	if err != nil {
		return err
	}
	payload := frame.AppendRequest(b.buf[:0], nonce, q.Body)
	err = b.task.Send(ctx, ipc.Outgoing{
		Slot: q.Slot, Payload: payload, Token: q.Token, Deadline: deadline,
		Header: frame.Header{Src: uint32(half), Type: q.Op, Flags: frame.CapMove, Len: uint32(len(payload))},
	})
	clear(payload)
	if err != nil {
		_ = b.task.Close(half) // It was derived above, and not taken.
	}
	return err
}

// Wait returns the answer to a nonce: one that came before, or the next one that
// comes till the deadline. Answers to other requests are kept meanwhile. A code
// of the service is in the answer; the error is TimedOut, another of the
// kernel's, ErrDistrusted or ErrForgotten. After TimedOut one may wait again.
func (b *Inbox) Wait(ctx context.Context, nonce uint64, deadline ipc.Time) (Answer, error) {
	if kept, ok := b.store.take(nonce); ok {
		return parse(kept)
	}
	for b.store.waits(nonce) {
		if b.store.distrusted() {
			return Answer{}, ErrDistrusted
		}
		in, err := b.task.Receive(ctx, b.slot, b.buf[:], 0, deadline)
		if err != nil {
			return Answer{}, err
		}
		if in.Header.Flags&frame.CapMove != 0 {
			_ = b.task.Close(ipc.Slot(in.Header.Src)) // No answer brings one: it is not ours to keep.
		}
		got := b.buf[:in.N]
		if came, _, _, err := frame.ParseAnswer(got); err == nil && came == nonce {
			b.store.done(nonce)
			answer, err := parse(append([]byte(nil), got...))
			clear(got)
			return answer, err
		}
		b.other(got)
		clear(got)
	}
	return Answer{}, ErrForgotten
}

// other takes in what is not the answer that is being waited for.
func (b *Inbox) other(got []byte) {
	nonce, _, _, err := frame.ParseAnswer(got)
	if err != nil {
		nonce = 0 // No answer at all: 0 was never asked for.
	}
	b.store.keep(nonce, got)
}

func parse(answer []byte) (Answer, error) {
	_, code, body, err := frame.ParseAnswer(answer)
	if err != nil || !ipc.Code(code).Valid() {
		return Answer{}, ipc.Malformed
	}
	return Answer{Code: ipc.Code(code), Body: body}, nil
}

// Forget says that the answer to a nonce is not wanted any more. If it comes, it
// counts as a mismatch.
func (b *Inbox) Forget(nonce uint64) { b.store.forget(nonce) }

// Budget bounds retries: by a number, and by a time.
type Budget struct {
	Attempts int           // requests that are sent at most, 1 or more
	Each     time.Duration // how long one waits for its answer
	Deadline ipc.Time      // kernel time, 0 for none; of all of them
}

// Ask sends a request and waits for its answer; if none comes in time, or the
// service failed (Unavailable), it asks again, under another nonce, as long as
// the budget lasts. So a request may be done more than once: it must be one of
// those for which that makes no difference. The error is that of the last try.
func (b *Inbox) Ask(ctx context.Context, q Request, budget Budget) (Answer, error) {
	var answer Answer
	err := error(ipc.InvalidArgument) // Without an attempt.
	for range budget.Attempts {
		deadline := b.task.Now().Add(budget.Each)
		if budget.Deadline != 0 && budget.Deadline < deadline {
			deadline = budget.Deadline
		}
		answer, err = b.once(ctx, q, deadline)
		again := errors.Is(err, ipc.TimedOut) || err == nil && answer.Code == ipc.Unavailable
		if !again || budget.Deadline != 0 && b.task.Now() >= budget.Deadline {
			break
		}
	}
	return answer, err
}

func (b *Inbox) once(ctx context.Context, q Request, deadline ipc.Time) (Answer, error) {
	nonce, err := b.Start(ctx, q, deadline)
	if err != nil {
		return Answer{}, err
	}
	answer, err := b.Wait(ctx, nonce, deadline)
	if err != nil {
		b.Forget(nonce)
	}
	return answer, err
}
