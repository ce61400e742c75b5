package userdb

import "errors"

// Bounds of Argon2id's parameters. What lies outside is refused before any work.
const (
	MinMemoryPerLane = 8          // KiB; RFC 9106 asks for 8 blocks a lane
	MaxMemoryKiB     = 256 << 10  // KiB
	MaxPasses        = 16         // passes
	MaxLanes         = 4          // lanes
	MaxWork          = 1024 << 10 // KiB × passes

	argonVersion = 0x13
)

// ErrCost says that parameters are outside the bounds.
var ErrCost = errors.New("userdb: Argon2id parameters out of bounds")

// Cost is what one run of Argon2id takes.
type Cost struct {
	MemoryKiB uint32
	Passes    uint32
	Lanes     uint8
}

// DefaultCost is OWASP's recommendation, and the least that a shipped system
// may be configured with.
func DefaultCost() Cost { return Cost{MemoryKiB: 19456, Passes: 2, Lanes: 1} }

// Validate returns ErrCost for parameters that are zero, too small or too big.
func (c Cost) Validate() error {
	switch {
	case c.Lanes < 1 || c.Lanes > MaxLanes,
		c.Passes < 1 || c.Passes > MaxPasses,
		c.MemoryKiB < MinMemoryPerLane*uint32(c.Lanes) || c.MemoryKiB > MaxMemoryKiB,
		uint64(c.MemoryKiB)*uint64(c.Passes) > MaxWork:
		return ErrCost
	}
	return nil
}

// AtLeast says whether no parameter is below the floor's. Lanes cost nothing
// and so have no floor.
func (c Cost) AtLeast(floor Cost) bool {
	return c.MemoryKiB >= floor.MemoryKiB && c.Passes >= floor.Passes
}
