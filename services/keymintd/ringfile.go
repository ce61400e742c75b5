package keymintd

import (
	"encoding/binary"

	"nexus.internal/os/capability"
	"nexus.internal/os/services/secret"
)

const (
	ringVersion = 2
	heirVersion = 3    // of a ring that has former data keys, and of no other
	maxNumber   = 4096 // signing keys that an app ever has
	maxEntries  = 56   // versions of all signing keys that a ring holds
	maxFormer   = 2    // former data keys

	ringFixed   = 1 + 8 + 1 + KeySize + 8 + 1     // bytes of a ring beside app id, dead numbers and keys
	ringKey     = 1 + 1 + 1 + 1 + 4 + 8 + KeySize // bytes of a signing key beside its name
	ringFormer  = KeyIDSize + KeySize             // bytes of a former data key
	leastRing   = 256                             // bytes of the smallest bucket
	mostRing    = 7040                            // bytes of the largest one
	maxRingFile = wrapOverhead + mostRing

	// The largest ring fits the largest bucket, and every name has an entry.
	_ = uint(mostRing - ringFixed - 1 - maxFormer*ringFormer - capability.MaxAppID - maxNumber/8 - maxEntries*(ringKey+MaxKeyName))
	_ = uint(maxEntries - MaxSigningKeys)
)

// ringBucket is the padded length of n bytes of a ring.
func ringBucket(n int) int { return bucketOf(n, leastRing, mostRing) }

// encode answers the ring padded to its bucket.
func (r *ring) encode() *secret.Bytes {
	size := ringFixed + len(r.app) + len(r.dead)
	if len(r.former) > 0 {
		size += 1 + len(r.former)*ringFormer
	}
	for _, k := range r.keys {
		size += ringKey + len(k.name)
	}
	plain := secret.New(ringBucket(size))
	b := plain.Expose()[:0]
	b = append(b, r.layout())
	b = binary.LittleEndian.AppendUint64(b, r.generation)
	b = append(b, byte(len(r.app)))
	b = append(b, r.app...)
	b = append(b, r.data.Expose()...)
	b = r.appendFormer(b)
	b = binary.LittleEndian.AppendUint64(b, r.last)
	b = append(b, r.dead...)
	b = append(b, byte(len(r.keys)))
	for _, k := range r.keys {
		b = k.append(b)
	}
	return plain
}

// layout is the version of the form that the ring needs.
func (r *ring) layout() byte {
	if len(r.former) > 0 {
		return heirVersion
	}
	return ringVersion
}

func (r *ring) appendFormer(b []byte) []byte {
	if len(r.former) > 0 {
		b = append(b, byte(len(r.former)))
	}
	for _, k := range r.former {
		b = append(append(b, k.id[:]...), k.data.Expose()...)
	}
	return b
}

func (k signingKey) append(b []byte) []byte {
	b = append(b, byte(len(k.name)))
	b = append(b, k.name...)
	b = append(b, k.purpose, k.uses, k.state)
	b = binary.LittleEndian.AppendUint32(b, k.version)
	b = binary.LittleEndian.AppendUint64(b, k.number)
	if k.state == stateActive {
		return append(b, k.seed.Expose()...)
	}
	return append(b, k.public...)
}

// decodeRing accepts exactly what encode makes. The error is errLayout.
func decodeRing(b []byte) (*ring, error) {
	d := decoder{left: b}
	version, generation, app := d.byte(), d.number(), d.text()
	data := d.take(KeySize)
	former := d.former(version)
	last := d.number()
	if d.failed || version != ringVersion && version != heirVersion || generation == 0 || capability.CheckApp(app) != nil || last > maxNumber {
		return nil, errLayout
	}
	r := newRing(app, secret.Copy(data))
	r.generation, r.last = generation, last
	for ; len(former) > 0; former = former[ringFormer:] {
		r.former = append(r.former, formerKey{[KeyIDSize]byte(former), secret.Copy(former[KeyIDSize:ringFormer])})
	}
	r.dead = append(r.dead, d.take(deadSize(last))...)
	count := int(d.byte())
	for range min(count, maxEntries) {
		r.keys = append(r.keys, d.signingKey())
	}
	if d.failed || count > maxEntries || !r.canonical() || !padded(b, d.left) {
		r.wipe()
		return nil, errLayout
	}
	return r, nil
}

// padded says whether left is the padding of b to its bucket.
func padded(b, left []byte) bool {
	return len(b) <= mostRing && ringBucket(len(b)-len(left)) == len(b) && zero(left)
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

// former answers the former data keys of a ring of that version as they are.
func (d *decoder) former(version byte) []byte {
	if version != heirVersion {
		return nil
	}
	count := int(d.byte())
	d.failed = d.failed || count == 0 || count > maxFormer
	return d.take(min(count, maxFormer) * ringFormer)
}

func (d *decoder) signingKey() signingKey {
	k := signingKey{name: d.text(), purpose: d.byte(), uses: d.byte(), state: d.byte()}
	k.version, k.number = binary.LittleEndian.Uint32(d.take(4)), d.number()
	if last := d.take(KeySize); k.state == stateActive {
		k.seed = secret.Copy(last)
	} else {
		k.public = append(k.public, last...)
	}
	return k
}

// sealRing answers the file of a ring. What it is bound to is the name of the
// file, which only the app id gives.
func sealRing(under *secret.Bytes, c *chance, of owner, id [KeyIDSize]byte, r *ring) []byte {
	plain := r.encode()
	defer plain.Wipe()
	return wrap(under, c, wrapAD("ring", of, id[:]), plain.Expose())
}

// openRing reads the file of that name, whosever ring it is: names is the key
// that app ids give names under. The error is a damageAt.
func openRing(under, names *secret.Bytes, of owner, id [KeyIDSize]byte, file []byte) (*ring, error) {
	plain, err := unwrap(under, wrapAD("ring", of, id[:]), file)
	if err != nil {
		return nil, damageAt(wrapFault(err))
	}
	defer plain.Wipe()
	r, err := decodeRing(plain.Expose())
	if err != nil {
		return nil, damageAt(sealedOffset)
	}
	if fileID(names, r.app) != id {
		r.wipe()
		return nil, damageAt(sealedOffset)
	}
	return r, nil
}
