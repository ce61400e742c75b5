package crash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"nexus.internal/os/services/statefsd/bootrec"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// full is the whole matrix: minutes.
var full = flag.Bool("full", false, "cut and fail everything everywhere, and more of the recoveries")

// mostErrors is how many failures are told of before a test gives up.
const mostErrors = 10

// seed is where the subsets begin: NEXUS_SEED, or another one each time.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("NEXUS_SEED: %v", err)
		}
	}
	t.Logf("NEXUS_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 6))
}

// dead is a disk when the power is cut, what it loses, and what may be on it.
type dead struct {
	disk  *simdisk.Disk
	loss  simdisk.Loss
	what  string
	may   []state // some, one after the other
	depth int     // how many recoveries were cut before
}

// expects answers the state that may be there and is equal to what was seen: the
// script's own, so that what thousands of recoveries have seen is kept once.
func (d *dead) expects(seen state) (state, bool) {
	for _, s := range d.may {
		if maps.Equal(seen, s) {
			return s, true
		}
	}
	return seen, false
}

// found is what a recovery from a dead disk found. Disks with the same bytes are
// recovered from once.
type found struct {
	once sync.Once
	seen state
	err  error
}

// morgue recovers from dead disks.
type morgue struct {
	t      *testing.T
	chance *rand.Rand // by mu
	care   care       // in the first cuts
	stride []int      // one in so many recoveries is cut itself, after no cut but the first, after one more, and so on

	mu     sync.Mutex
	found  map[[sha256.Size]byte]*found
	queue  []dead
	busy   int
	wake   *sync.Cond
	errors int
	disks  int
}

// newMorgue says how much is looked at in a run of the given kind.
func newMorgue(t *testing.T, chance *rand.Rand) *morgue {
	m := &morgue{t: t, chance: chance, found: make(map[[sha256.Size]byte]*found)}
	m.wake = sync.NewCond(&m.mu)
	switch {
	case *full:
		m.care, m.stride = care{subsets: 64}, []int{12, 24}
	case brief():
		m.care, m.stride = care{sectors: 4, subsets: 2}, []int{40}
	default:
		m.care, m.stride = care{sectors: 8, subsets: 4}, []int{24}
	}
	return m
}

// brief is so for runs that need not find everything.
func brief() bool { return testing.Short() || raceDetector }

// digest is that of everything on a disk but for the count of boots.
func digest(d disk.Disk) [sha256.Size]byte {
	h := sha256.New()
	paths, err := d.List("")
	for _, path := range paths {
		if path != bootrec.File {
			_, _ = fmt.Fprintf(h, "%s %x\n", path, sha256.Sum256(content(d, path)))
		}
	}
	_, _ = fmt.Fprint(h, err)
	return [sha256.Size]byte(h.Sum(nil))
}

// content reads a file; one that is absent is empty.
func content(d disk.Disk, path string) []byte {
	size, err := d.Stat(path)
	if err != nil {
		return nil
	}
	p := make([]byte, size)
	if _, err := d.ReadAt(path, p, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return p
}

// add has a disk recovered from.
func (m *morgue) add(d dead) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, d)
	m.wake.Signal()
}

// work recovers from all disks, and from those that come up meanwhile.
func (m *morgue) work() {
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for d, ok := m.next(); ok; d, ok = m.next() {
				if err := m.recover(d); err != nil {
					m.fail(d, err)
				}
				m.done()
			}
		})
	}
	all.Wait()
}

func (m *morgue) next() (dead, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) == 0 && m.busy > 0 {
		m.wake.Wait()
	}
	if len(m.queue) == 0 || m.errors >= mostErrors {
		m.wake.Broadcast()
		return dead{}, false
	}
	d := m.queue[len(m.queue)-1]
	m.queue = m.queue[:len(m.queue)-1]
	m.busy++
	m.disks++
	return d, true
}

func (m *morgue) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy--
	m.wake.Broadcast()
}

func (m *morgue) fail(d dead, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errors++
	m.t.Errorf("%s: %v", d.what, err)
}

// recover makes sure that what a dead disk gives back is what may be on it.
func (m *morgue) recover(d dead) error {
	d.disk = d.disk.Lose(d.loss)
	key := digest(d.disk)
	m.mu.Lock()
	f := m.found[key]
	if f == nil {
		f = new(found)
		m.found[key] = f
	}
	number := len(m.found)
	m.mu.Unlock()
	f.once.Do(func() { f.seen, f.err = m.revive(d, d.depth < len(m.stride) && number%m.stride[d.depth] == 0) })
	if f.err != nil {
		return f.err
	}
	if _, may := d.expects(f.seen); may {
		return nil
	}
	return errors.New("it is no state that the script was in: against the oldest that may be there is" + difference(f.seen, d.may[0]))
}

