package keymintd

import (
	"encoding/binary"
	"slices"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
)

const (
	ringFixed   = 1 + KeySize + 8 + 1 // bytes of a ring beside its app id and keys
	ringKey     = 1 + KeySize + 8     // bytes of a signing key beside its name
	leastRing   = 256                 // bytes of the smallest bucket
	mostRing    = 4096                // bytes of the largest one
	maxRingFile = wrapOverhead + mostRing

	// The largest ring fits the largest bucket.
	_ = uint(mostRing - ringFixed - capability.MaxAppID - MaxSigningKeys*(ringKey+MaxKeyName))
)

// ring is one app's keys. The ring that requests see is never changed: a change
// makes another one.
type ring struct {
	app  string
	data *secret.Bytes
	last uint64       // number of the newest signing key
	keys []signingKey // in strictly ascending order of name

	records *sealer // derived from data
}

type signingKey struct {
	name   string
	seed   *secret.Bytes
	number uint64 // in order of creation, from 1
}

// newRing takes the data key over.
func newRing(app string, data *secret.Bytes) *ring {
	return &ring{app: app, data: data, records: newSealer(data, "nexus record v1")}
}

func (r *ring) wipe() {
	r.data.Wipe()
	r.records.wipe()
	for _, k := range r.keys {
		k.seed.Wipe()
	}
}

func (r *ring) clone() *ring {
	c := newRing(r.app, secret.Copy(r.data.Expose()))
	c.last = r.last
	for _, k := range r.keys {
		c.keys = append(c.keys, signingKey{name: k.name, seed: secret.Copy(k.seed.Expose()), number: k.number})
	}
	return c
}

func (r *ring) index(name string) (int, bool) {
	return slices.BinarySearchFunc(r.keys, name, func(k signingKey, name string) int { return strings.Compare(k.name, name) })
}

// seed answers a signing key's seed, which stays the ring's, or ipc.NotFound.
func (r *ring) seed(name string) (*secret.Bytes, error) {
	i, ok := r.index(name)
	if !ok {
		return nil, ipc.NotFound
	}
	return r.keys[i].seed, nil
}

// add copies a seed under a new name. The error is ipc.Exists or
// ipc.LimitReached.
func (r *ring) add(name string, seed *secret.Bytes, limit int) error {
	i, ok := r.index(name)
	if ok {
		return ipc.Exists
	}
	if len(r.keys) >= limit {
		return ipc.LimitReached
	}
	r.last++
	r.keys = slices.Insert(r.keys, i, signingKey{name: name, seed: secret.Copy(seed.Expose()), number: r.last})
	return nil
}

// remove destroys a signing key, or returns ipc.NotFound.
func (r *ring) remove(name string) error {
	i, ok := r.index(name)
	if !ok {
		return ipc.NotFound
	}
	r.keys[i].seed.Wipe()
	r.keys = slices.Delete(r.keys, i, i+1)
	return nil
}

func ringBucket(n int) int {
	size := leastRing
	for size < n {
		size *= 2
	}
	return size
}

// encode answers the ring padded to its bucket.
func (r *ring) encode() *secret.Bytes {
	size := ringFixed + len(r.app)
	for _, k := range r.keys {
		size += ringKey + len(k.name)
	}
	plain := secret.New(ringBucket(size))
	b := plain.Expose()[:0]
	b = append(b, byte(len(r.app)))
	b = append(b, r.app...)
	b = append(b, r.data.Expose()...)
	b = binary.LittleEndian.AppendUint64(b, r.last)
	b = append(b, byte(len(r.keys)))
	for _, k := range r.keys {
		b = append(b, byte(len(k.name)))
		b = append(b, k.name...)
		b = append(b, k.seed.Expose()...)
		b = binary.LittleEndian.AppendUint64(b, k.number)
	}
	return plain
}

// decodeRing accepts exactly what encode makes, for the app that was asked
// for. The error is errLayout.
func decodeRing(b []byte, app string) (*ring, error) {
	d := decoder{left: b}
	if d.text() != app || capability.CheckApp(app) != nil {
		return nil, errLayout
	}
	data := d.take(KeySize)
	last := d.number()
	count := int(d.byte())
	if d.failed || count > MaxSigningKeys {
		return nil, errLayout
	}
	r := newRing(app, secret.Copy(data))
	r.last = last
	for range count {
		k := signingKey{name: d.text(), seed: secret.Copy(d.take(KeySize)), number: d.number()}
		r.keys = append(r.keys, k)
	}
	if d.failed || !r.canonical() || len(b) > mostRing || ringBucket(len(b)-len(d.left)) != len(b) || !zero(d.left) {
		r.wipe()
		return nil, errLayout
	}
	return r, nil
}

// canonical says whether names and numbers of the signing keys obey the rules.
func (r *ring) canonical() bool {
	numbers := make([]uint64, 0, len(r.keys))
	for i, k := range r.keys {
		if checkKeyName(k.name) != nil || i > 0 && k.name <= r.keys[i-1].name {
			return false
		}
		if k.number == 0 || k.number > r.last {
			return false
		}
		numbers = append(numbers, k.number)
	}
	slices.Sort(numbers)
	return len(slices.Compact(numbers)) == len(r.keys)
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

// decoder reads fields and remembers whether one was missing.
type decoder struct {
	left   []byte
	failed bool
}

// take answers the next n bytes of the input itself, or zeros if it is shorter.
func (d *decoder) take(n int) []byte {
	if len(d.left) < n {
		d.left, d.failed = nil, true
		return make([]byte, n)
	}
	b := d.left[:n]
	d.left = d.left[n:]
	return b
}

func (d *decoder) byte() byte     { return d.take(1)[0] }
func (d *decoder) number() uint64 { return binary.LittleEndian.Uint64(d.take(8)) }
func (d *decoder) text() string   { return string(d.take(int(d.byte()))) }

// sealRing answers the file of a ring, and openRing reads it. The error is a
// damageAt.
func sealRing(under *secret.Bytes, c *chance, of owner, id [KeyIDSize]byte, r *ring) []byte {
	plain := r.encode()
	defer plain.Wipe()
	return wrap(under, c, wrapAD("ring", of, id[:], r.app), plain.Expose())
}

func openRing(under *secret.Bytes, of owner, id [KeyIDSize]byte, app string, file []byte) (*ring, error) {
	plain, err := unwrap(under, wrapAD("ring", of, id[:], app), file)
	if err != nil {
		return nil, damageAt(wrapFault(err))
	}
	defer plain.Wipe()
	r, err := decodeRing(plain.Expose(), app)
	if err != nil {
		return nil, damageAt(sealedOffset)
	}
	return r, nil
}
