//go:build insecure_deterministic

package state

import "strings"

// rekeyFaults are files of another epoch in the place of those that hold, and
// others where they do no harm.
func rekeyFaults(state func(string) directory, add func(fault)) {
	const folder = aliceDir + "epoch-1/"
	now, before := state("rekeyed"), state("one-secret")
	former, ring := rings(before)[0], ""
	for path := range now {
		if strings.HasSuffix(path, ".ring") {
			ring = path
		}
	}
	root := damaged("rekeyed-root-of-before", "rekeyed", keysHead, 0, nil)
	root.changes = directory{rootFile: before[rootFile]}
	add(root)
	add(damaged("rekeyed-keys-head-missing", "rekeyed", folder+"keys.head", 0, nil))
	add(damaged("rekeyed-keys-head-of-before", "rekeyed", folder+"keys.head", 25, before[keysHead]))
	add(damaged("rekeyed-ring-of-before", "rekeyed", ring, 25, before[former]))
	add(damaged("rekeyed-ring-missing", "rekeyed", ring, 0, nil))
	add(damaged("rekeyed-vault-of-before", "rekeyed", folder+"vault.kv", 0, before[kvFile]))
	add(damaged("rekeyed-head-of-before", "rekeyed", folder+"vault.head", 0, before[headFile]))
	add(damaged("rekeyed-vault-missing", "rekeyed", folder+"vault.kv", 0, nil))
	for _, x := range [][2]string{{"vault", kvFile}, {"head", headFile}, {"keys-head", keysHead}, {"ring", former}} {
		stray := another("ok", "rekeyed-with-a-former-"+x[0], "rekeyed", x[1], before[x[1]])
		stray.holds = held + late
		add(stray)
	}
	cut := another("ok", "rekey-cut-short-and-its-vault-spoiled", "rekey-cut-short", folder+"vault.kv", []byte("x"))
	cut.holds = held
	add(cut)
}