// revive boots from a dead disk, and looks. Deeper has the power cut at each call
// that this makes.
func (m *morgue) revive(d dead, deeper bool) (state, error) {
	before := content(d.disk, kvOf(d.disk))
	w := &watched{Disk: d.disk.Clone()}
	var cuts []cut
	var lost error
	w.before = func(op simdisk.Op, _ []byte) {
		cuts = append(cuts, cut{disk: w.Clone(), call: op})
		lost = errors.Join(lost, kept(w.Crash(), before))
	}
	world, err := start(w)
	if err != nil {
		return nil, fmt.Errorf("boot: %w", err)
	}
	defer func() {
		w.TakeAway()
		world.off()
	}()
	ctx := context.Background()
	seen, err := world.recover(ctx)
	seen, _ = d.expects(seen)
	w.before = nil
	if err = errors.Join(err, lost, told(world, w, before)); err != nil {
		return nil, err
	}
	if deeper {
		for _, c := range cuts {
			m.cut(&c, fmt.Sprintf("%s, then before %s %s", d.what, c.call.Kind, c.call.Path), []state{seen}, d.depth+1)
		}
	}
	return seen, world.works(ctx, seen)
}

// kept says whether what a recovery has cut off a vault is in a file beside it.
func kept(d disk.Disk, before []byte) error {
	now := content(d, kvOf(d))
	if len(now) >= len(before) {
		return nil
	}
	if !bytes.Equal(content(d, fmt.Sprint(kvOf(d), ".tail-", len(now))), before[len(now):]) {
		return fmt.Errorf("%d bytes were cut off and not kept", len(before)-len(now))
	}
	return nil
}

// told says whether the console tells of what a recovery has cut off.
func told(w *world, d disk.Disk, before []byte) error {
	dropped := len(before) - len(content(d, kvOf(d)))
	line := fmt.Sprintf("keystore: tail dropped (user=%s, bytes=%d,", user, dropped)
	if dropped > 0 && !w.printed(line) {
		return fmt.Errorf("%d bytes were cut off and the console does not say so", dropped)
	}
	return nil
}

// cut has the disk of a cut recovered from with every loss.
func (m *morgue) cut(c *cut, what string, may []state, depth int) {
	care := m.care
	if depth > 0 {
		care.sectors, care.subsets = 4, 2
	}
	// What an append can lose, the sync after it can lose as well, with holes.
	if care.noHoles = !*full && c.call.Kind == simdisk.Append; care.noHoles {
		care.subsets = 0
	}
	m.mu.Lock()
	chance := rand.New(rand.NewPCG(m.chance.Uint64(), 0))
	m.mu.Unlock()
	for l := range losses(c.disk, care, chance) {
		m.add(dead{disk: c.disk, loss: l.loss, what: what + ": " + l.name, may: may, depth: depth})
	}
}

// TestEveryCut cuts the power before every call of the script that changes the
// disk, with every loss: what is there afterwards is what was there after some
// beginning of the script that has in it all that was acknowledged. Of those
// recoveries some are cut themselves, at every call; with -full more of them are,
// and some of theirs.
func TestEveryCut(t *testing.T) {
	chance := seed(t)
	r := record(t)
	count := make(map[simdisk.Kind]int)
	for _, c := range r.cuts {
		count[c.call.Kind]++
	}
	ops := 0
	for _, e := range r.eras {
		ops += len(e.ops)
	}
	// Every rename is the end of a compaction.
	if ops < 200 || count[simdisk.Rename] < 2 || count[simdisk.Truncate] == 0 {
		t.Errorf("the script has %d ops and %d compactions, and cuts off %d tails", ops, count[simdisk.Rename], count[simdisk.Truncate])
	}
	m, step := newMorgue(t, chance), 1
	if brief() {
		step = 9
	}
	for i := 0; i < len(r.cuts); i += step {
		c := &r.cuts[i]
		m.cut(c, c.String(), r.states[c.era][c.low:c.high+1], 0)
	}
	m.work()
	t.Logf("%d ops, %d cuts %v, %d disks, %d of them unlike each other", ops, len(r.cuts), count, m.disks, len(m.found))
}
