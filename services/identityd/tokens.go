package identityd

import (
	"context"
	"errors"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// ActionToken is what policy must allow to whoever asks for a token.
const ActionToken = "session.token"

// rightActions names, for each token right, what policy must allow to the app.
var rightActions = [...]struct {
	right  capability.TokenRights
	action string
}{
	{capability.Put, "keychain.put"},
	{capability.Get, "keychain.get"},
	{capability.Del, "keychain.del"},
	{capability.List, "keychain.list"},
	{capability.Generate, "keychain.generate"},
	{capability.Sign, "keychain.sign"},
	{capability.Wrap, "keychain.wrap"},
	{capability.Seal, "keychain.seal"},
}

// ofSystem says whether an app id is none that an app may have.
func ofSystem(app string) bool { return app == systemName || strings.HasPrefix(app, systemPrefix) }

func (s *Service) issueToken(ctx context.Context, r *ipc.Request, q *wire.IssueTokenRequest) (*wire.IssueTokenReply, error) {
	rights := capability.TokenRights(q.Rights)
	if uint32(rights) != q.Rights || rights == 0 || rights&^capability.AllTokenRights != 0 || capability.CheckApp(q.App) != nil {
		return nil, ipc.Malformed
	}
	if ofSystem(q.App) {
		return nil, ipc.Denied
	}
	if err := s.allowed(ctx, r.Sender.Name, ActionToken, q.App); err != nil {
		return nil, err
	}
	for _, ra := range rightActions {
		if rights&ra.right == 0 {
			continue
		}
		if err := s.allowed(ctx, q.App, ra.action, ""); err != nil {
			return nil, err
		}
	}
	// Nothing parks from here on.
	c, active := s.sessions[q.Sid]
	if !active {
		return nil, ipc.Denied
	}
	if s.leaving[place{c.user, q.App}] {
		return nil, ipc.Unavailable
	}
	if c.tokens >= MaxSessionTokens {
		return nil, ipc.LimitReached
	}
	token, err := s.task.MintToken(s.cfg.Authority, ipc.TokenSpec{
		SID: c.sid, App: q.App, Holder: ipc.TaskID(q.Holder), Rights: rights,
	})
	if errors.Is(err, ipc.InvalidArgument) {
		return nil, ipc.NotFound // No such holder: the rest has been checked.
	}
	if err != nil {
		return nil, err
	}
	c.tokens++
	c.issued[q.App] = append(c.issued[q.App], token)
	return &wire.IssueTokenReply{Token: token[:]}, nil
}
