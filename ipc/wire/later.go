package wire

import (
	"strconv"

	"nexus.internal/os/ipc"
)

// Later is the refusal TryLater with the time that is left of the wait.
// errors.Is finds the code.
type Later struct {
	Seconds uint32 // rounded up, so at least 1
}

func (l *Later) Error() string {
	return ipc.TryLater.Error() + ": in " + strconv.FormatUint(uint64(l.Seconds), 10) + " s"
}

// Unwrap returns the code.
func (l *Later) Unwrap() error { return ipc.TryLater }
