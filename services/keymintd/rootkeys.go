package keymintd

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"slices"

	"nexus.internal/os/services/secret"
)

const (
	rootMagic       = "NXRK"
	rootVersion     = 2
	rootIncarnation = 6
	rootGeneration  = rootIncarnation + Incarnation
	rootEpoch       = rootGeneration + 8
	rootCount       = rootEpoch + 4
	rootEntries     = rootCount + 1
	rootEntrySize   = 8 + rootWrapSize
	rootProofs      = 2 * sha256.Size // tag and checksum
	rootLeast       = rootEntries + rootEntrySize + rootProofs
	rootMost        = rootEntries + MaxProtectors*rootEntrySize + rootProofs
)

// rootKeys is what a root.keys file says: the root key of a user, wrapped under
// each protector's KEK.
type rootKeys struct {
	incarnation [Incarnation]byte
	generation  uint64      // of the file, counted from 1
	epoch       uint32      // how often the user got another root key
	entries     []rootEntry // in strictly ascending order of id, 1 to MaxProtectors
	tag         [sha256.Size]byte
}

type rootEntry struct {
	id   uint64
	wrap [rootWrapSize]byte
}

// seal makes what was changed the file's next generation. It is done before
// encode.
func (k *rootKeys) seal(root *secret.Bytes) {
	k.generation++
	k.tag = fileTag(root, k.body())
}

func (k *rootKeys) encode() []byte { return appendSum(append(k.body(), k.tag[:]...)) }

// body is what the tag is about.
func (k *rootKeys) body() []byte {
	b := make([]byte, 0, rootEntries+len(k.entries)*rootEntrySize+rootProofs)
	b = append(b, rootMagic...)
	b = binary.LittleEndian.AppendUint16(b, rootVersion)
	b = append(b, k.incarnation[:]...)
	b = binary.LittleEndian.AppendUint64(b, k.generation)
	b = binary.LittleEndian.AppendUint32(b, k.epoch)
	b = append(b, byte(len(k.entries)))
	for _, e := range k.entries {
		b = binary.LittleEndian.AppendUint64(b, e.id)
		b = append(b, e.wrap[:]...)
	}
	return b
}

// decodeRootKeys reads the root.keys file of a user. The error is a damageAt or
// errVersion.
func decodeRootKeys(b []byte, of owner) (*rootKeys, error) {
	if err := checkFile(b, rootMagic, rootVersion, rootLeast); err != nil {
		return nil, err
	}
	if [Incarnation]byte(b[rootIncarnation:]) != of.incarnation {
		return nil, damageAt(rootIncarnation)
	}
	k := &rootKeys{incarnation: of.incarnation}
	k.generation, k.epoch = binary.LittleEndian.Uint64(b[rootGeneration:]), binary.LittleEndian.Uint32(b[rootEpoch:])
	if k.generation == 0 {
		return nil, damageAt(rootGeneration)
	}
	count := int(b[rootCount])
	if count == 0 || count > MaxProtectors || len(b) != rootEntries+count*rootEntrySize+rootProofs {
		return nil, damageAt(rootCount)
	}
	last := uint64(0)
	for i := range count {
		at := rootEntries + i*rootEntrySize
		id := binary.LittleEndian.Uint64(b[at:])
		if id <= last {
			return nil, damageAt(at)
		}
		last = id
		k.entries = append(k.entries, rootEntry{id: id, wrap: [rootWrapSize]byte(b[at+8:])})
	}
	k.tag = [sha256.Size]byte(b[k.tagOffset():])
	return k, nil
}

func (k *rootKeys) tagOffset() int { return rootEntries + len(k.entries)*rootEntrySize }

func (k *rootKeys) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(k.entries, id, func(e rootEntry, id uint64) int {
		switch {
		case e.id < id:
			return -1
		case e.id > id:
			return 1
		}
		return 0
	})
}

// protector is what opens a root key. Its auth token belongs to the request
// that brought it.
type protector struct {
	id   uint64
	auth []byte
}

// rootAD binds a wrap of the root key to its place.
func rootAD(of owner, id uint64) []byte {
	return wrapAD("root", of, u64(id))
}

// wrapAD is what every wrap is bound to; of a blob there is more.
func wrapAD(purpose string, of owner, keyID []byte, more ...[]byte) []byte {
	parts := [][]byte{[]byte("nexus wrap v1"), []byte(purpose), []byte(of.user), of.incarnation[:], keyID}
	return tuple(append(parts, more...)...)
}

// add wraps the root key under one more protector, whose id must be new. The
// file is still to be sealed.
func (k *rootKeys) add(of owner, p protector, salt []byte, c *chance, root *secret.Bytes) {
	kek := deriveKEK(p.auth, salt, of, p.id)
	defer kek.Wipe()
	e := rootEntry{id: p.id, wrap: [rootWrapSize]byte(wrap(kek, c, rootAD(of, p.id), root.Expose()))}
	i, _ := k.find(p.id)
	k.entries = slices.Insert(k.entries, i, e)
}

// open unwraps the root key, and looks whether the whole file is as somebody
// wrote it who had that: wraps of two copies do not make a third one. The error
// is errNoProtector, errWrongKey, or a damageAt in the file.
func (k *rootKeys) open(of owner, p protector, salt []byte) (*secret.Bytes, error) {
	i, ok := k.find(p.id)
	if !ok {
		return nil, errNoProtector
	}
	kek := deriveKEK(p.auth, salt, of, p.id)
	defer kek.Wipe()
	root, err := unwrap(kek, rootAD(of, p.id), k.entries[i].wrap[:])
	if errors.Is(err, errWrongKey) {
		return nil, err
	}
	if err != nil {
		return nil, damageAt(int64(rootEntries+i*rootEntrySize+8) + wrapFault(err))
	}
	if tag := fileTag(root, k.body()); subtle.ConstantTimeCompare(tag[:], k.tag[:]) != 1 {
		root.Wipe()
		return nil, damageAt(k.tagOffset())
	}
	return root, nil
}

// has says whether there is an entry of every one of those ids.
func (k *rootKeys) has(ids []uint64) bool {
	for _, id := range ids {
		if _, ok := k.find(id); !ok {
			return false
		}
	}
	return true
}

// keep removes every entry whose id is not among ids. The file is still to be
// sealed.
func (k *rootKeys) keep(ids []uint64) {
	k.entries = slices.DeleteFunc(k.entries, func(e rootEntry) bool { return !slices.Contains(ids, e.id) })
}
