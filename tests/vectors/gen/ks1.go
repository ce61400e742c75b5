package main

func ks1File() file {
	return file{name: "ks1.json", parts: []part{{"requests", ks1Requests()}, {"responses", ks1Responses()}}}
}

// ks1Frame is a request whose lengths say what they like.
func ks1Frame(op, keyLength byte, valueLength uint16, rest ...[]byte) []byte {
	return join([]byte{'K', 'S', 1, op, keyLength}, le16(valueLength), join(rest...))
}

// ks1Status has the statuses by their names.
var ks1Status = map[string]byte{
	"ok": 0, "not found": 1, "malformed": 2, "too large": 3, "unsupported": 4, "deny": 5, "private export refused": 12,
}

func ks1Answer(op, status byte, value []byte) []byte {
	return join([]byte{'K', 'S', 1, op | 0x80, status}, le16(uint16(len(value))), value)
}

func ks1Requests() []object {
	good := func(name, why string, op byte, key, value []byte) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(ks1Frame(op, byte(len(key)), uint16(len(value)), key, value)),
			"expect", "ok", "op", op, "key", hexadecimal(key), "value", hexadecimal(value))
	}
	// answer is the whole response that a refused request gets.
	bad := func(name, why string, b []byte, expect string, op byte) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(b), "expect", expect, "op", op,
			"answer", hexadecimal(ks1Answer(op, ks1Status[expect], nil)))
	}
	k1, v1 := []byte("k1"), []byte("v1")
	put := ks1Frame(1, 2, 2, k1, v1)
	change := func(at int, c byte) []byte {
		b := join(put)
		b[at] = c
		return b
	}
	return []object{
		good("golden, PUT", "lengths, key, value", 1, k1, v1),
		good("golden, PUT of nothing", "a value may be empty", 1, k1, nil),
		good("golden, GET", "a key alone", 2, k1, nil),
		good("golden, DEL", "a key alone", 3, k1, nil),
		good("a key of 1 byte", "the shortest key", 2, []byte("k"), nil),
		good("a key of 63 bytes", "one byte less than the longest key", 2, times('k', 63), nil),
		good("a key of 64 bytes", "the longest key", 2, times('k', 64), nil),
		good("a value of 255 bytes", "its length fits one byte", 1, k1, times('v', 255)),
		good("a value of 256 bytes", "the longest value: its length is little-endian", 1, k1, times('v', 256)),
		good("longest key and value", "the longest request", 1, times('k', 64), times('v', 256)),
		good("a key of any bytes", "the format has no opinion on them", 2, []byte{0, 0xff, '/', '\n'}, nil),
		good("a value that looks like a frame", "it is not looked at", 1, k1, put),
		bad("no bytes", "not KS v1", nil, "malformed", 2),
		bad("1 byte", "not KS v1", put[:1], "malformed", 2),
		bad("magic and version alone", "there is no operation to name", put[:3], "malformed", 2),
		bad("first byte", "not the magic", change(0, 'k'), "malformed", 2),
		bad("second byte", "not the magic", change(1, 'T'), "malformed", 2),
		bad("version 0", "not KS v1", change(2, 0), "malformed", 2),
		bad("version 2", "not KS v1", change(2, 2), "malformed", 2),
		bad("a routing frame", "not KS v1", routeFrame(2, k1, 0), "malformed", 2),
		bad("lengths missing", "there is an operation, but no length", put[:4], "malformed", 1),
		bad("lengths cut off", "half of the value's length is missing", put[:6], "malformed", 1),
		bad("operation 0", "no such operation", change(3, 0), "unsupported", 0),
		bad("operation 4", "the target OS's VERIFY, which is not here", change(3, 4), "unsupported", 4),
		bad("operation 12", "one before the private export", change(3, 12), "unsupported", 12),
		bad("operation 14", "one behind the private export", change(3, 14), "unsupported", 14),
		bad("operation 99", "no such operation", change(3, 99), "unsupported", 99),
		bad("operation 0x81", "a response is no request; the answer has only 7 bits of it", change(3, 0x81), "unsupported", 0x81),
		bad("operation 99, nothing behind it", "of an unknown operation nothing is measured", []byte{'K', 'S', 1, 99}, "unsupported", 99),
		bad("private export", "a private key never leaves", ks1Frame(13, 2, 0, k1), "private export refused", 13),
		bad("private export, nothing behind it", "refused however it is asked for", []byte{'K', 'S', 1, 13}, "private export refused", 13),
		bad("private export, lengths over their limits", "refused however it is asked for", ks1Frame(13, 255, 65535), "private export refused", 13),
		bad("key of 65 bytes", "a key has 64 bytes at most", ks1Frame(2, 65, 0, times('k', 65)), "too large", 2),
		bad("key of 255 bytes", "a key has 64 bytes at most", ks1Frame(2, 255, 0, times('k', 255)), "too large", 2),
		bad("value of 257 bytes", "a value has 256 bytes at most", ks1Frame(1, 2, 257, k1, times('v', 257)), "too large", 1),
		bad("value length 65535", "a limit is told before the frame is measured", ks1Frame(1, 2, 65535, k1), "too large", 1),
		bad("key length 65", "a limit is told before the frame is measured", ks1Frame(3, 65, 0, k1), "too large", 3),
		bad("key missing", "the frame is shorter than its lengths say", ks1Frame(2, 2, 0), "malformed", 2),
		bad("key length one less", "a byte is left over", ks1Frame(2, 1, 0, k1), "malformed", 2),
		bad("key length one more", "a byte is missing", ks1Frame(2, 3, 0, k1), "malformed", 2),
		bad("value length one less", "a byte is left over", ks1Frame(1, 2, 1, k1, v1), "malformed", 1),
		bad("value length one more", "a byte is missing", ks1Frame(1, 2, 3, k1, v1), "malformed", 1),
		bad("value length big-endian", "512 is over the limit", ks1Frame(1, 2, 0x0200, k1, v1), "too large", 1),
		bad("a trailing byte", "nothing follows the value", join(put, []byte{0}), "malformed", 1),
		bad("two requests", "a frame holds one", join(put, put), "malformed", 1),
		bad("PUT, empty key", "a key has 1 byte at least", ks1Frame(1, 0, 2, v1), "malformed", 1),
		bad("GET, empty key", "a key has 1 byte at least", ks1Frame(2, 0, 0), "malformed", 2),
		bad("DEL, empty key", "a key has 1 byte at least", ks1Frame(3, 0, 0), "malformed", 3),
		bad("GET with a value", "a GET has none", ks1Frame(2, 2, 2, k1, v1), "malformed", 2),
		bad("DEL with a value", "a DEL has none", ks1Frame(3, 2, 2, k1, v1), "malformed", 3),
	}
}

