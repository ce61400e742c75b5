package keymintd

import (
	"context"
	"errors"
	"slices"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

func (s *Service) admin(m *wire.Mux) {
	wire.On(m, wire.OpCreateRoot, s.createRoot)
	wire.On(m, wire.OpAddProtector, s.addProtector)
	wire.On(m, wire.OpKeepProtectors, s.keepProtectors)
	wire.On(m, wire.OpRemoveRoot, s.removeRoot)
	wire.On(m, wire.OpUnsealKeys, s.unsealKeys)
	wire.On(m, wire.OpSealKeys, s.sealKeys)
	wire.On(m, wire.OpRemoveApp, s.removeApp)
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

func (s *Service) createRoot(ctx context.Context, _ *ipc.Request, q *wire.CreateRootRequest) (*wire.CreateRootReply, error) {
	of, err := ownerOf(q.User, q.Incarnation)
	if err != nil {
		return nil, err
	}
	p, err := protectorOf(q.Protector)
	if err != nil {
		return nil, err
	}
	if err := s.locks.take(ctx, of.user, nil); err != nil {
		return nil, err
	}
	defer s.locks.release(of.user)
	if err := s.noRoot(ctx, of.user); err != nil {
		return nil, err
	}
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	root, err := s.entropy.forKey(ctx)
	if err != nil {
		return nil, err
	}
	defer root.Wipe()
	k := &rootKeys{incarnation: of.incarnation}
	k.add(of, p, s.salt, c, root)
	k.seal(root)
	root.Wipe() // Not later: the write may take long.
	return &wire.CreateRootReply{}, s.writeRoot(ctx, of, k)
}

// noRoot returns nil if statefsd says that there is no root.keys, and
// ipc.Exists if there is anything in its place, damaged or not.
func (s *Service) noRoot(ctx context.Context, user string) error {
	_, err := s.files.read(ctx, rootPath(user), rootMost)
	var at damageAt
	switch {
	case errors.Is(err, ipc.NotFound):
		return nil
	case err == nil, errors.As(err, &at):
		return ipc.Exists
	}
	return err
}

// readRoot reads the root.keys of a user that must have one.
func (s *Service) readRoot(ctx context.Context, of owner) (*rootKeys, error) {
	path := rootPath(of.user)
	file, err := s.files.read(ctx, path, rootMost)
	if errors.Is(err, ipc.NotFound) {
		err = damageAt(0)
	}
	if err != nil {
		return nil, faultIn(path, err)
	}
	k, err := decodeRootKeys(file, of)
	if err != nil {
		return nil, faultIn(path, err)
	}
	return k, nil
}

func (s *Service) writeRoot(ctx context.Context, of owner, k *rootKeys) error {
	return s.files.replace(ctx, rootPath(of.user), k.encode())
}

func (s *Service) addProtector(ctx context.Context, _ *ipc.Request, q *wire.AddProtectorRequest) (*wire.AddProtectorReply, error) {
	of, err := ownerOf(q.User, q.Incarnation)
	if err != nil {
		return nil, err
	}
	have, err := protectorOf(q.Have)
	if err != nil {
		return nil, err
	}
	add, err := protectorOf(q.Add)
	if err != nil {
		return nil, err
	}
	if err := s.locks.take(ctx, of.user, nil); err != nil {
		return nil, err
	}
	defer s.locks.release(of.user)
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	k, err := s.readRoot(ctx, of)
	if err != nil {
		return nil, err
	}
	if err := s.rewrap(k, of, have, add, c); err != nil {
		return nil, err
	}
	return &wire.AddProtectorReply{}, s.writeRoot(ctx, of, k)
}

// rewrap opens the root key with have and wraps it under add as well.
func (s *Service) rewrap(k *rootKeys, of owner, have, add protector, c *chance) error {
	root, err := k.open(of, have, s.salt)
	if err != nil {
		return faultIn(rootPath(of.user), err)
	}
	defer root.Wipe()
	if _, ok := k.find(add.id); ok {
		return ipc.Exists
	}
	if len(k.entries) >= MaxProtectors {
		return ipc.LimitReached
	}
	k.add(of, add, s.salt, c, root)
	k.seal(root)
	return nil
}

func (s *Service) keepProtectors(ctx context.Context, _ *ipc.Request, q *wire.KeepProtectorsRequest) (*wire.KeepProtectorsReply, error) {
	of, err := ownerOf(q.User, q.Incarnation)
	if err != nil {
		return nil, err
	}
	have, err := protectorOf(q.Have)
	if err != nil {
		return nil, err
	}
	ids := slices.Sorted(slices.Values(q.Ids))
	if len(ids) == 0 || len(ids) > MaxProtectors || ids[0] == 0 || len(slices.Compact(ids)) != len(q.Ids) {
		return nil, ipc.Malformed
	}
	if err := s.locks.take(ctx, of.user, nil); err != nil {
		return nil, err
	}
	defer s.locks.release(of.user)
	k, err := s.readRoot(ctx, of)
	if err != nil {
		return nil, err
	}
	changed, err := s.reduce(k, of, have, ids)
	if err != nil || !changed {
		return &wire.KeepProtectorsReply{}, err
	}
	return &wire.KeepProtectorsReply{}, s.writeRoot(ctx, of, k)
}

// reduce opens the root key with have, and removes the wraps of all protectors
// but those. It says whether there was one.
func (s *Service) reduce(k *rootKeys, of owner, have protector, ids []uint64) (changed bool, err error) {
	root, err := k.open(of, have, s.salt)
	if err != nil {
		return false, faultIn(rootPath(of.user), err)
	}
	defer root.Wipe()
	before := len(k.entries)
	if err := k.keep(ids); err != nil {
		return false, faultIn(rootPath(of.user), err)
	}
	if len(k.entries) == before {
		return false, nil
	}
	k.seal(root)
	return true, nil
}

// removeRoot takes the keys out of memory, then root.keys off the disk, and the
// rings, which are noise by then, last. What is not there is not an error: a
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
	err := s.files.each(ctx, ringPrefix(q.User), func(path string) error { return s.files.remove(ctx, path) })
	return &wire.RemoveRootReply{}, err
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
	if err := s.locks.take(ctx, of.user, nil); err != nil {
		return nil, err
	}
	defer s.locks.release(of.user)
	k, err := s.readRoot(ctx, of)
	if err != nil {
		return nil, err
	}
	root, err := k.open(of, p, s.salt)
	if err != nil {
		return nil, faultIn(rootPath(of.user), err)
	}
	defer root.Wipe()
	if r.Gone() {
		return nil, ipc.Denied // The epoch is over, or nobody would ever seal these keys.
	}
	s.install(&r.Stamp, root)
	return &wire.UnsealKeysReply{}, nil
}

func (s *Service) sealKeys(_ context.Context, _ *ipc.Request, q *wire.SealKeysRequest) (*wire.SealKeysReply, error) {
	if sess := s.sessions[q.Sid]; sess != nil {
		s.seal(sess)
	}
	return &wire.SealKeysReply{}, nil
}
