package identityd

import (
	"context"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

// rekey gives a user another root key. Whoever has a former password and a former
// root.keys has the former root key, which opens nothing that is written from then
// on. It takes every credential of the user's, because what is not presented would
// open nothing any more.
//
// An error may come after the new root key has become the user's. Then it holds,
// or the former one does, and nothing is lost either way.
func (s *Service) rekey(ctx context.Context, r *ipc.Request, q *wire.RekeyRequest) (*wire.RekeyReply, error) {
	given := credentialsOf(q)
	if len(given) == 0 {
		return nil, ipc.Malformed
	}
	done, err := s.admit()
	if err != nil {
		return nil, err
	}
	defer done()
	proofs, err := s.proveAll(ctx, q.User, given)
	defer wipeAll(proofs)
	if err != nil {
		return nil, err
	}
	user := proofs[0].user
	switch u, _ := s.db.Live(user); {
	case r.Gone():
		return nil, ipc.TimedOut
	case !s.stand(proofs):
		return nil, ipc.BadSecret
	case len(u.Protectors) > len(proofs):
		return nil, ipc.Exists
	case s.rekeying[user]:
		return nil, ipc.Unavailable
	}
	s.rekeying[user] = true
	defer delete(s.rekeying, user)
	ctx = s.task.Detached(ctx)
	if err := s.lockAll(ctx, user); err != nil {
		return nil, err
	}
	if err := s.alone(ctx, proofs[0], func(c *session) error { return s.replaceRoot(ctx, c, proofs) }); err != nil {
		return nil, err
	}
	// That it opens shows that all of it is there, and is what the services take
	// as a reason to remove what was before.
	return &wire.RekeyReply{}, s.alone(ctx, proofs[0], func(*session) error { return nil })
}

// credentialsOf are those that a request brings, at most one of a kind.
func credentialsOf(q *wire.RekeyRequest) (given []*wire.Credential) {
	for _, c := range []*wire.Credential{
		{Kind: wire.CredentialKind_CREDENTIAL_KIND_PASSWORD, Secret: q.Password},
		{Kind: wire.CredentialKind_CREDENTIAL_KIND_PIN, Secret: q.Pin},
		{Kind: wire.CredentialKind_CREDENTIAL_KIND_RECOVERY, Secret: q.Recovery},
	} {
		if len(c.Secret) > 0 {
			given = append(given, c)
		}
	}
	return given
}

// proveAll proves one after the other. What it answers is to be wiped, whatever
// the error.
func (s *Service) proveAll(ctx context.Context, user string, list []*wire.Credential) (proofs []*proof, err error) {
	for _, c := range list {
		p, err := s.prove(ctx, user, c)
		if err != nil {
			return proofs, err
		}
		proofs = append(proofs, p)
	}
	return proofs, nil
}

func wipeAll(proofs []*proof) {
	for _, p := range proofs {
		p.wipe()
	}
}

// stand says whether all that was proved is still so.
func (s *Service) stand(proofs []*proof) bool {
	for _, p := range proofs {
		if !s.stands(p) {
			return false
		}
	}
	return true
}

// lockAll seals every session of the user's.
func (s *Service) lockAll(ctx context.Context, user string) error {
	for _, c := range s.sessionsOf(user) {
		if c.ended {
			continue
		}
		c.void()
		if err := s.seal(ctx, c); err != nil {
			return err
		}
		s.task.Mark("identity: session lock", c.marker())
	}
	return nil
}

// alone opens the user's keys and vault in a session that nobody else knows of,
// and ends it when do has returned.
func (s *Service) alone(ctx context.Context, p *proof, do func(c *session) error) error {
	sid, err := s.task.StartSession(s.cfg.Authority, p.user, p.inc)
	if err != nil {
		return err
	}
	c := &session{sid: sid, user: p.user, inc: p.inc}
	if err = s.open(ctx, c, c.turn, p); err == nil {
		s.pruneAtUnseal(ctx, c, p)
		err = do(c)
	}
	c.ended = true
	if over := s.wipe(ctx, c, s.task.EndSession(s.cfg.Authority, sid)); err == nil {
		err = over
	}
	return err
}

// replaceRoot has keymintd make a new root key, keystored write the vault below
// it, and keymintd make it the user's.
func (s *Service) replaceRoot(ctx context.Context, c *session, proofs []*proof) error {
	token, err := s.mint(c, capability.Put|capability.Get|capability.Seal)
	if err != nil {
		return err
	}
	defer s.revoke(&token)
	auths := secret.New(len(proofs) * AuthSize)
	defer auths.Wipe()
	begin := &wire.BeginRekeyRequest{Auths: auths.Expose()}
	for i, p := range proofs {
		begin.Ids = append(begin.Ids, p.protector)
		copy(begin.Auths[i*AuthSize:], p.auth.Expose())
	}
	if err := s.call(ctx, s.cfg.KeyMint, wire.OpBeginRekey, &token, begin, &wire.BeginRekeyReply{}); err != nil {
		return olderUsers(err)
	}
	if err := s.call(ctx, s.cfg.KeyStore, wire.OpRekeyVault, &token, &wire.RekeyVaultRequest{}, &wire.RekeyVaultReply{}); err != nil {
		return err
	}
	if !s.stand(proofs) {
		return ipc.BadSecret
	}
	if err := s.call(ctx, s.cfg.KeyMint, wire.OpCommitRekey, &token, &wire.CommitRekeyRequest{}, &wire.CommitRekeyReply{}); err != nil {
		return err
	}
	s.task.Mark("identity: rekeyed", ipc.F("user", c.user))
	return nil
}
