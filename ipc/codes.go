package ipc

// Code says how a call ended. It is an error whose identity survives the way
// through the kernel: errors.Is(err, ipc.NotFound) holds on both sides. The set
// is closed and append-only.
type Code uint16

// Kernel codes are those of the target OS; service codes follow.
const (
	OK Code = iota

	PermissionDenied // no such authority: slot, right or operation
	NoSuchEndpoint   // the endpoint is closed or its owner is gone
	QueueEmpty       // nothing to receive
	QueueFull        // no room in the queue
	InvalidArgument  // a malformed system call
	NoSpace          // a byte budget or a table is full
	PeerClosed       // nobody is left to send
	TimedOut         // the deadline passed
	Unsupported      // unknown opcode

	NotFound     // a genuine, current, own token, and no such name
	Denied       // any other token, whatever exists; or policy says no
	Sealed       // the session's own current token, but its keys are sealed
	Quota        // a quota of the app or of the user
	TooLarge     // over a size limit
	Unavailable  // the service failed or restarted; the request may be tried again
	Malformed    // the request does not decode or is not canonical
	Damaged      // stored bytes are not what was written
	Exists       // there is one of that name already
	BadSecret    // unknown user or wrong secret, not told apart
	IOError      // the disk failed
	LimitReached // a documented count is used up
	Canceled     // the caller's context was cancelled
	RolledBack   // stored bytes are genuine, and older than what was written last
	Revoked      // the key was revoked
	TryLater     // too many wrong secrets, and the wait after them is not over
	LastOne      // it is the last one, and cannot be removed

	numCodes
)

var codeText = [numCodes]string{
	OK:               "ok",
	PermissionDenied: "permission denied",
	NoSuchEndpoint:   "no such endpoint",
	QueueEmpty:       "queue empty",
	QueueFull:        "queue full",
	InvalidArgument:  "invalid argument",
	NoSpace:          "no space",
	PeerClosed:       "peer closed",
	TimedOut:         "timed out",
	Unsupported:      "unsupported",
	NotFound:         "not found",
	Denied:           "denied",
	Sealed:           "sealed",
	Quota:            "quota exceeded",
	TooLarge:         "too large",
	Unavailable:      "unavailable",
	Malformed:        "malformed",
	Damaged:          "damaged",
	Exists:           "exists",
	BadSecret:        "unknown user or wrong secret",
	IOError:          "i/o error",
	LimitReached:     "limit reached",
	Canceled:         "canceled",
	RolledBack:       "rolled back",
	Revoked:          "revoked",
	TryLater:         "try later",
	LastOne:          "last one",
}

// Error returns the code's stable text.
func (c Code) Error() string {
	if c < numCodes {
		return codeText[c]
	}
	return "unknown code"
}

// String is Error's text.
func (c Code) String() string { return c.Error() }

// Valid says whether the code is one of the set.
func (c Code) Valid() bool { return c < numCodes }

// Errno returns the target OS's errno for a kernel code, and 0 for OK and for
// codes of services, which the target OS carries in the reply's bytes.
func (c Code) Errno() int {
	switch c {
	case PermissionDenied:
		return 1 // EPERM
	case NoSuchEndpoint:
		return 3 // ESRCH
	case QueueEmpty, QueueFull:
		return 11 // EAGAIN
	case InvalidArgument:
		return 22 // EINVAL
	case NoSpace:
		return 28 // ENOSPC
	case PeerClosed:
		return 32 // EPIPE
	case Unsupported:
		return 38 // ENOSYS
	case TimedOut:
		return 110 // ETIMEDOUT
	}
	return 0
}

// err turns a code into an error, OK into nil.
func (c Code) err() error {
	if c == OK {
		return nil
	}
	return c
}
