package keymintd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"slices"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

// rekeying is the root key that the user of a session is about to get, and what
// is below it. Nothing of it is in use before its root.keys, the last of writes,
// is durable.
type rekeying struct {
	from   [sha256.Size]byte          // sum of the root.keys whose place it takes
	head   []byte                     // the keys.head of that time: who changes a ring changes it
	apps   map[[KeyIDSize]byte]string // by the ids of their data keys as they were
	next   *account
	writes []write
}

func (k *rekeying) wipe() {
	if k != nil {
		k.next.wipe()
	}
}

// chances of a rekey, each of which serves once.
type fresh struct {
	root   *secret.Bytes
	data   []*secret.Bytes // for each ring
	nonces []*chance       // for each ring, each protector, and the head
}

func (f *fresh) wipe() {
	for _, b := range append(f.data, f.root) {
		if b != nil {
			b.Wipe()
		}
	}
}

func (f *fresh) nonce() *chance {
	c := f.nonces[0]
	f.nonces = f.nonces[1:]
	return c
}

// beginRekey makes another root key for the user of the stamped session, and for
// each app another data key; all of it in memory. The protectors must be all that
// root.keys has: who is not among them could not open the new one.
func (s *Service) beginRekey(ctx context.Context, r *ipc.Request, q *wire.BeginRekeyRequest) (*wire.BeginRekeyReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	by, err := protectorsOf(q)
	if err != nil {
		return nil, err
	}
	if err := s.locks.takeRoot(ctx, a.acct.user); err != nil {
		return nil, err
	}
	defer s.locks.releaseRoot(a.acct.user)
	if a.acct.sessions > 1 {
		return nil, ipc.Unavailable // Somebody could change a ring. Nobody can be unsealed under the locks.
	}
	f, err := s.proved(ctx, a, by)
	if err != nil {
		return nil, err
	}
	// What a rekey was making that came to nothing.
	if err := s.removeBelow(ctx, a.acct.user, func(e uint32) bool { return e > f.keys.epoch }); err != nil {
		return nil, err
	}
	rings, err := s.allRings(ctx, a, f)
	if err != nil {
		return nil, err
	}
	draw, err := s.draw(ctx, len(rings), len(by))
	defer draw.wipe()
	if err != nil {
		return nil, err
	}
	if err := a.over(); err != nil {
		return nil, err
	}
	a.rekeying.wipe()
	a.rekeying = a.acct.renew(f, rings, by, s.salt, draw)
	return &wire.BeginRekeyReply{}, nil
}

// protectorsOf reads 1 to MaxProtectors different ones.
func protectorsOf(q *wire.BeginRekeyRequest) ([]protector, error) {
	if len(q.Ids) == 0 || len(q.Ids) > MaxProtectors || len(q.Auths) != len(q.Ids)*KeySize {
		return nil, ipc.Malformed
	}
	var by []protector
	for i, id := range q.Ids {
		p, err := protectorOf(&wire.Protector{Id: id, Auth: q.Auths[i*KeySize:][:KeySize]})
		if err != nil || slices.ContainsFunc(by, func(o protector) bool { return o.id == p.id }) {
			return nil, ipc.Malformed
		}
		by = append(by, p)
	}
	return by, nil
}

// proved reads the user's root.keys, which each of the protectors opens, and
// nobody else. The caller has the locks of both files.
func (s *Service) proved(ctx context.Context, a access, by []protector) (*rootFiles, error) {
	f, err := s.readRoot(ctx, a.acct.owner)
	if err != nil {
		return nil, err
	}
	for _, p := range by {
		root, err := f.open(p, s.salt)
		if err != nil {
			return nil, err
		}
		root.Wipe()
	}
	switch {
	case len(f.keys.entries) != len(by):
		return nil, ipc.Exists
	case f.keys.epoch == math.MaxUint32:
		return nil, ipc.LimitReached
	}
	return f, nil
}

