package keymintd

import (
	"bytes"
	"context"
	"errors"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

func (s *Service) vault(m *wire.Mux) {
	wire.On(m, wire.OpAppKey, s.appKey)
	wire.OnObject(m, wire.OpSealRecord, s.sealRecord)
	wire.OnObject(m, wire.OpOpenRecord, s.openRecord)
	wire.OnObject(m, wire.OpSealSegment, s.sealSegment)
	wire.OnObject(m, wire.OpOpenSegment, s.openSegment)
	wire.On(m, wire.OpVaultID, s.vaultID)
	wire.On(m, wire.OpVaultEpoch, s.vaultEpoch)
	wire.OnObject(m, wire.OpResealRecord, s.resealRecord)
}

// vaultID answers the id of a vault that is about to be made. It is no secret:
// what it is for is that no two vaults have the same.
func (s *Service) vaultID(ctx context.Context, r *ipc.Request, _ *wire.VaultIDRequest) (*wire.VaultIDReply, error) {
	if _, err := s.unsealed(r); err != nil {
		return nil, err
	}
	id, err := s.entropy.forKey(ctx)
	if err != nil {
		return nil, err
	}
	defer id.Wipe()
	return &wire.VaultIDReply{Id: bytes.Clone(id.Expose())}, nil
}

func (s *Service) appKey(ctx context.Context, r *ipc.Request, q *wire.AppKeyRequest) (*wire.AppKeyReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	if q.IdAlone {
		id := fileID(a.acct.rootKeys.names, a.app)
		return &wire.AppKeyReply{KeyId: id[:]}, nil
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
		return nil, faultIn(a.acct.ringPath(id), damageAt(0))
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
	value, err := wire.Payload(r, q.Value, q.Size, MaxLongValue)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(value)
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	ring, err := s.ringOfRecord(ctx, a)
	if err != nil {
		return nil, err
	}
	record := sealRecord(ring.records, c, place, q.Name, value)
	inline, size, err := wire.Deliver(r, record, q.Size > 0)
	return &wire.SealRecordReply{Record: inline, Size: size}, err
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
	record, err := wire.Payload(r, q.Record, q.Size, MaxLong)
	if err != nil {
		return nil, tooLong(err)
	}
	ring, err := s.ringOfRecord(ctx, a)
	if err != nil {
		return nil, err
	}
	name, value, err := openRecord(ring.records, place, record)
	if err != nil {
		return nil, ipc.Damaged
	}
	inline, size, err := wire.Deliver(r, value, q.Size > 0)
	return &wire.OpenRecordReply{Name: name, Value: inline, Size: size}, err
}

func (s *Service) sealSegment(ctx context.Context, r *ipc.Request, q *wire.SealSegmentRequest) (*wire.SealSegmentReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	if len(q.Header) > MaxHeader || len(q.Body) > MaxBody {
		return nil, ipc.TooLarge
	}
	body, err := wire.Payload(r, q.Body, q.Size, MaxLongBody)
	if err != nil {
		return nil, err
	}
	if len(q.Header) == 0 || len(body) == 0 {
		return nil, ipc.Malformed
	}
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	if a.sealed {
		return nil, ipc.Sealed
	}
	acct := a.acct
	if q.Next {
		if a.rekeying == nil {
			return nil, ipc.Denied
		}
		acct = a.rekeying.next
	}
	sealed := make([]byte, 0, Overhead+len(body))
	sealed = acct.rootKeys.chain.seal(sealed, c, segmentAD(acct.owner, q.Header), body)
	inline, size, err := wire.Deliver(r, sealed, q.Size > 0)
	return &wire.SealSegmentReply{Sealed: inline, Size: size}, err
}

func (s *Service) openSegment(_ context.Context, r *ipc.Request, q *wire.OpenSegmentRequest) (*wire.OpenSegmentReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	sealed, err := wire.Payload(r, q.Sealed, q.Size, Overhead+MaxLongBody)
	if err != nil {
		return nil, tooLong(err)
	}
	if !within(len(q.Header), 1, MaxHeader) || !within(len(sealed), Overhead+1, Overhead+MaxLongBody) {
		return nil, ipc.Damaged // Nothing of such lengths was ever sealed.
	}
	body, err := a.acct.rootKeys.chain.open(segmentAD(a.acct.owner, q.Header), sealed)
	if err != nil {
		return nil, ipc.Damaged
	}
	defer body.Wipe()
	inline, size, err := wire.Deliver(r, body.Expose(), q.Size > 0)
	inline = bytes.Clone(inline) // It is wiped when the reply is out.
	return &wire.OpenSegmentReply{Body: inline, Size: size}, err
}

// tooLong is what a length says of bytes that are to be opened: nothing so long
// was ever sealed.
func tooLong(err error) error {
	if errors.Is(err, ipc.TooLarge) {
		return ipc.Damaged
	}
	return err
}

func within(n, least, most int) bool { return n >= least && n <= most }
