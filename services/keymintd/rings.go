package keymintd

import (
	"context"
	"errors"
	"slices"

	"nexus.internal/os/ipc"
)

// ring answers the app's ring, which is the session's until the request's next
// kernel call. It reads the ring at the app's first use; if there is none, it
// makes one, or returns ipc.NotFound.
func (s *Service) ring(ctx context.Context, a access, create bool) (*ring, error) {
	if a.sealed {
		return nil, ipc.Sealed
	}
	if r := a.acct.rings[a.app]; r != nil {
		return r, nil
	}
	lock, err := s.locks.takeRing(ctx, a)
	if err != nil {
		return nil, err
	}
	defer s.locks.releaseRing(lock)
	r, err := s.loaded(ctx, a)
	if create && errors.Is(err, ipc.NotFound) {
		return s.makeRing(ctx, a)
	}
	return r, err
}

// loaded answers the ring that is in memory, or reads it and compares it with
// keys.head. The caller has the ring's lock, and has just seen that the session
// is not sealed.
func (s *Service) loaded(ctx context.Context, a access) (*ring, error) {
	acct := a.acct
	if r := acct.rings[a.app]; r != nil {
		return r, nil
	}
	id := fileID(acct.rootKeys.names, a.app)
	file, err := s.files.settled(ctx, acct.ringPath(id), maxRingFile)
	if err != nil && !errors.Is(err, ipc.NotFound) {
		return nil, faultIn(acct.ringPath(id), err)
	}
	h, headErr := s.glance(ctx, a)
	if headErr != nil {
		return nil, headErr
	}
	if err != nil {
		return nil, acct.absent(h, id)
	}
	r, behind, err := acct.openRing(h, id, file)
	if err != nil {
		return nil, err
	}
	acct.rings[a.app] = r
	if behind {
		s.catchUp(ctx, a, id)
	}
	if a.sealed {
		return nil, ipc.Sealed
	}
	return acct.rings[a.app], nil
}

// absent is what it means that statefsd knows no such file of a ring.
func (a *account) absent(h *keyHead, id [KeyIDSize]byte) error {
	if row, _ := h.row(id); row.exists() {
		return faultIn(a.ringPath(id), damageAt(0))
	}
	return ipc.NotFound
}

// openRing reads the file of a ring, and compares it with keys.head, which may
// be one generation behind.
func (a *account) openRing(h *keyHead, id [KeyIDSize]byte, file []byte) (r *ring, behind bool, err error) {
	path := a.ringPath(id)
	r, err = openRing(a.rootKeys.rings, a.rootKeys.names, a.owner, id, file)
	if err != nil {
		return nil, false, faultIn(path, err)
	}
	if behind, err = h.checkRing(id, r.generation); err != nil {
		r.wipe()
		if errors.Is(err, errDestroyed) {
			return nil, false, ipc.NotFound
		}
		return nil, false, older(path, a.headPath(), err)
	}
	return r, behind, nil
}

// head reads keys.head before it is written. It returns ipc.Sealed if the keys
// were wiped meanwhile. The caller has its lock.
func (s *Service) head(ctx context.Context, a access) (*keyHead, error) {
	file, err := s.mustRead(ctx, a.acct.headPath(), maxKeyHeadFile)
	return a.acct.openHead(file, err)
}

// glance reads keys.head without its lock, to compare it with a ring.
func (s *Service) glance(ctx context.Context, a access) (*keyHead, error) {
	file, err := s.files.read(ctx, a.acct.headPath(), maxKeyHeadFile)
	return a.acct.openHead(file, present(a.acct.headPath(), err))
}

func (a *account) openHead(file []byte, err error) (*keyHead, error) {
	if a.wiped {
		return nil, ipc.Sealed
	}
	if err != nil {
		return nil, err
	}
	h, err := openKeyHead(a.rootKeys.head, a.owner, file)
	return h, faultIn(a.headPath(), err)
}

// catchUp brings keys.head up to a ring that was written before a crash kept
// the head from it. The ring is good without it, and the next change, or who
// reads the ring next, tries again.
func (s *Service) catchUp(ctx context.Context, a access, id [KeyIDSize]byte) {
	lock := headLock(a.acct.user)
	if s.locks.take(ctx, lock, a.over) != nil {
		return
	}
	defer s.locks.release(lock)
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return
	}
	h, err := s.head(ctx, a)
	if err != nil || a.acct.rings[a.app] == nil {
		return
	}
	h.set(a.acct.rings[a.app].row(id))
	_ = s.files.commit(ctx, []write{a.acct.sealHead(c, h)})
}

func (a *account) sealHead(c *chance, h *keyHead) write {
	return write{a.headPath(), sealKeyHead(a.rootKeys.head, c, a.owner, h)}
}

// makeRing makes an app's ring. The caller has the ring's lock and was told by
// statefsd that there is none.
func (s *Service) makeRing(ctx context.Context, a access) (*ring, error) {
	lock := headLock(a.acct.user)
	if err := s.locks.take(ctx, lock, a.over); err != nil {
		return nil, err
	}
	defer s.locks.release(lock)
	data, err := s.entropy.forKey(ctx)
	if err != nil {
		return nil, err
	}
	r := newRing(a.app, data)
	if err := s.first(ctx, a, r); err != nil {
		r.wipe()
		return nil, err
	}
	return s.visible(a, r)
}

