package capability

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// random is the chance of one random test. NEXUS_SEED replays a run.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("NEXUS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
