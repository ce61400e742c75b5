package ipc_test

import (
	"context"
	"errors"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestDeriveToken: never more rights nor a longer life, only for oneself or
// one's child, and dead with the parent.
func TestDeriveToken(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, other := w.app("app"), w.app("other")
	child, err := w.Kernel.NewTask(ipc.TaskSpec{Name: "child", Parent: c.task.ID()})
	if err != nil {
		t.Fatal(err)
	}
	derive := func(holder *ipc.Task, rights capability.TokenRights) (capability.Token, error) {
		return c.task.DeriveToken(&c.token, holder, rights, 0)
	}
	for _, x := range []struct {
		name   string
		holder *ipc.Task
		rights capability.TokenRights
		want   error
	}{
		{"own", c.task, capability.Get, nil},
		{"child", child, capability.Get, nil},
		{"stranger", other.task, capability.Get, ipc.PermissionDenied},
		{"nothing", c.task, 0, ipc.InvalidArgument},
		{"more", c.task, capability.AllTokenRights, ipc.PermissionDenied},
	} {
		if _, err := derive(x.holder, x.rights); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	if _, err := other.task.DeriveToken(&c.token, other.task, capability.Get, 0); !errors.Is(err, ipc.Denied) {
		t.Errorf("from another's token: %v", err)
	}
	token, err := derive(child, capability.Get)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := c.task.Derive(c.slot, capability.Send, child)
	if err != nil {
		t.Fatal(err)
	}
	use := func() (err error) {
		w.Do(child, func(ctx context.Context) {
			_, err = child.Call(ctx, ipc.Msg{Slot: slot, Op: opGet, Token: &token, Move: ipc.NoSlot}, nil)
		})
		return err
	}
	if err := use(); err != nil {
		t.Errorf("a derived token: %v", err)
	}
	if err := w.ident.RevokeToken(w.auth, &c.token); err != nil {
		t.Fatal(err)
	}
	if err := use(); !errors.Is(err, ipc.Denied) {
		t.Errorf("after its parent was revoked: %v", err)
	}
}
