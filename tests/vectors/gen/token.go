package main

import (
	"crypto/hmac"
	"crypto/sha256"
)

// A tokenBody is the first 48 bytes of a token.
type tokenBody struct {
	version, reserved                 byte
	rights                            uint16
	epoch                             uint32
	sid, app, serial, holder, expires uint64
}

func (b tokenBody) bytes() []byte {
	return join([]byte{b.version, b.reserved}, le16(b.rights), le32(b.epoch),
		le64(b.sid), le64(b.app), le64(b.serial), le64(b.holder), le64(b.expires))
}

// backwards is the body with its integers big-endian.
func (b tokenBody) backwards() []byte {
	return join([]byte{b.version, b.reserved}, bigEndian(uint64(b.rights), 2), bigEndian(uint64(b.epoch), 4),
		bigEndian(b.sid, 8), bigEndian(b.app, 8), bigEndian(b.serial, 8), bigEndian(b.holder, 8), bigEndian(b.expires, 8))
}

var tokenKey = []byte("a key for tests, not from rngd..")

func mac(key, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)
}

func hash(parts ...[]byte) []byte {
	sum := sha256.Sum256(join(parts...))
	return sum[:]
}

// sealed is a whole token under the key of the vectors.
func sealed(body []byte) []byte { return join(body, mac(tokenKey, body)) }

// A tokenRow is a token that a kernel mints, and what happens to it then.
type tokenRow struct {
	name, app, dead string
	body            tokenBody
}

// The first session and the second, of the first boot.
const (
	sid1 = 1<<32 + iota + 1
	sid2
	sid3
	sid4
)

func tokenRows() []tokenRow {
	rows := []tokenRow{
		{"reader", "notes", "", tokenBody{rights: 2, sid: sid1, app: 1, holder: 4}},
		{"every right", "notes", "", tokenBody{rights: 255, sid: sid1, app: 1, holder: 4}},
		{"expires after a second", "notes", "", tokenBody{rights: 2, sid: sid1, app: 1, holder: 4, expires: 1e9}},
		{"another app", "mail", "", tokenBody{rights: 2, sid: sid1, app: 2, holder: 4}},
		{"another task's", "notes", "", tokenBody{rights: 2, sid: sid1, app: 1, holder: 5}},
		{"another session", "notes", "", tokenBody{rights: 2, sid: sid2, app: 1, holder: 4}},
		{"revoked", "notes", "revoked", tokenBody{rights: 2, sid: sid1, app: 1, holder: 4}},
		{"of a sealed epoch", "notes", "sealed", tokenBody{rights: 2, sid: sid3, app: 1, holder: 4}},
		{"of an ended session", "notes", "ended", tokenBody{rights: 2, sid: sid4, app: 1, holder: 4}},
		{"the last right", "notes", "", tokenBody{rights: 128, sid: sid1, app: 1, holder: 4}},
	}
	for i := range rows {
		rows[i].body.version, rows[i].body.epoch, rows[i].body.serial = 1, 1, uint64(i+1)
	}
	return rows
}

func (r tokenRow) vector() object {
	b := r.body
	return obj("name", r.name, "appId", r.app, "rights", b.rights, "epoch", b.epoch, "sid", b.sid, "app", b.app, "serial", b.serial,
		"holder", b.holder, "expires", b.expires, "dead", r.dead, "body", hexadecimal(b.bytes()), "mac", hexadecimal(mac(tokenKey, b.bytes())))
}

// The tasks that show tokens, and when they do unless a vector says otherwise.
const (
	app1 = 4
	app2 = 5
	then = 1000
)

func shown(name string, token []byte, holder, at uint64, need, expect string) object {
	return obj("name", name, "token", hexadecimal(token), "holder", holder, "at", at, "need", need, "expect", expect)
}

func tokenFile() file {
	var rows []object
	for _, r := range tokenRows() {
		rows = append(rows, r.vector())
	}
	vectors := []object{shown("no token", nil, app1, then, "get", "missing")}
	vectors = append(vectors, genuineTokens()...)
	vectors = append(vectors, changedTokens()...)
	vectors = append(vectors, badSeals()...)
	vectors = append(vectors, agedTokens()...)
	return file{name: "token.json", facts: obj("key", hexadecimal(tokenKey)), parts: []part{{"rows", rows}, {"vectors", vectors}}}
}

// minted is a row's token, found by the row's name.
func minted(name string) []byte {
	for _, r := range tokenRows() {
		if r.name == name {
			return sealed(r.body.bytes())
		}
	}
	panic("no row of that name")
}