// allRings reads every ring that keys.head says there is, in the order of their
// apps. One that cannot be read is an error: its app would lose everything.
func (s *Service) allRings(ctx context.Context, a access, f *rootFiles) ([]*ring, error) {
	var apps []string
	for _, row := range f.head.rings {
		r, err := s.ringOf(ctx, a, f.head, row)
		if errors.Is(err, ipc.NotFound) {
			continue // It was announced or destroyed, and no more.
		}
		if err != nil {
			return nil, err
		}
		a.acct.drop(r.app)
		a.acct.rings[r.app] = r
		apps = append(apps, r.app)
	}
	slices.Sort(apps)
	var rings []*ring
	for _, app := range apps {
		rings = append(rings, a.acct.rings[app])
	}
	return rings, nil
}

// ringOf reads the ring that a row of keys.head is about. ipc.NotFound says that
// there is none, and need be none.
func (s *Service) ringOf(ctx context.Context, a access, h *keyHead, row ringHead) (*ring, error) {
	path := a.acct.ringPath(row.id)
	file, err := s.files.settled(ctx, path, maxRingFile)
	if a.acct.wiped {
		return nil, ipc.Sealed
	}
	if errors.Is(err, ipc.NotFound) {
		return nil, a.acct.absent(h, row.id)
	}
	if err != nil {
		return nil, faultIn(path, err)
	}
	r, _, err := a.acct.openRing(h, row.id, file)
	return r, err
}

// draw fetches the chance of a rekey. What it answers is to be wiped, whatever
// the error.
func (s *Service) draw(ctx context.Context, rings, protectors int) (f *fresh, err error) {
	f = &fresh{}
	if f.root, err = s.entropy.forKey(ctx); err != nil {
		return f, err
	}
	for range rings {
		data, err := s.entropy.forKey(ctx)
		if err != nil {
			return f, err
		}
		f.data = append(f.data, data)
	}
	for range rings + protectors + 1 {
		c, err := s.entropy.forNonce(ctx)
		if err != nil {
			return f, err
		}
		f.nonces = append(f.nonces, c)
	}
	return f, nil
}

// renew builds everything that is below the new root key. It neither parks nor
// fails.
func (a *account) renew(f *rootFiles, rings []*ring, by []protector, salt []byte, draw *fresh) *rekeying {
	k := &rekeying{
		from: f.sum, head: f.file, apps: make(map[[KeyIDSize]byte]string),
		next: newAccount(a.owner, draw.root, f.keys.epoch+1),
	}
	h := &keyHead{}
	for i, r := range rings {
		was, id := fileID(a.rootKeys.names, r.app), fileID(k.next.rootKeys.names, r.app)
		n := r.renewed(secret.Copy(draw.data[i].Expose()), was)
		k.apps[was], k.next.rings[r.app] = r.app, n
		h.set(n.row(id))
		k.writes = append(k.writes, write{k.next.ringPath(id), sealRing(k.next.rootKeys.rings, draw.nonce(), a.owner, id, n)})
	}
	keys := &rootKeys{incarnation: a.incarnation, generation: f.keys.generation, epoch: k.next.epoch}
	for _, p := range by {
		keys.add(a.owner, p, salt, draw.nonce(), draw.root)
	}
	keys.seal(draw.root)
	file := keys.encode()
	h.generation, h.sum = keys.generation, sha256.Sum256(file)
	k.writes = append(k.writes, k.next.sealHead(draw.nonce(), h), write{rootPath(a.user), file})
	return k
}

// renewed answers the first generation of a ring with another data key, which it
// takes over, and the same signing keys. The ring as it was had that id.
func (r *ring) renewed(data *secret.Bytes, id [KeyIDSize]byte) *ring {
	c := r.clone()
	c.data.Wipe()
	c.records.wipe()
	c.setData(data)
	c.generation = 1
	c.former = slices.Insert(c.former, 0, formerKey{id, secret.Copy(r.data.Expose())})
	for _, k := range c.former[min(len(c.former), maxFormer):] {
		k.data.Wipe()
	}
	c.former = c.former[:min(len(c.former), maxFormer)]
	return c
}

