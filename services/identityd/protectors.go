package identityd

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/recovery"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
)

func (s *Service) setCredential(ctx context.Context, _ *ipc.Request, q *wire.SetCredentialRequest) (*wire.SetCredentialReply, error) {
	if !chosen(q.Set) {
		return nil, ipc.Malformed
	}
	have, done, err := s.proven(ctx, q.User, q.Have)
	if err != nil {
		return nil, err
	}
	defer done()
	kind, _ := kindOf(q.Set)
	if err := s.set(ctx, have, kind, q.Set.Secret); err != nil {
		return nil, err
	}
	return &wire.SetCredentialReply{}, nil
}

// createRecovery answers the text of a new recovery key only when it is durable
// that the key opens everything. If the answer is lost, so is the key: it is
// made again.
func (s *Service) createRecovery(ctx context.Context, _ *ipc.Request, q *wire.CreateRecoveryRequest) (*wire.CreateRecoveryReply, error) {
	have, done, err := s.proven(ctx, q.User, q.Have)
	if err != nil {
		return nil, err
	}
	defer done()
	key := secret.New(recovery.Size)
	defer key.Wipe()
	if err := s.entropy(ctx, key.Expose()); err != nil {
		return nil, err
	}
	if err := s.set(ctx, have, userdb.Recovery, key.Expose()); err != nil {
		return nil, err
	}
	reply := &wire.CreateRecoveryReply{Text: make([]byte, recovery.TextSize)}
	recovery.Write((*[recovery.TextSize]byte)(reply.Text), (*[recovery.Size]byte)(key.Expose()))
	return reply, nil
}

// removeCredential removes a protector and its wrap. What is removed may be what
// proves it. The last one stays, and so does the last but a recovery key unless
// the request says anyway: paper is lost more easily than a word is forgotten.
func (s *Service) removeCredential(ctx context.Context, _ *ipc.Request, q *wire.RemoveCredentialRequest) (*wire.RemoveCredentialReply, error) {
	kind, ok := kindOf(&wire.Credential{Kind: q.Kind})
	if !ok {
		return nil, ipc.Malformed
	}
	have, done, err := s.proven(ctx, q.User, q.Have)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx = s.task.Detached(ctx)
	if err := s.writing.enter(ctx, s.task); err != nil {
		return nil, err
	}
	defer s.writing.leave()
	if !s.stands(have) {
		return nil, ipc.BadSecret
	}
	u, _ := s.db.Find(have.user)
	rest := u.WithoutProtector(kind)
	switch {
	case len(rest.Protectors) == len(u.Protectors):
		return nil, ipc.NotFound
	case len(rest.Protectors) == 0, onlyRecovery(rest) && !q.Anyway:
		return nil, ipc.LastOne
	}
	s.stale[u.ID] = true
	if err := s.commit(ctx, s.db.With(rest)); err != nil {
		return nil, err
	}
	s.task.Mark("identity: credential removed", ipc.F("user", u.ID), ipc.F("kind", kind.String()))
	if err := s.prune(ctx, u.ID, protector(have.protector, have.auth)); err != nil {
		return nil, err
	}
	return &wire.RemoveCredentialReply{}, nil
}

func onlyRecovery(u userdb.User) bool {
	return len(u.Protectors) == 1 && u.Protectors[0].Kind == userdb.Recovery
}

// set stretches a credential that is new, and makes it the user's one of its
// kind.
func (s *Service) set(ctx context.Context, have *proof, kind userdb.Kind, word []byte) error {
	add := userdb.Protector{Kind: kind, Cost: s.cfg.Argon}
	if err := s.entropy(ctx, add.Salt[:]); err != nil {
		return err
	}
	out, err := s.stretch(ctx, word, add.Salt, add.Cost)
	if err != nil {
		return err
	}
	defer out.auth.Wipe()
	add.Verifier = out.verifier
	ctx = s.task.Detached(ctx)
	if err := s.writing.enter(ctx, s.task); err != nil {
		return err
	}
	defer s.writing.leave()
	return s.exchange(ctx, have, add, &out)
}

// exchange puts a protector in the place of the user's old one of its kind. An
// error after the commit says that the old wrap may still be there: the new
// credential holds, and the next unseal removes the wrap.
func (s *Service) exchange(ctx context.Context, have *proof, add userdb.Protector, out *stretched) error {
	if !s.stands(have) {
		return ipc.BadSecret
	}
	opens := protector(have.protector, have.auth)
	// A wrap that a crash left would be in the way of the next id.
	if err := s.prune(ctx, have.user, opens); err != nil {
		return err
	}
	u, _ := s.db.Find(have.user)
	add.ID = u.NextProtector
	s.stale[u.ID] = true
	if err := s.addProtector(ctx, u, opens, protector(add.ID, out.auth)); err != nil {
		return err
	}
	if err := s.commit(ctx, s.db.With(u.WithProtector(add))); err != nil {
		return err
	}
	s.task.Mark("identity: credential set", ipc.F("user", u.ID), ipc.F("kind", add.Kind.String()))
	return s.prune(ctx, u.ID, protector(add.ID, out.auth)) // What have was may be gone.
}
