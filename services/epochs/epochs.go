// Package epochs says where a user's files are. How often the user got another
// root key is the epoch of what is sealed below it: keymintd's keys.head and
// rings, and keystored's vault. root.keys says which epoch holds, and one write of
// it is what makes another one hold; so the files of two epochs are never mixed,
// whatever a crash leaves. docs/spec/keymint.md has the rules.
package epochs

import (
	"strconv"
	"strings"
)

// folder begins the name of the folder of every epoch but 0.
const folder = "epoch-"

// User begins the paths of all of a user's files.
func User(user string) string { return "state:/identity/" + user + "/" }

// Prefix begins the paths of an epoch's files. Those of epoch 0 are in the user's
// folder itself, beside root.keys.
func Prefix(user string, epoch uint32) string {
	if epoch == 0 {
		return User(user)
	}
	return User(user) + folder + strconv.FormatUint(uint64(epoch), 10) + "/"
}

// Split takes a path of the user's apart: its epoch, and what follows the prefix.
// A folder that no epoch has is a part of what follows in epoch 0. ok is false for
// a path that is not the user's.
func Split(user, path string) (epoch uint32, name string, ok bool) {
	name, ok = strings.CutPrefix(path, User(user))
	if !ok {
		return 0, "", false
	}
	if digits, found := strings.CutPrefix(name, folder); found {
		digits, _, _ = strings.Cut(digits, "/")
		n, err := strconv.ParseUint(digits, 10, 32)
		if rest, ours := strings.CutPrefix(path, Prefix(user, uint32(n))); err == nil && n > 0 && ours {
			return uint32(n), rest, true
		}
	}
	return 0, name, true
}
