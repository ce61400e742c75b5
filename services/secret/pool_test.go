package secret

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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
	t.Logf("NEXUS_SEED=%d go test ./services/secret -run '^%s$'", seed, t.Name())
	return rand.New(rand.NewSource(seed))
}

func TestLargestPooled(t *testing.T) {
	var p pool
	for _, c := range []struct{ n, slot, outside int }{
		{1, MinPooled, 0}, {MinPooled, MinPooled, 0}, {MinPooled + 1, 2 * MinPooled, 0},
		{MaxPooled - 1, MaxPooled, 0}, {MaxPooled, MaxPooled, 0}, {MaxPooled + 1, 0, 1},
	} {
		s := p.take(c.n)
		if len(s.b) != c.n || cap(s.b) != c.n {
			t.Errorf("a slot for %d bytes has %d, and room for %d", c.n, len(s.b), cap(s.b))
		}
		if want := (Stats{InUse: 1, Bytes: c.n, Outside: c.outside}); p.stats() != want {
			t.Errorf("%d bytes in use: %+v, want %+v", c.n, p.stats(), want)
		}
		if c.outside == 0 && MinPooled<<s.chunk.class != c.slot {
			t.Errorf("%d bytes have a slot of %d, want %d", c.n, MinPooled<<s.chunk.class, c.slot)
		}
		p.give(s)
		p.give(s)
		if p.stats() != (Stats{}) {
			t.Errorf("nothing is in use, and yet %+v", p.stats())
		}
	}
	p.give(p.take(0))
	if p.stats() != (Stats{}) {
		t.Errorf("nothing is in use, and yet %+v", p.stats())
	}
}

// TestFullPool fills the pool to its last byte with secrets of each size in
// turn: one more is outside, and room comes back with the first that is wiped.
func TestFullPool(t *testing.T) {
	var p pool
	for size := MaxPooled; size >= MinPooled; size /= 2 {
		var all []*slot
		for range PoolSize / size {
			all = append(all, p.take(size))
		}
		if got := p.stats(); got.Bytes != PoolSize || got.Outside != 0 {
			t.Fatalf("filled with %d bytes each: %+v", size, got)
		}
		over := p.take(size)
		if got := p.stats(); got.Outside != 1 || over.chunk != nil {
			t.Fatalf("one more of %d bytes: %+v", size, got)
		}
		p.give(all[7])
		if all[7] = p.take(size); all[7].chunk == nil {
			t.Errorf("no room for %d bytes, though a slot was given back", size)
		}
		p.give(over)
		for _, s := range all {
			p.give(s)
		}
		if p.stats() != (Stats{}) {
			t.Fatalf("nothing is in use, and yet %+v", p.stats())
		}
	}
}

// TestPoolAgainstModel takes and gives at random: slots are zero when they come,
// never shared, and the counts are right.
func TestPoolAgainstModel(t *testing.T) {
	var p pool
	rnd := newRandom(t)
	var held []*slot
	var want [][]byte
	total := 0
	for range 20000 {
		if len(held) > 0 && rnd.Intn(2) == 0 {
			i := rnd.Intn(len(held))
			if !bytes.Equal(held[i].b, want[i]) {
				t.Fatal("somebody wrote into a slot that is in use")
			}
			total -= len(want[i])
			p.give(held[i])
			last := len(held) - 1
			held[i], want[i] = held[last], want[last]
			held, want = held[:last], want[:last]
		} else {
			n := 1 + rnd.Intn(1<<(5+rnd.Intn(13)))
			s := p.take(n)
			if !bytes.Equal(s.b, make([]byte, n)) {
				t.Fatalf("a new slot of %d bytes is not zero", n)
			}
			rnd.Read(s.b)
			held, want = append(held, s), append(want, bytes.Clone(s.b))
			total += n
		}
		if got := p.stats(); got.InUse != len(held) || got.Bytes != total {
			t.Fatalf("%+v, with %d secrets of %d bytes in use", got, len(held), total)
		}
	}
	for _, s := range held {
		p.give(s)
	}
	for i := range p.chunks {
		if !bytes.Equal(p.chunks[i].mem, make([]byte, MaxPooled)) {
			t.Fatalf("chunk %d is not zero with nothing in use", i)
		}
	}
}

