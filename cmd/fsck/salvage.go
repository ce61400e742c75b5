package fsck

import (
	"errors"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/keymintd"
	"nexus.internal/os/services/keystored/vault"
)

// Names of a salvaged vault's files.
const (
	VaultFile = "vault.kv"
	HeadFile  = "vault.head"
)

// afterLost is how far beyond the newest record that was found a salvaged vault
// goes on counting, so that no sequence of a record that is lost comes again.
const afterLost = 1 << 20

var (
	// ErrNoKeys says that what a vault is read with does not open.
	ErrNoKeys = errors.New("fsck: the user's keys do not open")
	// ErrNotSalvaged says that files are not what Salvage makes for that user.
	ErrNotSalvaged = errors.New("fsck: not a salvaged vault of this user")
)

// Draw fills its argument with chance.
type Draw func([]byte) error

// open opens a user's keys and rings.
func open(files Files, by Credential) (*keymintd.Offline, error) {
	c := &check{files: files, known: make(map[string]bool)}
	db := c.all()
	if damaged(c.found, usersPath, saltPath) {
		return nil, ErrNoKeys
	}
	id, auth, err := identityd.ProveOffline(db, by.User, by.Kind, by.Word.Expose())
	if err != nil {
		return nil, err
	}
	defer auth.Wipe()
	u, _ := db.Live(by.User)
	o, err := keymintd.OpenOffline(c.file, u.ID, u.Incarnation, id, auth.Expose())
	if err != nil {
		return nil, errors.Join(ErrNoKeys, err)
	}
	return o, nil
}

// Salvage makes a new vault of what can be read of a user's vault, with an id of
// its own. If anything is lost, every record is marked as one that may be out of
// date. Records of apps whose keys are gone go along: they open if the keys come
// back.
func Salvage(files Files, by Credential, draw Draw) (Files, error) {
	o, err := open(files, by)
	if err != nil {
		return nil, err
	}
	defer o.Wipe()
	dir := folderOf(by.User, o.Epoch())
	c := &check{files: files, known: make(map[string]bool)}
	data := files[dir+VaultFile]
	index, whole := c.replayed(dir, data, o)
	if !whole {
		index = c.salvageable(dir, data, o)
	}
	var id vault.ID
	if err := draw(id[:]); err != nil {
		return nil, err
	}
	records := index.Snapshot(id)
	records[0].Sequence += afterLost
	for i := range records[1:] {
		records[1+i].Stale = records[1+i].Stale || !whole
	}
	return newVault(o, id, records, draw)
}

// newVault seals records as the first batch of a vault, and a head that is about it.
func newVault(o *keymintd.Offline, id vault.ID, records []vault.Record, draw Draw) (Files, error) {
	b := vault.NewFile(vault.NewVault(id))
	for _, group := range vault.Group(records) {
		body, err := vault.EncodeBody(group)
		if err != nil {
			return nil, err
		}
		header := b.Header(body)
		sealed, err := o.SealSegment(header, body, draw)
		if err != nil {
			return nil, err
		}
		if err := b.Add(header, sealed); err != nil {
			return nil, err
		}
	}
	made := Files{}
	for _, segment := range b.Segments() {
		made[VaultFile] = append(made[VaultFile], segment...)
	}
	head, err := sealHead(o, b.End(), draw)
	made[HeadFile] = head
	return made, err
}

func sealHead(o *keymintd.Offline, p vault.Point, draw Draw) ([]byte, error) {
	header, body := p.Head()
	sealed, err := o.SealSegment(header[:], body, draw)
	return append(header[:], sealed...), err
}

// Adoption is what is to take the place of a user's vault: where, its bytes, and a
// head that is about them.
type Adoption struct {
	Folder   string
	KV, Head []byte
}

// Adopt looks whether salvaged is a whole vault of the user's.
func Adopt(files, salvaged Files, by Credential, draw Draw) (*Adoption, error) {
	o, err := open(files, by)
	if err != nil {
		return nil, err
	}
	defer o.Wipe()
	c := &check{files: Files{HeadFile: salvaged[HeadFile]}, known: make(map[string]bool)}
	point, ok := c.head("", o)
	if !ok {
		return nil, ErrNotSalvaged
	}
	r := vault.NewReplay(salvaged[VaultFile], point)
	for segment, more := r.Next(); more; segment, more = r.Next() {
		if body, err := o.OpenSegment(segment.Header, segment.Sealed); errors.Is(err, ipc.Damaged) {
			r.Unauthentic()
		} else {
			r.Opened(body)
		}
	}
	result, err := r.Result()
	if err != nil || result.Torn {
		return nil, ErrNotSalvaged
	}
	head, err := sealHead(o, result.End, draw)
	return &Adoption{folderOf(by.User, o.Epoch()), salvaged[VaultFile], head}, err
}
