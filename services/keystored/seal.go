package keystored

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// seal puts the records into the batch, as segments sealed on behalf of the
// request. It answers which records went into which segment.
func (s *service) seal(ctx context.Context, req *ipc.Request, b *vault.Batch, records []vault.Record) ([][]vault.Record, error) {
	groups := vault.Group(records)
	for _, group := range groups {
		body, err := vault.EncodeBody(group)
		if err != nil {
			return nil, code(err)
		}
		header := b.Header(body)
		sealed, err := s.sealSegment(ctx, req, header, body)
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
func (s *service) sealHead(ctx context.Context, req *ipc.Request, p vault.Point) ([]byte, error) {
	header, body := p.Head()
	sealed, err := s.sealSegment(ctx, req, header[:], body)
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

func (s *service) sealSegment(ctx context.Context, req *ipc.Request, header, body []byte) ([]byte, error) {
	var p wire.SealSegmentReply
	err := s.mint(ctx, req, wire.OpSealSegment, &wire.SealSegmentRequest{Header: header, Body: body}, &p)
	return p.Sealed, err
}

func (s *service) openSegment(ctx context.Context, req *ipc.Request, header, sealed []byte) ([]byte, error) {
	var p wire.OpenSegmentReply
	err := s.mint(ctx, req, wire.OpOpenSegment, &wire.OpenSegmentRequest{Header: header, Sealed: sealed}, &p)
	return p.Body, err
}
