package main

func header(src, dst uint32, ty, flags uint16, n uint32) hexadecimal {
	return join(le32(src), le32(dst), le16(ty), le16(flags), le32(n))
}

func headerFile() file {
	layout := func(name string, src, dst uint32, ty, flags uint16, n uint32) object {
		return obj("name", name, "src", src, "dst", dst, "ty", ty, "flags", flags, "len", n, "bytes", header(src, dst, ty, flags, n))
	}
	// The receiver's first two slots are free, and its endpoint is number 1.
	delivered := func(name string, op uint16, n uint32, moves bool, src uint32) object {
		flags := uint16(0)
		if moves {
			flags = 1
		}
		return obj("name", name, "op", op, "len", n, "moves", moves, "header", header(src, 1, op, flags, n))
	}
	golden := header(0x01020304, 0x11223344, 0x5566, 0x7788, 0x99aabbcc)
	refused := func(name, why string, b []byte) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(b), "expect", "malformed")
	}
	return file{name: "header.json", parts: []part{
		{"layout", []object{
			layout("golden", 0x01020304, 0x11223344, 0x5566, 0x7788, 0x99aabbcc),
			layout("zeros", 0, 0, 0, 0, 0),
			layout("ones", 0xffffffff, 0xffffffff, 0xffff, 0xffff, 0xffffffff),
		}},
		{"delivered", []object{
			delivered("an empty request", 1, 0, false, 0),
			delivered("a full frame", 7, 8192, false, 0),
			delivered("with a capability: src is the receiver's lowest free slot", 63, 5, true, 0),
			delivered("with another capability: the next slot", 63, 5, true, 1),
		}},
		{"refused", []object{
			refused("no bytes", "a header has 16 bytes", nil),
			refused("15 bytes", "a header has 16 bytes", golden[:15]),
			refused("17 bytes", "what follows the header is not a part of it", join(golden, []byte{0})),
			refused("two headers", "bytes are one header or none", join(golden, golden)),
		}},
	}}
}
