package ipc

import "nexus.internal/os/capability"

// DeriveToken makes a token from one that t holds, with no right and no life
// that the parent has not, for t itself or a direct child of it. Revoking the
// parent, or the end of its epoch, revokes it too. Whatever is wrong with the
// parent is Denied; asking for more than it has is PermissionDenied, for nothing
// InvalidArgument; LimitReached beyond MaxTokens.
func (t *Task) DeriveToken(token *capability.Token, holder *Task, rights capability.TokenRights, expires Time) (capability.Token, error) {
	k := t.kernel
	k.lock()
	defer k.unlock()
	why := capability.RefusedMissing
	var row *capability.Row
	if token != nil {
		row, why = k.tokens.Check(token, uint64(t.id), uint64(k.now))
	}
	if why == capability.Accepted {
		why = checkSession(row, capability.AllTokenRights)
	}
	switch {
	case why != capability.Accepted:
		t.denyToken(SyscallDeriveToken, token, Denied, CauseToken, why, rights)
		return capability.Token{}, Denied
	case holder == nil || holder.exited || holder != t && holder.parent != t.id:
		t.denyToken(SyscallDeriveToken, token, PermissionDenied, CauseStranger, capability.Accepted, rights)
		return capability.Token{}, PermissionDenied
	case rights == 0:
		return capability.Token{}, InvalidArgument
	case k.tokens.Live() >= MaxTokens:
		return capability.Token{}, LimitReached
	}
	child, childRow, err := k.tokens.Derive(row, uint64(holder.id), rights, uint64(expires))
	if err != nil {
		cause, why := CauseLife, capability.Accepted
		if rights&^row.Rights != 0 {
			cause, why = CauseToken, capability.RefusedRight
		}
		t.denyToken(SyscallDeriveToken, token, PermissionDenied, cause, why, rights)
		return capability.Token{}, PermissionDenied
	}
	s := row.Session.(*session)
	s.rows = append(s.rows, childRow)
	k.ring.add(TraceEvent{Time: k.now, From: t.id, To: holder.id, SID: s.sid, Kind: TraceToken})
	return child, nil
}
