// Package fsck says what is wrong with a state directory on which no system
// runs: without keys what shows without keys, and with a credential everything of
// its user. It makes a new vault of what can be read of a damaged one. It works on
// files that somebody else has read and will write.
// docs/FSCK.md is its manual.
package fsck

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/epochs"
	"nexus.internal/os/services/identityd/guesses"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/keymintd"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/bootrec"
)

// Files is what the files of a state directory hold, by their paths from its top.
type Files map[string][]byte

// Kind says in one word what a finding is.
type Kind string

// The kinds. All but the last two say that something is not as it was written.
const (
	Damaged    Kind = "damaged"
	RolledBack Kind = "rolled-back"
	Missing    Kind = "missing"
	Lost       Kind = "lost" // what cannot be read any more, as far as can be told
	Stray      Kind = "stray"
	Tail       Kind = "tail" // bytes that a power cut had left, kept aside
	Note       Kind = "note"
)

// Finding is one line of a report.
type Finding struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"` // where in it, -1 for the whole file
	Kind   Kind   `json:"kind"`
	Text   string `json:"text"`
}

func (f Finding) String() string {
	if f.Offset < 0 {
		return fmt.Sprintf("%s: %s: %s", f.File, f.Kind, f.Text)
	}
	return fmt.Sprintf("%s: offset %d: %s: %s", f.File, f.Offset, f.Kind, f.Text)
}

// Harmless says whether nothing is wrong: a system has left that, or will take it
// away.
func (f Finding) Harmless() bool { return f.Kind == Note || f.Kind == Tail }

// Paths that are no user's.
const (
	bootPath    = bootrec.File
	statePrefix = bootrec.StateDir + "/"
	saltPath    = statePrefix + "keymint/device.salt"
	usersPath   = statePrefix + "identity/users.db"
	guessesPath = statePrefix + "identity/guesses"
	userFolders = statePrefix + "identity/"
)

// check is a report in the making.
type check struct {
	files Files
	known map[string]bool // files that somebody has a use for
	found []Finding
}

// Check reads everything that can be read without keys.
func Check(files Files) []Finding {
	c := &check{files: files, known: make(map[string]bool)}
	c.all()
	return c.sorted()
}

func (c *check) sorted() []Finding {
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
	})
	return c.found
}

func (c *check) find(file string, offset int64, kind Kind, format string, args ...any) {
	c.found = append(c.found, Finding{file, offset, kind, fmt.Sprintf(format, args...)})
}

// fault notes an error that a service would answer.
func (c *check) fault(file string, err error) {
	var f *wire.Fault
	switch {
	case err == nil:
	case errors.As(err, &f) && errors.Is(err, ipc.RolledBack):
		c.find(onDisk(f.File), -1, RolledBack, "older than another file says, or the other one is")
	case errors.As(err, &f):
		c.find(onDisk(f.File), f.Offset, Damaged, "not what was written")
	case errors.Is(err, ipc.Unsupported):
		c.find(file, -1, Damaged, "of another version of the format")
	default:
		c.find(file, -1, Damaged, "%v", err)
	}
}

// onDisk is the path of a file that services know below state:, and below is the
// way back.
func onDisk(path string) string { return statePrefix + strings.TrimPrefix(path, "state:/") }
func below(file string) string  { return "state:/" + strings.TrimPrefix(file, statePrefix) }

// folderOf begins the paths of what is sealed below a user's root key.
func folderOf(user string, epoch uint32) string { return onDisk(epochs.Prefix(user, epoch)) }

// has takes a file that must be there.
func (c *check) has(file string) ([]byte, bool) {
	c.known[file] = true
	data, ok := c.files[file]
	if !ok {
		c.find(file, -1, Missing, "it must be there")
	}
	return data, ok
}

func (c *check) all() userdb.DB {
	if len(c.files) == 0 {
		return userdb.DB{} // Nothing was ever here.
	}
	if data, ok := c.has(bootPath); ok {
		_, _, err := bootrec.Decode(data)
		var d *bootrec.Damage
		if errors.As(err, &d) {
			c.find(bootPath, d.Offset, Damaged, "%s", d.What)
		}
	}
	if data, ok := c.has(saltPath); ok {
		c.fault(saltPath, keymintd.CheckFile("state:/keymint/device.salt", data, [keymintd.Incarnation]byte{}))
	}
	db, ok := c.users()
	if ok {
		c.strays(db)
	}
	return db
}

