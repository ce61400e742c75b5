package scenario

import (
	"crypto/sha256"

	"nexus.internal/os/actors"
	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/rngd"
)

// cheap are Argon2id's parameters of runs by seed, whose keys protect nothing.
var cheap = identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}

// Seeded is a stage on which the seed decides everything that the scenario does
// not: who runs next, what chance gives, what a power cut leaves of the disk.
type Seeded struct {
	Stage
	seed      uint64
	disk      *machine.Memory
	executors []*seeded.Executor
	watch     func()
}

// BySeed makes a stage. chance is the seeded source of a build that has one.
func BySeed(seed uint64, s *Scenario, chance func(seed, boot uint64) rngd.Source) *Seeded {
	st := &Seeded{seed: seed, disk: machine.NewMemory(nil)}
	if s.Machine.Tear {
		st.disk.Tear = tear(seed)
	}
	st.Machine = machine.Config{
		Boot: boot.Config{
			Argon:  cheap,
			Chance: func(n uint64) rngd.Source { return chance(seed, n) },
		},
		Storage:   st.disk,
		Scheduler: st.scheduler,
	}
	return st
}

// tear leaves nothing, everything, or some of what was not synced.
func tear(seed uint64) func(path string, unsynced int) int {
	rng := seeded.Chance(seed, "tear")
	return func(_ string, unsynced int) int {
		switch rng.IntN(4) {
		case 0:
			return 0
		case 1:
			return unsynced
		}
		return rng.IntN(unsynced + 1)
	}
}

// golden spreads the boots of one seed over all seeds.
const golden = 0x9e3779b97f4a7c15

func (st *Seeded) scheduler(n int) actors.Scheduler {
	e := seeded.New(st.seed + uint64(n-1)*golden)
	e.Watch(st.watch)
	st.executors = append(st.executors, e)
	return e
}

// Watch has fn called after every step. It must be set before the play.
func (st *Seeded) Watch(fn func()) { st.watch = fn }

// Steps counts the steps of all boots.
func (st *Seeded) Steps() (n uint64) {
	for _, e := range st.executors {
		n += e.Steps()
	}
	return n
}

// VirtualTime is how long the machine was on, in nanoseconds of its own time.
func (st *Seeded) VirtualTime() (ns uint64) {
	for _, e := range st.executors {
		ns += uint64(e.Now())
	}
	return ns
}

// DiskHash digests what is on the disk.
func (st *Seeded) DiskHash() [sha256.Size]byte { return st.disk.Disk().Hash() }
