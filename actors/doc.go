// Package actors runs the services of the emulated kernel as actors: it is the
// only importer of protoactor-go, the only place that starts goroutines and
// the only one that reads the machine's clock.
//
// protoactor-go is the engine, not the security boundary. Each service is one
// actor. Its mailbox is the service's endpoints: the mailbox has no queue for
// user messages at all and takes its work from the kernel, so a message sent
// to the actor's PID by any other way is refused and counted. A service that
// panics is restarted by a supervisor strategy of our own, in kernel time. No
// message, panic value or payload ever reaches protoactor's logger.
package actors
