package identityd

import (
	"context"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// place is an app of a user.
type place struct{ user, app string }

// uninstallApp takes an app out of a user's system: first its tokens, in all of
// the user's sessions, then its secrets, then its keys, without which no copy of
// the secrets is worth anything. If it fails in between, it is asked again.
func (s *Service) uninstallApp(ctx context.Context, _ *ipc.Request, q *wire.UninstallAppRequest) (*wire.UninstallAppReply, error) {
	if capability.CheckApp(q.App) != nil {
		return nil, ipc.Malformed
	}
	c, active := s.sessions[q.Sid]
	switch {
	case !active, ofSystem(q.App):
		return nil, ipc.Denied
	case !c.unsealed:
		return nil, ipc.Sealed
	}
	gone := place{c.user, q.App}
	if s.leaving[gone] {
		return nil, ipc.Unavailable
	}
	s.leaving[gone] = true
	defer delete(s.leaving, gone)
	s.revokeApp(gone)
	if err := s.removeApp(s.task.Detached(ctx), c, q.App); err != nil {
		return nil, err
	}
	s.task.Mark("identity: app uninstalled", ipc.F("user", gone.user), ipc.F("app", gone.app))
	return &wire.UninstallAppReply{}, nil
}

// revokeApp makes every token of the app void. Those that it derived go with
// them, and what was asked with them has been answered when it returns.
func (s *Service) revokeApp(gone place) {
	for _, c := range s.sessionsOf(gone.user) {
		for i := range c.issued[gone.app] {
			s.revoke(&c.issued[gone.app][i])
		}
		delete(c.issued, gone.app)
	}
}

// removeApp has keystored and keymintd destroy what they have of the app. The
// token that says which app it is about is revoked at once.
func (s *Service) removeApp(ctx context.Context, c *session, app string) error {
	token, err := s.mintFor(c, app, capability.Del|capability.Seal)
	if err != nil {
		return err
	}
	defer s.revoke(&token)
	if err := s.call(ctx, s.cfg.KeyStore, wire.OpDropApp, &token, &wire.DropAppRequest{}, &wire.DropAppReply{}); err != nil {
		return err
	}
	return s.call(ctx, s.cfg.KeyMint, wire.OpRemoveApp, &token, &wire.RemoveAppRequest{}, &wire.RemoveAppReply{})
}
