//go:build insecure_deterministic

package boot

import "nexus.internal/os/services/rngd"

// defaultChance of a build with the deterministic tag is a seeded stream: it is
// for tests and protects nothing.
func defaultChance(boot uint64) rngd.Source { return rngd.Seeded(0, boot) }
