package userdb

import (
	"slices"
	"strconv"
	"strings"
)

// Limits of the database.
const (
	MaxUsers      = 16   // entries, those being created or removed included
	MaxFile       = 7680 // bytes; one atomic replace
	MaxProtectors = 3    // of one user: one per kind
)

// Sizes of a protector's fields, in bytes.
const (
	IncarnationSize = 16
	SaltSize        = 16
	VerifierSize    = 32
)

// Kind is the kind of credential that a protector stands for.
type Kind uint8

// The kinds, append-only.
const (
	Password Kind = 1
	PIN      Kind = 2
	Recovery Kind = 3 // a printed key
)

// String is what scripts and markers call it.
func (k Kind) String() string {
	switch k {
	case Password:
		return "password"
	case PIN:
		return "pin"
	case Recovery:
		return "recovery"
	}
	return "kind " + strconv.Itoa(int(k))
}

// State says where a user is between not being there and being there.
type State uint8

// The states, append-only.
const (
	Creating State = 1 // intended; keys may exist
	Live     State = 2
	Removing State = 3 // gone for everybody; keys and vault may still exist
)

// Protector is what proves one credential and names the wrap that it opens.
type Protector struct {
	ID       uint64
	Kind     Kind
	Cost     Cost
	Salt     [SaltSize]byte
	Verifier [VerifierSize]byte
}

// User is one entry.
type User struct {
	ID            string
	Incarnation   [IncarnationSize]byte
	State         State
	VaultCreated  bool
	NextProtector uint64
	Protectors    []Protector // in order of their kinds
}

// Protector returns the user's protector of that kind.
func (u *User) Protector(kind Kind) (Protector, bool) {
	for _, p := range u.Protectors {
		if p.Kind == kind {
			return p, true
		}
	}
	return Protector{}, false
}

// WithProtector returns the user with p in the place of what it had of p's
// kind, and with the next protector's id after p's.
func (u User) WithProtector(p Protector) User {
	kept := []Protector{p}
	for _, q := range u.Protectors {
		if q.Kind != p.Kind {
			kept = append(kept, q)
		}
	}
	slices.SortFunc(kept, func(a, b Protector) int { return int(a.Kind) - int(b.Kind) })
	u.Protectors = kept
	u.NextProtector = max(u.NextProtector, p.ID+1)
	return u
}

// WithoutProtector returns the user without what it had of that kind.
func (u User) WithoutProtector(kind Kind) User {
	u.Protectors = slices.DeleteFunc(slices.Clone(u.Protectors), func(p Protector) bool { return p.Kind == kind })
	return u
}

// DB is a user database. The zero value is empty.
type DB struct {
	users []User // in byte order of their ids
}

// Len says how many entries there are.
func (db DB) Len() int { return len(db.users) }

// Users returns copies of the entries in byte order of their ids.
func (db DB) Users() []User {
	out := slices.Clone(db.users)
	for i := range out {
		out[i].Protectors = slices.Clone(out[i].Protectors)
	}
	return out
}

// Find returns a copy of the entry of that id, whatever its state.
func (db DB) Find(id string) (User, bool) {
	i, ok := db.search(id)
	if !ok {
		return User{}, false
	}
	u := db.users[i]
	u.Protectors = slices.Clone(u.Protectors)
	return u, true
}

// Live returns the entry of that id if it is live.
func (db DB) Live(id string) (User, bool) {
	u, ok := db.Find(id)
	if !ok || u.State != Live {
		return User{}, false
	}
	return u, true
}

// With returns the database with u in the place of the entry of its id.
func (db DB) With(u User) DB {
	u.Protectors = slices.Clone(u.Protectors)
	i, found := db.search(u.ID)
	users := slices.Clone(db.users)
	if found {
		users[i] = u
	} else {
		users = slices.Insert(users, i, u)
	}
	return DB{users: users}
}

// Without returns the database without the entry of that id.
func (db DB) Without(id string) DB {
	i, found := db.search(id)
	if !found {
		return db
	}
	return DB{users: slices.Delete(slices.Clone(db.users), i, i+1)}
}

func (db DB) search(id string) (int, bool) {
	return slices.BinarySearchFunc(db.users, id, func(u User, id string) int { return strings.Compare(u.ID, id) })
}
