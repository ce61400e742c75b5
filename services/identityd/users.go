package identityd

import (
	"context"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
)

// firstProtector is the id of the protector that a user is created with.
const firstProtector = 1

func (s *Service) createUser(ctx context.Context, _ *ipc.Request, q *wire.CreateUserRequest) (*wire.CreateUserReply, error) {
	if capability.CheckUser(q.User) != nil || !chosen(q.Credential) {
		return nil, ipc.Malformed
	}
	if _, live := s.db.Live(q.User); live || reserved(q.User) {
		return nil, ipc.Exists
	}
	done, err := s.admit()
	if err != nil {
		return nil, err
	}
	defer done()
	kind, _ := kindOf(q.Credential)
	u := userdb.User{ID: q.User, State: userdb.Creating, NextProtector: firstProtector}
	p := userdb.Protector{ID: firstProtector, Kind: kind, Cost: s.cfg.Argon}
	if err := s.entropy(ctx, u.Incarnation[:], p.Salt[:]); err != nil {
		return nil, err
	}
	out, err := s.stretch(ctx, q.Credential.Secret, p.Salt, p.Cost)
	if err != nil {
		return nil, err
	}
	defer out.auth.Wipe()
	p.Verifier = out.verifier
	// From here on the caller's deadline must not leave things half done.
	ctx = s.task.Detached(ctx)
	if err := s.writing.enter(ctx, s.task); err != nil {
		return nil, err
	}
	defer s.writing.leave()
	if err := s.makeRoom(ctx, u.ID); err != nil {
		return nil, err
	}
	if err := s.establish(ctx, u, p, protector(p.ID, out.auth)); err != nil {
		return nil, err
	}
	s.task.Mark("identity: user created", ipc.F("user", u.ID))
	return &wire.CreateUserReply{}, nil
}

// reserved says whether a user's folder would have the path of a file.
func reserved(user string) bool { return user == dbName || user == guessesName }

// makeRoom checks that a user of that id can be created, after what is left of
// former ones is gone.
func (s *Service) makeRoom(ctx context.Context, id string) error {
	swept := s.sweep(ctx)
	if u, taken := s.db.Find(id); taken {
		if u.State == userdb.Live {
			return ipc.Exists
		}
		return swept
	}
	if s.db.Len() >= MaxUsers {
		return ipc.LimitReached
	}
	found, err := s.firstFile(ctx, folder+id+"/")
	if err != nil {
		return err
	}
	if found != "" {
		// Files of a user that the database does not name are no leftover of
		// ours: they may be all that somebody has. They are not overwritten.
		return &wire.Fault{Code: ipc.Damaged, File: found}
	}
	return nil
}

// establish brings a user into being: intended, with keys, live.
func (s *Service) establish(ctx context.Context, u userdb.User, p userdb.Protector, opens *wire.Protector) error {
	if err := s.commit(ctx, s.db.With(u)); err != nil {
		return err
	}
	err := s.createRoot(ctx, u, opens)
	if saidNo(err, ipc.Exists) {
		// The keys are not what this request made, so they stay.
		if err := s.commit(ctx, s.db.Without(u.ID)); err != nil {
			return err
		}
		return ipc.Exists
	}
	if err != nil {
		return err // What there may be of keys, the next sweep removes.
	}
	u.State = userdb.Live
	return s.commit(ctx, s.db.With(u.WithProtector(p)))
}

func (s *Service) listUsers(context.Context, *ipc.Request, *wire.ListUsersRequest) (*wire.ListUsersReply, error) {
	reply := &wire.ListUsersReply{}
	for _, u := range s.db.Users() {
		if u.State == userdb.Live {
			reply.Users = append(reply.Users, u.ID)
		}
	}
	return reply, nil
}

func (s *Service) removeUser(ctx context.Context, _ *ipc.Request, q *wire.RemoveUserRequest) (*wire.RemoveUserReply, error) {
	p, done, err := s.proven(ctx, q.User, q.Credential)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx = s.task.Detached(ctx)
	if err := s.writing.enter(ctx, s.task); err != nil {
		return nil, err
	}
	defer s.writing.leave()
	if !s.stands(p) {
		return nil, ipc.BadSecret
	}
	if s.rekeying[p.user] {
		return nil, ipc.Unavailable // It is writing files.
	}
	u, _ := s.db.Find(p.user)
	gone := userdb.User{ID: u.ID, Incarnation: u.Incarnation, State: userdb.Removing, NextProtector: u.NextProtector}
	if err := s.commit(ctx, s.db.With(gone)); err != nil {
		return nil, err
	}
	delete(s.stale, u.ID)
	// No new session can start now. Those that there are end before the keys go.
	ended := s.endAll(ctx, u.ID)
	swept := s.sweep(ctx)
	if ended != nil {
		return nil, ended
	}
	if _, left := s.db.Find(u.ID); left {
		return nil, swept
	}
	return &wire.RemoveUserReply{}, nil
}
