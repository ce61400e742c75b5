// Package userdb reads and writes the user database, the one file that
// identityd keeps; docs/spec/identity.md is its specification.
//
// It is pure: bytes in, users out, and back. It calls nobody, draws no chance
// and runs no Argon2id; it only bounds the parameters of one. A DB is never
// changed in place: With and Without return another one, so that what is
// visible changes when its owner says so, after it is durable.
package userdb
