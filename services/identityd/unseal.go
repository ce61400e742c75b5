package identityd

import (
	"context"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// systemApp is the app that identityd's own tokens are for. No token for it, or
// for anything below systemPrefix, is issued to others.
const (
	systemName   = "nexus"
	systemPrefix = systemName + "."
	systemApp    = systemPrefix + "identityd"
)

func (s *Service) unsealSession(ctx context.Context, r *ipc.Request, q *wire.UnsealSessionRequest) (*wire.UnsealSessionReply, error) {
	c, ok := s.sessions[q.Sid]
	if !ok {
		return nil, ipc.Denied
	}
	done, err := s.admit()
	if err != nil {
		return nil, err
	}
	defer done()
	turn := c.turn
	p, err := s.prove(ctx, c.user, q.Credential)
	if err != nil {
		return nil, err
	}
	defer p.wipe()
	// One unseal of a session at a time, and none while a seal is under way:
	// so an unseal that failed may seal the session without harm to another.
	for c.turn == turn && (c.unsealing || c.sealing > 0) {
		if err := s.turns.Wait(ctx, s.task); err != nil {
			return nil, err
		}
	}
	if r.Gone() {
		return nil, ipc.TimedOut // Whoever asked gave up: then it stays sealed.
	}
	if err := c.overtaken(turn); err != nil {
		return nil, err
	}
	if c.unsealed {
		return &wire.UnsealSessionReply{}, nil
	}
	if c.inc != p.inc || !s.stands(p) {
		return nil, ipc.BadSecret
	}
	if s.rekeying[c.user] {
		return nil, ipc.Unavailable
	}
	if err := s.unseal(s.task.Detached(ctx), c, turn, p); err != nil {
		return nil, err
	}
	return &wire.UnsealSessionReply{}, nil
}

// overtaken says what an unseal that began in that turn answers if a lock or an
// end came meanwhile.
func (c *session) overtaken(turn uint64) error {
	switch {
	case c.ended:
		return ipc.Denied
	case c.turn != turn:
		return ipc.Sealed
	}
	return nil
}

// unseal opens keys, session and vault in this order, or seals everything
// again. Pruning comes last: what it leaves is for another time.
func (s *Service) unseal(ctx context.Context, c *session, turn uint64, p *proof) error {
	c.unsealing = true
	defer func() {
		c.unsealing = false
		s.turns.Broadcast()
	}()
	err := s.open(ctx, c, turn, p)
	if err == nil {
		c.unsealed = true
		s.task.Mark("identity: session unseal", c.marker())
		s.pruneAtUnseal(ctx, c, p)
		return nil
	}
	if sealed := s.seal(ctx, c); sealed != nil {
		err = sealed
	}
	if late := c.overtaken(turn); late != nil {
		return late
	}
	return err
}

func (s *Service) open(ctx context.Context, c *session, turn uint64, p *proof) error {
	if err := s.openKeys(ctx, c, p); err != nil {
		return err
	}
	// Nothing parks between this check and the kernel's opening.
	if err := c.overtaken(turn); err != nil {
		return err
	}
	if err := s.task.OpenSession(s.cfg.Authority, c.sid); err != nil {
		return err
	}
	if err := s.openVault(ctx, c); err != nil {
		return err
	}
	return c.overtaken(turn)
}

// openKeys has keymintd open the keys of the session. The token that says which
// session it is about is revoked at once: it has served.
func (s *Service) openKeys(ctx context.Context, c *session, p *proof) error {
	token, err := s.mint(c, capability.Seal)
	if err != nil {
		return err
	}
	defer s.revoke(&token)
	q := &wire.UnsealKeysRequest{Protector: protector(p.protector, p.auth)}
	err = s.call(ctx, s.cfg.KeyMint, wire.OpUnsealKeys, &token, q, &wire.UnsealKeysReply{})
	if saidNo(err, ipc.NotFound) && !s.stands(p) {
		return ipc.BadSecret // It was exchanged or removed meanwhile.
	}
	return olderUsers(err)
}

// openVault has keystored read the vault, or make it if none is known to exist,
// and notes in the database that there is one now.
func (s *Service) openVault(ctx context.Context, c *session) error {
	token, err := s.mint(c, capability.Put|capability.Get|capability.List)
	if err != nil {
		return err
	}
	defer s.revoke(&token)
	u, _ := s.db.Live(c.user)
	q := &wire.OpenVaultRequest{Create: !u.VaultCreated}
	if err := s.call(ctx, s.cfg.KeyStore, wire.OpOpenVault, &token, q, &wire.OpenVaultReply{}); err != nil {
		return err
	}
	if u.VaultCreated {
		return nil
	}
	if err := s.writing.enter(ctx, s.task); err != nil {
		return err
	}
	defer s.writing.leave()
	u, live := s.db.Live(c.user)
	if !live || u.Incarnation != c.inc || u.VaultCreated {
		return nil
	}
	u.VaultCreated = true
	return s.commit(ctx, s.db.With(u))
}

func (s *Service) mint(c *session, rights capability.TokenRights) (capability.Token, error) {
	return s.mintFor(c, systemApp, rights)
}

// mintFor mints a token of identityd's own that says which app it is about.
func (s *Service) mintFor(c *session, app string, rights capability.TokenRights) (capability.Token, error) {
	return s.task.MintToken(s.cfg.Authority, ipc.TokenSpec{SID: c.sid, App: app, Holder: s.task.ID(), Rights: rights})
}

// revoke drops a token of identityd's own. That a lock was quicker is fine.
func (s *Service) revoke(token *capability.Token) {
	_ = s.task.RevokeToken(s.cfg.Authority, token)
}

// pruneAtUnseal removes wraps of no protector. A failure does not undo the
// unseal, and is tried again at the next one.
func (s *Service) pruneAtUnseal(ctx context.Context, c *session, p *proof) {
	if !s.stale[c.user] {
		return
	}
	if s.writing.enter(ctx, s.task) != nil {
		return
	}
	defer s.writing.leave()
	_ = s.prune(ctx, c.user, protector(p.protector, p.auth)) // The user stays marked as stale.
}
