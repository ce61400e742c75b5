// Package argon2id is Argon2id, version 1.3, of RFC 9106, in memory that is
// wiped: golang.org/x/crypto/argon2 leaves the password, its working memory and
// all that it makes of them on the heap and on the stacks of its goroutines.
//
// It keeps nothing, calls nobody but package secret, and starts no goroutine:
// lanes are filled one after the other. Its hash is BLAKE2b of x/crypto.
// docs/adr/0017-secret-memory.md says why this stands here, and what it costs.
package argon2id

import (
	"encoding/binary"

	"golang.org/x/crypto/blake2b"

	"nexus.internal/os/services/secret"
)

const (
	// Size is the length of the output, in bytes.
	Size = blake2b.Size
	// MinMemoryPerLane is the least memory for each lane, in KiB.
	MinMemoryPerLane = 2 * slices

	version   = 0x13
	kind      = 2 // Argon2id, among Argon2's
	slices    = 4 // parts of a pass, at whose ends lanes meet
	blockSize = 1024
	words     = blockSize / 8
)

// Key stretches a word to out. memory is in KiB, at least MinMemoryPerLane for
// each lane; passes and lanes are at least 1. Less is a programmer's error, and
// a panic.
func Key(out *[Size]byte, word, salt []byte, passes, memory uint32, lanes uint8) {
	p := uint32(lanes)
	if passes < 1 || p < 1 || memory < MinMemoryPerLane*p {
		panic("argon2id: parameters below the least")
	}
	segment := memory / (slices * p)
	f := filling{passes: passes, lanes: p, segment: segment, length: slices * segment}
	size := int(f.lanes*f.length) * blockSize
	first := firstInput(len(word), len(salt))
	mem, release := secret.Map(size + max(first, 4+blockSize))
	defer release()
	f.mem = mem[:size]
	scratch := mem[size:]
	secret.Do(func() {
		f.begin(scratch, word, salt, memory)
		for pass := range passes {
			for slice := range uint32(slices) {
				for lane := range p {
					f.fill(pass, slice, lane)
				}
			}
		}
		f.end(out, scratch)
	})
}

// filling is the memory while it is filled: lane after lane, each of length
// blocks, in four segments.
type filling struct {
	mem                            []byte
	passes, lanes, segment, length uint32
}

type block [blockSize]byte

func (f *filling) block(lane, index uint32) *block {
	return (*block)(f.mem[int(lane*f.length+index)*blockSize:])
}

// firstInput is the length of what the first hash is of.
func firstInput(word, salt int) int { return 10*4 + word + salt }

// begin makes the first two blocks of each lane: RFC 9106, section 3.2, steps 1
// to 4.
func (f *filling) begin(scratch, word, salt []byte, memory uint32) {
	b := scratch[:0]
	for _, n := range []uint32{f.lanes, Size, memory, f.passes, version, kind, uint32(len(word))} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b = append(b, word...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(salt)))
	b = append(b, salt...)
	b = append(b, make([]byte, 8)...) // Neither a secret value nor associated data.
	var seed [4 + Size + 8]byte
	binary.LittleEndian.PutUint32(seed[:], blockSize)
	hash := blake2b.Sum512(b)
	copy(seed[4:], hash[:])
	for lane := range f.lanes {
		binary.LittleEndian.PutUint32(seed[4+Size+4:], lane)
		for index := range uint32(2) {
			binary.LittleEndian.PutUint32(seed[4+Size:], index)
			stretch(f.block(lane, index), seed[:])
		}
	}
}

// stretch is the hash of variable length, for the length of a block: section
// 3.3.
func stretch(b *block, input []byte) {
	hash := blake2b.Sum512(input)
	const half = Size / 2
	at := 0
	for ; at < blockSize-Size; at += half {
		copy(b[at:], hash[:half])
		hash = blake2b.Sum512(hash[:])
	}
	copy(b[at:], hash[:])
}

// end writes the hash of the last blocks of all lanes: steps 7 and 8.
func (f *filling) end(out *[Size]byte, scratch []byte) {
	binary.LittleEndian.PutUint32(scratch, Size)
	last := scratch[4 : 4+blockSize]
	clear(last)
	for lane := range f.lanes {
		for i, c := range f.block(lane, f.length-1) {
			last[i] ^= c
		}
	}
	*out = blake2b.Sum512(scratch[:4+blockSize])
}

// fill makes one segment of one lane: steps 5 and 6.
func (f *filling) fill(pass, slice, lane uint32) {
	var addresses, input block
	blind := pass == 0 && slice < slices/2 // Then indices do not depend on the word.
	for i, n := range []uint32{pass, lane, slice, f.lanes * f.length, f.passes, kind} {
		binary.LittleEndian.PutUint64(input[8*i:], uint64(n))
	}
	for index := range f.segment {
		if blind && index%words == 0 {
			next(&addresses, &input)
		}
		if pass == 0 && slice == 0 && index < 2 {
			continue
		}
		at := slice*f.segment + index
		before := f.block(lane, (at+f.length-1)%f.length)
		random := binary.LittleEndian.Uint64(before[:])
		if blind {
			random = binary.LittleEndian.Uint64(addresses[index%words*8:])
		}
		compress(f.block(lane, at), before, f.reference(random, pass, slice, lane, index))
	}
}

// next makes the next 128 blind addresses: section 3.4.1.2.
func next(addresses, input *block) {
	var zero block
	binary.LittleEndian.PutUint64(input[6*8:], binary.LittleEndian.Uint64(input[6*8:])+1)
	clear(addresses[:])
	compress(addresses, &zero, input)
	first := *addresses
	clear(addresses[:])
	compress(addresses, &zero, &first)
}

// reference answers the block that goes into another one beside that before it:
// section 3.4.2.
func (f *filling) reference(random uint64, pass, slice, lane, index uint32) *block {
	other := uint32(random>>32) % f.lanes
	if pass == 0 && slice == 0 {
		other = lane
	}
	area, start := slice*f.segment, uint32(0)
	if pass > 0 {
		area, start = (slices-1)*f.segment, (slice+1)%slices*f.segment
	}
	if other == lane {
		area += index - 1
	} else if index == 0 {
		area--
	}
	x := random & 0xffffffff
	x = x * x >> 32
	x = uint64(area) * x >> 32
	return f.block(other, uint32((uint64(start)+uint64(area)-1-x)%uint64(f.length)))
}
