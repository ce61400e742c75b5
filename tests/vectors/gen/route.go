package main

// routeNonce has four different bytes, none of which is 0.
const routeNonce = 0x0a0b0c0d

func routeFile() file {
	return file{name: "route.json", parts: []part{{"requests", routeRequests()}, {"answers", routeAnswers()}}}
}

// routeFrame is a request whose length says what it likes.
func routeFrame(length byte, name []byte, nonce uint32) []byte {
	return join([]byte{'R', 'T', 1, 0x40, length}, name, le32(nonce))
}

func routeRequests() []object {
	good := func(name, why string, service []byte, nonce uint32) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(routeFrame(byte(len(service)), service, nonce)),
			"expect", "ok", "service", hexadecimal(service), "nonce", nonce)
	}
	// echo is the nonce that the answer with status 2 carries.
	bad := func(name, why string, b []byte, echo uint32) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(b), "expect", "malformed", "echo", echo)
	}
	keystored := []byte("keystored")
	golden := routeFrame(9, keystored, routeNonce)
	change := func(at int, c byte) []byte {
		b := join(golden)
		b[at] = c
		return b
	}
	return []object{
		good("golden", "magic, version, operation, length, name, nonce", keystored, routeNonce),
		good("a name of 1 byte", "the shortest name", []byte("a"), routeNonce),
		good("a name of 63 bytes", "one byte less than the longest name", times('a', 63), routeNonce),
		good("a name of 64 bytes", "the longest name", times('a', 64), routeNonce),
		good("a name of any bytes", "a name is compared and not interpreted", []byte{0, 0xff, '\n', '/'}, routeNonce),
		good("nonce 0", "any nonce is one", keystored, 0),
		good("the last nonce", "a nonce has 32 bits", keystored, 1<<32-1),
		bad("no bytes", "nothing says that it is a request, and there is no nonce", nil, 0),
		bad("magic alone", "there is no length and no nonce", golden[:4], 0),
		bad("8 bytes", "one byte too short to have a length and a nonce", golden[:8], 0),
		bad("first byte", "not the magic, so no nonce is looked for", change(0, 'r'), 0),
		bad("second byte", "not the magic, so no nonce is looked for", change(1, 'S'), 0),
		bad("version 0", "there is only version 1", change(2, 0), 0),
		bad("version 2", "there is only version 1", change(2, 2), 0),
		bad("operation of an answer", "an answer is no request", change(3, 0x41), 0),
		bad("unknown operation", "there is only 0x40", change(3, 0x42), 0),
		bad("empty name", "a name has 1 byte at least", routeFrame(0, nil, routeNonce), routeNonce),
		bad("a name of 65 bytes", "a name has 64 bytes at most", routeFrame(65, times('a', 65), routeNonce), routeNonce),
		bad("a name of 255 bytes", "a name has 64 bytes at most", routeFrame(255, times('a', 255), routeNonce), routeNonce),
		bad("length one less", "a byte is left over", routeFrame(8, keystored, routeNonce), routeNonce),
		bad("length one more", "a byte is missing", routeFrame(10, keystored, routeNonce), routeNonce),
		bad("length 0, with a name", "nine bytes are left over", routeFrame(0, keystored, routeNonce), routeNonce),
		bad("a trailing byte", "nothing follows the nonce; what is echoed are the last four bytes", join(golden, []byte{0}), 0x000a0b0c),
		bad("cut off by one byte", "the nonce is not whole; what is echoed are the last four bytes", golden[:17], 0x0b0c0d64),
		bad("no nonce", "there is none; what is echoed are the last four bytes", golden[:14], 0x6465726f),
		bad("nonce of 8 bytes", "a routing nonce has 4", join(golden, le32(7)), 7),
	}
}

func routeAnswers() []object {
	bytesOf := func(status byte, send, recv, nonce uint32) []byte {
		return join([]byte{'R', 'T', 1, 0x41, status}, le32(send), le32(recv), le32(nonce))
	}
	good := func(name, why string, status byte, send, recv, nonce uint32) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(bytesOf(status, send, recv, nonce)),
			"expect", "ok", "status", status, "send", send, "recv", recv, "nonce", nonce)
	}
	bad := func(name, why string, b []byte) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(b), "expect", "malformed")
	}
	golden := bytesOf(0, 7, 8, routeNonce)
	change := func(at int, c byte) []byte {
		b := join(golden)
		b[at] = c
		return b
	}
	return []object{
		good("golden, ok", "status, both slots, the request's nonce", 0, 7, 8, routeNonce),
		good("golden, not found", "nobody has that name", 1, 0, 0, routeNonce),
		good("golden, malformed", "the request had a nonce", 2, 0, 0, routeNonce),
		good("golden, malformed, no nonce", "the request had none that could be found", 2, 0, 0, 0),
		good("golden, denied", "policy says no", 3, 0, 0, routeNonce),
		good("slots 0 and 255", "the first and the last slot of a table", 0, 0, 255, routeNonce),
		good("slots of 32 bits", "the format has no opinion on a table's size", 0, 1<<32-1, 1<<32-1, 1<<32-1),
		bad("no bytes", "an answer has 17 bytes", nil),
		bad("16 bytes", "an answer has 17 bytes", golden[:16]),
		bad("18 bytes", "an answer has 17 bytes", join(golden, []byte{0})),
		bad("first byte", "not the magic", change(0, 'r')),
		bad("second byte", "not the magic", change(1, 'S')),
		bad("version 2", "there is only version 1", change(2, 2)),
		bad("operation of a request", "a request is no answer", change(3, 0x40)),
		bad("operation with its highest bit", "this protocol does not answer with 0x80", change(3, 0xc0)),
		bad("status 4", "there are four statuses", change(4, 4)),
		bad("status 255", "there are four statuses", change(4, 255)),
	}
}
