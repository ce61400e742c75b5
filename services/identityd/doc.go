// Package identityd keeps the users and their sessions; docs/spec/identity.md
// is its specification.
//
// It keeps two files, the user database and the count of failed guesses, and in
// memory which sessions there are. It calls statefsd for the files, rngd for
// salts, policyd before it issues a token, keymintd's admin facet to make, open
// and destroy keys, keystored's open facet to open and forget vaults, and the
// kernel's session authority, which nobody else holds.
//
// It alone runs Argon2id, on the executor's workers and at most MaxArgonRuns at
// once. It never stores a secret or an auth token, never tells an unknown user
// from a wrong secret, never makes a file because one could not be read, and
// never destroys what the database does not name. No guess is checked that is not
// counted durably.
//
// State may change at every kernel call that parks. So whoever proved something
// looks again at what it proved before it acts: stands for credentials, the
// session's turn for sessions. Changes of the database hold the gate writing.
package identityd