func ks1Responses() []object {
	good := func(name, why string, op byte, status string, value []byte) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(ks1Answer(op, ks1Status[status], value)),
			"expect", "ok", "op", op, "status", status, "value", hexadecimal(value))
	}
	bad := func(name, why string, b []byte) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(b), "expect", "malformed")
	}
	v1 := []byte("v1")
	got := ks1Answer(2, 0, v1)
	change := func(at int, c byte) []byte {
		b := join(got)
		b[at] = c
		return b
	}
	return []object{
		good("golden, PUT", "no value", 1, "ok", nil),
		good("golden, GET", "the value", 2, "ok", v1),
		good("golden, GET, not found", "no value", 2, "not found", nil),
		good("golden, DEL", "no value", 3, "ok", nil),
		good("golden, malformed", "what is not KS v1 is answered as GET", 2, "malformed", nil),
		good("golden, too large", "no value", 1, "too large", nil),
		good("golden, unsupported", "the answer names the operation", 99, "unsupported", nil),
		good("golden, deny", "no value", 2, "deny", nil),
		good("golden, private export", "always refused", 13, "private export refused", nil),
		good("an empty value", "a value may be empty", 2, "ok", nil),
		good("a value of 256 bytes", "the longest value", 2, "ok", times('v', 256)),
		bad("no bytes", "a response has 7 bytes at least", nil),
		bad("6 bytes", "a response has 7 bytes at least", got[:6]),
		bad("first byte", "not the magic", change(0, 'k')),
		bad("second byte", "not the magic", change(1, 'T')),
		bad("version 2", "not KS v1", change(2, 2)),
		bad("operation of a request", "a request is no response", change(3, 2)),
		bad("value cut off", "the frame is shorter than its length says", got[:8]),
		bad("a trailing byte", "nothing follows the value", join(got, []byte{0})),
		bad("value of 257 bytes", "a value has 256 bytes at most", ks1Answer(2, 0, times('v', 257))),
		bad("status 6", "no such status", ks1Answer(2, 6, nil)),
		bad("status 11", "no such status here", ks1Answer(2, 11, nil)),
		bad("status 13", "no such status", ks1Answer(2, 13, nil)),
		bad("status 255", "no such status", ks1Answer(2, 255, nil)),
		bad("a value with an error", "an error has none", ks1Answer(2, 1, v1)),
		bad("a value with PUT", "only GET has one", ks1Answer(1, 0, v1)),
	}
}
