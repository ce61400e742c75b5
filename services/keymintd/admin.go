package keymintd

import (
	"context"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/epochs"
)

func (s *Service) admin(m *wire.Mux) {
	wire.On(m, wire.OpCreateRoot, s.createRoot)
	wire.On(m, wire.OpAddProtector, s.addProtector)
	wire.On(m, wire.OpKeepProtectors, s.keepProtectors)
	wire.On(m, wire.OpRemoveRoot, s.removeRoot)
	wire.On(m, wire.OpUnsealKeys, s.unsealKeys)
	wire.On(m, wire.OpSealKeys, s.sealKeys)
	wire.On(m, wire.OpRemoveApp, s.removeApp)
	wire.On(m, wire.OpBeginRekey, s.beginRekey)
	wire.On(m, wire.OpCommitRekey, s.commitRekey)
}

// ownerOf reads whose keys a request of identityd is about.
func ownerOf(user string, incarnation []byte) (owner, error) {
	if capability.CheckUser(user) != nil || len(incarnation) != Incarnation {
		return owner{}, ipc.Malformed
	}
	return owner{user: user, incarnation: [Incarnation]byte(incarnation)}, nil
}

func protectorOf(p *wire.Protector) (protector, error) {
	if p.GetId() == 0 || len(p.GetAuth()) != KeySize {
		return protector{}, ipc.Malformed
	}
	return protector{id: p.Id, auth: p.Auth}, nil
}

// removeRoot takes the keys out of memory, then root.keys off the disk, and
// keys.head and the rings, which are noise by then, last. What is not there is not an error: a
// removal that a crash cut short is done again.
func (s *Service) removeRoot(ctx context.Context, _ *ipc.Request, q *wire.RemoveRootRequest) (*wire.RemoveRootReply, error) {
	if capability.CheckUser(q.User) != nil {
		return nil, ipc.Malformed
	}
	if err := s.locks.take(ctx, q.User, nil); err != nil {
		return nil, err
	}
	defer s.locks.release(q.User)
	for _, sess := range s.sessions {
		if sess.acct.user == q.User {
			s.seal(sess)
		}
	}
	if err := s.locks.quiet(ctx, q.User); err != nil {
		return nil, err
	}
	if err := s.files.remove(ctx, rootPath(q.User)); err != nil {
		return nil, err
	}
	return &wire.RemoveRootReply{}, s.removeBelow(ctx, q.User, func(uint32) bool { return true })
}

// removeBelow removes what is below the root keys of some epochs of the user's.
func (s *Service) removeBelow(ctx context.Context, user string, of func(epoch uint32) bool) error {
	return s.files.each(ctx, epochs.User(user), func(path string) error {
		epoch, name, _ := epochs.Split(user, path)
		if !of(epoch) || name != "keys.head" && !strings.HasPrefix(name, "apps/") {
			return nil
		}
		return s.files.remove(ctx, path)
	})
}

// unsealKeys proves the protector, even if the session is unsealed already, and
// gives the stamped session its user's keys.
func (s *Service) unsealKeys(ctx context.Context, r *ipc.Request, q *wire.UnsealKeysRequest) (*wire.UnsealKeysReply, error) {
	p, err := protectorOf(q.Protector)
	if err != nil {
		return nil, err
	}
	of, err := ownerOf(r.Stamp.User, r.Stamp.Incarnation[:])
	if err != nil || r.Stamp.SID == 0 {
		return nil, ipc.Denied
	}
	if err := s.locks.takeRoot(ctx, of.user); err != nil {
		return nil, err
	}
	defer s.locks.releaseRoot(of.user)
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	f, err := s.readRoot(ctx, of)
	if err != nil {
		return nil, err
	}
	root, err := f.open(p, s.salt)
	if err != nil {
		return nil, err
	}
	defer root.Wipe()
	if r.Gone() {
		return nil, ipc.Denied // The epoch is over, or nobody would ever seal these keys.
	}
	s.install(&r.Stamp, root, f.keys.epoch)
	if f.behind {
		catchUp := f.newHead(root, c)
		root.Wipe() // Not later: the write may take long.
		// The keys hold without it, and the next unseal or change tries again.
		_ = s.files.commit(ctx, []write{catchUp})
	}
	s.sweep(ctx, f)
	return &wire.UnsealKeysReply{}, nil
}

func (s *Service) sealKeys(_ context.Context, _ *ipc.Request, q *wire.SealKeysRequest) (*wire.SealKeysReply, error) {
	if sess := s.sessions[q.Sid]; sess != nil {
		s.seal(sess)
	}
	return &wire.SealKeysReply{}, nil
}
