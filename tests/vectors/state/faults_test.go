//go:build insecure_deterministic

package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// fault is a good state with one change.
type fault struct {
	name, of string
	changes  directory
	class    string // damaged, rolled-back, unsupported, mode, bad-secret, wrong-key, torn, or ok where nobody can tell
	file     string // of the damage or the torn tail
	offset   int64
	holds    string // what is still there, of one that is torn or ok
}

// Paths of a disk.
const (
	bootFile = "boot"
	saltFile = "state/keymint/device.salt"
	dbFile   = "state/identity/users.db"
	guesses  = "state/identity/guesses"
	aliceDir = "state/identity/alice/"
	rootFile = aliceDir + "root.keys"
	keysHead = aliceDir + "keys.head"
	headFile = aliceDir + "vault.head"
	kvFile   = aliceDir + "vault.kv"
)

// flip changes one bit.
func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[(at+len(b))%len(b)] ^= 1
	return b
}

// set puts bytes in the place of others.
func set(b []byte, at int, with ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], with)
	return b
}

// summed puts the right SHA-256 behind a file that has one.
func summed(b []byte) []byte {
	body := b[:len(b)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

// checked puts the right CRC-32C behind the header that begins there.
func checked(b []byte, at, size int) []byte {
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[at+size-4:], crc32.Checksum(b[at:at+size-4], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// segments cuts a vault into its segments.
func segments(kv []byte) [][]byte {
	var all [][]byte
	for len(kv) >= 72 {
		n := 72 + int(binary.LittleEndian.Uint32(kv[32:]))
		all = append(all, kv[:n])
		kv = kv[n:]
	}
	return all
}

// from answers where segment i begins.
func from(all [][]byte, i int) int64 { return int64(len(bytes.Join(all[:i], nil))) }

// rings answers the paths of alice's rings, in order.
func rings(d directory) []string {
	var paths []string
	for path := range d {
		if strings.HasPrefix(path, aliceDir+"apps/") {
			paths = append(paths, path)
		}
	}
	if len(paths) == 2 && paths[0] > paths[1] {
		paths[0], paths[1] = paths[1], paths[0]
	}
	return paths
}

// faults makes every state with a fault.
func faults(good map[string]goodVector) []fault {
	var all []fault
	for _, group := range []func(func(string) directory, func(fault)){
		bootFaults, saltFaults, userFaults, guessFaults, rootFaults, headFaults, vaultFaults, strangers, tailFaults, ringFaults, keyHeadFaults, rollbacks, rekeyFaults,
	} {
		group(func(name string) directory { return good[name].Files }, func(f fault) { all = append(all, f) })
	}
	return all
}

// damaged is a fault in one file of a state.
func damaged(name, of, file string, offset int64, changed []byte) fault {
	return fault{name: name, of: of, changes: directory{file: changed}, class: "damaged", file: file, offset: offset}
}

// rolledBack is a file of a state that is older than another one says.
func rolledBack(name, of, file string, offset int64, older []byte) fault {
	return fault{name: name, of: of, changes: directory{file: older}, class: "rolled-back", file: file, offset: offset}
}

// another is a fault of one file of a state whose class is another one.
func another(class, name, of, file string, changed []byte) fault {
	return fault{name: name, of: of, changes: directory{file: changed}, class: class}
}

func bootFaults(state func(string) directory, add func(fault)) {
	b := state("one-secret")[bootFile]
	for _, c := range []struct {
		name    string
		offset  int64
		changed []byte
	}{
		{"boot-missing", 0, nil},
		{"boot-magic", 0, flip(b, 0)},
		{"boot-bit", 16, flip(b, 8)},
		{"boot-checksum", 16, flip(b, 16)},
		{"boot-short", 19, b[:19]},
		{"boot-longer", 20, append(bytes.Clone(b), 0)},
		{"boot-version", 4, checked(set(b, 4, 2), 0, 20)},
		{"boot-mode", 6, checked(set(b, 6, 3), 0, 20)},
		{"boot-reserved", 7, checked(set(b, 7, 1), 0, 20)},
		{"boot-count", 8, checked(set(b, 8, 0, 0, 0, 0), 0, 20)},
	} {
		add(damaged(c.name, "one-secret", bootFile, c.offset, c.changed))
	}
	add(another("mode", "boot-of-the-other-mode", "one-secret", bootFile, checked(set(b, 6, 1), 0, 20)))
}

func saltFaults(state func(string) directory, add func(fault)) {
	b := state("one-secret")[saltFile]
	for _, c := range []struct {
		name    string
		offset  int64
		changed []byte
	}{
		{"salt-missing", 0, nil},
		{"salt-magic", 0, flip(b, 3)},
		{"salt-bit", 38, flip(b, 20)},
		{"salt-checksum", 38, flip(b, 69)},
		{"salt-short", 69, b[:69]},
	} {
		add(damaged(c.name, "one-secret", saltFile, c.offset, c.changed))
	}
	add(another("unsupported", "salt-version", "one-secret", saltFile, summed(set(b, 4, 2))))
	add(another("wrong-key", "salt-of-another-device", "one-secret", saltFile, summed(flip(b, 20))))
}

func userFaults(state func(string) directory, add func(fault)) {
	b := state("one-secret")[dbFile]
	end := int64(len(b) - 32)
	for _, c := range []struct {
		name    string
		offset  int64
		changed []byte
	}{
		{"users-missing", 0, nil},
		{"users-empty", 0, []byte{}},
		{"users-magic", 0, flip(b, 1)},
		{"users-version", 4, summed(set(b, 4, 1))},
		{"users-bit", end, flip(b, 20)},
		{"users-short", end - 1, b[:len(b)-1]},
		{"users-id", 8, summed(set(b, 8, 'A'))},
		{"users-state", 7 + 22, summed(set(b, 7+22, 4))},
		{"users-kind", 7 + 22 + 11 + 8, summed(set(b, 7+22+11+8, 4))},
		{"users-cost", 7 + 22 + 11 + 10, summed(set(b, 7+22+11+10, 0, 0, 0, 1))},
	} {
		add(damaged(c.name, "one-secret", dbFile, c.offset, c.changed))
	}
	add(another("bad-secret", "users-verifier", "one-secret", dbFile, summed(flip(b, 7+22+11+35))))
	add(another("bad-secret", "users-salt", "one-secret", dbFile, summed(flip(b, 7+22+11+19))))
	add(another("bad-secret", "users-of-another", "one-secret", dbFile, summed(set(b, 8, 'a', 'l', 'i', 'c', 'f'))))
}

func guessFaults(state func(string) directory, add func(fault)) {
	b := state("guessed")[guesses]
	for _, c := range []struct {
		name    string
		offset  int64
		changed []byte
	}{
		{"guesses-missing", 0, nil},
		{"guesses-empty", 0, []byte{}},
		{"guesses-magic", 0, summed(flip(b, 0))},
		{"guesses-version", 4, summed(set(b, 4, 2))},
		{"guesses-bit", 566, flip(b, 54)},
		{"guesses-short", 597, b[:597]},
		{"guesses-longer", 598, append(bytes.Clone(b), 0)},
		{"guesses-of-nobody", 38 + 17 + 16, summed(set(b, 38+17+16, 1))},
		{"guesses-of-a-user-twice", 38 + 17, summed(set(b, 38+17, b[38:38+16]...))},
	} {
		add(damaged(c.name, "guessed", guesses, c.offset, c.changed))
	}
	fewer := another("ok", "guesses-fewer", "guessed", guesses, summed(set(b, 38+16, 0)))
	fewer.holds = held
	add(fewer)
}

func rootFaults(state func(string) directory, add func(fault)) {
	b, pair := state("one-secret")[rootFile], state("pin-beside-password")[rootFile]
	for _, c := range []struct {
		name    string
		offset  int64
		changed []byte
	}{
		{"root-missing", 0, nil},
		{"root-magic", 0, flip(b, 2)},
		{"root-bit", int64(len(b) - 32), flip(b, 50)},
		{"root-short", int64(len(b) - 1), b[:len(b)-1]},
		{"root-of-another-incarnation", 6, state("removed-and-made-again")[rootFile]},
		{"root-generation-0", 22, summed(set(b, 22, 0))},
		{"root-count", 34, summed(set(b, 34, 2))},
		{"root-id-0", 35, summed(set(b, 35, 0))},
		{"root-wrap-version", 43, summed(set(b, 43, 2))},
		{"root-wrap-sealed", 100, summed(flip(b, 110))},
		{"root-older-generation", 148, summed(set(b, 22, 9))},
		{"root-epoch", 148, summed(set(b, 30, 1))},
		{"root-tag", 148, summed(flip(b, 150))},
	} {
		add(damaged(c.name, "one-secret", rootFile, c.offset, c.changed))
	}
	add(damaged("root-wrap-of-an-older-copy", "pin-beside-password", rootFile, 261, summed(set(pair, 22, 1))))
	fewer := append(set(pair, 34, 1)[:148:148], pair[261:]...)
	add(damaged("root-without-the-second-wrap", "pin-beside-password", rootFile, 148, summed(fewer)))
	add(another("unsupported", "root-version", "one-secret", rootFile, summed(set(b, 4, 1))))
	add(another("wrong-key", "root-wrap-nonce", "one-secret", rootFile, summed(flip(b, 44))))
	add(another("wrong-key", "root-wrap-commitment", "one-secret", rootFile, summed(flip(b, 70))))
	swapped := append(append(append(bytes.Clone(pair[:43]), pair[156:261]...), pair[148:156]...), pair[43:148]...)
	add(another("wrong-key", "root-wraps-swapped", "pin-beside-password", rootFile, summed(append(swapped, pair[261:]...))))
}

func headFaults(state func(string) directory, add func(fault)) {
	d := state("one-secret")
	b := d[headFile]
	for _, c := range []struct {
		name    string
		changed []byte
	}{
		{"head-missing", nil},
		{"head-empty", []byte{}},
		{"head-bit-of-header", flip(b, 9)},
		{"head-bit-of-body", flip(b, 100)},
		{"head-sequence", checked(set(b, 8, 9), 0, 72)},
		{"head-short", b[:len(b)-1]},
		{"head-of-another-user", state("two-users")["state/identity/bob/vault.head"]},
		{"head-of-another-incarnation", state("removed-and-made-again")[headFile]},
	} {
		add(damaged(c.name, "one-secret", headFile, 0, c.changed))
	}
	add(damaged("head-longer", "one-secret", headFile, 184, append(bytes.Clone(b), 0)))
	add(damaged("head-is-a-segment", "one-secret", headFile, 184, d[kvFile][:368]))
	add(another("unsupported", "head-version", "one-secret", headFile, checked(set(b, 4, 1), 0, 72)))
}

func vaultFaults(state func(string) directory, add func(fault)) {
	kv := state("deleted")[kvFile]
	s := segments(kv)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	last := len(s) - 1
	for _, c := range []struct {
		name    string
		offset  int64
		changed []byte
	}{
		{"vault-missing", 0, nil},
		{"vault-empty-file", 0, []byte{}},
		{"vault-first-bit", 0, flip(kv, 8)},
		{"vault-id", 0, checked(flip(kv, 40), 0, 72)},
		{"vault-bit-of-a-header", from(s, 1), flip(kv, int(from(s, 1))+10)},
		{"vault-bit-of-a-body", from(s, 1), flip(kv, int(from(s, 1))+200)},
		{"vault-sequence", from(s, 2), checked(set(kv, int(from(s, 2))+8, 7), int(from(s, 2)), 72)},
		{"vault-cut-in-a-segment", from(s, last), kv[:len(kv)-1]},
		{"vault-segment-removed", from(s, 2), join(s[0], s[1], s[3])},
		{"vault-segment-repeated", from(s, 2), join(s[0], s[1], s[1], s[2], s[3])},
		{"vault-segments-swapped", from(s, 1), join(s[0], s[2], s[1], s[3])},
		{"vault-zeros-in-the-middle", from(s, 2), join(s[0], s[1], make([]byte, len(s[2])), s[3])},
		{"vault-without-its-beginning", 0, join(s[1:]...)},
	} {
		add(damaged(c.name, "deleted", kvFile, c.offset, c.changed))
	}
	add(rolledBack("vault-one-batch-older", "deleted", kvFile, from(s, last), kv[:from(s, last)]))
	add(rolledBack("vault-older", "deleted", kvFile, from(s, 2), kv[:from(s, 2)]))
	add(another("unsupported", "vault-version", "deleted", kvFile, checked(set(kv, 4, 1), 0, 72)))
	gone := fault{name: "vault-and-head-missing", of: "deleted", changes: directory{kvFile: nil, headFile: nil}, class: "damaged", file: kvFile}
	add(gone)
}

// strangers are parts of other vaults, each right where it was.
func strangers(state func(string) directory, add func(fault)) {
	a, b := segments(state("twin-a")[kvFile]), segments(state("twin-b")[kvFile])
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	add(rolledBack("vault-of-a-twin", "twin-a", kvFile, 0, state("twin-b")[kvFile]))
	add(rolledBack("vault-with-a-twins-first-segment", "twin-a", kvFile, 0, join(b[0], a[1], a[2])))
	add(damaged("vault-with-a-twins-middle-segment", "twin-a", kvFile, 368, join(a[0], b[1], a[2])))
	add(damaged("vault-with-a-twins-last-segment", "twin-a", kvFile, 736, join(a[0], a[1], b[2])))
	add(fault{name: "head-of-a-twin", of: "twin-a", changes: directory{headFile: state("twin-b")[headFile]}, class: "rolled-back", file: kvFile})
	bob := segments(state("two-users")["state/identity/bob/vault.kv"])
	own := segments(state("two-users")[kvFile])
	add(damaged("vault-with-another-users-segment", "two-users", kvFile, 368, join(own[0], bob[1])))
	add(damaged("vault-of-another-user", "two-users", kvFile, 0, state("two-users")["state/identity/bob/vault.kv"]))
	former := segments(state("one-secret")[kvFile])
	now := segments(state("removed-and-made-again")[kvFile])
	add(damaged("vault-with-a-former-incarnations-segment", "removed-and-made-again", kvFile, 368, join(now[0], former[1])))
}

// tailFaults are beyond the head.
func tailFaults(state func(string) directory, add func(fault)) {
	kv := state("power-cut")[kvFile]
	s := segments(kv)
	end := from(s, 4)
	three := "alice/notes a three\nalice/notes b two\n"
	torn := func(name string, at int64, holds string, changed []byte) {
		add(fault{name: name, of: "power-cut", changes: directory{kvFile: changed}, class: "torn", file: kvFile, offset: at, holds: holds})
	}
	torn("tail-bit", end, three, flip(kv, int(end)+100))
	torn("tail-cut", end, three, kv[:len(kv)-1])
	torn("tail-cut-in-its-header", end, three, kv[:end+71])
	torn("tail-of-zeros", end, three, append(bytes.Clone(kv[:end]), make([]byte, 368)...))
	torn("tail-behind-everything", int64(len(kv)), three+"alice/notes c four\n", append(bytes.Clone(kv), "not a segment"...))
	add(damaged("tail-before-a-later-batch", "power-cut", kvFile, from(s, 3), flip(kv, int(from(s, 3))+100)))
	add(fault{name: "tail-missing-altogether", of: "power-cut", changes: directory{kvFile: kv[:end]}, class: "ok", holds: three})
}

func ringFaults(state func(string) directory, add func(fault)) {
	one := rings(state("one-secret"))[0]
	b := state("one-secret")[one]
	for _, c := range []struct {
		name    string
		offset  int64
		changed []byte
	}{
		{"ring-missing", 0, nil},
		{"ring-empty", 0, []byte{}},
		{"ring-version", 0, set(b, 0, 2)},
		{"ring-nonce", 25, flip(b, 1)},
		{"ring-commitment", 25, flip(b, 40)},
		{"ring-sealed", 57, flip(b, 100)},
		{"ring-tag", 57, flip(b, len(b)-1)},
		{"ring-cut", 57, b[:len(b)-1]},
		{"ring-longer", 57, append(bytes.Clone(b), 0)},
		{"ring-of-another-incarnation", 25, state("removed-and-made-again")[rings(state("removed-and-made-again"))[0]]},
	} {
		add(damaged(c.name, "one-secret", one, c.offset, c.changed))
	}
	d := state("two-apps")
	two := rings(d)
	add(damaged("ring-of-another-app", "two-apps", two[0], 57, d[two[1]]))
}
