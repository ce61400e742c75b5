package keystored

import (
	"context"
	"errors"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// enter checks what every request of an app has to pass, and finds the vault
// and the app's index in it.
func (s *service) enter(ctx context.Context, req *ipc.Request) (*userVault, *app, error) {
	v, err := s.acquire(ctx, req, false)
	if err != nil {
		return nil, nil, err
	}
	a, err := s.app(ctx, req, v)
	return v, a, err
}

// check answers why a name or a value cannot be, before any work is done.
func check(req *ipc.Request, name string, value []byte) error {
	switch {
	case !req.Stamp.Unsealed:
		return ipc.Sealed
	case capability.CheckName(name) != nil:
		return ipc.Malformed
	case len(value) > vault.InlineBytes:
		return ipc.TooLarge
	}
	return nil
}

// put copies a long value out of the object that came along, which its sender
// could still change, before anything looks at it.
func (s *service) put(ctx context.Context, req *ipc.Request, q *wire.PutRequest) (*wire.PutReply, error) {
	if err := check(req, q.Name, q.Value); err != nil {
		return nil, err
	}
	value, err := wire.Payload(req, q.Value, q.Size, vault.ValueBytes)
	req.CloseMoved()
	if err != nil {
		return nil, err
	}
	defer clear(value)
	return &wire.PutReply{}, s.change(ctx, req, vault.Put, q.Name, value)
}

func (s *service) delete(ctx context.Context, req *ipc.Request, q *wire.DeleteRequest) (*wire.DeleteReply, error) {
	if err := check(req, q.Name, nil); err != nil {
		return nil, err
	}
	return &wire.DeleteReply{}, s.change(ctx, req, vault.Delete, q.Name, nil)
}

// get reads memory and asks keymintd to open the one record; no disk. Of a value
// for which there is no room it says the size, and asks nobody.
func (s *service) get(ctx context.Context, req *ipc.Request, q *wire.GetRequest) (*wire.GetReply, error) {
	if err := check(req, q.Name, nil); err != nil {
		return nil, err
	}
	v, a, err := s.enter(ctx, req)
	if err != nil {
		return nil, err
	}
	sequence, _ := a.names.Find(q.Name) // No record has sequence 0.
	live, ok := v.index.Live(sequence)
	if !ok {
		return nil, ipc.NotFound
	}
	size := live.Usage - uint32(len(q.Name))
	large := size > vault.InlineBytes
	if large && q.Room < size {
		return &wire.GetReply{Size: size, Stale: live.Stale}, nil
	}
	p, err := s.openRecord(ctx, req, v, live)
	if err != nil {
		return nil, err
	}
	if p.Name != q.Name || len(p.Value) != int(size) {
		wire.Wipe(p)
		return nil, v.damaged(live.Offset)
	}
	inline, size, err := wire.Deliver(req, p.Value, large)
	return &wire.GetReply{Value: inline, Size: size, Stale: live.Stale}, err
}

func (s *service) list(ctx context.Context, req *ipc.Request, q *wire.ListRequest) (*wire.ListReply, error) {
	switch {
	case !req.Stamp.Unsealed:
		return nil, ipc.Sealed
	case q.After != "" && capability.CheckName(q.After) != nil:
		return nil, ipc.Malformed
	}
	_, a, err := s.enter(ctx, req)
	if err != nil {
		return nil, err
	}
	names, more := a.names.Page(q.After, ListBytes)
	return &wire.ListReply{Names: names, More: more}, nil
}

// openVault is identityd's: it opens the vault at unseal, so that damage is
// told there and not to the first app that asks.
func (s *service) openVault(ctx context.Context, req *ipc.Request, q *wire.OpenVaultRequest) (*wire.OpenVaultReply, error) {
	if _, err := s.acquire(ctx, req, q.Create); err != nil {
		return nil, err
	}
	return &wire.OpenVaultReply{}, nil
}

// code turns an error of the core into the one that a caller gets.
func code(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, vault.ErrNotFound):
		return ipc.NotFound
	case errors.Is(err, vault.ErrQuota):
		return ipc.Quota
	case errors.Is(err, vault.ErrTooLarge):
		return ipc.TooLarge
	case errors.Is(err, vault.ErrVersion):
		return ipc.Unsupported
	}
	return ipc.Unavailable
}