// users checks the database, the failed guesses, and what each user has.
func (c *check) users() (userdb.DB, bool) {
	c.known[usersPath], c.known[guessesPath] = true, true
	var db userdb.DB
	if data, there := c.files[usersPath]; there {
		var err error
		db, err = userdb.Decode(data)
		var d *userdb.DamageError
		if errors.As(err, &d) {
			c.find(usersPath, d.Offset, Damaged, "%s", d.Reason)
			return db, false
		}
	} else if c.folders() {
		c.find(usersPath, -1, Missing, "and there are users' files")
		return db, false
	}
	if data, there := c.files[guessesPath]; there {
		_, err := guesses.Decode(data)
		var d *guesses.DamageError
		if errors.As(err, &d) {
			c.find(guessesPath, d.Offset, Damaged, "%s", d.Reason)
		}
	} else if db.Len() > 0 {
		c.find(guessesPath, -1, Missing, "and there are users")
	}
	for _, u := range db.Users() {
		if u.State == userdb.Live {
			c.user(&u)
			continue
		}
		c.find(usersPath, -1, Note, "%s is half made or half removed; the system finishes it", u.ID)
		for file := range c.files {
			c.known[file] = c.known[file] || strings.HasPrefix(file, userFolders+u.ID+"/")
		}
	}
	return db, true
}

func (c *check) folders() bool {
	for file := range c.files {
		if strings.HasPrefix(file, userFolders) && file != usersPath && file != guessesPath {
			return true
		}
	}
	return false
}

// user checks one user's files without keys.
func (c *check) user(u *userdb.User) {
	root := userFolders + u.ID + "/root.keys"
	epoch := c.epoch(u, root)
	dir := folderOf(u.ID, epoch)
	for _, file := range []string{root, dir + "keys.head"} {
		if data, ok := c.has(file); ok {
			c.fault(file, keymintd.CheckFile(below(file), data, u.Incarnation))
		}
	}
	for _, file := range slices.Sorted(maps.Keys(c.files)) {
		of, name, ours := epochs.Split(u.ID, below(file))
		switch {
		case !ours || file == root:
		case of < epoch:
			c.known[file] = true
			c.find(file, -1, Note, "below a root key that the user no longer has; the next unseal takes it away")
		case of > epoch:
			c.known[file] = true
			c.find(file, -1, Note, "of a rekey that was cut short; it opens nothing")
		case ringName.MatchString(name):
			c.known[file] = true
			c.fault(file, keymintd.CheckFile(below(file), c.files[file], u.Incarnation))
		case tailName.MatchString(name):
			c.known[file] = true
			c.find(file, -1, Tail, "%d bytes that a power cut had left behind the vault were kept here", len(c.files[file]))
		case asideName.MatchString(name):
			c.known[file] = true
			c.find(file, -1, Note, "kept when a salvaged vault was adopted")
		case name == "vault.kv.new":
			c.known[file] = true
			c.find(file, -1, Note, "a compaction that was cut short; the next one writes it anew")
		}
	}
	_, kv := c.files[dir+"vault.kv"]
	_, head := c.files[dir+"vault.head"]
	if u.VaultCreated || kv || head {
		c.vault(dir, u.VaultCreated)
	}
}

// epoch is that of the user's root key. Where root.keys cannot be read, it is the
// last of which there is a keys.head.
func (c *check) epoch(u *userdb.User, root string) uint32 {
	epoch, err := keymintd.EpochIn(c.files[root], u.Incarnation)
	if err == nil {
		return epoch
	}
	last := uint32(0)
	for file := range c.files {
		if of, name, ours := epochs.Split(u.ID, below(file)); ours && name == "keys.head" {
			last = max(last, of)
		}
	}
	return last
}

var (
	asideName = regexp.MustCompile(`^vault\.(kv|head)\.damaged-[0-9]+$`)
	ringName  = regexp.MustCompile(`^apps/[0-9a-f]{32}\.ring$`)
	tailName  = regexp.MustCompile(`^vault\.kv\.tail-[0-9]+$`)
)

// vault checks what shows of a vault without keys.
func (c *check) vault(dir string, created bool) {
	head, kv := dir+"vault.head", dir+"vault.kv"
	c.known[head], c.known[kv] = true, true
	if data, there := c.files[head]; there {
		if _, _, err := vault.SplitHead(data); err != nil {
			c.find(head, 0, Damaged, "%v", err)
		}
	} else if created {
		c.find(head, -1, Missing, "and there is a vault")
	}
	data, there := c.files[kv]
	if !there {
		c.find(kv, -1, Missing, "and there is a head, or the user database knows of a vault")
		return
	}
	if len(data) == 0 {
		c.find(kv, 0, Damaged, "it is empty")
	}
	for _, s := range vault.Survey(data, nil) {
		if s.Reason != "" {
			c.find(kv, s.Offset, Damaged, "%s, %d bytes long", s.Reason, s.Length)
		}
	}
}

// temporary is how statefsd names a file that is to take another one's place.
var temporary = regexp.MustCompile(`(^|/)~new-[0-9]+$`)

// strays finds files that nobody names.
func (c *check) strays(db userdb.DB) {
	for file := range c.files {
		switch {
		case c.known[file]:
		case temporary.MatchString(file):
			c.find(file, -1, Note, "of a write that was cut short; the next boot takes it away")
		default:
			c.find(file, -1, Stray, "nobody has a use for it")
		}
	}
}
