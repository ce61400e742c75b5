package keychain

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

func (c *Client) store(ctx context.Context, op uint16, q, p proto.Message) error {
	return c.call(ctx, c.cfg.Store, op, q, p)
}

func (c *Client) keys(ctx context.Context, op uint16, q, p proto.Message) error {
	return c.call(ctx, c.cfg.Keys, op, q, p)
}

// call leaves q alone: its bytes are the caller's. A service that was stopped
// for good is unavailable to an app like one that restarts.
func (c *Client) call(ctx context.Context, slot ipc.Slot, op uint16, q, p proto.Message) error {
	err := wire.Call(ctx, c.task, ipc.Msg{Slot: slot, Op: op, Token: &c.cfg.Token, Move: ipc.NoSlot}, q, p)
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
