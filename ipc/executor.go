package ipc

import (
	"context"
	"sync/atomic"
	"time"
)

// Time is kernel time: nanoseconds since boot. 0 means "none".
type Time uint64

// Add returns the time d later; a result that would overflow or pass below 1
// is clamped, because a deadline is never "none" by accident.
func (t Time) Add(d time.Duration) Time {
	if d < 0 {
		if Time(-d) >= t {
			return 1
		}
		return t - Time(-d)
	}
	if sum := t + Time(d); sum >= t {
		return sum
	}
	return ^Time(0)
}

// Parker stops and restarts one flow of control.
type Parker interface {
	// Park returns true once Unpark was called, which may have been before.
	// If done is not nil and closes first, it returns false; a parker that
	// runs by seed is only ever given nil.
	Park(done <-chan struct{}) bool
	// Unpark lets the one pending or next Park return. It does not block.
	Unpark()
}

// Executor is who runs the tasks: goroutines and the machine's clock, or one
// runnable at a time in an order drawn from a seed, in virtual time. The
// kernel calls Now, Alarm and Fatal under its lock and the others without it.
type Executor interface {
	// Now is the kernel's only clock. It never returns 0 and never goes back.
	Now() Time
	// Alarm asks for one call of Kernel.Tick at the given time or soon after;
	// it replaces an alarm that was set for later. It must not call back.
	Alarm(at Time)
	// Yield lets others run first. The kernel calls it at the end of a call that
	// did not wait: many flows of control of one task that are refused as fast as
	// they can ask must not keep the processors from everybody else.
	Yield()
	// Go runs fn as a flow of control of its own; parker is how it parks.
	Go(fn func(parker Parker))
	// Offload runs fn on a worker, then done. Neither may be run by the caller.
	Offload(fn, done func())
	// Foreign answers for a context that no task made: who parks, and how
	// long the caller is ready to wait. It returns an error where the order
	// of events must not depend on such a caller.
	Foreign(ctx context.Context) (Parker, Time, error)
	// Release takes back a parker that Foreign returned.
	Release(Parker)
	// Fatal ends the process with the report, whatever else runs, and does not
	// return. The kernel calls it, under its lock, when it is broken itself.
	Fatal(report string)
}

// Runner hosts one service task: Wake asks it to take work with Task.Next soon.
// Wake is called without the kernel's lock, may be called by anybody, at any
// time, and must not block.
type Runner interface {
	Wake()
}

// Lender is a Runner whose task others may run for a while.
type Lender interface {
	Runner
	// Lend runs the task's work on the caller's time until the flag is set or
	// nothing is left to do. It reports false, having done nothing, if
	// somebody runs the task already.
	Lend(until *atomic.Bool) bool
}
