package secret

// Depth is how much of the stack Do overwrites, in bytes: more than any work
// needs that is run with it.
const Depth = 8 << 10

// Do runs f, and then overwrites the stack that it used, and on amd64 the vector
// registers. f must not use more than Depth bytes of stack, must not park and
// must not leave secrets anywhere else: on the heap Do cannot reach them. If f
// panics nothing is overwritten.
//
// It cannot help where f is interrupted by a signal: the kernel and the runtime
// then save registers, with whatever is in them, to places that nobody clears. Nor
// where the garbage collector moves the stack to a smaller one in the middle of f:
// the old one stays as it is. The runtime sends such signals to have a goroutine run
// another, and makes stacks smaller, unless the process was started with
// GODEBUG=asyncpreemptoff=1,gcshrinkstackoff=1, as nexus-sim sees to it.
func Do(f func()) {
	below(false) // A stack that grew later would leave its old copy behind.
	f()
	below(true)
}

// zeros has the length at which a copy goes through all of amd64's vector
// registers.
var zeros [256]byte

// below makes sure of Depth bytes of stack below the caller's frame, and
// overwrites them.
//
//go:noinline
func below(overwrite bool) {
	if !overwrite {
		return // The check of the stack's size is at the function's entry.
	}
	var frame [Depth]byte
	through(frame[:])
}

//go:noinline
func through(frame []byte) { copy(frame, zeros[:]) }
