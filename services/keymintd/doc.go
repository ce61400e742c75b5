// Package keymintd is the keeper of keys: it derives, wraps, seals and signs,
// and no private byte ever leaves it but wrapped.
//
// It keeps the device's salt, and for each user with an unsealed session the
// keys below that user's root key. It calls rngd for chance and statefsd for
// files, and nobody else. It never takes a nonce, a user, an app or an epoch
// from a request's body where the kernel stamps them; it never makes a key or
// a salt because one could not be read; it never logs.
//
// docs/spec/keymint.md is the specification of every byte and of every error.
// aead.go holds all raw cryptography, each call with the argument why it is
// safe. The codecs (salt.go, rootkeys.go, ring.go, record.go, blob.go) are
// pure. Service is the shell: admin.go, vault.go and keys.go are its three
// facets.
//
// # State and parking
//
// Every kernel call may park a request, and anything may have happened when it
// goes on: the session sealed, the ring changed. So each handler first collects
// what it has to wait for (chance, files, locks), and does everything that
// touches keys after that, in one go. What it still holds over a kernel call it
// checks again.
package keymintd
