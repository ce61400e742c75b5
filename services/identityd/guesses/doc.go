// Package guesses reads and writes the file in which identityd counts wrong
// guesses, and says how long the wait after them is; docs/spec/identity.md is
// its specification.
//
// It is pure: bytes in, counts out, and back. It calls nobody, draws no chance
// and knows no clock. A live user has a row of its own; names that are no user's
// share the others, so that asking for them takes the same way and can never
// change what is counted for a user.
package guesses
