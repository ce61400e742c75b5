// Package primitive is HMAC, HKDF, XChaCha20-Poly1305 and Ed25519 without
// copies of keys that nobody can wipe.
//
// The packages crypto/hmac, crypto/hkdf, chacha20poly1305 and crypto/ed25519
// keep keys, or what is made of them, on the Go heap till it is collected, or
// longer. So the constructions stand here once more, a screen each, upon the
// parts that do the work: SHA-256 and SHA-512 of the standard library, ChaCha20
// and Poly1305 of golang.org/x/crypto, and filippo.io/edwards25519. Nothing
// allocates, which a test asserts; so all that these parts make of a key is on
// the stack, which secret.Do overwrites. Results go where the caller says.
//
// It keeps nothing and calls nobody else. It does not decide which key or nonce
// is used for what: that is keymintd's aead.go. docs/adr/0017-secret-memory.md
// says why not a library for each, and what it costs.
//
// Lengths are the caller's to get right; a wrong one is a programmer's error, and
// a panic with constant text.
package primitive
