package keymintd

import (
	"errors"
	"slices"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
)

// ring is one app's keys. The ring that requests see is never changed: a change
// makes another one.
type ring struct {
	app        string
	generation uint64 // of the file, counted from 1
	data       *secret.Bytes
	former     []formerKey  // that data had before a rekey, the last one first
	last       uint64       // number of the newest signing key
	dead       []byte       // a bit for each number up to last: its key must never come back
	keys       []signingKey // in strictly ascending order of name and version

	records *sealer // derived from data
}

// formerKey is a data key that another one has taken the place of, and the id that
// it had. It opens what the app itself keeps; nothing is sealed with it.
type formerKey struct {
	id   [KeyIDSize]byte
	data *secret.Bytes
}

// signingKey is one version of a signing key.
type signingKey struct {
	name    string
	purpose uint8
	uses    uint8 // bits
	state   uint8
	version uint32 // of the name, from 1
	number  uint64 // in order of creation, from 1; never the same twice in a ring
	seed    *secret.Bytes
	public  []byte // in place of the seed of a key that is not active
}

// What a signing key is for.
const (
	purposeSigning = 1

	useSign = 1 // sign with it
	useWrap = 2 // take it out as a blob
	allUses = useSign | useWrap
)

// What becomes of a signing key.
const (
	stateActive  = 1 + iota // it signs
	stateRotated            // a newer version signs; it verifies
	stateRevoked            // neither it nor another version of the name signs
)

// newRing takes the data key over.
func newRing(app string, data *secret.Bytes) *ring {
	r := &ring{app: app, generation: 1}
	r.setData(data)
	return r
}

func (r *ring) setData(data *secret.Bytes) {
	r.data, r.records = data, newSealer(data, "nexus record v1")
}

func (r *ring) wipe() {
	r.data.Wipe()
	r.records.wipe()
	for _, k := range r.former {
		k.data.Wipe()
	}
	for _, k := range r.keys {
		k.wipe()
	}
}

func (k signingKey) wipe() {
	if k.seed != nil {
		k.seed.Wipe()
	}
}

func (r *ring) clone() *ring {
	c := newRing(r.app, secret.Copy(r.data.Expose()))
	c.generation, c.last, c.dead = r.generation, r.last, slices.Clone(r.dead)
	for _, k := range r.former {
		c.former = append(c.former, formerKey{k.id, secret.Copy(k.data.Expose())})
	}
	for _, k := range r.keys {
		if k.seed != nil {
			k.seed = secret.Copy(k.seed.Expose())
		}
		c.keys = append(c.keys, k)
	}
	return c
}

// unwrapOwn opens what the app keeps itself: a wrap under the key that label makes
// of the data key of that id, or of a former one. ad is what it is bound to with an
// id. The errors are those of unwrap.
func (r *ring) unwrapOwn(label string, id [KeyIDSize]byte, ad func(id [KeyIDSize]byte) []byte, wrapped []byte) (plain *secret.Bytes, err error) {
	for _, k := range append([]formerKey{{id, r.data}}, r.former...) {
		under := derive(k.data, label)
		plain, err = unwrap(under, ad(k.id), wrapped)
		under.Wipe()
		if !errors.Is(err, errWrongKey) {
			break // The commitment says that it is this key, or the bytes that it is none.
		}
	}
	return plain, err
}

// find answers where the newest version of that name is, or where it would be.
func (r *ring) find(name string) (int, bool) {
	i, _ := slices.BinarySearchFunc(r.keys, name, func(k signingKey, name string) int {
		if k.name <= name {
			return -1
		}
		return 1
	})
	if i > 0 && r.keys[i-1].name == name {
		return i - 1, true
	}
	return i, false
}

// active answers the newest version of the signing key of that name, which stays
// the ring's, or ipc.NotFound or ipc.Revoked.
func (r *ring) active(name string) (signingKey, error) {
	i, ok := r.find(name)
	if !ok {
		return signingKey{}, ipc.NotFound
	}
	if r.keys[i].state != stateActive {
		return signingKey{}, ipc.Revoked
	}
	return r.keys[i], nil
}

// usable is active for a key that has a use; ipc.Denied is for one that has not.
func (r *ring) usable(name string, use uint8) (signingKey, error) {
	k, err := r.active(name)
	if err == nil && k.uses&use == 0 {
		err = ipc.Denied
	}
	return k, err
}

// names answers the names of the signing keys, in order.
func (r *ring) names() []string {
	var names []string
	for i, k := range r.keys {
		if i == 0 || k.name != r.keys[i-1].name {
			names = append(names, k.name)
		}
	}
	return names
}

// add copies a seed under a new name. The error is ipc.Exists or
// ipc.LimitReached.
func (r *ring) add(name string, uses uint8, seed *secret.Bytes, limit int) error {
	i, ok := r.find(name)
	if ok {
		return ipc.Exists
	}
	if len(r.names()) >= limit || r.full() {
		return ipc.LimitReached
	}
	r.insert(i, signingKey{name: name, purpose: purposeSigning, uses: uses, version: 1}, seed)
	return nil
}

