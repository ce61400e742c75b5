package keymintd

import (
	"context"
	"errors"

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

// loaded answers the ring that is in memory, or reads it. The caller has the
// ring's lock, and has just seen that the session is not sealed.
func (s *Service) loaded(ctx context.Context, a access) (*ring, error) {
	acct := a.acct
	if r := acct.rings[a.app]; r != nil {
		return r, nil
	}
	id := fileID(acct.rootKeys.names, a.app)
	path := ringPath(acct.user, id)
	file, err := s.files.read(ctx, path, maxRingFile)
	if acct.wiped {
		return nil, ipc.Sealed
	}
	if err != nil {
		return nil, faultIn(path, err)
	}
	r, err := openRing(acct.rootKeys.rings, acct.rootKeys.names, acct.owner, id, file)
	if err != nil {
		return nil, faultIn(path, err)
	}
	acct.rings[a.app] = r
	if a.sealed {
		return nil, ipc.Sealed
	}
	return r, nil
}

// makeRing makes an app's ring. The caller has the ring's lock and was told by
// statefsd that there is none.
func (s *Service) makeRing(ctx context.Context, a access) (*ring, error) {
	if err := s.roomForRing(ctx, a); err != nil {
		return nil, err
	}
	defer s.locks.release(a.acct.user + "/")
	data, err := s.entropy.forKey(ctx)
	if err != nil {
		return nil, err
	}
	r := newRing(a.app, data)
	if err := s.store(ctx, a, r); err != nil {
		r.wipe()
		return nil, err
	}
	return s.visible(a, r)
}

// roomForRing takes the lock of the number of the user's rings, if there may
// be one more.
func (s *Service) roomForRing(ctx context.Context, a access) error {
	user := a.acct.user
	if err := s.locks.take(ctx, user+"/", a.over); err != nil {
		return err
	}
	apps := 0
	err := s.files.each(ctx, ringPrefix(user), func(string) error { apps++; return nil })
	if err == nil && apps >= s.limits.Apps {
		err = ipc.LimitReached
	}
	if err != nil {
		s.locks.release(user + "/")
	}
	return err
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
	if err := edit(next); err != nil {
		next.wipe()
		return err
	}
	if err := s.store(ctx, a, next); err != nil {
		next.wipe()
		return err
	}
	_, err = s.visible(a, next)
	return err
}

// store makes a ring durable. If the write fails, what is in memory may not be
// what the disk holds, and is dropped.
func (s *Service) store(ctx context.Context, a access, r *ring) error {
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return err
	}
	acct := a.acct
	if acct.wiped || a.sealed {
		return ipc.Sealed
	}
	id := fileID(acct.rootKeys.names, r.app)
	path := ringPath(acct.user, id)
	if err := s.files.replace(ctx, path, sealRing(acct.rootKeys.rings, c, acct.owner, id, r)); err != nil {
		acct.drop(r.app)
		return err
	}
	return nil
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
