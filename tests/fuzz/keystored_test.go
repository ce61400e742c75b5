//go:build insecure_deterministic

package fuzz

import (
	"testing"

	"nexus.internal/os/cmd/adversary"
	"nexus.internal/os/services/rngd"
)

// FuzzKeystored: whatever a victim's app, three thieves, sessions and faults do,
// the oracle finds every promise kept.
func FuzzKeystored(f *testing.F) { fuzz(f, adversary.Keystored{Chance: bySeed}) }

func bySeed(seed, boot uint64) rngd.Source { return rngd.Seeded(seed, boot) }
