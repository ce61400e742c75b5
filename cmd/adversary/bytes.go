package adversary

import "encoding/binary"

// source are the bytes that say what happens. Behind their end they are zero.
type source struct{ rest []byte }

func (s *source) next() byte {
	if len(s.rest) == 0 {
		return 0
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return b
}

// below is a number from 0 to n-1, of one byte if that is enough, or of two.
func (s *source) below(n int) int {
	v := int(s.next())
	if n > 1<<8 {
		v = v<<8 | int(s.next())
	}
	return v % n
}

// from is one of a few things, by one byte.
func from[T any](s *source, list []T) T { return list[s.below(len(list))] }

// field appends a field of a protobuf message that has a length: a string, or
// bytes.
func field(b []byte, number int, value string) []byte {
	const lengthDelimited = 2
	b = binary.AppendUvarint(b, uint64(number<<3|lengthDelimited))
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// maxBody is how long a frame's bytes may be for a script's line to hold them
// in hexadecimal digits.
const maxBody = 7800

// mutate changes bytes in up to three places.
func (s *source) mutate(b []byte) []byte {
	for range s.below(4) {
		at := 0
		if len(b) > 0 {
			at = s.below(len(b))
		}
		switch s.below(6) {
		case 0:
			b = b[:at]
		case 1:
			b = append(b, s.next())
		case 2:
			b = append(b, b[at:]...)
		case 3:
			b = append(b[:at:at], append([]byte{s.next()}, b[at:]...)...)
		case 4:
			if len(b) > 0 {
				b[at] = s.next()
			}
		case 5:
			if len(b) > 0 {
				b[at] ^= 1 << s.below(8)
			}
		}
	}
	return b[:min(len(b), maxBody)]
}
