// Package ipc is the emulated kernel: tasks with capability tables, endpoints
// with bounded queues, calls with one-shot replies and deadlines, sessions and
// their tokens, kernel-stamped senders and namespaces, markers, and a trace
// ring that is always on.
//
// The kernel sees bytes only. It has one lock and no goroutine, no clock and no
// chance of its own: an Executor decides who runs, when, and what time it is,
// so that the same kernel runs on goroutines and, one runnable at a time, by
// seed. It never logs and never formats a message.
//
// # A request
//
// A task calls through a slot of its table. On the caller's side, as in a
// system call, the kernel finds the endpoint, checks the SEND right, the
// opcode, the token, and the queue's depth and bytes, copies the payload and
// stamps the sender and the namespace. The token is checked again when the
// request is delivered and when it is answered. The service's handler runs as a
// coroutine of its task: a kernel call inside it parks the request and the task
// goes on with others, one at a time, so that its state needs no lock.
//
// # Locking
//
// Kernel.mu guards everything in this package but what a coroutine of one task
// touches while it runs. Nothing that can block and no foreign code is called
// under it; whoever has to be woken is collected and woken after it is released.
package ipc
