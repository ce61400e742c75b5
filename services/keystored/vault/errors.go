package vault

import (
	"errors"
	"fmt"
)

// Classes of error; everything that this package answers is one of them.
var (
	ErrHeader   = errors.New("vault: not a header")
	ErrVersion  = errors.New("vault: another version of the format")
	ErrBody     = errors.New("vault: not a body")
	ErrHead     = errors.New("vault: not a head")
	ErrDamaged  = errors.New("vault: damaged")
	ErrOlder    = errors.New("vault: not the one that the head is about, but an older one")
	ErrQuota    = errors.New("vault: over quota")
	ErrNotFound = errors.New("vault: no such name")
	ErrTooLarge = errors.New("vault: too large")
)

// Damage says where a vault is not what it should be and why. It is an
// ErrDamaged, or an ErrOlder if everything that was read is genuine.
type Damage struct {
	Offset int64
	Reason string // constant text
	Older  bool
}

func (d *Damage) Error() string {
	return fmt.Sprintf("%v at offset %d: %s", d.class(), d.Offset, d.Reason)
}

// Is makes errors.Is work with the class.
func (d *Damage) Is(target error) bool { return target == d.class() }

func (d *Damage) class() error {
	if d.Older {
		return ErrOlder
	}
	return ErrDamaged
}
