package secret

// Depth is how much of the stack Do clears, in bytes: more than any work needs
// that is run with it.
const Depth = 16 << 10

// Do runs f, and then overwrites the stack that it used, and on amd64 most
// vector registers. f must not use more than Depth bytes of stack, must not park
// and must not leave secrets anywhere else: on the heap Do cannot reach them.
// Nothing is overwritten if f panics.
//
// In a build with GOEXPERIMENT=runtimesecret the runtime also erases all
// registers, and what it has saved of them when f was interrupted.
func Do(f func()) {
	below(false) // A stack that grew later would leave its old copy behind.
	erased(f)
	below(true)
}

// zeros has the length at which a copy goes through all of amd64's 16-byte
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
