package keychain

import (
	"context"

	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

// Limits of sealed data, in bytes.
const (
	MaxData       = 4096
	MaxAssociated = 1024 // data that is not in it and must be the same
)

// Seal returns data in a form that only the same app of the same user can unseal,
// and only with the same associated data. It may be kept anywhere, and says
// nothing of the data but its length's bucket. The token needs the seal right.
func (c *Client) Seal(ctx context.Context, data *secret.Bytes, associated []byte) ([]byte, error) {
	if data.Len() > MaxData || len(associated) > MaxAssociated {
		return nil, ErrTooLarge
	}
	var p wire.SealDataReply
	err := c.keys(ctx, wire.OpSealData, &wire.SealDataRequest{Associated: associated, Data: data.Expose()}, &p)
	return p.Sealed, err
}

// Unseal returns what was sealed; the caller wipes it. ErrDenied is the answer for
// what was changed, what is another app's or user's, and other associated data;
// ErrMalformed for what cannot be sealed data at all.
func (c *Client) Unseal(ctx context.Context, sealed, associated []byte) (*secret.Bytes, error) {
	if len(associated) > MaxAssociated {
		return nil, ErrTooLarge
	}
	var p wire.UnsealDataReply
	if err := c.keys(ctx, wire.OpUnsealData, &wire.UnsealDataRequest{Associated: associated, Sealed: sealed}, &p); err != nil {
		return nil, err
	}
	return secret.Take(p.Data), nil
}
