package secret

import (
	"math/bits"
	"sync"
)

// Limits of the pool, in bytes.
const (
	PoolSize  = 4 << 20   // that are locked, all at the first use
	MaxPooled = 128 << 10 // of the largest secret that the pool takes
	MinPooled = 32        // that the smallest one occupies

	chunks = PoolSize / MaxPooled
)

// Stats is what the secrets of the process are at one moment.
type Stats struct {
	InUse   int // secrets that are not wiped; empty ones do not count
	Bytes   int // their lengths together
	Outside int // those of them that the pool had no room for, or that are larger than MaxPooled
}

// ReadStats counts the secrets in use. When no session is unsealed and nothing
// is under way, there is none.
func ReadStats() Stats { return shared.stats() }

// Lock sees to it that the pool is there. The error says what is not so with it:
// its memory may reach swap or core dumps, or there is none, and secrets are on
// the Go heap. Everything works in any case. The answer is the same every time.
func Lock() error { return shared.open() }

var shared pool

// pool hands out slots. Each chunk has slots of one size, a power of two, and
// may change the size when none of them is in use. What is not in use is zero.
type pool struct {
	mu     sync.Mutex
	opened bool
	fault  error // why the memory is not as it should be
	chunks []chunk
	recent [classes]*chunk // where each class found room last
	now    Stats
}

const classes = chunkShift - slotShift + 1 // sizes of slots

const (
	slotShift  = 5  // MinPooled is 1 << slotShift
	chunkShift = 17 // MaxPooled is 1 << chunkShift

	_ = -uint(MinPooled - 1<<slotShift)
	_ = -uint(MaxPooled - 1<<chunkShift)
	_ = -uint(PoolSize % MaxPooled)
)

type chunk struct {
	mem   []byte
	class int
	free  []uint16 // numbers of the slots that are not in use; nil before the first use
}

// slot is where one secret is.
type slot struct {
	b     []byte
	chunk *chunk // nil on the Go heap
	index uint16
}

// classOf is the class of the smallest slot for n bytes.
func classOf(n int) int { return bits.Len(uint(max(n, MinPooled)-1)) - slotShift }

func (p *pool) open() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready()
	return p.fault
}

// ready maps the memory once; the caller has the lock.
func (p *pool) ready() {
	if p.opened {
		return
	}
	p.opened = true
	mem, fault := mapped(PoolSize)
	p.fault = fault
	if mem == nil {
		return
	}
	p.chunks = make([]chunk, chunks)
	for i := range p.chunks {
		p.chunks[i].mem = mem[i*MaxPooled : (i+1)*MaxPooled]
	}
}

func (p *pool) stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// take answers a slot of n zero bytes.
func (p *pool) take(n int) *slot {
	if n == 0 {
		return &slot{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready()
	p.now.InUse++
	p.now.Bytes += n
	if n <= MaxPooled {
		if c := p.room(classOf(n)); c != nil {
			return c.take(n)
		}
	}
	p.now.Outside++
	return &slot{b: make([]byte, n)}
}

// room finds a chunk with a free slot of a class, or nil.
func (p *pool) room(class int) *chunk {
	if c := p.recent[class]; c != nil && c.class == class && len(c.free) > 0 {
		return c
	}
	var idle *chunk
	for i := range p.chunks {
		c := &p.chunks[i]
		if c.free != nil && c.class == class && len(c.free) > 0 {
			p.recent[class] = c
			return c
		}
		if idle == nil && c.idle() {
			idle = c
		}
	}
	if idle != nil {
		idle.carve(class)
		p.recent[class] = idle
	}
	return idle
}

// give zeroes a slot and takes it back. A slot that was given back is empty.
func (p *pool) give(s *slot) {
	n := len(s.b)
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	Wipe(s.b)
	p.now.InUse--
	p.now.Bytes -= n
	if s.chunk == nil {
		p.now.Outside--
	} else {
		s.chunk.free = append(s.chunk.free, s.index)
	}
	*s = slot{}
}

func (c *chunk) slots() int { return len(c.mem) >> (slotShift + c.class) }

// idle says whether no slot is in use.
func (c *chunk) idle() bool { return c.free == nil || len(c.free) == c.slots() }

// carve makes slots of a class of an idle chunk.
func (c *chunk) carve(class int) {
	c.class = class
	n := c.slots()
	c.free = make([]uint16, n)
	for i := range c.free {
		c.free[i] = uint16(n - 1 - i) // So that the first slot is the first to go.
	}
}

// take answers the first n bytes of a free slot. There must be one.
func (c *chunk) take(n int) *slot {
	last := len(c.free) - 1
	index := c.free[last]
	c.free = c.free[:last]
	at := int(index) << (slotShift + c.class)
	return &slot{b: c.mem[at : at+n : at+n], chunk: c, index: index}
}
