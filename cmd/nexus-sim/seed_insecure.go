//go:build insecure_deterministic

package main

import "nexus.internal/os/services/rngd"

// bySeed is the seeded source of chance: everybody can compute what it gives.
var bySeed = func(seed, boot uint64) rngd.Source { return rngd.Seeded(seed, boot) }
