package keystored

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// rekeyVault is identityd's: it writes what the vault holds to a new one below the
// root key that the user is about to get. The vault as it is stays as it is, and
// is left, so that nothing is put into it any more.
func (s *service) rekeyVault(ctx context.Context, req *ipc.Request, _ *wire.RekeyVaultRequest) (*wire.RekeyVaultReply, error) {
	v, err := s.acquire(ctx, req, false)
	if err != nil {
		return nil, err
	}
	for v.state == open && v.writing {
		if err := v.changed.Wait(ctx, s.task); err != nil {
			return nil, err
		}
	}
	switch {
	case v.state != open:
		return nil, ipc.Denied
	case len(v.sids) > 1:
		return nil, ipc.Unavailable // What another session stores would be left behind.
	}
	v.writing = true
	err = s.writeAnew(ctx, req, v)
	v.writing = false
	v.changed.Broadcast()
	if err != nil {
		return nil, err
	}
	s.close(ctx, v)
	return &wire.RekeyVaultReply{}, nil
}

// writeAnew makes the vault of the next epoch. What a rekey that was cut short has
// left in its place was never anybody's vault.
func (s *service) writeAnew(ctx context.Context, req *ipc.Request, v *userVault) error {
	id, err := s.vaultID(ctx, req)
	if err != nil {
		return err
	}
	records, err := s.resealed(ctx, req, v, id)
	if err != nil {
		return err
	}
	b := vault.NewFile(vault.NewVault(id))
	if _, err := s.seal(ctx, req, next, b, records); err != nil {
		return err
	}
	head, err := s.sealHead(ctx, req, next, b.End())
	if err != nil {
		return err
	}
	kv, headPath := paths(v.user, v.epoch+1)
	if err := s.removeFile(ctx, kv); err != nil {
		return notWritten(err, kv, 0)
	}
	if err := s.appendFile(ctx, kv, 0, b.Segments()); err != nil {
		return notWritten(err, kv, 0)
	}
	if err := s.replaceFile(ctx, headPath, head); err != nil {
		return notWritten(err, headPath, 0)
	}
	return nil
}

// resealed answers the live records as the first batch of a vault of that id.
func (s *service) resealed(ctx context.Context, req *ipc.Request, v *userVault, id vault.ID) ([]vault.Record, error) {
	records := v.index.Snapshot(id)
	for i := range records[1:] {
		r := &records[1+i]
		if err := s.reseal(ctx, req, r); unauthentic(err) {
			live, _ := v.index.Live(r.Sequence)
			return nil, v.damaged(live.Offset)
		} else if err != nil {
			return nil, err
		}
	}
	return records, nil
}

// reseal gives a record its next key and form.
func (s *service) reseal(ctx context.Context, req *ipc.Request, r *vault.Record) error {
	var p wire.ResealRecordReply
	var err error
	q := &wire.ResealRecordRequest{KeyId: r.Key[:], Sequence: r.Sequence, Kind: uint32(r.Kind)}
	if len(r.Sealed) <= vault.MaxRecord {
		q.Record = r.Sealed
		err = s.mint(ctx, req, wire.OpResealRecord, ipc.NoSlot, q, &p)
	} else {
		q.Size = uint32(len(r.Sealed))
		p.Record, err = s.lend(ctx, r.Sealed, 0, func(object ipc.Slot) (uint32, error) {
			err := s.mint(ctx, req, wire.OpResealRecord, object, q, &p)
			return p.Size, err
		})
	}
	switch {
	case err != nil:
		return err
	case len(p.KeyId) != len(r.Key) || len(p.Record) != len(r.Sealed):
		return ipc.Unavailable
	}
	r.Key, r.Sealed = vault.KeyID(p.KeyId), p.Record
	return nil
}

// vaultEpoch learns which of the user's root keys the request's session has.
func (s *service) vaultEpoch(ctx context.Context, req *ipc.Request) (uint32, error) {
	var p wire.VaultEpochReply
	err := s.mint(ctx, req, wire.OpVaultEpoch, ipc.NoSlot, &wire.VaultEpochRequest{}, &p)
	return p.Epoch, err
}

// sweep removes vaults below former root keys, once the one of the present root
// key has been read. A failure is nobody's: the next opening tries again.
func (s *service) sweep(ctx context.Context, v *userVault) {
	if v.epoch > 0 {
		_ = s.removeVaults(s.task.Detached(ctx), v.user, func(e uint32) bool { return e < v.epoch })
	}
}
