package keystored

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// chain is a chain key of the user's that segments are sealed under.
type chain bool

const (
	present chain = false
	next    chain = true // below the root key that the user is about to get
)

// seal puts the records into the batch, as segments sealed on behalf of the
// request. It answers which records went into which segment.
func (s *service) seal(ctx context.Context, req *ipc.Request, under chain, b *vault.Batch, records []vault.Record) ([][]vault.Record, error) {
	groups := vault.Group(records)
	for _, group := range groups {
		body, err := vault.EncodeBody(group)
		if err != nil {
			return nil, code(err)
		}
		header := b.Header(body)
		sealed, err := s.sealSegment(ctx, req, under, header, body)
		if err != nil {
			return nil, err
		}
		if err := b.Add(header, sealed); err != nil {
			return nil, code(err)
		}
	}
	return groups, nil
}

// sealHead answers the head file that says p.
func (s *service) sealHead(ctx context.Context, req *ipc.Request, under chain, p vault.Point) ([]byte, error) {
	header, body := p.Head()
	sealed, err := s.sealSegment(ctx, req, under, header[:], body)
	if err != nil {
		return nil, err
	}
	if len(header)+len(sealed) != vault.HeadSize {
		return nil, ipc.Unavailable
	}
	return append(header[:], sealed...), nil
}

// writeHead makes the head in memory the one on the disk.
func (s *service) writeHead(ctx context.Context, v *userVault) error {
	if err := s.replaceFile(ctx, v.headPath, v.head); err != nil {
		return err
	}
	v.beyond, v.stale = 0, false
	return nil
}

// vaultID answers the id of a new vault. keystored has no chance of its own.
func (s *service) vaultID(ctx context.Context, req *ipc.Request) (vault.ID, error) {
	var p wire.VaultIDReply
	if err := s.mint(ctx, req, wire.OpVaultID, ipc.NoSlot, &wire.VaultIDRequest{}, &p); err != nil {
		return vault.ID{}, err
	}
	if len(p.Id) != len(vault.ID{}) {
		return vault.ID{}, ipc.Unavailable
	}
	return vault.ID(p.Id), nil
}

// The following three call keymintd: what fits a frame goes in one, and what does
// not in a memory object.

// sealRecord answers the record that says o.
func (s *service) sealRecord(ctx context.Context, req *ipc.Request, o *op, value []byte) ([]byte, error) {
	var p wire.SealRecordReply
	q := &wire.SealRecordRequest{Sequence: o.Sequence, Kind: uint32(o.Kind), Name: o.Name}
	if len(value) <= vault.InlineBytes {
		q.Value = value
		err := s.mint(ctx, req, wire.OpSealRecord, ipc.NoSlot, q, &p)
		return p.Record, err
	}
	q.Size = uint32(len(value))
	return s.lend(ctx, value, vault.MaxLargeRecord, func(object ipc.Slot) (uint32, error) {
		err := s.mint(ctx, req, wire.OpSealRecord, object, q, &p)
		return p.Size, err
	})
}

func (s *service) sealSegment(ctx context.Context, req *ipc.Request, under chain, header, body []byte) ([]byte, error) {
	var p wire.SealSegmentReply
	if len(body) <= vault.MaxBody {
		err := s.mint(ctx, req, wire.OpSealSegment, ipc.NoSlot, &wire.SealSegmentRequest{Header: header, Body: body, Next: bool(under)}, &p)
		return p.Sealed, err
	}
	return s.lend(ctx, body, len(body)+vault.SealOverhead, func(object ipc.Slot) (uint32, error) {
		err := s.mint(ctx, req, wire.OpSealSegment, object, &wire.SealSegmentRequest{Header: header, Size: uint32(len(body)), Next: bool(under)}, &p)
		return p.Size, err
	})
}

func (s *service) openSegment(ctx context.Context, req *ipc.Request, header, sealed []byte) ([]byte, error) {
	var p wire.OpenSegmentReply
	if len(sealed) <= vault.MaxBody+vault.SealOverhead {
		err := s.mint(ctx, req, wire.OpOpenSegment, ipc.NoSlot, &wire.OpenSegmentRequest{Header: header, Sealed: sealed}, &p)
		return p.Body, err
	}
	return s.lend(ctx, sealed, 0, func(object ipc.Slot) (uint32, error) {
		err := s.mint(ctx, req, wire.OpOpenSegment, object, &wire.OpenSegmentRequest{Header: header, Size: uint32(len(sealed))}, &p)
		return p.Size, err
	})
}
