//go:build !insecure_deterministic

package main

import "nexus.internal/os/services/rngd"

// bySeed is the seeded source of chance: an ordinary build has none.
var bySeed func(seed, boot uint64) rngd.Source
