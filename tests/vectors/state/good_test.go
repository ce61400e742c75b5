//go:build insecure_deterministic

package state

import (
	"fmt"
	"strings"
)

// good is a state directory that a script leaves.
type good struct {
	name, why string
	from      string // the state that the script begins with; empty for an empty disk
	seed      uint64
	torn      bool // a power cut leaves half of what was not synced
	script    string
	creds     string // user kind word, one a line
	holds     string // user/app name value, one a line
	keys      string // user/app name, one a line
	tail      string // the vault that has a torn tail, and where
}

const (
	alice    = "alice password \"correct horse battery\"\n"
	makeUser = "create-user " + alice
	unlock   = "unlock " + alice
	one      = "put alice/notes greeting \"hello from notes\"\n"
	held     = "alice/notes greeting hello from notes\n"
	stays    = "alice/mail greeting stays\n"
	late     = "alice/notes late stays\n"
)

// goods are the good states. Each script ends with the machine off.
var goods = []good{
	{name: "first-boot", why: "device salt and boot record, and nothing else",
		script: "boot\nshutdown\n"},
	{name: "user-created", why: "root keys, no vault",
		script: "boot\n" + makeUser + "shutdown\n", creds: alice},
	{name: "vault-empty", why: "a base record and a head",
		script: "boot\n" + makeUser + unlock + "shutdown\n", creds: alice},
	{name: "one-secret", why: "one app, one ring, one put",
		script: "boot\n" + makeUser + unlock + one + "shutdown\n", creds: alice, holds: held},
	{name: "empty-value", why: "a value of no bytes",
		script: "boot\n" + makeUser + unlock + "put alice/notes nothing \"\"\nshutdown\n", creds: alice, holds: "alice/notes nothing \n"},
	{name: "longest-name", why: "a name of 256 bytes",
		script: "boot\n" + makeUser + unlock + "put alice/notes \"n\"*256 short\nshutdown\n", creds: alice,
		holds: "alice/notes " + strings.Repeat("n", 256) + " short\n"},
	{name: "replaced", why: "a put that supersedes another",
		script: "boot\n" + makeUser + unlock + "put alice/notes greeting first\n" + one + "shutdown\n", creds: alice, holds: held},
	{name: "deleted", why: "a delete, and a name that stays",
		script: "boot\n" + makeUser + unlock + "put alice/notes scratch gone\n" + one + "del alice/notes scratch\nshutdown\n", creds: alice, holds: held},
	{name: "all-deleted", why: "an app with a ring and no record",
		script: "boot\n" + makeUser + unlock + one + "del alice/notes greeting\nshutdown\n", creds: alice},
	{name: "two-apps", why: "two rings and one vault",
		script: "boot\n" + makeUser + unlock + one + "put alice/mail greeting \"hello from mail\"\nshutdown\n", creds: alice,
		holds: held + "alice/mail greeting hello from mail\n"},
	{name: "two-users", why: "two roots, two vaults, the same app and name",
		script: "boot\n" + makeUser + unlock + one + "create-user bob pin 271828\nunlock bob pin 271828\nput bob/notes greeting \"hello from bob\"\nshutdown\n",
		creds:  alice + "bob pin 271828\n", holds: held + "bob/notes greeting hello from bob\n"},
	{name: "longest-in-a-frame", why: "a record of version 1 with 4,096 bytes",
		script: "boot\n" + makeUser + unlock + "put alice/notes long \"0123456789abcdef\"*256\nshutdown\n", creds: alice,
		holds: "alice/notes long " + strings.Repeat("0123456789abcdef", 256) + "\n"},
	{name: "long-value", why: "a large record around a record of version 2",
		script: "boot\n" + makeUser + unlock + "put alice/notes long \"0123456789abcdef\"*257\n" + one + "shutdown\n", creds: alice,
		holds: "alice/notes long " + strings.Repeat("0123456789abcdef", 257) + "\n" + held},
	{name: "pin-beside-password", why: "two protectors, two wraps of one root key",
		script: "boot\n" + makeUser + unlock + one + "set-credential " + strings.TrimSpace(alice) + " pin 314159\nshutdown\n",
		creds:  alice + "alice pin 314159\n", holds: held},
	{name: "password-changed", why: "a protector whose id is not 1, in the third generation of root.keys",
		script: "boot\n" + makeUser + unlock + one + "set-credential " + strings.TrimSpace(alice) + " password \"another horse battery\"\nshutdown\n",
		creds:  "alice password \"another horse battery\"\n", holds: held},
	{name: "signing-key", why: "a ring with a seed, and no vault record of its app",
		script: "boot\n" + makeUser + unlock + "generate alice/mail signing\nshutdown\n", creds: alice, keys: "alice/mail signing\n"},
	{name: "signing-keys", why: "a ring in which a number is missing, and which has a data key in use",
		script: "boot\n" + makeUser + unlock + one + "generate alice/notes a\ngenerate alice/notes c\ngenerate alice/notes b\ndelkey alice/notes c\nshutdown\n",
		creds:  alice, holds: held, keys: "alice/notes a\nalice/notes b\n"},
	{name: "many-secrets", why: "forty names in two boots, thirty of them replaced",
		script: "boot\n" + makeUser + unlock + "puts alice/notes n 30\nshutdown\nboot\n" + unlock + "puts alice/notes n 40\nshutdown\n", creds: alice,
		holds: numbers(40)},
	{name: "compacted", why: "a base record with a sequence, and live records of several ages",
		script: "boot\n" + makeUser + unlock + one + strings.Repeat("put alice/notes big \"0123456789abcdef\"*250\n", 17) + "shutdown\n", creds: alice,
		holds: held + "alice/notes big " + strings.Repeat("0123456789abcdef", 250) + "\n"},
	{name: "power-cut", why: "four batches beyond the head",
		script: "boot\n" + makeUser + unlock + "put alice/notes a one\nput alice/notes b two\nput alice/notes a three\nput alice/notes c four\npower-cut\n", creds: alice,
		holds: "alice/notes a three\nalice/notes b two\nalice/notes c four\n"},
	{name: "torn", why: "half of a batch that was never acknowledged", torn: true,
		script: "boot\n" + makeUser + unlock + one + "fault-power 2\nfails power-cut put alice/notes torn \"never acknowledged\"\n", creds: alice,
		holds: held, tail: "state/identity/alice/vault.kv 736"},
	{name: "tail-kept", why: "the same after the next unseal: the torn tail is in a file of its own", from: "torn", seed: 1,
		script: "boot\n" + unlock + "shutdown\n", creds: alice, holds: held},
	{name: "ring-announced", why: "keys.head has a row for a ring that a power cut kept from being made",
		script: "boot\n" + makeUser + unlock + "fault-power\nfails power-cut put alice/notes greeting lost\n", creds: alice},
	{name: "ring-before-its-head", why: "keys.head is one generation behind a ring",
		script: "boot\n" + makeUser + unlock + one + "fault-power 2\nfails power-cut generate alice/notes signing\n", creds: alice,
		holds: held, keys: "alice/notes signing\n"},
	{name: "uninstalled", why: "a row of a ring that was destroyed, and a drop in the vault",
		script: "boot\n" + makeUser + unlock + one + "generate alice/notes signing\nuninstall alice/notes\nput alice/mail greeting stays\nshutdown\n",
		creds:  alice, holds: stays},
	{name: "rekeyed", why: "another root key: keys.head, ring and vault in a folder of their own, and a ring with a former data key",
		script: "boot\n" + makeUser + unlock + one + "generate alice/notes signing\nrekey " + alice + unlock + "put alice/notes late stays\nshutdown\n",
		creds:  alice, holds: held + late, keys: "alice/notes signing\n"},
	{name: "rekeyed-three-times", why: "a ring with two former data keys, of which there were three", from: "rekeyed", seed: 4,
		script: "boot\nrekey " + alice + "rekey " + alice + unlock + "shutdown\n", creds: alice, holds: held + late, keys: "alice/notes signing\n"},
	{name: "rekey-cut-short", why: "a power cut before another root key was the user's: what is in the folder of epoch 1 opens nothing",
		script: "boot\n" + makeUser + unlock + one + "fault-power 11\nfails power-cut rekey " + alice, creds: alice, holds: held},
	{name: "rekeyed-not-swept", why: "a power cut when another root key was the user's: what is in the user's own folder opens nothing",
		script: "boot\n" + makeUser + unlock + one + "fault-power 12\nfails power-cut rekey " + alice, creds: alice, holds: held},
	{name: "guessed", why: "two wrong guesses at a user, three at nobody",
		script: "boot\n" + makeUser + unlock + one + strings.Repeat("fails bad-secret unseal alice pin 314159\n", 2) +
			strings.Repeat("fails bad-secret login nobody pin 314159\n", 3) + "shutdown\n", creds: alice, holds: held},
	{name: "removed-and-made-again", why: "another incarnation of the same name",
		script: "boot\n" + makeUser + unlock + one + "remove-user " + alice + makeUser + unlock + "put alice/notes greeting anew\nshutdown\n", creds: alice,
		holds: "alice/notes greeting anew\n"},
	{name: "twin-a", why: "with twin-b: two vaults of one user and one incarnation, under the same keys", from: "user-created", seed: 2,
		script: "boot\n" + unlock + "put alice/notes greeting a\nput alice/notes again a\nshutdown\n", creds: alice,
		holds: "alice/notes greeting a\nalice/notes again a\n"},
	{name: "twin-b", why: "with twin-a", from: "user-created", seed: 3,
		script: "boot\n" + unlock + "put alice/notes greeting b\nput alice/notes again b\nshutdown\n", creds: alice,
		holds: "alice/notes greeting b\nalice/notes again b\n"},
}

// numbers is what puts leaves of that many, fewer than 100.
func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "alice/notes n%d %d\n", i+1, i+1)
	}
	return b.String()
}
