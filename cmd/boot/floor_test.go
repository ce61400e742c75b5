package boot_test

import (
	"errors"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/statefsd/simdisk"
)

// TestFloor: parameters below the floor boot nothing and leave no trace on the
// disk; the floor itself, and the shipped ones, do boot.
func TestFloor(t *testing.T) {
	floor := identityd.Floor()
	below, weaker := floor, floor
	below.MemoryKiB--
	weaker.Passes--
	for _, c := range []struct {
		argon identityd.Params
		want  error
	}{{below, boot.ErrFloor}, {weaker, boot.ErrFloor}, {floor, nil}, {identityd.Params{}, nil}} {
		d := simdisk.New()
		s, err := boot.Boot(boot.Config{Disk: d, Argon: c.argon, Floor: floor})
		if !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.argon, err, c.want)
		}
		if err != nil {
			if d.Calls() != 0 {
				t.Errorf("%+v: the disk was called", c.argon)
			}
			continue
		}
		s.Shutdown()
	}
}
