// Package conform says whether what a kernel's trace tells of a run is something
// that the model of tests/model can do. The trace is less than the model sees:
// it has no payload, no slot of a receiver, and not every wait. So this is the
// model looked at from outside: queues with their order and depth, calls with
// their one answer, sessions with their epochs, tasks and endpoints with their
// ends. What the trace cannot show is never taken for a mistake; what it shows
// must fit, event for event.
//
// The events must come in their order, from a run by seed: on goroutines a caller
// may leave because its context was cancelled, and of that there is no event.
package conform