// commitRekey makes durable what beginRekey has made, root.keys last. From that
// write on the new root key holds. The session's keys are those of before, so
// they go; what was sealed below the former root key goes from the disk, now or
// at the next unseal.
func (s *Service) commitRekey(ctx context.Context, r *ipc.Request, _ *wire.CommitRekeyRequest) (*wire.CommitRekeyReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	if a.rekeying == nil {
		return nil, ipc.Denied
	}
	if err := s.locks.takeRoot(ctx, a.acct.user); err != nil {
		return nil, err
	}
	defer s.locks.releaseRoot(a.acct.user)
	f, err := s.readRoot(ctx, a.acct.owner)
	if err = cmp.Or(err, a.over()); err != nil {
		return nil, err
	}
	if f.sum != a.rekeying.from || !bytes.Equal(f.file, a.rekeying.head) || a.acct.sessions > 1 {
		return nil, ipc.Unavailable // A protector came or went meanwhile, or a ring has changed or could.
	}
	writes, epoch := a.rekeying.writes, a.rekeying.next.epoch
	s.seal(a.session) // Not later: the writes may take long, and need no key.
	if err := s.files.commit(ctx, writes); err != nil {
		return nil, err
	}
	_ = s.removeBelow(ctx, a.acct.user, func(e uint32) bool { return e < epoch })
	return &wire.CommitRekeyReply{}, nil
}

// sweep removes what is below former root keys of the user's, of which f is the
// present one. A failure is no reason to keep keys from whoever has proved them.
func (s *Service) sweep(ctx context.Context, f *rootFiles) {
	if f.keys.epoch > 0 {
		_ = s.removeBelow(ctx, f.of.user, func(e uint32) bool { return e < f.keys.epoch })
	}
}

// resealRecord opens a record with the data key of the id that it had, whosever
// that is, and seals it under the one which takes its place.
func (s *Service) resealRecord(ctx context.Context, r *ipc.Request, q *wire.ResealRecordRequest) (*wire.ResealRecordReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	place, err := placeOf(a, q.Sequence, q.Kind)
	if err != nil || len(q.KeyId) != KeyIDSize {
		return nil, ipc.Malformed
	}
	record, err := wire.Payload(r, q.Record, q.Size, MaxLong)
	if err != nil {
		return nil, tooLong(err)
	}
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	if a.sealed {
		return nil, ipc.Sealed
	}
	if a.rekeying == nil {
		return nil, ipc.Denied
	}
	app, known := a.rekeying.apps[[KeyIDSize]byte(q.KeyId)]
	if !known {
		return nil, ipc.Damaged // Nobody has the key that it was sealed with.
	}
	place.app = app
	id, sealed, err := a.rekeying.reseal(a.acct.rings[app], c, place, record)
	if err != nil {
		return nil, ipc.Damaged
	}
	inline, size, err := wire.Deliver(r, sealed, q.Size > 0)
	return &wire.ResealRecordReply{KeyId: id[:], Record: inline, Size: size}, err
}

// reseal answers the record in its new form, and the id of its new key.
func (k *rekeying) reseal(was *ring, c *chance, place recordPlace, record []byte) (id [KeyIDSize]byte, sealed []byte, err error) {
	name, value, err := openRecord(was.records, place, record)
	if err != nil {
		return id, nil, err
	}
	defer secret.Wipe(value)
	return fileID(k.next.rootKeys.names, place.app), sealRecord(k.next.rings[place.app].records, c, place, name, value), nil
}

// vaultEpoch says which of the user's root keys the session has.
func (s *Service) vaultEpoch(_ context.Context, r *ipc.Request, _ *wire.VaultEpochRequest) (*wire.VaultEpochReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	return &wire.VaultEpochReply{Epoch: a.acct.epoch}, nil
}