func genuineTokens() []object {
	return []object{
		shown("genuine", minted("reader"), app1, then, "get", "accepted"),
		shown("genuine, every right", minted("every right"), app1, then, "get", "accepted"),
		shown("genuine, every right, put", minted("every right"), app1, then, "put", "accepted"),
		shown("genuine, of another app of the same task", minted("another app"), app1, then, "get", "accepted"),
		shown("genuine, of another session of the same task", minted("another session"), app1, then, "get", "accepted"),
		shown("genuine, another task's own", minted("another task's"), app2, then, "get", "accepted"),
		shown("lacks the right for put", minted("reader"), app1, then, "put", "right"),
		shown("has only the last right", minted("the last right"), app1, then, "get", "right"),
		shown("another task's", minted("another task's"), app1, then, "get", "holder"),
		shown("one's own, shown by another task", minted("reader"), app2, then, "get", "holder"),
		shown("revoked", minted("revoked"), app1, then, "get", "revoked"),
		shown("of a sealed epoch", minted("of a sealed epoch"), app1, then, "get", "stale"),
		shown("of an ended session", minted("of an ended session"), app1, then, "get", "session over"),
		shown("all zeros", make([]byte, 80), app1, then, "get", "layout"),
		shown("all ones", times(0xff, 80), app1, then, "get", "layout"),
	}
}

// changedTokens are the reader's with one field changed: with the old seal, and
// sealed again by somebody who has the key.
func changedTokens() []object {
	reader := tokenRows()[0].body
	seal := mac(tokenKey, reader.bytes())
	var all []object
	add := func(name string, holder uint64, change func(b *tokenBody), old, again string) {
		b := reader
		change(&b)
		if old != "" {
			all = append(all, shown(name+", old seal", join(b.bytes(), seal), holder, then, "get", old))
		}
		switch again {
		case "layout", "unknown right":
			all = append(all, shown(name+", sealed", sealed(b.bytes()), holder, then, "get", again))
		case "revoked":
			all = append(all, shown(name+", sealed with the key", sealed(b.bytes()), holder, then, "get", again))
		}
	}
	add("version 0", app1, func(b *tokenBody) { b.version = 0 }, "", "layout")
	add("version 2", app1, func(b *tokenBody) { b.version = 2 }, "", "layout")
	add("reserved byte set", app1, func(b *tokenBody) { b.reserved = 1 }, "", "layout")
	add("unknown right", app1, func(b *tokenBody) { b.rights |= 1 << 8 }, "", "unknown right")
	add("highest unknown right", app1, func(b *tokenBody) { b.rights |= 1 << 15 }, "", "unknown right")
	add("rights widened", app1, func(b *tokenBody) { b.rights |= 1 }, "forged", "revoked")
	add("epoch raised", app1, func(b *tokenBody) { b.epoch++ }, "forged", "revoked")
	add("sid of another session", app1, func(b *tokenBody) { b.sid = sid2 }, "forged", "revoked")
	add("app of another app", app1, func(b *tokenBody) { b.app = 2 }, "forged", "revoked")
	add("serial of another token", app1, func(b *tokenBody) { b.serial = 2 }, "forged", "")
	add("holder changed", app2, func(b *tokenBody) { b.holder = app2 }, "forged", "revoked")
	add("expiry set", app1, func(b *tokenBody) { b.expires = 1 }, "forged", "revoked")
	return all
}

// badSeals are tokens whose seal is not the kernel's, and tokens that it sealed
// and never gave to anybody.
func badSeals() []object {
	rows := tokenRows()
	reader, late := rows[0].body, rows[2].body
	body := reader.bytes()
	seal := mac(tokenKey, body)
	bad := func(name string, token []byte, expect string) object {
		return shown(name, token, app1, then, "get", expect)
	}
	resealed := func(b tokenBody, change func(b *tokenBody)) []byte {
		change(&b)
		return sealed(b.bytes())
	}
	noExpiry := late
	noExpiry.expires = 0
	return []object{
		bad("expiry taken off, old seal", join(noExpiry.bytes(), mac(tokenKey, late.bytes())), "forged"),
		bad("expiry postponed, sealed with the key", resealed(late, func(b *tokenBody) { b.expires = 2e9 }), "revoked"),
		bad("seal of another token", join(body, mac(tokenKey, rows[1].body.bytes())), "forged"),
		bad("seal cut to 31 bytes and a zero", join(body, seal[:31], []byte{0}), "forged"),
		bad("seal all zeros", join(body, make([]byte, 32)), "forged"),
		bad("unkeyed hash for a seal", join(body, hash(body)), "forged"),
		bad("hash with the key before it for a seal", join(body, hash(tokenKey, body)), "forged"),
		bad("another key", join(body, mac([]byte("another key for tests, not rngd."), body)), "forged"),
		bad("empty key", join(body, mac(nil, body)), "forged"),
		bad("big-endian, sealed with the key", sealed(reader.backwards()), "unknown right"),
		bad("serial never given, sealed with the key", resealed(reader, func(b *tokenBody) { b.serial = 1000 }), "revoked"),
		bad("serial 0, sealed with the key", resealed(reader, func(b *tokenBody) { b.serial = 0 }), "revoked"),
		bad("sid of the previous boot, sealed with the key", resealed(reader, func(b *tokenBody) { b.sid = 1 }), "another boot"),
	}
}

// agedTokens are shown around the nanosecond at which one of them expires.
func agedTokens() []object {
	late := minted("expires after a second")
	return []object{
		shown("one nanosecond before its expiry", late, app1, 1e9-1, "get", "accepted"),
		shown("at its expiry", late, app1, 1e9, "get", "expired"),
		shown("one nanosecond after its expiry", late, app1, 1e9+1, "get", "expired"),
		shown("without expiry, long after", minted("reader"), app1, 3600e9, "get", "accepted"),
	}
}
