package main

const aNonce = 0x0102030405060708

func envelopeFile() file {
	request := func(name, why string, nonce uint64, body string) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(join(le64(nonce), []byte(body))),
			"expect", "ok", "nonce", nonce, "body", hexadecimal(body))
	}
	answer := func(name, why string, nonce uint64, code uint16, body string) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(join(le64(nonce), le16(code), []byte(body))),
			"expect", "ok", "nonce", nonce, "code", code, "body", hexadecimal(body))
	}
	refused := func(name, why string, b []byte) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(b), "expect", "malformed")
	}
	return file{name: "envelope.json", parts: []part{
		{"requests", []object{
			request("golden", "the nonce is little-endian and stands before the body", aNonce, "hi"),
			request("no body", "a body may be empty", aNonce, ""),
			request("nonce 0", "any nonce is one", 0, "hi"),
			request("the last nonce", "a nonce has 64 bits", 1<<64-1, "hi"),
			request("a body that looks like an envelope", "what follows the nonce is not looked at", 1, "\x02\x00\x00\x00\x00\x00\x00\x00hi"),
			refused("no bytes", "a request has 8 bytes at least", nil),
			refused("7 bytes", "a request has 8 bytes at least", le64(aNonce)[:7]),
		}},
		{"answers", []object{
			answer("golden", "nonce, code, body", aNonce, 0, "hi"),
			answer("golden, an error", "the nonce is echoed with an error as well", aNonce, 10, ""),
			answer("an error with a body", "some errors say where", aNonce, 17, "\x0a\x01f"),
			answer("the last code of today", "codes are only ever added", aNonce, 22, ""),
			answer("a code that nobody knows", "codes are only ever added, so a reader takes it for an error", aNonce, 0xffff, ""),
			answer("nonce 0", "any nonce is one", 0, 0, ""),
			answer("the last nonce", "a nonce has 64 bits", 1<<64-1, 0, ""),
			refused("no bytes", "an answer has 10 bytes at least", nil),
			refused("a nonce alone", "an answer has a code", le64(aNonce)),
			refused("half a code", "an answer has a code", join(le64(aNonce), []byte{10})),
		}},
	}}
}
