package keymintd

import (
	"bytes"
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

func (s *Service) rotateKey(ctx context.Context, r *ipc.Request, q *wire.RotateKeyRequest) (*wire.RotateKeyReply, error) {
	a, err := s.named(r, q.Name)
	if err != nil {
		return nil, err
	}
	seed, err := s.entropy.forKey(ctx)
	if err != nil {
		return nil, err
	}
	defer seed.Wipe()
	reply := &wire.RotateKeyReply{Public: publicOf(seed)}
	err = s.change(ctx, a, func(next *ring) (err error) {
		reply.Version, err = next.rotate(q.Name, seed)
		return err
	})
	return reply, err
}

func (s *Service) revokeKey(ctx context.Context, r *ipc.Request, q *wire.RevokeKeyRequest) (*wire.RevokeKeyReply, error) {
	a, err := s.named(r, q.Name)
	if err != nil {
		return nil, err
	}
	return &wire.RevokeKeyReply{}, s.change(ctx, a, func(next *ring) error { return next.revoke(q.Name) })
}

// rotate copies a seed as the next version of a key, and leaves the public half
// of the version before. The error is that of active, or ipc.LimitReached.
func (r *ring) rotate(name string, seed *secret.Bytes) (version uint32, err error) {
	k, err := r.active(name)
	if err != nil {
		return 0, err
	}
	if r.full() || k.version+1 == 0 {
		return 0, ipc.LimitReached
	}
	i, _ := r.find(name)
	r.keys[i].retire(stateRotated)
	k.version++
	r.insert(i+1, signingKey{name: name, purpose: k.purpose, uses: k.uses, version: k.version}, seed)
	return k.version, nil
}

// revoke leaves nothing of a key but the public halves of its versions, whose
// numbers are dead. The error is that of active.
func (r *ring) revoke(name string) error {
	if _, err := r.active(name); err != nil {
		return err
	}
	for i := range r.keys {
		if k := &r.keys[i]; k.name == name {
			k.retire(stateRevoked)
			r.kill(*k)
		}
	}
	return nil
}

// retire destroys the seed, if there is one.
func (k *signingKey) retire(state uint8) {
	k.public = k.publicHalf()
	k.wipe()
	k.seed, k.state = nil, state
}

// publicHalf is there whatever has become of the key. It is a copy: a reply is
// wiped when it has been sent.
func (k *signingKey) publicHalf() []byte {
	if k.seed != nil {
		return publicOf(k.seed)
	}
	return bytes.Clone(k.public)
}

// version answers a version of a key, 0 for the newest, or ipc.NotFound.
func (r *ring) version(name string, version uint32) (signingKey, error) {
	i, ok := r.find(name)
	for ; ok && i >= 0 && r.keys[i].name == name; i-- {
		if version == 0 || r.keys[i].version == version {
			return r.keys[i], nil
		}
	}
	return signingKey{}, ipc.NotFound
}
