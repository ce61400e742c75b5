package argon2id

import (
	"bytes"
	"math/rand"
	"os"
	"strconv"
	"testing"

	"golang.org/x/crypto/argon2"
)

// newRandom answers a source of test cases, and says which seed replays it.
func newRandom(t *testing.T) *rand.Rand {
	seed := rand.Int63()
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("NEXUS_SEED=%d go test ./services/identityd/argon2id -run '^%s$'", seed, t.Name())
	return rand.New(rand.NewSource(seed))
}

func check(t *testing.T, word, salt []byte, passes, memory uint32, lanes uint8) {
	var got [Size]byte
	Key(&got, word, salt, passes, memory, lanes)
	if want := argon2.IDKey(word, salt, passes, memory, lanes, Size); !bytes.Equal(got[:], want) {
		t.Fatalf("word %x, salt %x, %d passes, %d KiB, %d lanes: %x, want %x", word, salt, passes, memory, lanes, got, want)
	}
}

func some(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	rnd.Read(b)
	return b
}

func TestLikeTheLibrary(t *testing.T) {
	rnd := newRandom(t)
	sets := 300
	if race {
		sets = 20
	}
	for range sets {
		lanes := 1 + rnd.Intn(5)
		memory := MinMemoryPerLane*lanes + rnd.Intn(600)
		check(t, some(rnd, rnd.Intn(140)), some(rnd, rnd.Intn(40)), uint32(1+rnd.Intn(4)), uint32(memory), uint8(lanes))
	}
}

// TestEdges is where the shape of the memory changes: the least memory, lanes
// that do not divide it, and segments around the 128 addresses of a block.
func TestEdges(t *testing.T) {
	for lanes := uint32(1); lanes <= 4; lanes++ {
		for _, perLane := range []uint32{8, 9, 11, 12, 508, 512, 516, 1024, 1028} {
			check(t, []byte("password"), []byte("somesalt"), 2, perLane*lanes+lanes-1, uint8(lanes))
		}
	}
	check(t, nil, nil, 1, 8, 1)
	check(t, bytes.Repeat([]byte{1}, 5000), bytes.Repeat([]byte{2}, 5000), 1, 8, 1)
}

func TestShippedParameters(t *testing.T) {
	if race {
		t.Skip("there is one goroutine, and this takes long")
	}
	check(t, []byte("correct horse"), []byte("0123456789abcdef"), 2, 19456, 1)
}

func TestTooLittlePanics(t *testing.T) {
	for name, f := range map[string]func(out *[Size]byte){
		"no pass":            func(out *[Size]byte) { Key(out, nil, nil, 0, 8, 1) },
		"no lane":            func(out *[Size]byte) { Key(out, nil, nil, 1, 8, 0) },
		"too little":         func(out *[Size]byte) { Key(out, nil, nil, 1, 7, 1) },
		"too little for two": func(out *[Size]byte) { Key(out, nil, nil, 1, 15, 2) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: goes on", name)
				}
			}()
			f(new([Size]byte))
		}()
	}
}

func FuzzKey(f *testing.F) {
	f.Add([]byte("password"), []byte("somesalt"), byte(2), uint16(64), byte(2))
	f.Fuzz(func(t *testing.T, word, salt []byte, passes byte, memory uint16, lanes byte) {
		p := uint32(lanes%4) + 1
		check(t, word, salt, uint32(passes%3)+1, MinMemoryPerLane*p+uint32(memory)%512, uint8(p))
	})
}

func BenchmarkKey(b *testing.B) {
	word, salt := []byte("correct horse"), []byte("0123456789abcdef")
	b.Run("own memory", func(b *testing.B) {
		var out [Size]byte
		for b.Loop() {
			Key(&out, word, salt, 2, 19456, 1)
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			argon2.IDKey(word, salt, 2, 19456, 1, Size)
		}
	})
}
