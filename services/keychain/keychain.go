package keychain

import (
	"context"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

// Limits of what a call takes, in bytes.
const (
	MaxName    = capability.MaxName // of a secret's name
	MaxKeyName = 64                 // of a key's name
	MaxValue   = 64 << 10           // of a secret
	MaxMessage = 4096               // to be signed
)

// The errors of a Client. They are ipc codes, so that errors.Is works with
// either.
var (
	ErrNotFound    error = ipc.NotFound    // one's own token, and no such name
	ErrDenied      error = ipc.Denied      // the token is void or lacks the right
	ErrSealed      error = ipc.Sealed      // the session is not unsealed yet
	ErrQuota       error = ipc.Quota       // the app's or the user's quota is used up
	ErrTooLarge    error = ipc.TooLarge    // over MaxValue, MaxMessage or MaxKeyName
	ErrMalformed   error = ipc.Malformed   // a name that is not canonical
	ErrTimedOut    error = ipc.TimedOut    // no answer before the deadline
	ErrCanceled    error = ipc.Canceled    // the caller's context was canceled
	ErrUnavailable error = ipc.Unavailable // the service failed or restarted
	ErrExists      error = ipc.Exists      // there is a key of that name
	ErrLimit       error = ipc.LimitReached
	ErrDamaged     error = ipc.Damaged
	ErrRevoked     error = ipc.Revoked    // the key was revoked, and does nothing any more
	ErrRolledBack  error = ipc.RolledBack // the app's keys on disk are an older copy
	ErrIO          error = ipc.IOError
	ErrNoSpace     error = ipc.NoSpace // the disk is full, or no memory object is left for a long value
)

// Config is what the launcher hands an app.
type Config struct {
	Store ipc.Slot         // SEND on keystored
	Keys  ipc.Slot         // SEND on keymintd's endpoint for apps
	Token capability.Token // of the app, the session and the task
}

// Client speaks to keystored and keymintd for one app. It is safe for
// concurrent use.
type Client struct {
	task *ipc.Task
	cfg  Config
}

// New makes a client for the task that holds the capabilities and the token.
func New(t *ipc.Task, cfg Config) *Client { return &Client{task: t, cfg: cfg} }

// Put stores value under name, durably, in the place of what was there. It
// returns ErrMalformed, ErrTooLarge, ErrQuota, ErrSealed, ErrDenied or, for a
// value over 4,096 bytes, ErrNoSpace, and then nothing has changed.
func (c *Client) Put(ctx context.Context, name string, value *secret.Bytes) error {
	if err := checkName(name); err != nil {
		return err
	}
	if value.Len() > MaxValue {
		return ErrTooLarge
	}
	if value.Len() > inlineValue {
		return c.putLong(ctx, name, value)
	}
	return c.store(ctx, wire.OpPut, &wire.PutRequest{Name: name, Value: value.Expose()}, &wire.PutReply{})
}

// Get returns the value stored under name, or ErrNotFound. It takes two calls for
// one over 4,096 bytes, and answers what is stored at the second.
func (c *Client) Get(ctx context.Context, name string) (*secret.Bytes, error) {
	value, _, err := c.GetSalvaged(ctx, name)
	return value, err
}

// GetSalvaged is Get, and says whether the value may be out of date: somebody has
// salvaged the vault since, and what was lost may have replaced or deleted it. A
// put ends that.
func (c *Client) GetSalvaged(ctx context.Context, name string) (value *secret.Bytes, stale bool, err error) {
	if err := checkName(name); err != nil {
		return nil, false, err
	}
	var p wire.GetReply
	if err := c.store(ctx, wire.OpGet, &wire.GetRequest{Name: name}, &p); err != nil {
		return nil, false, err
	}
	if p.Size > 0 {
		return c.getLong(ctx, name)
	}
	return secret.Take(p.Value), p.Stale, nil
}

// Delete removes what is stored under name, durably, or returns ErrNotFound.
func (c *Client) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return c.store(ctx, wire.OpDelete, &wire.DeleteRequest{Name: name}, &wire.DeleteReply{})
}

// List returns the app's own names in byte order. It takes several calls if
// they do not fit a frame: names that come and go meanwhile may be missed.
func (c *Client) List(ctx context.Context) ([]string, error) {
	return pages(func(after string) ([]string, bool, error) {
		var p wire.ListReply
		err := c.store(ctx, wire.OpList, &wire.ListRequest{After: after}, &p)
		return p.Names, p.More, err
	})
}

// Generate makes an Ed25519 signing key and returns its public half, 32 bytes.
// It returns ErrExists if the app has a key of that name and ErrLimit beyond
// the number of keys an app may have.
func (c *Client) Generate(ctx context.Context, name string) ([]byte, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	var p wire.GenerateKeyReply
	err := c.keys(ctx, wire.OpGenerateKey, &wire.GenerateKeyRequest{Name: name}, &p)
	return p.Public, err
}

// Uses are what a key may be used for.
type Uses uint32

// The uses. A key is made with at least one.
const (
	UseSign Uses = 1
	UseWrap Uses = 2 // wrap and detach
)

// GenerateFor is Generate for a key with certain uses; for any other it answers
// ErrDenied.
func (c *Client) GenerateFor(ctx context.Context, name string, uses Uses) ([]byte, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	if uses == 0 || uses&^(UseSign|UseWrap) != 0 {
		return nil, ErrMalformed
	}
	q := &wire.GenerateKeyRequest{Name: name, Purpose: wire.KeyPurpose_KEY_PURPOSE_SIGNING, Uses: uint32(uses)}
	var p wire.GenerateKeyReply
	err := c.keys(ctx, wire.OpGenerateKey, q, &p)
	return p.Public, err
}