// flagsOf answers what the kernel says of the mapping that b is in.
func flagsOf(t *testing.T, b []byte) []string {
	at, err := strconv.ParseUint(strings.TrimPrefix(fmt.Sprintf("%p", b), "0x"), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(text)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= at && at < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return strings.Fields(flags)
		}
	}
	t.Fatal("the bytes are in no mapping")
	return nil
}

func has(flags []string, flag string) bool { return strings.Contains(strings.Join(flags, " "), flag) }

// TestPoolIsLockedAndNotDumped asks the kernel.
func TestPoolIsLockedAndNotDumped(t *testing.T) {
	s := New(keyLike)
	defer s.Wipe()
	mem, release := Map(1 << 20)
	defer release()
	for name, b := range map[string][]byte{"pool": s.Expose(), "map": mem} {
		flags := flagsOf(t, b)
		if !has(flags, "dd") {
			t.Errorf("%s: the memory is in core dumps: %v", name, flags)
		}
		if Lock() == nil && !has(flags, "lo") {
			t.Errorf("%s: the memory is not locked, and nobody says so: %v", name, flags)
		}
	}
	if heap := make([]byte, 64<<10); has(flagsOf(t, heap), "dd") {
		t.Error("the heap is not in core dumps either: this looks at the wrong thing")
	}
}

// keyLike is the size of the usual secret in these tests.
const keyLike = 32

// TestWhatCannotBeLocked starts a process that may lock 64 KiB only: it says so,
// and goes on.
func TestWhatCannotBeLocked(t *testing.T) {
	if os.Getenv("NEXUS_UNLOCKED") != "" {
		unlocked(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestWhatCannotBeLocked$", "-test.v")
	cmd.Env = append(os.Environ(), "NEXUS_UNLOCKED=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"swap", "4096 KiB", "RLIMIT_MEMLOCK is 64 KiB"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in the answer: %s", want, out)
		}
	}
}

func unlocked(t *testing.T) {
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := syscall.Setuid(65534); err != nil { // Root is above the limit.
			t.Fatal(err)
		}
	}
	fault := Lock()
	if fault == nil {
		t.Fatal("4 MiB were locked in 64 KiB")
	}
	t.Log(fault)
	s := Copy([]byte(canary))
	if string(s.Expose()) != canary || !has(flagsOf(t, s.Expose()), "dd") || ReadStats().Outside != 0 {
		t.Error("without locking the pool does not work")
	}
	s.Wipe()
	mem, release := Map(1 << 20)
	mem[len(mem)-1] = 1
	release()
	if Lockable(64<<10) != nil || Lockable(65<<10) == nil {
		t.Errorf("of 64 KiB, 64 can be locked: %v; and 65: %v", Lockable(64<<10), Lockable(65<<10))
	}
}

// TestNoMemory is the pool of a process that gets no mapping.
func TestNoMemory(t *testing.T) {
	p := pool{opened: true}
	s := p.take(keyLike)
	if len(s.b) != keyLike || p.stats() != (Stats{InUse: 1, Bytes: keyLike, Outside: 1}) {
		t.Errorf("%d bytes, %+v", len(s.b), p.stats())
	}
	p.give(s)
	if p.stats() != (Stats{}) {
		t.Errorf("nothing is in use, and yet %+v", p.stats())
	}
}

func TestMapGivesZeros(t *testing.T) {
	for _, n := range []int{1, 100, MaxPooled + 1} {
		mem, release := Map(n)
		if len(mem) != n || !bytes.Equal(mem, make([]byte, n)) {
			t.Errorf("asked for %d bytes, got %d, or not zeros", n, len(mem))
		}
		mem[n-1] = 1
		release()
	}
}

func BenchmarkNewAndWipe(b *testing.B) {
	for _, n := range []int{keyLike, 256, 4096, 65536} {
		b.Run("pool/"+strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				New(n).Wipe()
			}
		})
		b.Run("heap/"+strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				onHeap = make([]byte, n)
				Wipe(onHeap)
			}
		})
	}
}

var onHeap []byte

func BenchmarkDo(b *testing.B) {
	for b.Loop() {
		Do(func() {})
	}
}
