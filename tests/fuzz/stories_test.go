//go:build insecure_deterministic

package fuzz

import (
	"flag"
	"math/rand/v2"
	"testing"

	"nexus.internal/os/cmd/adversary"
)

var (
	first = flag.Uint64("seed", 1, "the first seed")
	count = flag.Uint64("seeds", 300, "how many seeds")
)

// bytesOf are the bytes of a seed.
func bytesOf(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 0x616476))
	b := make([]byte, rng.IntN(300))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Stories of chance keep every promise: -seed N -seeds 1 plays one again.
func TestStories(t *testing.T) {
	k := adversary.Keystored{Chance: bySeed}
	for seed := *first; seed < *first+*count; seed++ {
		if err := k.Run(bytesOf(seed)); err != nil {
			t.Fatalf("-seed %d -seeds 1: %v\n%s", seed, err, k.Scenario(bytesOf(seed)).Format())
		}
	}
}
