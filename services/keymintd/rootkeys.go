package keymintd

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"nexus.internal/os/services/secret"
)

const (
	rootMagic       = "NXRK"
	rootVersion     = 1
	rootIncarnation = 6
	rootCount       = rootIncarnation + Incarnation
	rootEntries     = rootCount + 1
	rootEntrySize   = 8 + rootWrapSize
	rootLeast       = rootEntries + rootEntrySize + sha256.Size
	rootMost        = rootEntries + MaxProtectors*rootEntrySize + sha256.Size
)

// rootKeys is what a root.keys file says: the root key of a user, wrapped under
// each protector's KEK.
type rootKeys struct {
	incarnation [Incarnation]byte
	entries     []rootEntry // in strictly ascending order of id, 1 to MaxProtectors
}

type rootEntry struct {
	id   uint64
	wrap [rootWrapSize]byte
}

func (k *rootKeys) encode() []byte {
	b := make([]byte, 0, rootEntries+len(k.entries)*rootEntrySize+sha256.Size)
	b = append(b, rootMagic...)
	b = binary.LittleEndian.AppendUint16(b, rootVersion)
	b = append(b, k.incarnation[:]...)
	b = append(b, byte(len(k.entries)))
	for _, e := range k.entries {
		b = binary.LittleEndian.AppendUint64(b, e.id)
		b = append(b, e.wrap[:]...)
	}
	return appendSum(b)
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
	count := int(b[rootCount])
	if count == 0 || count > MaxProtectors || len(b) != rootEntries+count*rootEntrySize+sha256.Size {
		return nil, damageAt(rootCount)
	}
	k := &rootKeys{incarnation: of.incarnation}
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
	return k, nil
}

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
	return wrapAD("root", of, u64(id), "")
}

func wrapAD(purpose string, of owner, keyID []byte, app string) []byte {
	return tuple([]byte("nexus wrap v1"), []byte(purpose), []byte(of.user), of.incarnation[:], keyID, []byte(app))
}

// add wraps the root key under one more protector, whose id must be new.
func (k *rootKeys) add(of owner, p protector, salt []byte, c *chance, root *secret.Bytes) {
	kek := deriveKEK(p.auth, salt, of, p.id)
	defer kek.Wipe()
	e := rootEntry{id: p.id, wrap: [rootWrapSize]byte(wrap(kek, c, rootAD(of, p.id), root.Expose()))}
	i, _ := k.find(p.id)
	k.entries = slices.Insert(k.entries, i, e)
}

// open unwraps the root key. The error is errNoProtector, errWrongKey, or a
// damageAt in the file.
func (k *rootKeys) open(of owner, p protector, salt []byte) (*secret.Bytes, error) {
	i, ok := k.find(p.id)
	if !ok {
		return nil, errNoProtector
	}
	kek := deriveKEK(p.auth, salt, of, p.id)
	defer kek.Wipe()
	root, err := unwrap(kek, rootAD(of, p.id), k.entries[i].wrap[:])
	if err == nil || errors.Is(err, errWrongKey) {
		return root, err
	}
	return nil, damageAt(int64(rootEntries+i*rootEntrySize+8) + wrapFault(err))
}

// keep removes every entry whose id is not among ids. It changes nothing and
// returns errNoProtector if one of the ids is not there.
func (k *rootKeys) keep(ids []uint64) error {
	for _, id := range ids {
		if _, ok := k.find(id); !ok {
			return errNoProtector
		}
	}
	k.entries = slices.DeleteFunc(k.entries, func(e rootEntry) bool { return !slices.Contains(ids, e.id) })
	return nil
}
