package keymintd

import (
	"context"
	"errors"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

func (s *Service) keys(m *wire.Mux) {
	wire.On(m, wire.OpGenerateKey, s.generateKey)
	wire.On(m, wire.OpPublicKey, s.publicKey)
	wire.On(m, wire.OpSign, s.sign)
	wire.On(m, wire.OpListKeys, s.listKeys)
	wire.On(m, wire.OpDeleteKey, s.deleteKey)
	wire.On(m, wire.OpWrapKey, s.wrapKey)
	wire.On(m, wire.OpUnwrapKey, s.unwrapKey)
	wire.On(m, wire.OpRotateKey, s.rotateKey)
	wire.On(m, wire.OpRevokeKey, s.revokeKey)
	wire.On(m, wire.OpSealData, s.sealData)
	wire.On(m, wire.OpUnsealData, s.unsealData)
}

// named finds the session of a request about a signing key's name.
func (s *Service) named(r *ipc.Request, name string) (access, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return access{}, err
	}
	return a, checkKeyName(name)
}

func (s *Service) generateKey(ctx context.Context, r *ipc.Request, q *wire.GenerateKeyRequest) (*wire.GenerateKeyReply, error) {
	a, err := s.named(r, q.Name)
	if err != nil {
		return nil, err
	}
	uses, err := usesOf(q)
	if err != nil {
		return nil, err
	}
	if _, err := s.ring(ctx, a, true); err != nil {
		return nil, err
	}
	seed, err := s.entropy.forKey(ctx)
	if err != nil {
		return nil, err
	}
	defer seed.Wipe()
	public := publicOf(seed)
	err = s.change(ctx, a, func(next *ring) error {
		return next.add(q.Name, uses, seed, s.limits.SigningKeys)
	})
	return &wire.GenerateKeyReply{Public: public}, err
}

// usesOf reads what a key is to be for.
func usesOf(q *wire.GenerateKeyRequest) (uint8, error) {
	if q.Purpose != wire.KeyPurpose_KEY_PURPOSE_UNSPECIFIED && q.Purpose != wire.KeyPurpose_KEY_PURPOSE_SIGNING || q.Uses > allUses {
		return 0, ipc.Malformed
	}
	if q.Uses == 0 {
		return allUses, nil
	}
	return uint8(q.Uses), nil
}

func (s *Service) publicKey(ctx context.Context, r *ipc.Request, q *wire.PublicKeyRequest) (*wire.PublicKeyReply, error) {
	a, err := s.named(r, q.Name)
	if err != nil {
		return nil, err
	}
	ring, err := s.ring(ctx, a, false)
	if err != nil {
		return nil, err
	}
	key, err := ring.version(q.Name, q.Version)
	if err != nil {
		return nil, err
	}
	return &wire.PublicKeyReply{
		Public: key.publicHalf(), Version: key.version, State: wire.KeyState(key.state), Uses: uint32(key.uses),
	}, nil
}

func (s *Service) sign(ctx context.Context, r *ipc.Request, q *wire.SignRequest) (*wire.SignReply, error) {
	a, err := s.named(r, q.Name)
	if err != nil {
		return nil, err
	}
	if len(q.Message) > MaxMessage {
		return nil, ipc.TooLarge
	}
	ring, err := s.ring(ctx, a, false)
	if err != nil {
		return nil, err
	}
	key, err := ring.usable(q.Name, useSign)
	if err != nil {
		return nil, err
	}
	return &wire.SignReply{Signature: sign(key.seed, q.Message), Version: key.version}, nil
}

// listKeys answers the names in byte order. All names of an app fit a frame, so
// that there is never more.
func (s *Service) listKeys(ctx context.Context, r *ipc.Request, q *wire.ListKeysRequest) (*wire.ListKeysReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	if q.After != "" && capability.CheckName(q.After) != nil {
		return nil, ipc.Malformed
	}
	ring, err := s.ring(ctx, a, false)
	if errors.Is(err, ipc.NotFound) {
		return &wire.ListKeysReply{}, nil
	}
	if err != nil {
		return nil, err
	}
	reply := &wire.ListKeysReply{}
	for _, name := range ring.names() {
		if name > q.After {
			reply.Names = append(reply.Names, name)
		}
	}
	return reply, nil
}

func (s *Service) deleteKey(ctx context.Context, r *ipc.Request, q *wire.DeleteKeyRequest) (*wire.DeleteKeyReply, error) {
	a, err := s.named(r, q.Name)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, a, func(next *ring) error { return next.remove(q.Name) })
	return &wire.DeleteKeyReply{}, err
}

func (s *Service) wrapKey(ctx context.Context, r *ipc.Request, q *wire.WrapKeyRequest) (*wire.WrapKeyReply, error) {
	a, err := s.named(r, q.Name)
	if err != nil {
		return nil, err
	}
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	if q.Detach {
		return s.detachKey(ctx, a, q.Name, c)
	}
	ring, err := s.ring(ctx, a, false)
	if err != nil {
		return nil, err
	}
	key, err := ring.usable(q.Name, useWrap)
	if err != nil {
		return nil, err
	}
	return &wire.WrapKeyReply{Blob: a.blob(ring, c, key)}, nil
}

// detachKey wraps a key and takes it out in one step.
func (s *Service) detachKey(ctx context.Context, a access, name string, c *chance) (*wire.WrapKeyReply, error) {
	reply := &wire.WrapKeyReply{}
	err := s.change(ctx, a, func(next *ring) error {
		key, err := next.usable(name, useWrap)
		if err != nil {
			return err
		}
		reply.Blob = a.blob(next, c, key)
		return next.detach(name)
	})
	return reply, err
}

func (a access) blob(r *ring, c *chance, key signingKey) []byte {
	return sealBlob(r, c, a.acct.owner, fileID(a.acct.rootKeys.names, r.app), key)
}

func (s *Service) unwrapKey(ctx context.Context, r *ipc.Request, q *wire.UnwrapKeyRequest) (*wire.UnwrapKeyReply, error) {
	a, err := s.named(r, q.Name)
	if err != nil {
		return nil, err
	}
	if checkBlob(q.Blob) != nil {
		return nil, ipc.Malformed
	}
	reply := &wire.UnwrapKeyReply{}
	err = s.change(ctx, a, func(next *ring) error {
		id := fileID(a.acct.rootKeys.names, next.app)
		key, err := openBlob(next, a.acct.owner, id, q.Blob)
		if err != nil {
			return ipc.Denied // One answer for a foreign blob and for a changed one.
		}
		defer key.wipe()
		reply.Public = publicOf(key.seed)
		return next.restore(q.Name, key, s.limits.SigningKeys)
	})
	if errors.Is(err, ipc.NotFound) {
		err = ipc.Denied // An app without keys has wrapped none.
	}
	return reply, err
}
