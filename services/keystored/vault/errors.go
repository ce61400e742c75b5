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
	ErrQuota    = errors.New("vault: over quota")
	ErrNotFound = errors.New("vault: no such name")
	ErrTooLarge = errors.New("vault: too large")
)

// Damage says where a vault is damaged and why. It is an ErrDamaged.
type Damage struct {
	Offset int64
	Reason string // constant text
}

func (d *Damage) Error() string {
	return fmt.Sprintf("vault: damaged at offset %d: %s", d.Offset, d.Reason)
}

// Is makes errors.Is(err, ErrDamaged) work.
func (d *Damage) Is(target error) bool { return target == ErrDamaged }
