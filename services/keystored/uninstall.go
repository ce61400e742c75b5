package keystored

import (
	"context"
	"errors"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// dropApp is identityd's: it ends every record of the stamped app, whose own
// tokens are void by then. It opens none of them, so that an app can be got rid
// of that has lost its key.
func (s *service) dropApp(ctx context.Context, req *ipc.Request, _ *wire.DropAppRequest) (*wire.DropAppReply, error) {
	if !req.Stamp.Unsealed {
		return nil, ipc.Sealed
	}
	v, err := s.acquire(ctx, req, false)
	if err != nil {
		return nil, err
	}
	a, err := s.leaving(ctx, req, v)
	if err != nil {
		return nil, err
	}
	if err := s.drop(ctx, req, v, a); err != nil {
		return nil, err
	}
	if v.state == open && v.apps[a.id] == a {
		a.names.Wipe()
		delete(v.apps, a.id)
	}
	return &wire.DropAppReply{}, nil
}

// leaving answers what is in memory of the stamped app, as far as it is needed:
// the names only if a request has read them before.
func (s *service) leaving(ctx context.Context, req *ipc.Request, v *userVault) (*app, error) {
	for {
		if v.state != open {
			return nil, ipc.Denied
		}
		a := v.apps[req.Stamp.App]
		if a == nil {
			a = &app{id: req.Stamp.App}
			return a, s.keyID(ctx, req, a)
		}
		if a.ready {
			return a, nil
		}
		if err := v.changed.Wait(ctx, s.task); err != nil {
			return nil, err
		}
	}
}

// keyID learns the id of the app's data key, whether or not there is one.
func (s *service) keyID(ctx context.Context, req *ipc.Request, a *app) error {
	var p wire.AppKeyReply
	if err := s.mint(ctx, req, wire.OpAppKey, ipc.NoSlot, &wire.AppKeyRequest{IdAlone: true}, &p); err != nil {
		return err
	}
	if len(p.KeyId) != len(a.key) {
		return ipc.Unavailable
	}
	a.key = vault.KeyID(p.KeyId)
	return nil
}

// drop makes it durable that the app has nothing. Changes of it that are under
// way come before, or to nothing.
func (s *service) drop(ctx context.Context, req *ipc.Request, v *userVault, a *app) error {
	if v.state != open {
		return ipc.Denied
	}
	o := &op{app: a, req: req, Op: newOp(v, a, vault.Drop, "", nil)}
	o.Sealed = []byte{} // It has nothing to seal, and may go at once.
	v.next++
	v.pending = append(v.pending, o)
	if err := s.settle(ctx, v, o); err != nil && !errors.Is(err, ipc.NotFound) {
		return err
	}
	return nil
}
