// Package adversary makes bytes into a story for the live system: an app that
// keeps secrets, other apps that want them, of the same user and of another
// one, and everything that a session, a disk and a power switch do meanwhile. A
// fuzzer writes the bytes; the story is a scenario, which people can read and
// the oracle judges.
//
// The apps that want secrets send what they like: names that are none, frames
// with wrong bits, opcodes and slots that there are not, and tokens of others,
// of earlier times, with a bit flipped, or made up. What must not come of it is
// the oracle's to say: package oracle lists it.
//
// It touches no file and starts nothing that outlives a call.
package adversary

import (
	"nexus.internal/os/cmd/crash"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/services/rngd"
)

// Keystored is the target: a whole boot, by seed, on a disk in memory.
type Keystored struct {
	// Chance is the seeded source of a build that has one. Required for Run.
	Chance func(seed, boot uint64) rngd.Source
}

var _ crash.Target = Keystored{}

// Name is the target's in crash files.
func (Keystored) Name() string { return "keystored" }

// Run plays the story of the bytes by their own seed. What it returns is an
// *oracle.Violation or a *script.Failure, or has one in it.
func (k Keystored) Run(input []byte) error {
	s := k.Scenario(input)
	return s.Play(scenario.BySeed(uint64(s.Machine.Seed), s, k.Chance).Stage).Err
}
