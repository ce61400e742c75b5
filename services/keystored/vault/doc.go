// Package vault is the pure core of keystored: the byte formats of vault.kv
// and vault.head (docs/spec/vault.md), the replay of a file into an index, the
// accounting of usage, the building of batches and the plan of a compaction.
//
// It keeps the index of live records and the names of each app in memory. It
// calls nobody: bytes come in, bytes and verdicts go out; sealing, opening and
// files are its caller's. It never sees a key, never logs, and never decides
// that something unreadable is empty.
package vault
