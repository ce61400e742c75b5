package keymintd

import (
	"context"
	"encoding/binary"
	"errors"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

const (
	appDataLabel   = "nexus data v1 appdata"
	appDataVersion = 1
	appDataLength  = 2  // bytes before the data
	leastAppData   = 64 // bytes of the smallest bucket
	mostAppData    = appDataLength + MaxData
)

// sealData seals what the app keeps itself. It makes the app's ring if there is
// none: nothing is sealed under a key that is not durable.
func (s *Service) sealData(ctx context.Context, r *ipc.Request, q *wire.SealDataRequest) (*wire.SealDataReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	if len(q.Associated) > MaxAssociated || len(q.Data) > MaxData {
		return nil, ipc.TooLarge
	}
	c, err := s.entropy.forNonce(ctx)
	if err != nil {
		return nil, err
	}
	ring, err := s.ring(ctx, a, true)
	if err != nil {
		return nil, err
	}
	return &wire.SealDataReply{Sealed: sealAppData(ring, c, a.acct.owner, a.keyID(), q.Associated, q.Data)}, nil
}

// unsealData answers Denied for what was changed, what is somebody else's, and
// what was sealed with other associated data, without a difference.
func (s *Service) unsealData(ctx context.Context, r *ipc.Request, q *wire.UnsealDataRequest) (*wire.UnsealDataReply, error) {
	a, err := s.unsealed(r)
	if err != nil {
		return nil, err
	}
	if len(q.Associated) > MaxAssociated {
		return nil, ipc.TooLarge
	}
	if checkAppData(q.Sealed) != nil {
		return nil, ipc.Malformed
	}
	ring, err := s.ring(ctx, a, false)
	if errors.Is(err, ipc.NotFound) {
		return nil, ipc.Denied // An app without keys has sealed nothing.
	}
	if err != nil {
		return nil, err
	}
	plain, err := openAppData(ring, a.acct.owner, a.keyID(), q.Associated, q.Sealed)
	if err != nil {
		return nil, ipc.Denied
	}
	defer plain.Wipe()
	data := plain.Expose()[appDataLength:][:binary.LittleEndian.Uint16(plain.Expose())]
	return &wire.UnsealDataReply{Data: append([]byte(nil), data...)}, nil
}

func (a access) keyID() [KeyIDSize]byte { return fileID(a.acct.rootKeys.names, a.app) }

func appDataAD(r *ring, of owner, id [KeyIDSize]byte, associated []byte) []byte {
	return wrapAD("appdata", of, id[:], []byte(r.app), associated)
}

// sealAppData pads the data to its bucket, so that its length is not told.
func sealAppData(r *ring, c *chance, of owner, id [KeyIDSize]byte, associated, data []byte) []byte {
	under := derive(r.data, appDataLabel)
	defer under.Wipe()
	plain := secret.New(appDataBucket(appDataLength + len(data)))
	defer plain.Wipe()
	binary.LittleEndian.PutUint16(plain.Expose(), uint16(len(data)))
	copy(plain.Expose()[appDataLength:], data)
	return append([]byte{appDataVersion}, wrap(under, c, appDataAD(r, of, id, associated), plain.Expose())...)
}

// openAppData is its inverse, but for the padding. The error is errLayout, which
// the bytes themselves show, errWrongKey or errNotAuthentic.
func openAppData(r *ring, of owner, id [KeyIDSize]byte, associated, sealed []byte) (*secret.Bytes, error) {
	if err := checkAppData(sealed); err != nil {
		return nil, err
	}
	ad := func(id [KeyIDSize]byte) []byte { return appDataAD(r, of, id, associated) }
	plain, err := r.unwrapOwn(appDataLabel, id, ad, sealed[1:])
	if err != nil {
		return nil, err
	}
	used := appDataLength + int(binary.LittleEndian.Uint16(plain.Expose()))
	if used > plain.Len() || appDataBucket(used) != plain.Len() || !zero(plain.Expose()[used:]) {
		plain.Wipe()
		return nil, errNotAuthentic
	}
	return plain, nil
}

// appDataBucket is the padded length of n bytes: the largest bucket is about twice
// the one before, as all of them are.
func appDataBucket(n int) int {
	const second = 2048
	if n > second {
		return mostAppData
	}
	return bucketOf(n, leastAppData, second)
}

// checkAppData says whether the bytes can be sealed data at all.
func checkAppData(sealed []byte) error {
	plain := len(sealed) - 1 - wrapOverhead
	if plain < leastAppData || plain > mostAppData || plain != appDataBucket(plain) || sealed[0] != appDataVersion {
		return errLayout
	}
	return nil
}
