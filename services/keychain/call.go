package keychain

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

func (c *Client) store(ctx context.Context, op uint16, q, p proto.Message) error {
	return c.call(ctx, c.cfg.Store, op, ipc.NoSlot, q, p)
}

func (c *Client) keys(ctx context.Context, op uint16, q, p proto.Message) error {
	return c.call(ctx, c.cfg.Keys, op, ipc.NoSlot, q, p)
}

// inlineValue is how long a value may be that travels in a frame, in bytes. A
// longer one takes a memory object.
const inlineValue = 4096

// putLong lends keystored the value, to read and not to keep.
func (c *Client) putLong(ctx context.Context, name string, value *secret.Bytes) error {
	loan, err := wire.LendReadOnly(c.task, value.Expose())
	if err != nil {
		return err
	}
	defer loan.End()
	q := &wire.PutRequest{Name: name, Size: uint32(value.Len())}
	return c.call(ctx, c.cfg.Store, wire.OpPut, loan.Object, q, &wire.PutReply{})
}

// getLong lends keystored room for any value, because another one may be stored
// by now, longer or shorter than that of which the first call told.
func (c *Client) getLong(ctx context.Context, name string) (value *secret.Bytes, stale bool, err error) {
	loan, err := wire.Lend(c.task, nil, MaxValue)
	if err != nil {
		return nil, false, err
	}
	defer loan.End()
	var p wire.GetReply
	q := &wire.GetRequest{Name: name, Room: MaxValue}
	if err := c.call(ctx, c.cfg.Store, wire.OpGet, loan.Object, q, &p); err != nil {
		return nil, false, err
	}
	if p.Size == 0 {
		return secret.Take(p.Value), p.Stale, nil
	}
	b, err := loan.Read(p.Size)
	if err != nil {
		return nil, false, ErrUnavailable
	}
	return secret.Take(b), p.Stale, nil
}

// call leaves q alone: its bytes are the caller's. A service that was stopped
// for good is unavailable to an app like one that restarts. A memory object may
// come along, or NoSlot.
func (c *Client) call(ctx context.Context, slot ipc.Slot, op uint16, object ipc.Slot, q, p proto.Message) error {
	err := wire.Call(ctx, c.task, ipc.Msg{Slot: slot, Op: op, Token: &c.cfg.Token, Move: object}, q, p)
	if errors.Is(err, ipc.NoSuchEndpoint) {
		return ErrUnavailable
	}
	return err
}

func checkName(name string) error {
	if capability.CheckName(name) != nil {
		return ErrMalformed
	}
	return nil
}

// checkKeyName is checkName for a key, of which keymintd keeps less.
func checkKeyName(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(name) > MaxKeyName {
		return ErrTooLarge
	}
	return nil
}

// pages collects a list that comes in several answers.
func pages(next func(after string) (names []string, more bool, err error)) ([]string, error) {
	var all []string
	after := ""
	for {
		names, more, err := next(after)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
		if !more || len(names) == 0 {
			return all, nil
		}
		after = names[len(names)-1]
	}
}
