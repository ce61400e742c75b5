package inbox

// Limits of correlation.
const (
	MaxKept       = 16 // answers that wait for whoever asked; beyond, the oldest is dropped
	MaxPending    = 64 // requests that wait for an answer
	MaxMismatches = 32 // answers in all that nobody asked for; beyond, the inbox is given up
)

// Counters says what became of answers. They only go up.
type Counters struct {
	Matched    uint64 // reached whoever asked
	Kept       uint64 // came while another one was waited for
	Dropped    uint64 // kept too long: newer ones needed the room
	Mismatched uint64 // nobody had asked, or not any more
}

// store matches answers with requests by their nonce. It is pure: no kernel, no
// clock.
type store struct {
	last     uint64 // nonce
	pending  map[uint64]bool
	kept     []kept // oldest first
	counters Counters
}

type kept struct {
	nonce uint64
	bytes []byte // of the whole answer
}

// next makes a nonce that was never used before, from 1. It reports false if
// MaxPending requests wait already.
func (s *store) next() (uint64, bool) {
	if len(s.pending) >= MaxPending {
		return 0, false
	}
	if s.pending == nil {
		s.pending = make(map[uint64]bool)
	}
	s.last++
	s.pending[s.last] = true
	return s.last, true
}

// take answers what came for a nonce, if it is kept.
func (s *store) take(nonce uint64) ([]byte, bool) {
	for i, k := range s.kept {
		if k.nonce == nonce {
			s.kept = append(s.kept[:i], s.kept[i+1:]...)
			s.done(nonce)
			return k.bytes, true
		}
	}
	return nil, false
}

// done says that a request has its answer.
func (s *store) done(nonce uint64) {
	s.counters.Matched++
	delete(s.pending, nonce)
}

// forget says that nobody waits for an answer any more.
func (s *store) forget(nonce uint64) {
	delete(s.pending, nonce)
	for i, k := range s.kept {
		if k.nonce == nonce {
			clear(k.bytes)
			s.kept = append(s.kept[:i], s.kept[i+1:]...)
			return
		}
	}
}

// keep takes in an answer that is not the one being waited for. One that nobody
// asked for, or that came already, is a mismatch. It copies the bytes.
func (s *store) keep(nonce uint64, bytes []byte) {
	if !s.pending[nonce] || s.has(nonce) {
		s.counters.Mismatched++
		return
	}
	s.counters.Kept++
	if len(s.kept) == MaxKept {
		oldest := s.kept[0]
		clear(oldest.bytes)
		delete(s.pending, oldest.nonce)
		s.kept = append(s.kept[:0], s.kept[1:]...)
		s.counters.Dropped++
	}
	s.kept = append(s.kept, kept{nonce, append([]byte(nil), bytes...)})
}

func (s *store) has(nonce uint64) bool {
	for _, k := range s.kept {
		if k.nonce == nonce {
			return true
		}
	}
	return false
}

// waits says whether an answer to the nonce can still come.
func (s *store) waits(nonce uint64) bool { return s.pending[nonce] }

// distrusted says whether too many answers came that nobody had asked for.
func (s *store) distrusted() bool { return s.counters.Mismatched > MaxMismatches }
