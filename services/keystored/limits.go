package keystored

import (
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/keystored/vault"
)

// Limits of this package; those of the vault are in package vault.
const (
	ReadBytes = 7168 // bytes of one read from statefsd, its limit
	ListBytes = 8000 // bytes of names in one page of a list

	// MaxObjects is how many memory objects there are at a time of keystored's
	// own making. It makes one for each call whose bytes exceed a frame.
	MaxObjects = 4
)

// A page leaves room for the reply's flag, a longest name always fits a page,
// and a whole segment fits the request that appends it: a small one its frame, a
// large one its object, of which the budget holds as many as there are.
const (
	_ = uint(ipc.MaxFrame - ListBytes - 16)
	_ = uint(ListBytes - vault.NameBytes - 16)
	_ = uint(ipc.MaxFrame - vault.MaxSegment - 256)
	_ = uint(ipc.MaxMemory - vault.MaxLargeSegment)
	_ = uint(ipc.MaxOwnerMemory - MaxObjects*vault.MaxLargeSegment)
)