// first makes the first ring of an app durable, or the first one since its last
// one was destroyed. The caller has the lock of keys.head.
func (s *Service) first(ctx context.Context, a access, r *ring) error {
	c, err := s.entropy.several(ctx)
	if err != nil {
		return err
	}
	h, err := s.roomForRing(ctx, a)
	if err != nil {
		return err
	}
	if a.acct.wiped {
		return ipc.Sealed
	}
	row, _ := h.row(fileID(a.acct.rootKeys.names, a.app))
	r.generation = row.generation + 1
	return s.store(ctx, a, h, c, row, r)
}

// roomForRing answers keys.head if the user may have a ring of the app's. Rows
// that a crash has left without a ring make room, and if need be one of a ring
// that was destroyed. The caller has the lock of keys.head.
func (s *Service) roomForRing(ctx context.Context, a access) (*keyHead, error) {
	h, err := s.head(ctx, a)
	if err != nil {
		return nil, err
	}
	_, known := h.row(fileID(a.acct.rootKeys.names, a.app))
	if known || len(h.rings) < s.limits.Apps {
		return h, nil
	}
	there := make(map[string]bool)
	err = s.files.each(ctx, ringPrefix(a.acct.user, a.acct.epoch), func(path string) error { there[path] = true; return nil })
	if err != nil {
		return nil, err
	}
	absent := func(r ringHead) bool { return !there[a.acct.ringPath(r.id)] }
	h.rings = slices.DeleteFunc(h.rings, func(r ringHead) bool { return r.generation == 0 && absent(r) })
	if len(h.rings) < s.limits.Apps {
		return h, nil
	}
	i := slices.IndexFunc(h.rings, func(r ringHead) bool { return r.destroyed && absent(r) })
	if i < 0 {
		return nil, ipc.LimitReached
	}
	h.rings = slices.Delete(h.rings, i, i+1)
	return h, nil
}

// change builds the ring that edit makes of the app's ring, makes it durable,
// and lets others see it only then. It returns ipc.NotFound if the app has no
// ring, and edit's error.
func (s *Service) change(ctx context.Context, a access, edit func(next *ring) error) error {
	lock, err := s.locks.takeRing(ctx, a)
	if err != nil {
		return err
	}
	defer s.locks.releaseRing(lock)
	if a.sealed {
		return ipc.Sealed
	}
	now, err := s.loaded(ctx, a)
	if err != nil {
		return err
	}
	next := now.clone()
	next.generation++
	err = edit(next)
	if err == nil {
		err = s.changed(ctx, a, now, next)
	}
	if err != nil {
		next.wipe()
		return err
	}
	_, err = s.visible(a, next)
	return err
}

// changed makes the next generation of a ring durable.
func (s *Service) changed(ctx context.Context, a access, now, next *ring) error {
	lock := headLock(a.acct.user)
	if err := s.locks.take(ctx, lock, a.over); err != nil {
		return err
	}
	defer s.locks.release(lock)
	c, err := s.entropy.several(ctx)
	if err != nil {
		return err
	}
	h, err := s.head(ctx, a)
	if err != nil {
		return err
	}
	id := fileID(a.acct.rootKeys.names, next.app)
	if _, err := h.checkRing(id, now.generation); err != nil {
		return older(a.acct.ringPath(id), a.acct.headPath(), err)
	}
	row := now.row(id)
	if n := len(next.names()); n > int(row.names) && h.signingKeys(id)+n > s.limits.UserSigningKeys {
		return ipc.LimitReached
	}
	return s.store(ctx, a, h, c, row, next)
}

// store makes a ring durable, and the head that is about it; before is the row of
// what there was. If a write fails, what is in memory may not be what the disk
// holds, and is dropped. The caller has the locks of both.
func (s *Service) store(ctx context.Context, a access, h *keyHead, c chances, before ringHead, r *ring) error {
	if a.acct.wiped || a.sealed {
		return ipc.Sealed
	}
	if err := s.files.commit(ctx, a.acct.writes(h, c, before, r)); err != nil {
		a.acct.drop(r.app)
		return err
	}
	return nil
}

// writes answers what makes a ring durable: the head after the ring that it is
// about. Before it the ring is announced, or the head catches up, if need be: it
// must never be two generations behind.
func (a *account) writes(h *keyHead, c chances, before ringHead, r *ring) []write {
	var writes []write
	if row, known := h.row(before.id); !known || row.generation != before.generation {
		h.set(before)
		writes = append(writes, a.sealHead(c[0], h))
	}
	file := sealRing(a.rootKeys.rings, c[1], a.owner, before.id, r)
	h.set(r.row(before.id))
	return append(writes, write{a.ringPath(before.id), file}, a.sealHead(c[2], h))
}

// row is what keys.head says of a ring.
func (r *ring) row(id [KeyIDSize]byte) ringHead {
	return ringHead{id: id, generation: r.generation, names: uint8(len(r.names()))}
}

// visible puts a durable ring in the place of the one before. Keys that were
// wiped meanwhile stay wiped.
func (s *Service) visible(a access, r *ring) (*ring, error) {
	if a.acct.wiped {
		r.wipe()
		return nil, ipc.Sealed
	}
	a.acct.drop(r.app)
	a.acct.rings[r.app] = r
	if a.sealed {
		return nil, ipc.Sealed
	}
	return r, nil
}
