// Package keychain is nexus-keychain, the client library that apps use: secrets
// by name, and signing keys that never leave keymintd.
//
// A Client belongs to one app in one session. It holds two capabilities, for
// keystored and for keymintd, and the app's (sid, appId) token, which the
// kernel checks on every call; it names neither user nor app, because the
// kernel does. After the session was locked the token is void for good: the
// launcher hands out a new one when the app is started again.
//
// Every call takes a context. A context that a task made carries the kernel's
// deadline; any other one works too, except in runs by seed. What a Client
// returns as *secret.Bytes is the caller's to wipe.
//
// Errors are those below, found with errors.Is. After ErrTimedOut, ErrCanceled
// and ErrUnavailable a Put or Delete may or may not have happened: repeating it
// is safe.
package keychain
