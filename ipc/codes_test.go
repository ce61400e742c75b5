package ipc_test

import (
	"errors"
	"fmt"
	"testing"

	"nexus.internal/os/ipc"
)

// codes is the closed set with its numbers, which never change, and the target
// OS's errno.
var codes = []struct {
	code  ipc.Code
	text  string
	errno int
}{
	{ipc.OK, "ok", 0},
	{ipc.PermissionDenied, "permission denied", 1},
	{ipc.NoSuchEndpoint, "no such endpoint", 3},
	{ipc.QueueEmpty, "queue empty", 11},
	{ipc.QueueFull, "queue full", 11},
	{ipc.InvalidArgument, "invalid argument", 22},
	{ipc.NoSpace, "no space", 28},
	{ipc.PeerClosed, "peer closed", 32},
	{ipc.TimedOut, "timed out", 110},
	{ipc.Unsupported, "unsupported", 38},
	{ipc.NotFound, "not found", 0},
	{ipc.Denied, "denied", 0},
	{ipc.Sealed, "sealed", 0},
	{ipc.Quota, "quota exceeded", 0},
	{ipc.TooLarge, "too large", 0},
	{ipc.Unavailable, "unavailable", 0},
	{ipc.Malformed, "malformed", 0},
	{ipc.Damaged, "damaged", 0},
	{ipc.Exists, "exists", 0},
	{ipc.BadSecret, "unknown user or wrong secret", 0},
	{ipc.IOError, "i/o error", 0},
	{ipc.LimitReached, "limit reached", 0},
	{ipc.Canceled, "canceled", 0},
	{ipc.RolledBack, "rolled back", 0},
	{ipc.Revoked, "revoked", 0},
	{ipc.TryLater, "try later", 0},
	{ipc.LastOne, "last one", 0},
}

func TestCodes(t *testing.T) {
	for i, c := range codes {
		if c.code != ipc.Code(i) || c.code.Error() != c.text || c.code.String() != c.text || c.code.Errno() != c.errno || !c.code.Valid() {
			t.Errorf("code %d: %v, errno %d, valid %v", i, c.code, c.code.Errno(), c.code.Valid())
		}
		if wrapped := fmt.Errorf("somewhere: %w", c.code); !errors.Is(wrapped, c.code) || errors.Is(wrapped, c.code+1) {
			t.Errorf("code %d is not found in a wrapped error", i)
		}
	}
	for _, code := range []ipc.Code{ipc.Code(len(codes)), 0xffff} {
		if code.Valid() || code.Error() != "unknown code" || code.Errno() != 0 {
			t.Errorf("code %d: %v, valid %v", uint16(code), code, code.Valid())
		}
	}
}
