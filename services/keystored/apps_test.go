package keystored_test

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// session is a session of a user, and where its tokens come from.
type session struct {
	s    *system
	user string
	sid  uint64
}

func (s *system) session(user string) *session {
	s.t.Helper()
	sid, err := s.identity.StartSession(s.auth, user, [16]byte{s.incarnation})
	s.must(err)
	return &session{s: s, user: user, sid: sid}
}

// token mints one for the task.
func (c *session) token(app string, holder *ipc.Task) (*capability.Token, error) {
	token, err := c.s.identity.MintToken(c.s.auth, ipc.TokenSpec{
		SID: c.sid, App: app, Holder: holder.ID(),
		Rights: capability.Put | capability.Get | capability.Del | capability.List,
	})
	return &token, err
}

// openVault does what identityd does at unseal.
func (c *session) openVault(ctx context.Context, create bool) error {
	token, err := c.token("identityd", c.s.identity)
	if err != nil {
		return err
	}
	if c.s.real != nil {
		if err := c.s.real.unseal(ctx, c, create); err != nil {
			return err
		}
	}
	if err := c.s.identity.OpenSession(c.s.auth, c.sid); err != nil {
		return err
	}
	m := ipc.Msg{Slot: c.s.admin, Op: wire.OpOpenVault, Token: token, Move: ipc.NoSlot}
	err = wire.Call(ctx, c.s.identity, m, &wire.OpenVaultRequest{Create: create}, &wire.OpenVaultReply{})
	_ = c.s.identity.RevokeToken(c.s.auth, token)
	return err
}

// unseal opens the vault and answers how that went.
func (c *session) unseal(create bool) (err error) {
	c.s.t.Helper()
	c.s.rig.Do(c.s.identity, func(ctx context.Context) {
		if err = c.openVault(ctx, create); err != nil {
			_ = c.s.identity.SealSession(c.s.auth, c.sid)
		}
	})
	return err
}

// lock seals the session and waits as identityd does.
func (c *session) lock() {
	c.s.t.Helper()
	c.s.rig.Do(c.s.identity, func(ctx context.Context) {
		if err := errors.Join(c.s.identity.SealSession(c.s.auth, c.sid), c.s.identity.DrainSession(ctx, c.s.auth, c.sid)); err != nil {
			c.s.t.Error(err)
		}
	})
}

// alice is a session of hers with a new vault.
func (s *system) alice() *session {
	s.t.Helper()
	c := s.session("alice")
	s.must(c.unseal(true))
	return c
}

// again is a session of hers whose vault must be there.
func (s *system) again() *session {
	s.t.Helper()
	c := s.session("alice")
	s.must(c.unseal(false))
	return c
}

// app is a program with a token.
type app struct {
	s     *system
	task  *ipc.Task
	slot  ipc.Slot
	token *capability.Token
}

func (c *session) app(id string) *app {
	c.s.t.Helper()
	c.s.tasks++
	task := c.s.rig.Task(ipc.TaskSpec{Name: "app-" + strconv.Itoa(c.s.tasks)})
	token, err := c.token(id, task)
	c.s.must(err)
	return &app{s: c.s, task: task, slot: c.s.rig.Connect(task, c.s.store), token: token}
}

func (a *app) call(ctx context.Context, op uint16, q, p proto.Message) error {
	return wire.Call(ctx, a.task, ipc.Msg{Slot: a.slot, Op: op, Token: a.token, Move: ipc.NoSlot}, q, p)
}

// putIn lends keystored what does not fit a frame, as the client library does.
func (a *app) putIn(ctx context.Context, name, value string) error {
	if len(value) > vault.InlineBytes {
		loan, err := wire.LendReadOnly(a.task, []byte(value))
		if err != nil {
			return err
		}
		defer loan.End()
		m := ipc.Msg{Slot: a.slot, Op: wire.OpPut, Token: a.token, Move: loan.Object}
		return wire.Call(ctx, a.task, m, &wire.PutRequest{Name: name, Size: uint32(len(value))}, &wire.PutReply{})
	}
	return a.call(ctx, wire.OpPut, &wire.PutRequest{Name: name, Value: []byte(value)}, &wire.PutReply{})
}

func (a *app) getIn(ctx context.Context, name string) (string, error) {
	var p wire.GetReply
	err := a.call(ctx, wire.OpGet, &wire.GetRequest{Name: name}, &p)
	if err != nil || p.Size == 0 {
		return string(p.Value), err
	}
	loan, err := wire.Lend(a.task, nil, vault.ValueBytes)
	if err != nil {
		return "", err
	}
	defer loan.End()
	p.Reset()
	m := ipc.Msg{Slot: a.slot, Op: wire.OpGet, Token: a.token, Move: loan.Object}
	if err = wire.Call(ctx, a.task, m, &wire.GetRequest{Name: name, Room: vault.ValueBytes}, &p); err != nil || p.Size == 0 {
		return string(p.Value), err
	}
	value, err := loan.Read(p.Size)
	return string(value), err
}

func (a *app) deleteIn(ctx context.Context, name string) error {
	return a.call(ctx, wire.OpDelete, &wire.DeleteRequest{Name: name}, &wire.DeleteReply{})
}

func (a *app) do(fn func(ctx context.Context)) {
	a.s.t.Helper()
	a.s.rig.Do(a.task, fn)
}

func (a *app) put(name, value string) (err error) {
	a.do(func(ctx context.Context) { err = a.putIn(ctx, name, value) })
	return err
}

func (a *app) get(name string) (value string, err error) {
	a.do(func(ctx context.Context) { value, err = a.getIn(ctx, name) })
	return value, err
}

func (a *app) delete(name string) (err error) {
	a.do(func(ctx context.Context) { err = a.deleteIn(ctx, name) })
	return err
}

// list follows every page.
func (a *app) list() (names []string, err error) {
	a.do(func(ctx context.Context) {
		for after, more := "", true; more && err == nil; {
			var p wire.ListReply
			err = a.call(ctx, wire.OpList, &wire.ListRequest{After: after}, &p)
			names = append(names, p.Names...)
			if more = p.More; more {
				after = p.Names[len(p.Names)-1]
			}
		}
	})
	return names, err
}

// wantGet checks a value.
func (a *app) wantGet(name, want string) {
	a.s.t.Helper()
	if got, err := a.get(name); err != nil || got != want {
		a.s.t.Errorf("get %s: %q, %v; want %q", name, got, err, want)
	}
}
