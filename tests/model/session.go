package model

import (
	"slices"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
)

// authority says whether a task has the session authority in a slot.
func (m *Model) authority(t *Task, slot ipc.Slot) bool {
	c := m.at(t, slot)
	return c != nil && c.Kind == capability.KindSessionAuthority
}

func (m *Model) live(session int) *Session {
	if session < 0 || session >= len(m.Sessions) || m.Sessions[session].Ended {
		return nil
	}
	return m.Sessions[session]
}

func (m *Model) session(op Op) Result {
	if !m.authority(m.Tasks[op.Task], op.Slot) {
		return code(ipc.PermissionDenied)
	}
	if op.Kind == StartSession {
		open := 0
		for _, s := range m.Sessions {
			if !s.Ended {
				open++
			}
		}
		if open >= ipc.MaxSessions {
			return code(ipc.LimitReached)
		}
		m.Sessions = append(m.Sessions, &Session{Number: len(m.Sessions), Epoch: 1})
		return Result{}
	}
	s := m.live(op.Session)
	if s == nil {
		return code(ipc.NotFound)
	}
	if op.Kind == OpenSession {
		s.Unsealed = true
	} else {
		m.void(s, op.Kind == EndSession)
	}
	return Result{}
}

// void ends a session's epoch: everything that depends on a token of it is told.
func (m *Model) void(s *Session, ended bool) {
	s.Epoch++
	s.Unsealed = false
	s.Ended = s.Ended || ended
	m.refuseVoid(s)
}

// refuseVoid tells those who depend on a token of the session that is void now:
// the newest request first, and then those who wait for room.
func (m *Model) refuseVoid(s *Session) {
	var all []*Message
	for _, e := range m.Endpoints {
		all = append(all, e.Queue...)
		all = append(all, e.Serving...)
	}
	for _, q := range slices.Backward(all) {
		if q.Token == nil || q.Token.Session != s || m.good(q.Token) {
			continue
		}
		if i := slices.Index(q.To.Queue, q); i >= 0 {
			q.To.Queue = slices.Delete(q.To.Queue, i, i+1)
			m.reject(q, ipc.Denied)
		} else {
			m.respond(q, ipc.Denied, "")
		}
	}
	for _, f := range slices.Clone(m.Flows) {
		if f.Wait == Room && !f.Endpoint.Inbox && needs(f.Op.Type) != 0 && !m.passes(m.token(f.Op.Token), f.Task, needs(f.Op.Type)) {
			m.leave(f, ipc.Denied)
		}
	}
}

// crashSessions is what a task's crash or exit means for sessions.
func (m *Model) crashSessions(t *Task) {
	ends := slices.ContainsFunc(m.Caps, func(c *Cap) bool {
		return c.Where == Held && c.Task == t && c.Kind == capability.KindSessionAuthority
	})
	if !ends && !t.Guards {
		return
	}
	for _, s := range m.Sessions {
		if !s.Ended {
			m.void(s, ends)
		}
	}
}

// token is the token of that number, nil for none and for one that is no token.
func (m *Model) token(n int) *Token {
	if n < 0 || n >= len(m.Tokens) {
		return nil
	}
	return m.Tokens[n]
}

// good says whether a token is alive, whoever uses it and whenever.
func (m *Model) good(k *Token) bool {
	for p := k; p != nil; p = p.Parent {
		if p.Revoked || p.Session.Ended || p.Epoch != p.Session.Epoch {
			return false
		}
	}
	return true
}

// passes says whether a task may use a token for what needs one of the rights;
// at delivery and at reply no rights are asked for.
func (m *Model) passes(k *Token, t *Task, need capability.TokenRights) bool {
	return k != nil && m.good(k) && k.Holder == t && (k.Expires == 0 || m.Now < k.Expires) &&
		(need == 0 || k.Rights&need != 0)
}

func (m *Model) mint(op Op) Result {
	if !m.authority(m.Tasks[op.Task], op.Slot) {
		return code(ipc.PermissionDenied)
	}
	s := m.live(op.Session)
	if s == nil {
		return code(ipc.NotFound)
	}
	if op.TokenRights == 0 || op.TokenRights&^capability.AllTokenRights != 0 || m.Tasks[op.To].Exited {
		return code(ipc.InvalidArgument)
	}
	k := &Token{Session: s, Epoch: s.Epoch, Rights: op.TokenRights, Holder: m.Tasks[op.To]}
	if op.Within != 0 {
		k.Expires = m.Now + op.Within
	}
	m.Tokens = append(m.Tokens, k)
	return Result{}
}

func (m *Model) deriveToken(op Op) Result {
	t, to, parent := m.Tasks[op.Task], m.Tasks[op.To], m.token(op.Token)
	k := &Token{Parent: parent, Rights: op.TokenRights, Holder: to}
	if op.Within != 0 {
		k.Expires = m.Now + op.Within
	}
	switch {
	case !m.passes(parent, t, 0):
		return code(ipc.Denied)
	case to.Exited || to != t && to.Parent != t:
		return code(ipc.PermissionDenied)
	case op.TokenRights == 0:
		return code(ipc.InvalidArgument)
	case op.TokenRights&^parent.Rights != 0, parent.Expires != 0 && (k.Expires == 0 || k.Expires > parent.Expires):
		return code(ipc.PermissionDenied)
	}
	k.Session, k.Epoch = parent.Session, parent.Epoch
	m.Tokens = append(m.Tokens, k)
	return Result{}
}

// revokeToken kills a live token, whoever holds it and even if it has expired.
func (m *Model) revokeToken(op Op) Result {
	if !m.authority(m.Tasks[op.Task], op.Slot) {
		return code(ipc.PermissionDenied)
	}
	k := m.token(op.Token)
	if k == nil || !m.good(k) {
		return code(ipc.Denied)
	}
	m.kill(k)
	return Result{}
}

// kill revokes a token and with it all that were made of it.
func (m *Model) kill(k *Token) {
	k.Revoked = true
	m.refuseVoid(k.Session)
}