// Rotate makes the next version of a key, which signs from then on, and returns
// its public half. Key returns those of older versions, so that what they have
// signed can be verified. It returns ErrLimit if the app has no room for another
// version; old ones go with the key.
func (c *Client) Rotate(ctx context.Context, name string) (public []byte, version uint32, err error) {
	if err := checkKeyName(name); err != nil {
		return nil, 0, err
	}
	var p wire.RotateKeyReply
	err = c.keys(ctx, wire.OpRotateKey, &wire.RotateKeyRequest{Name: name}, &p)
	return p.Public, p.Version, err
}

// Revoke destroys the private half of a key for ever, that in blobs too. Whoever
// uses it gets ErrRevoked; its public halves stay till it is deleted.
func (c *Client) Revoke(ctx context.Context, name string) error {
	if err := checkKeyName(name); err != nil {
		return err
	}
	return c.keys(ctx, wire.OpRevokeKey, &wire.RevokeKeyRequest{Name: name}, &wire.RevokeKeyReply{})
}

// KeyState is what has become of a key.
type KeyState uint8

// The states.
const (
	Active  KeyState = 1 // it signs
	Rotated KeyState = 2 // a newer version signs
	Revoked KeyState = 3 // no version signs
)

// KeyInfo is what is public of one version of a key.
type KeyInfo struct {
	Public  []byte // 32 bytes
	Version uint32 // from 1
	State   KeyState
	Uses    Uses
}

// Key returns what is public of a version of a key, 0 being the newest, or
// ErrNotFound.
func (c *Client) Key(ctx context.Context, name string, version uint32) (KeyInfo, error) {
	if err := checkKeyName(name); err != nil {
		return KeyInfo{}, err
	}
	var p wire.PublicKeyReply
	err := c.keys(ctx, wire.OpPublicKey, &wire.PublicKeyRequest{Name: name, Version: version}, &p)
	return KeyInfo{p.Public, p.Version, KeyState(p.State), Uses(p.Uses)}, err
}

// Public returns the public half of the newest version of a key, 32 bytes, or
// ErrNotFound.
func (c *Client) Public(ctx context.Context, name string) ([]byte, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	var p wire.PublicKeyReply
	err := c.keys(ctx, wire.OpPublicKey, &wire.PublicKeyRequest{Name: name}, &p)
	return p.Public, err
}

// Sign signs message with pure Ed25519 (RFC 8032), with the newest version of a
// key, and returns 64 bytes.
func (c *Client) Sign(ctx context.Context, name string, message []byte) ([]byte, error) {
	signature, _, err := c.SignVersion(ctx, name, message)
	return signature, err
}

// SignVersion is Sign, and says which version it was.
func (c *Client) SignVersion(ctx context.Context, name string, message []byte) (signature []byte, version uint32, err error) {
	if err := checkKeyName(name); err != nil {
		return nil, 0, err
	}
	if len(message) > MaxMessage {
		return nil, 0, ErrTooLarge
	}
	var p wire.SignReply
	err = c.keys(ctx, wire.OpSign, &wire.SignRequest{Name: name, Message: message}, &p)
	return p.Signature, p.Version, err
}

// Keys returns the names of the app's signing keys in byte order.
func (c *Client) Keys(ctx context.Context) ([]string, error) {
	return pages(func(after string) ([]string, bool, error) {
		var p wire.ListKeysReply
		err := c.keys(ctx, wire.OpListKeys, &wire.ListKeysRequest{After: after}, &p)
		return p.Names, p.More, err
	})
}

// DeleteKey destroys a signing key, or returns ErrNotFound.
func (c *Client) DeleteKey(ctx context.Context, name string) error {
	if err := checkKeyName(name); err != nil {
		return err
	}
	return c.keys(ctx, wire.OpDeleteKey, &wire.DeleteKeyRequest{Name: name}, &wire.DeleteKeyReply{})
}

// Wrap returns a key as an encrypted blob that only the same app of the same
// user can unwrap. The blob may be kept anywhere. The key stays, and as long as it
// does, or once it is deleted, the blob brings nothing back.
func (c *Client) Wrap(ctx context.Context, name string) ([]byte, error) {
	return c.wrap(ctx, &wire.WrapKeyRequest{Name: name})
}

// Detach is Wrap, and takes the key out: this blob brings it back, and so does
// each one that was made of it before. Who loses them loses the key.
func (c *Client) Detach(ctx context.Context, name string) ([]byte, error) {
	return c.wrap(ctx, &wire.WrapKeyRequest{Name: name, Detach: true})
}

func (c *Client) wrap(ctx context.Context, q *wire.WrapKeyRequest) ([]byte, error) {
	if err := checkKeyName(q.Name); err != nil {
		return nil, err
	}
	var p wire.WrapKeyReply
	err := c.keys(ctx, wire.OpWrapKey, q, &p)
	return p.Blob, err
}

// Unwrap puts a detached key back under name, the old one or another, and returns
// its public half. ErrDenied is the answer for a key that was deleted, ErrExists
// for one that is there.
func (c *Client) Unwrap(ctx context.Context, name string, blob []byte) ([]byte, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	var p wire.UnwrapKeyReply
	err := c.keys(ctx, wire.OpUnwrapKey, &wire.UnwrapKeyRequest{Name: name, Blob: blob}, &p)
	return p.Public, err
}
