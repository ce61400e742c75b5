// Package capability keeps authority: the rights a capability carries, the
// table of 256 slots that a task holds, the tree of what was derived from what,
// and the sealed (sid, appId) token that a request to the keychain carries.
//
// It decides nothing about messages and knows no clock, no chance and no
// goroutine. Nothing in it is safe for concurrent use: the kernel that owns a
// Space and a Tokens calls them under its own lock.
//
// Two rules hold everywhere. Deriving only ever shrinks rights, and asking for
// more is an error rather than a silent downgrade. Revoking kills everything
// that was derived, however far away it was moved, before it returns.
package capability