// full says whether there is no place for another version of any key.
func (r *ring) full() bool { return len(r.keys) >= maxEntries || r.last >= maxNumber }

// insert gives a key the next number and a copy of the seed.
func (r *ring) insert(i int, k signingKey, seed *secret.Bytes) {
	r.last++
	r.dead = append(r.dead, make([]byte, deadSize(r.last)-len(r.dead))...)
	k.state, k.number, k.seed = stateActive, r.last, secret.Copy(seed.Expose())
	r.keys = slices.Insert(r.keys, i, k)
}

// restore puts a detached key back: a copy of its seed, under its own number and
// any name. The error is ipc.Exists for a name or a key that is there,
// ipc.LimitReached, or ipc.Denied for a key that must never come back, or that
// this ring has not made.
func (r *ring) restore(name string, k signingKey, limit int) error {
	i, ok := r.find(name)
	k.name = name
	switch {
	case ok:
		return ipc.Exists
	case len(r.names()) >= limit || len(r.keys) >= maxEntries:
		return ipc.LimitReached
	case !k.valid() || k.number > r.last || r.isDead(k.number):
		return ipc.Denied
	case slices.ContainsFunc(r.keys, func(other signingKey) bool { return other.number == k.number }):
		return ipc.Exists
	}
	k.seed = secret.Copy(k.seed.Expose())
	r.keys = slices.Insert(r.keys, i, k)
	return nil
}

// remove destroys all versions of a signing key for ever, those in blobs too, or
// returns ipc.NotFound.
func (r *ring) remove(name string) error {
	return r.takeOut(name, r.kill)
}

// detach takes a signing key out, of which a blob may bring the newest version
// back, or returns ipc.NotFound.
func (r *ring) detach(name string) error {
	return r.takeOut(name, func(k signingKey) {
		if k.state != stateActive {
			r.kill(k)
		}
	})
}

// kill makes sure that no blob brings that version back.
func (r *ring) kill(k signingKey) { r.dead[(k.number-1)/8] |= 1 << ((k.number - 1) % 8) }

func (r *ring) takeOut(name string, each func(k signingKey)) error {
	if _, ok := r.find(name); !ok {
		return ipc.NotFound
	}
	r.keys = slices.DeleteFunc(r.keys, func(k signingKey) bool {
		if k.name == name {
			each(k)
			k.wipe()
		}
		return k.name == name
	})
	return nil
}

// canonical says whether names, versions, states and numbers obey the rules.
func (r *ring) canonical() bool {
	if len(r.names()) > MaxSigningKeys || !r.deadFits() {
		return false
	}
	numbers := make([]uint64, 0, len(r.keys))
	for i, k := range r.keys {
		if !k.valid() || k.number > r.last || r.isDead(k.number) != (k.state == stateRevoked) {
			return false
		}
		if i > 0 && !k.follows(r.keys[i-1]) {
			return false
		}
		older := i+1 < len(r.keys) && r.keys[i+1].name == k.name
		if k.state != stateRevoked && older != (k.state == stateRotated) {
			return false
		}
		numbers = append(numbers, k.number)
	}
	slices.Sort(numbers)
	return len(slices.Compact(numbers)) == len(r.keys)
}

// valid is the part of a signing key's rules that needs no other one.
func (k signingKey) valid() bool {
	return checkKeyName(k.name) == nil && k.purpose == purposeSigning && k.uses != 0 && k.uses&^allUses == 0 &&
		k.state >= stateActive && k.state <= stateRevoked && k.version > 0 && k.number > 0
}

// follows says whether k may stand behind before: a later name, or the next
// known version of the same key, which is revoked as a whole or not at all.
func (k signingKey) follows(before signingKey) bool {
	if k.name != before.name {
		return k.name > before.name
	}
	return k.version > before.version && k.purpose == before.purpose && k.uses == before.uses &&
		(k.state == stateRevoked) == (before.state == stateRevoked)
}

// deadSize is how many bytes have a bit for each number up to last.
func deadSize(last uint64) int { return int(last+7) / 8 }

func (r *ring) isDead(number uint64) bool {
	return r.dead[(number-1)/8]>>((number-1)%8)&1 == 1
}

// deadFits says whether there is no bit beyond the last number.
func (r *ring) deadFits() bool {
	return r.last%8 == 0 || r.dead[len(r.dead)-1]>>(r.last%8) == 0
}

// checkKeyName accepts the name of a signing key, or returns ipc.TooLarge or
// ipc.Malformed.
func checkKeyName(name string) error {
	if len(name) > MaxKeyName {
		return ipc.TooLarge
	}
	if capability.CheckName(name) != nil {
		return ipc.Malformed
	}
	return nil
}
