// Package keystored is the daemon that keeps each user's secrets: put, get,
// delete and list, scoped to the (sid, appId) token that the kernel stamped on
// the request.
//
// It keeps, for every user with an unsealed session, the ciphertexts of the
// live records and the names of the apps that asked; both go when the user's
// last session is sealed or ended. It calls keymintd, always on behalf of the
// request that it serves, and statefsd. It never holds a key, never decrypts
// for another app than the request's own, never acknowledges what is not
// durable, and never replaces a vault that it cannot read. It removes no vault but
// those of a user that is removed, and those below a former root key of the user's.
//
// The byte formats and their rules are in docs/spec/vault.md; the pure core is
// the package vault.
//
// # One put
//
// A handler gives its op a sequence and a place in the queue of its vault, has
// keymintd seal the record, and waits. Whichever handler finds that nothing is
// being written leads: it takes the queue's sealed front as one batch, decides
// op by op what it supersedes and whether it fits the quotas, has the segments
// sealed on behalf of its own request, appends them, syncs once, makes the
// batch visible and wakes the others. If its own token has died, only its own
// op fails and another handler leads.
package keystored
