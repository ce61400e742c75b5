package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
)

func guessesFile() file {
	return file{name: "guesses.json", parts: []part{{"files", guessFiles()}, {"rows", guessRows()}}}
}

// Offsets in a file of guesses.
const (
	guessVersion = 4
	guessKey     = 6
	guessUsers   = guessKey + 32
	guessOthers  = guessUsers + 16*17
	guessSum     = guessOthers + 256
	guessEnd     = guessSum + 32
)

// counting is the key 000102…1f.
func counting() []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

// summed puts the checksum behind what is before it.
func summed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return join(body, sum[:])
}

// guessBody is a file without its checksum, of rows of users and bytes of others
// by their numbers.
func guessBody(users map[int][]byte, others map[int]byte) []byte {
	b := join([]byte("NXGS"), le16(1), counting(), make([]byte, 16*17+256))
	for i, row := range users {
		copy(b[guessUsers+17*i:], row)
	}
	for i, n := range others {
		b[guessOthers+i] = n
	}
	return b
}

func guessFiles() []object {
	alice, bob := times(0xa1, 16), times(0xb0, 16)
	good := func(name, why string, body []byte) object {
		var incarnations, failures []byte
		for row := range 16 {
			at := guessUsers + 17*row
			incarnations, failures = append(incarnations, body[at:at+16]...), append(failures, body[at+16])
		}
		return obj("name", name, "why", why, "bytes", hexadecimal(summed(body)), "expect", "ok",
			"key", hexadecimal(body[guessKey:guessUsers]), "incarnations", hexadecimal(incarnations),
			"failures", hexadecimal(append(failures, body[guessOthers:guessSum]...)))
	}
	bad := func(name, why string, b []byte, at int) object {
		return obj("name", name, "why", why, "bytes", hexadecimal(b), "expect", "damaged", "at", at)
	}
	body := guessBody(map[int][]byte{0: join(alice, []byte{4}), 2: join(bob, []byte{255})}, map[int]byte{0: 1, 144: 5, 255: 17})
	whole := summed(body)
	// faulty has one byte changed and the right checksum, broken the old one.
	faulty := func(at int, c byte) []byte {
		b := join(body)
		b[at] = c
		return summed(b)
	}
	broken := func(at int) []byte {
		b := join(whole)
		b[at] ^= 1
		return b
	}
	twice := join(body)
	copy(twice[guessUsers+2*17:], alice)
	full := make(map[int][]byte)
	for row := range 16 {
		full[row] = join(times(byte(0xf0-row), 16), []byte{byte(row)})
	}
	return []object{
		good("nobody has failed", "a new file", guessBody(nil, nil)),
		good("some have failed", "rows are used in no order, and may be free between others", body),
		good("a row without failures", "a row stays its user's after a right guess", guessBody(map[int][]byte{15: join(bob, []byte{0})}, nil)),
		good("every row of a user", "as many as there can be users, in no order", guessBody(full, nil)),
		bad("no bytes", "a file has 598 bytes", nil, 0),
		bad("last byte missing", "a file has 598 bytes", whole[:guessEnd-1], guessEnd-1),
		bad("a byte more", "nothing follows the checksum", join(whole, []byte{0}), guessEnd),
		bad("magic", "not this format", faulty(0, 'M'), 0),
		bad("magic of the user database", "not this format", summed(join([]byte("NXUD"), body[4:])), 0),
		bad("version 0", "there is none", faulty(guessVersion, 0), guessVersion),
		bad("version 2", "there is none yet", faulty(guessVersion, 2), guessVersion),
		bad("version 257", "both bytes count", faulty(guessVersion+1, 1), guessVersion),
		bad("a row cut out", "a file has 598 bytes", summed(join(body[:guessOthers-17], body[guessOthers:])), guessEnd-17),
		bad("failures of a free row", "they are nobody's", faulty(guessUsers+17+16, 1), guessUsers+17+16),
		bad("an incarnation twice", "one row a user", summed(twice), guessUsers+2*17),
		bad("a bit of the key", "the checksum is over it", broken(guessKey+31), guessSum),
		bad("a bit of a user's failures", "the checksum is over it", broken(guessUsers+16), guessSum),
		bad("a bit of the last row", "the checksum is over it", broken(guessSum-1), guessSum),
		bad("a bit of the checksum", "it is not the one", broken(guessEnd-1), guessSum),
		bad("a file of zeros", "not this format", make([]byte, guessEnd), 0),
	}
}

func guessRows() []object {
	row := func(name string, key, user []byte) object {
		mac := hmac.New(sha256.New, key)
		mac.Write(user)
		return obj("name", name, "key", hexadecimal(key), "user", hexadecimal(user), "row", int(mac.Sum(nil)[0]))
	}
	return []object{
		row("a canonical name", counting(), []byte("nobody")),
		row("the same under another key", times(1, 32), []byte("nobody")),
		row("another name", counting(), []byte("somebody")),
		row("capitals", counting(), []byte("Nobody")),
		row("no name", counting(), nil),
		row("a line and a NUL", counting(), []byte("a\n\x00")),
		row("200 bytes", counting(), bytes.Repeat([]byte("x"), 200)),
	}
}
