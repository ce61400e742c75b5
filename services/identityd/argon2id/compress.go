package argon2id

import (
	"encoding/binary"
	"math/bits"
)

// compress adds the compression function's output for two blocks to dst, which
// is zero where it is filled for the first time: section 3.5.
func compress(dst, x, y *block) {
	var r [words]uint64
	for i := range r {
		r[i] = word(x, i) ^ word(y, i)
	}
	for i := 0; i < words; i += 16 {
		permute(&r[i], &r[i+1], &r[i+2], &r[i+3], &r[i+4], &r[i+5], &r[i+6], &r[i+7],
			&r[i+8], &r[i+9], &r[i+10], &r[i+11], &r[i+12], &r[i+13], &r[i+14], &r[i+15])
	}
	for i := 0; i < 16; i += 2 {
		permute(&r[i], &r[i+1], &r[i+16], &r[i+17], &r[i+32], &r[i+33], &r[i+48], &r[i+49],
			&r[i+64], &r[i+65], &r[i+80], &r[i+81], &r[i+96], &r[i+97], &r[i+112], &r[i+113])
	}
	for i := range r {
		binary.LittleEndian.PutUint64(dst[8*i:], word(dst, i)^r[i]^word(x, i)^word(y, i))
	}
}

func word(b *block, i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }

// permute is the permutation P of sixteen words: section 3.6.
func permute(p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14, p15 *uint64) {
	v0, v1, v2, v3, v4, v5, v6, v7 := *p0, *p1, *p2, *p3, *p4, *p5, *p6, *p7
	v8, v9, v10, v11, v12, v13, v14, v15 := *p8, *p9, *p10, *p11, *p12, *p13, *p14, *p15

	v0, v4, v8, v12 = half(v0, v4, v8, v12, 32, 24)
	v0, v4, v8, v12 = half(v0, v4, v8, v12, 16, 63)
	v1, v5, v9, v13 = half(v1, v5, v9, v13, 32, 24)
	v1, v5, v9, v13 = half(v1, v5, v9, v13, 16, 63)
	v2, v6, v10, v14 = half(v2, v6, v10, v14, 32, 24)
	v2, v6, v10, v14 = half(v2, v6, v10, v14, 16, 63)
	v3, v7, v11, v15 = half(v3, v7, v11, v15, 32, 24)
	v3, v7, v11, v15 = half(v3, v7, v11, v15, 16, 63)

	v0, v5, v10, v15 = half(v0, v5, v10, v15, 32, 24)
	v0, v5, v10, v15 = half(v0, v5, v10, v15, 16, 63)
	v1, v6, v11, v12 = half(v1, v6, v11, v12, 32, 24)
	v1, v6, v11, v12 = half(v1, v6, v11, v12, 16, 63)
	v2, v7, v8, v13 = half(v2, v7, v8, v13, 32, 24)
	v2, v7, v8, v13 = half(v2, v7, v8, v13, 16, 63)
	v3, v4, v9, v14 = half(v3, v4, v9, v14, 32, 24)
	v3, v4, v9, v14 = half(v3, v4, v9, v14, 16, 63)

	*p0, *p1, *p2, *p3, *p4, *p5, *p6, *p7 = v0, v1, v2, v3, v4, v5, v6, v7
	*p8, *p9, *p10, *p11, *p12, *p13, *p14, *p15 = v8, v9, v10, v11, v12, v13, v14, v15
}

// half is half of the function GB, which rotates by 32, 24, 16 and 63.
func half(a, b, c, d uint64, first, second int) (uint64, uint64, uint64, uint64) {
	a += b + 2*uint64(uint32(a))*uint64(uint32(b))
	d = bits.RotateLeft64(d^a, -first)
	c += d + 2*uint64(uint32(c))*uint64(uint32(d))
	b = bits.RotateLeft64(b^c, -second)
	return a, b, c, d
}
