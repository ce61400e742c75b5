package modelrun

import (
	"math/rand/v2"
	"testing"
)

func TestSmoke(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := New(seed)
		err := w.Town(rng.IntN)
		for i := 0; i < 200 && err == nil; i++ {
			err = w.Do(w.Op(AnyKind(rng.IntN), rng.IntN))
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
