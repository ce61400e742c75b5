package keymintd

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// removeApp destroys the stamped app's ring. It is not opened for that, so that
// one that is damaged can be got rid of.
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
	path := ringPath(a.acct.user, fileID(a.acct.rootKeys.names, a.app))
	a.acct.drop(a.app)
	return &wire.RemoveAppReply{}, s.files.remove(ctx, path)
}
