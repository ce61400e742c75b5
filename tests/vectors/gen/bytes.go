package main

import "bytes"

// Integers of the formats, little-endian.

func le16(n uint16) []byte { return littleEndian(uint64(n), 2) }
func le32(n uint32) []byte { return littleEndian(uint64(n), 4) }
func le64(n uint64) []byte { return littleEndian(n, 8) }

func littleEndian(n uint64, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return b
}

func bigEndian(n uint64, size int) []byte {
	b := littleEndian(n, size)
	for i := range size / 2 {
		b[i], b[size-1-i] = b[size-1-i], b[i]
	}
	return b
}

// join puts byte strings behind each other.
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// times is a byte n times.
func times(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }
