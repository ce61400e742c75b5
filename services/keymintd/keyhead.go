package keymintd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"nexus.internal/os/services/secret"
)

const (
	keyHeadVersion = 1
	keyHeadFixed   = 1 + 8 + sha256.Size + 1 // bytes of a head beside its rows
	keyHeadRow     = KeyIDSize + 8 + 1 + 1   // bytes of a row
	leastKeyHead   = 256                     // bytes of the smallest bucket
	mostKeyHead    = 4096                    // bytes of the largest one
	maxKeyHeadFile = wrapOverhead + mostKeyHead

	ringDestroyed = 1 // in a row's flags: there must be no ring of that name

	_ = uint(mostKeyHead - keyHeadFixed - MaxApps*keyHeadRow)
)

// keyHead says which key files a user has, and how new they are at least. An
// older copy of one of them does not match it.
type keyHead struct {
	generation uint64            // of root.keys
	sum        [sha256.Size]byte // of the whole root.keys
	rings      []ringHead        // in strictly ascending order of id, at most MaxApps
}

// ringHead is the row of one ring.
type ringHead struct {
	id         [KeyIDSize]byte
	generation uint64 // 0: announced, and perhaps not written yet
	destroyed  bool   // the app was uninstalled; generation is the last one that there can have been
	names      uint8  // of signing keys
}

// standing compares the generation of a file with the one that the head has of
// it. A crash between the writes of the two leaves the head one behind; more
// than that, and an older file, are copies. The error is errOlder or
// errHeadOlder.
func standing(file, head uint64) (behind bool, err error) {
	switch {
	case file < head:
		return false, errOlder
	case file > head && file-head > 1:
		return false, errHeadOlder
	}
	return file > head, nil
}

// checkRoot compares the head with a root.keys of that checksum.
func (h *keyHead) checkRoot(generation uint64, sum [sha256.Size]byte) (behind bool, err error) {
	behind, err = standing(generation, h.generation)
	if err == nil && !behind && sum != h.sum {
		err = errOlder // Another copy's, of the same generation.
	}
	return behind, err
}

// find answers where the row of a ring is, or where it would be.
func (h *keyHead) find(id [KeyIDSize]byte) (int, bool) {
	return slices.BinarySearchFunc(h.rings, id, func(r ringHead, id [KeyIDSize]byte) int { return bytes.Compare(r.id[:], id[:]) })
}

// row answers the row of a ring. A ring that has none has not been made.
func (h *keyHead) row(id [KeyIDSize]byte) (ringHead, bool) {
	i, ok := h.find(id)
	if !ok {
		return ringHead{id: id}, false
	}
	return h.rings[i], true
}

// set puts a row in the place of the one that there may be.
func (h *keyHead) set(r ringHead) {
	if i, ok := h.find(r.id); ok {
		h.rings[i] = r
	} else {
		h.rings = slices.Insert(h.rings, i, r)
	}
}

// checkRing compares the head with the file of a ring. A ring without a row was
// destroyed, or the head is a copy from before it was announced. errDestroyed
// says that a crash kept keymintd from removing the file, or that somebody put it
// back: either way there is no such ring.
func (h *keyHead) checkRing(id [KeyIDSize]byte, generation uint64) (behind bool, err error) {
	row, known := h.row(id)
	if !known {
		return false, errOlder
	}
	if row.destroyed && (generation == row.generation || generation+1 == row.generation) {
		return false, errDestroyed
	}
	return standing(generation, row.generation)
}

// destroy notes that there must be no such ring any more. Its file may be one
// generation ahead of its row.
func (h *keyHead) destroy(id [KeyIDSize]byte) {
	if row, known := h.row(id); known && !row.destroyed {
		h.set(ringHead{id: id, generation: row.generation + 1, destroyed: true})
	}
}

// signingKeys counts those of all rings but one.
func (h *keyHead) signingKeys(but [KeyIDSize]byte) (n int) {
	for _, r := range h.rings {
		if r.id != but {
			n += int(r.names)
		}
	}
	return n
}

// exists says whether the ring's file was written, and not destroyed since.
func (r ringHead) exists() bool { return r.generation > 0 && !r.destroyed }

func (h *keyHead) encode() *secret.Bytes {
	plain := secret.New(bucketOf(keyHeadFixed+len(h.rings)*keyHeadRow, leastKeyHead, mostKeyHead))
	b := append(plain.Expose()[:0], keyHeadVersion)
	b = binary.LittleEndian.AppendUint64(b, h.generation)
	b = append(b, h.sum[:]...)
	b = append(b, byte(len(h.rings)))
	for _, r := range h.rings {
		b = append(b, r.id[:]...)
		b = binary.LittleEndian.AppendUint64(b, r.generation)
		flags := byte(0)
		if r.destroyed {
			flags = ringDestroyed
		}
		b = append(b, flags, r.names)
	}
	return plain
}

// decodeKeyHead accepts exactly what encode makes. The error is errLayout.
func decodeKeyHead(b []byte) (*keyHead, error) {
	d := decoder{left: b}
	version := d.byte()
	h := &keyHead{generation: d.number(), sum: [sha256.Size]byte(d.take(sha256.Size))}
	count := int(d.byte())
	if d.failed || version != keyHeadVersion || h.generation == 0 || count > MaxApps {
		return nil, errLayout
	}
	for range count {
		r := ringHead{id: [KeyIDSize]byte(d.take(KeyIDSize)), generation: d.number()}
		flags := d.byte()
		r.destroyed, r.names = flags == ringDestroyed, d.byte()
		if flags > ringDestroyed || !r.valid() || len(h.rings) > 0 && bytes.Compare(h.rings[len(h.rings)-1].id[:], r.id[:]) >= 0 {
			return nil, errLayout
		}
		h.rings = append(h.rings, r)
	}
	used := len(b) - len(d.left)
	if d.failed || bucketOf(used, leastKeyHead, mostKeyHead) != len(b) || !zero(d.left) {
		return nil, errLayout
	}
	return h, nil
}

// valid is the part of a row's rules that needs no other one: what is not
// written yet, or destroyed, has no signing keys.
func (r ringHead) valid() bool {
	return r.names <= MaxSigningKeys && (r.names == 0 || r.generation > 0 && !r.destroyed)
}

// sealKeyHead answers the file of a head, and openKeyHead reads it. The error is
// a damageAt.
func sealKeyHead(under *secret.Bytes, c *chance, of owner, h *keyHead) []byte {
	plain := h.encode()
	defer plain.Wipe()
	return wrap(under, c, wrapAD("keyhead", of, make([]byte, KeyIDSize)), plain.Expose())
}

func openKeyHead(under *secret.Bytes, of owner, file []byte) (*keyHead, error) {
	plain, err := unwrap(under, wrapAD("keyhead", of, make([]byte, KeyIDSize)), file)
	if err != nil {
		return nil, damageAt(wrapFault(err))
	}
	defer plain.Wipe()
	h, err := decodeKeyHead(plain.Expose())
	if err != nil {
		return nil, damageAt(sealedOffset)
	}
	return h, nil
}
