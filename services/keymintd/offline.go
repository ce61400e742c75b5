package keymintd

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
)

// CheckFile says what is wrong with a key file as far as that shows without a key:
// device.salt, root.keys, keys.head or a ring, by its path under state:, of a user
// of that incarnation. The error is a *wire.Fault or ipc.Unsupported. It is for
// tools that look at a disk on which no system runs.
func CheckFile(path string, data []byte, incarnation [Incarnation]byte) error {
	var err error
	switch {
	case path == saltPath:
		_, err = decodeSalt(data)
	case strings.HasSuffix(path, "/root.keys"):
		_, err = decodeRootKeys(data, owner{incarnation: incarnation})
	case strings.HasSuffix(path, "/keys.head"):
		err = checkWrapped(data, leastKeyHead, mostKeyHead)
	default:
		err = checkWrapped(data, leastRing, mostRing)
	}
	return faultIn(path, err)
}

// checkWrapped checks the version and the length of a wrap of a padded file.
func checkWrapped(data []byte, least, most int) error {
	plain := len(data) - wrapOverhead
	if plain < least || plain > most || bucketOf(plain, least, most) != plain {
		return damageAt(len(data))
	}
	if data[0] != wrapVersion {
		return damageAt(0)
	}
	return nil
}

// Offline is what a user's keys open, of files that somebody has read. It is for
// tools that look at a disk on which no system runs; Wipe ends it.
type Offline struct {
	acct *account
	head *keyHead
}

// OpenOffline opens a user's root key with a protector. file answers the file of a
// path under state:, nil if there is none. The error is that of UnsealKeys.
func OpenOffline(file func(path string) []byte, user string, incarnation [Incarnation]byte, id uint64, auth []byte) (*Offline, error) {
	of := owner{user: user, incarnation: incarnation}
	salt, err := decodeSalt(file(saltPath))
	if err != nil {
		return nil, faultIn(saltPath, err)
	}
	f := &rootFiles{of: of, sum: sha256.Sum256(file(rootPath(user)))}
	if f.keys, err = decodeRootKeys(file(rootPath(user)), of); err != nil {
		return nil, faultIn(rootPath(user), err)
	}
	f.file = file(f.headPath())
	root, err := f.open(protector{id: id, auth: auth}, salt[:])
	if err != nil {
		return nil, err
	}
	defer root.Wipe()
	return &Offline{acct: newAccount(of, root, f.keys.epoch), head: f.head}, nil
}

// EpochIn answers the epoch that a root.keys of a user of that incarnation says.
func EpochIn(data []byte, incarnation [Incarnation]byte) (uint32, error) {
	keys, err := decodeRootKeys(data, owner{incarnation: incarnation})
	if err != nil {
		return 0, err
	}
	return keys.epoch, nil
}

// Epoch is that of the user's root key.
func (o *Offline) Epoch() uint32 { return o.acct.epoch }

// Wipe wipes all keys.
func (o *Offline) Wipe() { o.acct.wipe() }

// OpenRing opens the ring with that file name, and answers whose it is. The error
// is what an app that needs it would be told.
func (o *Offline) OpenRing(path string, data []byte) (app string, err error) {
	name := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".ring")
	id, err := hex.DecodeString(name)
	if err != nil || len(id) != KeyIDSize {
		return "", faultIn(path, damageAt(0))
	}
	r, _, err := o.acct.openRing(o.head, [KeyIDSize]byte(id), data)
	if err != nil {
		return "", err
	}
	o.acct.rings[r.app] = r
	return r.app, nil
}

// Missing are the paths of rings that keys.head says there are, and none of which
// was opened.
func (o *Offline) Missing() (paths []string) {
	there := make(map[[KeyIDSize]byte]bool)
	for app := range o.acct.rings {
		there[fileID(o.acct.rootKeys.names, app)] = true
	}
	for _, row := range o.head.rings {
		if row.exists() && !there[row.id] {
			paths = append(paths, o.acct.ringPath(row.id))
		}
	}
	return paths
}

// Apps are those whose rings were opened, and the ids of their data keys.
func (o *Offline) Apps() map[[KeyIDSize]byte]string {
	apps := make(map[[KeyIDSize]byte]string)
	for _, app := range slices.Sorted(maps.Keys(o.acct.rings)) {
		apps[fileID(o.acct.rootKeys.names, app)] = app
	}
	return apps
}

// OpenSegment is the operation of that name. The error is ipc.Damaged.
func (o *Offline) OpenSegment(header, sealed []byte) ([]byte, error) {
	body, err := o.acct.rootKeys.chain.open(segmentAD(o.acct.owner, header), sealed)
	if err != nil {
		return nil, ipc.Damaged
	}
	defer body.Wipe()
	return slices.Clone(body.Expose()), nil
}

// SealSegment is the operation of that name. draw fills its argument with chance.
func (o *Offline) SealSegment(header, body []byte, draw func([]byte) error) ([]byte, error) {
	var c chance
	if err := draw(c[:]); err != nil {
		return nil, err
	}
	return o.acct.rootKeys.chain.seal(nil, &c, segmentAD(o.acct.owner, header), body), nil
}

// OpenRecord is the operation of that name, for one of the apps. The error is
// ipc.Damaged or ipc.NotFound.
func (o *Offline) OpenRecord(app string, sequence uint64, kind uint8, record []byte) (name string, value *secret.Bytes, err error) {
	r := o.acct.rings[app]
	if r == nil {
		return "", nil, ipc.NotFound
	}
	place := recordPlace{owner: o.acct.owner, app: app, sequence: sequence, kind: kind}
	name, b, err := openRecord(r.records, place, record)
	if err != nil {
		return "", nil, ipc.Damaged
	}
	return name, secret.Take(b), nil
}
