//go:build insecure_deterministic

package rngd

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"
)

// SeededSource is the source of the insecure mode: everybody who knows the
// seed knows every byte of it. Each caller has a stream of its own, so that
// what one draws doesn't depend on how often another one did.
//
// The stream of a caller is SHA-256 in counter mode: block i, from 0, is
// SHA-256(key ‖ i), with i as 8 bytes little-endian and
//
//	key = SHA-256("nexus rngd seeded 1" ‖ seed ‖ boot count ‖ caller)
//
// where seed and boot count are 8 bytes little-endian each. A request takes
// the stream's next bytes, wherever blocks begin.
//
// It is safe for concurrent use; the order of one caller's requests decides
// who gets which bytes.
type SeededSource struct {
	seed, boot uint64
	mu         sync.Mutex
	streams    map[string]*stream
}

type stream struct {
	key   [sha256.Size]byte
	next  uint64 // number of the block after rest
	block [sha256.Size]byte
	rest  []byte // of block, not handed out yet
}

// Seeded makes the source of one boot.
func Seeded(seed, bootCount uint64) *SeededSource {
	return &SeededSource{seed: seed, boot: bootCount, streams: make(map[string]*stream)}
}

// Read implements Source. It never fails.
func (s *SeededSource) Read(caller string, p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[caller]
	if st == nil {
		st = s.stream(caller)
		s.streams[caller] = st
	}
	for len(p) > 0 {
		if len(st.rest) == 0 {
			st.advance()
		}
		n := copy(p, st.rest)
		p, st.rest = p[n:], st.rest[n:]
	}
	return nil
}

// Reader is the stream of one caller: boot takes the router's key from it.
func (s *SeededSource) Reader(caller string) io.Reader { return seededReader{s, caller} }

type seededReader struct {
	source *SeededSource
	caller string
}

func (r seededReader) Read(p []byte) (int, error) {
	if err := r.source.Read(r.caller, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *SeededSource) stream(caller string) *stream {
	b := []byte("nexus rngd seeded 1")
	b = binary.LittleEndian.AppendUint64(b, s.seed)
	b = binary.LittleEndian.AppendUint64(b, s.boot)
	b = append(b, caller...)
	return &stream{key: sha256.Sum256(b)}
}

func (st *stream) advance() {
	b := binary.LittleEndian.AppendUint64(st.key[:], st.next)
	st.block = sha256.Sum256(b)
	st.rest = st.block[:]
	st.next++
}
