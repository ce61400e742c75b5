//go:build insecure_deterministic

package state

import "bytes"

func keyHeadFaults(state func(string) directory, add func(fault)) {
	b := state("one-secret")[keysHead]
	for _, c := range []struct {
		name    string
		offset  int64
		changed []byte
	}{
		{"keys-head-missing", 0, nil},
		{"keys-head-empty", 0, []byte{}},
		{"keys-head-version", 0, set(b, 0, 2)},
		{"keys-head-nonce", 25, flip(b, 1)},
		{"keys-head-commitment", 25, flip(b, 40)},
		{"keys-head-sealed", 57, flip(b, 100)},
		{"keys-head-tag", 57, flip(b, -1)},
		{"keys-head-cut", 57, b[:len(b)-1]},
		{"keys-head-longer", 57, append(bytes.Clone(b), 0)},
		{"keys-head-is-a-ring", 25, state("one-secret")[rings(state("one-secret"))[0]]},
		{"keys-head-of-another-user", 25, state("two-users")["state/identity/bob/keys.head"]},
		{"keys-head-of-another-incarnation", 25, state("removed-and-made-again")[keysHead]},
	} {
		add(damaged(c.name, "one-secret", keysHead, c.offset, c.changed))
	}
}

// rollbacks are files of a state as they were earlier in the same life: scripts
// that begin alike leave the same bytes up to where they differ.
func rollbacks(state func(string) directory, add func(fault)) {
	before := state("one-secret")
	ring := rings(before)[0]
	add(rolledBack("root-older", "pin-beside-password", rootFile, 0, before[rootFile]))
	add(rolledBack("keys-head-two-behind-the-root", "password-changed", keysHead, 0, before[keysHead]))
	behind := another("ok", "keys-head-one-behind-the-root", "pin-beside-password", keysHead, before[keysHead])
	behind.holds = held
	add(behind)
	add(rolledBack("ring-older", "signing-keys", ring, 0, before[ring]))
	add(rolledBack("keys-head-behind-a-ring", "signing-keys", keysHead, 0, before[keysHead]))
	unlisted := rolledBack("ring-without-a-row", "twin-a", rings(state("twin-a"))[0], 0, nil)
	unlisted.changes = directory{keysHead: state("user-created")[keysHead]}
	add(unlisted)
	add(damaged("ring-missing-of-an-app-without-records", "signing-key", rings(state("signing-key"))[0], 0, nil))
	// Of the same generation as the right one: that nothing opens under it tells.
	twin := damaged("ring-of-a-twin", "twin-a", kvFile, 368, nil)
	twin.changes = directory{rings(state("twin-a"))[0]: state("twin-b")[rings(state("twin-b"))[0]]}
	add(twin)
	put := another("ok", "ring-of-an-uninstalled-app", "uninstalled", ring, state("ring-before-its-head")[ring])
	put.holds = stays
	add(put)
	add(rolledBack("ring-of-an-uninstalled-app-older", "uninstalled", ring, 0, before[ring]))
}
