package ipc

// What memory one request may cost, in bytes, over and above its share of the
// queues' budgets.
const (
	// RecordBytes covers the kernel's record of a request or a message, with the
	// smallest payload buffer and the capability in flight.
	RecordBytes = 1 << 10
	// ServedBytes covers a request that is being served: eight frames, which are
	// the kernel's copy of it, the message in it, the answer and its frame, and
	// of the one call that its handler makes at a time the frame, the answer's
	// frame and the message in that, and its coroutine's stack.
	ServedBytes = 8 * MaxFrame
)

// slack is by how much a payload's buffer may be larger than the payload, unless
// it is a buffer of the smallest class.
const slack = 4

// objectCopies is how often services have what is in a memory object beside it
// at a time: they copy it before they use it, and copy it into the next one.
const objectCopies = 2

// MemoryBound is how many bytes what tasks ask for can take at most, of the
// kernel and of services whose handlers keep to ServedBytes, beyond what they
// take when nobody asks for anything. docs/IPC.md has the derivation. What a task
// needs for its own flows of control, those that wait included, is not in it, nor
// what services keep when a request is over.
func (k *Kernel) MemoryBound() int {
	k.lock()
	defer k.unlock()
	bound := slack*MaxSystemBytes + (1+objectCopies)*MaxSystemMemory
	for _, class := range bufferClasses {
		bound += maxFreeBuffers * class
	}
	for _, ep := range k.endpoints {
		bound += ep.depth * RecordBytes
		if !ep.inbox {
			bound += ep.parallel * ServedBytes
		}
	}
	return bound
}
