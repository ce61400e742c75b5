// Package wycheproof runs Project Wycheproof's vectors (Apache-2.0,
// github.com/c2sp/wycheproof) on keymintd's primitives: Ed25519, XChaCha20-Poly1305,
// HKDF-SHA256 and HMAC-SHA256. They are not copied here: the Go module has them. Its
// vectors of Ed25519 have public keys alone; an older set with seeds, to sign with, is
// what github.com/cloudflare/circl ships with its own Ed25519, which is a third
// opinion besides.
package wycheproof
