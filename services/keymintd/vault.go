package keymintd

import (
	"context"
	"errors"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

func (s *Service) vault(m *wire.Mux) {
	wire.On(m, wire.OpAppKey, s.appKey)
	wire.On(m, wire.OpSealRecord, s.sealRecord)
	wire.On(m, wire.OpOpenRecord, s.openRecord)
	wire.On(m, wire.OpSealSegment, s.sealSegment)
	wire.On(m, wire.OpOpenSegment, s.openSegment)
}

func (s *Service) appKey(ctx context.Context, r *ipc.Request, q *wire.AppKeyRequest) (*wire.AppKeyReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	_, err = s.ring(ctx, a, q.Create)
	missing := errors.Is(err, ipc.NotFound)
	if err != nil && !missing {
		return nil, err
	}
	if a.acct.wiped {
		return nil, ipc.Sealed // Looking for the ring took a while.
	}
	id := fileID(a.acct.rootKeys.names, a.app)
	return &wire.AppKeyReply{KeyId: id[:], Exists: !missing}, nil
}

// placeOf reads what a record is bound to: sequence and kind from the request,
// everything else from the stamp.
func placeOf(a access, sequence uint64, kind uint32) (recordPlace, error) {
	if sequence == 0 || kind == 0 || kind > maxKind {
		return recordPlace{}, ipc.Malformed
	}
	return recordPlace{owner: a.acct.owner, app: a.app, sequence: sequence, kind: uint8(kind)}, nil
}

// ringOfRecord answers the ring of an app that must have one, because it has a
// record, or was told its key id.
func (s *Service) ringOfRecord(ctx context.Context, a access) (*ring, error) {
	ring, err := s.ring(ctx, a, false)
	if errors.Is(err, ipc.NotFound) {
		id := fileID(a.acct.rootKeys.names, a.app)
		return nil, faultIn(ringPath(a.acct.user, id), damageAt(0))
	}
	return ring, err
}

func (s *Service) sealRecord(ctx context.Context, r *ipc.Request, q *wire.SealRecordRequest) (*wire.SealRecordReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	place, err := placeOf(a, q.Sequence, q.Kind)
	if err != nil {
		return nil, err
	}
	if len(q.Name) > MaxName || len(q.Value) > MaxValue {
		return nil, ipc.TooLarge
	}
	if capability.CheckName(q.Name) != nil {
		return nil, ipc.Malformed
	}
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	ring, err := s.ringOfRecord(ctx, a)
	if err != nil {
		return nil, err
	}
	return &wire.SealRecordReply{Record: sealRecord(ring.records, c, place, q.Name, q.Value)}, nil
}

func (s *Service) openRecord(ctx context.Context, r *ipc.Request, q *wire.OpenRecordRequest) (*wire.OpenRecordReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	place, err := placeOf(a, q.Sequence, q.Kind)
	if err != nil {
		return nil, err
	}
	ring, err := s.ringOfRecord(ctx, a)
	if err != nil {
		return nil, err
	}
	name, value, err := openRecord(ring.records, place, q.Record)
	if err != nil {
		return nil, ipc.Damaged
	}
	return &wire.OpenRecordReply{Name: name, Value: value}, nil
}

func (s *Service) sealSegment(ctx context.Context, r *ipc.Request, q *wire.SealSegmentRequest) (*wire.SealSegmentReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	if len(q.Header) > MaxHeader || len(q.Body) > MaxBody {
		return nil, ipc.TooLarge
	}
	if len(q.Header) == 0 || len(q.Body) == 0 {
		return nil, ipc.Malformed
	}
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	if a.sealed {
		return nil, ipc.Sealed
	}
	sealed := make([]byte, 0, Overhead+len(q.Body))
	sealed = a.acct.rootKeys.chain.seal(sealed, c, segmentAD(a.acct.owner, q.Header), q.Body)
	return &wire.SealSegmentReply{Sealed: sealed}, nil
}

func (s *Service) openSegment(_ context.Context, r *ipc.Request, q *wire.OpenSegmentRequest) (*wire.OpenSegmentReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	if !within(len(q.Header), 1, MaxHeader) || !within(len(q.Sealed), Overhead+1, Overhead+MaxBody) {
		return nil, ipc.Damaged // Nothing of such lengths was ever sealed.
	}
	body, err := a.acct.rootKeys.chain.open(segmentAD(a.acct.owner, q.Header), q.Sealed)
	if err != nil {
		return nil, ipc.Damaged
	}
	return &wire.OpenSegmentReply{Body: body.Expose()}, nil // Wiped when the reply is out.
}

func within(n, least, most int) bool { return n >= least && n <= most }
