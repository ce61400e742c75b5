//go:build !insecure_deterministic

package boot

import "nexus.internal/os/services/rngd"

// defaultChance is the machine's entropy, whatever the boot.
func defaultChance(uint64) rngd.Source { return rngd.SystemSource() }
