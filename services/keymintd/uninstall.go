package keymintd

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// removeApp destroys the stamped app's ring: keys.head says so, and then the file
// goes. It is not opened for that, so that one that is damaged can be got rid of.
func (s *Service) removeApp(ctx context.Context, r *ipc.Request, _ *wire.RemoveAppRequest) (*wire.RemoveAppReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	lock, err := s.locks.takeRing(ctx, a)
	if err != nil {
		return nil, err
	}
	defer s.locks.releaseRing(lock)
	if a.sealed {
		return nil, ipc.Sealed
	}
	return &wire.RemoveAppReply{}, s.destroyRing(ctx, a)
}

// destroyRing has the ring's lock from its caller.
func (s *Service) destroyRing(ctx context.Context, a access) error {
	id := fileID(a.acct.rootKeys.names, a.app)
	a.acct.drop(a.app)
	lock := headLock(a.acct.user)
	if err := s.locks.take(ctx, lock, a.over); err != nil {
		return err
	}
	defer s.locks.release(lock)
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return err
	}
	h, err := s.head(ctx, a)
	if err != nil {
		return err
	}
	h.destroy(id)
	if err := s.files.commit(ctx, []write{a.acct.sealHead(c, h)}); err != nil {
		return err
	}
	return s.files.remove(ctx, a.acct.ringPath(id))
}
