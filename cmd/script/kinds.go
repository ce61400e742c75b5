package script

import (
	"errors"
	"fmt"
	"slices"

	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/ipc"
)

// Ways in which a line fails that are not codes of the system.
var (
	ErrUsage     = errors.New("usage")
	ErrMismatch  = errors.New("not what was wanted")
	ErrMissing   = errors.New("missing marker")
	ErrForbidden = errors.New("forbidden marker")
	ErrStuck     = errors.New("nobody can run and somebody waits")
	ErrStopped   = errors.New("stopped")
	ErrPowerCut  = errors.New("the power was cut meanwhile")
)

// usageError is an ErrUsage with a text of its own.
type usageError string

func (e usageError) Error() string { return string(e) }
func (e usageError) Unwrap() error { return ErrUsage }

func usage(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// Failure is the line that ended a script.
type Failure struct {
	File string
	Line int
	Verb string // empty if the line has none that is known
	Err  error
}

func (f *Failure) Error() string {
	verb := f.Verb
	if verb != "" {
		verb += ": "
	}
	return fmt.Sprintf("%s:%d: %s%v", f.File, f.Line, verb, f.Err)
}

// Unwrap returns the reason.
func (f *Failure) Unwrap() error { return f.Err }

// kind is a way to fail, as scripts and machines spell it.
type kind struct {
	name string
	err  error
}

// wanted are the kinds that `fails` takes: a marker that has not come, what was
// found and differs, and every code of the system. The script's own go first,
// because they may wrap what came in the place of what was wanted.
var wanted = []kind{
	{"missing-marker", ErrMissing}, {"mismatch", ErrMismatch},
	{"power-cut", ErrPowerCut}, {"off", machine.ErrOff}, {"on", machine.ErrOn},
	{"not-found", ipc.NotFound}, {"denied", ipc.Denied}, {"sealed", ipc.Sealed},
	{"bad-secret", ipc.BadSecret}, {"exists", ipc.Exists}, {"malformed", ipc.Malformed},
	{"too-large", ipc.TooLarge}, {"quota", ipc.Quota}, {"limit", ipc.LimitReached},
	{"damaged", ipc.Damaged}, {"io-error", ipc.IOError}, {"unavailable", ipc.Unavailable},
	{"timed-out", ipc.TimedOut}, {"canceled", ipc.Canceled}, {"rolled-back", ipc.RolledBack},
	{"revoked", ipc.Revoked}, {"try-later", ipc.TryLater}, {"last-one", ipc.LastOne}, {"unsupported", ipc.Unsupported},
	{"permission-denied", ipc.PermissionDenied}, {"no-such-endpoint", ipc.NoSuchEndpoint},
	{"queue-empty", ipc.QueueEmpty}, {"queue-full", ipc.QueueFull},
	{"invalid-argument", ipc.InvalidArgument}, {"no-space", ipc.NoSpace}, {"peer-closed", ipc.PeerClosed},
}

// isWanted says whether a line can want that kind.
func isWanted(name string) bool {
	return slices.ContainsFunc(wanted, func(k kind) bool { return k.name == name })
}

// others are the kinds that no line can want.
var others = []kind{
	{"inconsistent", ipc.ErrInconsistent}, {"lost-capability", machine.ErrLost},
	{"usage", ErrUsage}, {"forbidden-marker", ErrForbidden}, {"stuck", ErrStuck}, {"stopped", ErrStopped},
}

// Kind says in one word how a line failed: the kind that `fails` takes, or
// usage, forbidden-marker, stuck or stopped; other if it is none of them.
func Kind(err error) string {
	for _, list := range [][]kind{others, wanted} {
		for _, k := range list {
			if errors.Is(err, k.err) {
				return k.name
			}
		}
	}
	return "other"
}
