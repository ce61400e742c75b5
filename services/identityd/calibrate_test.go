package identityd

import (
	"testing"
	"time"

	"nexus.internal/os/services/identityd/userdb"
)

// cost is that of one lane.
func cost(memory, passes uint32) Params { return Params{MemoryKiB: memory, Passes: passes, Lanes: 1} }

// A machine that needs a microsecond for each KiB and pass.
func TestCalibrate(t *testing.T) {
	floor := Floor() // It takes 38,912 µs.
	for _, c := range []struct {
		what   string
		target time.Duration
		memory uint32
		want   Params
	}{
		{"no time", 0, userdb.MaxMemoryKiB, floor},
		{"less than the floor takes", 38911 * time.Microsecond, userdb.MaxMemoryKiB, floor},
		{"one pass too little", 58367 * time.Microsecond, floor.MemoryKiB, floor},
		{"one pass more", 58368 * time.Microsecond, floor.MemoryKiB, cost(19456, 3)},
		{"not twice the memory", 77823 * time.Microsecond, userdb.MaxMemoryKiB, cost(19456, 3)},
		{"twice the memory", 77824 * time.Microsecond, userdb.MaxMemoryKiB, cost(38912, 2)},
		{"memory that may not be had", 77824 * time.Microsecond, 38911, cost(19456, 4)},
		{"memory and passes", time.Second, 40000, cost(38912, 16)},
		{"as much as there may be", time.Hour, userdb.MaxMemoryKiB, cost(155648, 6)},
	} {
		runs := 0
		got := Calibrate(c.target, c.memory, func(p Params) time.Duration {
			runs++
			if p.Validate() != nil || !p.AtLeast(floor) {
				t.Errorf("%s: a run with %+v", c.what, p)
			}
			return time.Duration(p.MemoryKiB) * time.Duration(p.Passes) * time.Microsecond
		})
		if got != c.want || runs == 0 {
			t.Errorf("%s: %+v after %d runs, want %+v", c.what, got, runs, c.want)
		}
	}
}

// What is calibrated is what a credential costs.
func TestSpend(t *testing.T) {
	Spend(Params{MemoryKiB: 8, Passes: 1, Lanes: 1})
}
