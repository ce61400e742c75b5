package identityd

import (
	"context"
	"slices"
	"strconv"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
)

// session is an active session. One that has ended is in no table, though a
// request that was under way may still hold it.
type session struct {
	sid      uint64
	user     string
	inc      [userdb.IncarnationSize]byte
	unsealed bool
	ended    bool
	tokens   int                           // issued since the last lock
	issued   map[string][]capability.Token // of them, by app

	// turn goes up with every lock and end, and when the kernel sealed the
	// session by itself. An unseal that finds another turn than it began with
	// was overtaken.
	turn      uint64
	sealing   int  // seals under way
	unsealing bool // an unseal is past its proof
}

// void is what lock, end and the kernel's news have in common.
func (c *session) void() {
	c.turn++
	c.unsealed = false
	c.tokens = 0
	clear(c.issued)
}

func (c *session) marker() ipc.Field { return ipc.F("sid", strconv.FormatUint(c.sid, 10)) }

func (s *Service) startSession(ctx context.Context, r *ipc.Request, q *wire.StartSessionRequest) (*wire.StartSessionReply, error) {
	p, done, err := s.proven(ctx, q.User, q.Credential)
	if err != nil {
		return nil, err
	}
	defer done()
	if r.Gone() {
		return nil, ipc.TimedOut // Nobody would ever know the sid.
	}
	if len(s.sessions) >= MaxSessions || len(s.sessionsOf(p.user)) >= MaxSessionsPerUser {
		return nil, ipc.LimitReached
	}
	sid, err := s.task.StartSession(s.cfg.Authority, p.user, p.inc)
	if err != nil {
		return nil, err
	}
	c := &session{sid: sid, user: p.user, inc: p.inc, issued: make(map[string][]capability.Token)}
	s.sessions[sid] = c
	s.task.Mark("identity: session start", c.marker())
	return &wire.StartSessionReply{Sid: sid}, nil
}

// sessionsOf returns the user's active sessions in the order of their sids.
func (s *Service) sessionsOf(user string) []*session {
	var out []*session
	for _, c := range s.sessions {
		if c.user == user {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *session) int {
		if a.sid < b.sid {
			return -1
		}
		return 1
	})
	return out
}

func (s *Service) activeSession(_ context.Context, _ *ipc.Request, q *wire.ActiveSessionRequest) (*wire.ActiveSessionReply, error) {
	c, ok := s.sessions[q.Sid]
	if !ok {
		return &wire.ActiveSessionReply{}, nil
	}
	return &wire.ActiveSessionReply{Active: true, Unsealed: c.unsealed, User: c.user}, nil
}

func (s *Service) lockSession(ctx context.Context, _ *ipc.Request, q *wire.LockSessionRequest) (*wire.LockSessionReply, error) {
	c, ok := s.sessions[q.Sid]
	if !ok {
		return nil, ipc.Denied
	}
	c.void()
	if err := s.seal(s.task.Detached(ctx), c); err != nil {
		return nil, err
	}
	s.task.Mark("identity: session lock", c.marker())
	return &wire.LockSessionReply{}, nil
}

// seal voids the session's epoch, has the keys wiped, and returns when nothing
// of the old epoch runs. It does all of it whatever fails.
func (s *Service) seal(ctx context.Context, c *session) error {
	c.sealing++
	defer func() {
		c.sealing--
		s.turns.Broadcast()
	}()
	var voided error
	if !c.ended {
		voided = s.task.SealSession(s.cfg.Authority, c.sid)
	}
	return s.wipe(ctx, c, voided)
}

func (s *Service) wipe(ctx context.Context, c *session, voided error) error {
	wiped := s.sealKeys(ctx, c.sid)
	drained := s.task.DrainSession(ctx, s.cfg.Authority, c.sid)
	for _, err := range []error{voided, wiped, drained} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) endSession(ctx context.Context, _ *ipc.Request, q *wire.EndSessionRequest) (*wire.EndSessionReply, error) {
	c, ok := s.sessions[q.Sid]
	if !ok {
		return nil, ipc.Denied
	}
	if err := s.end(s.task.Detached(ctx), c); err != nil {
		return nil, err
	}
	return &wire.EndSessionReply{}, nil
}

// end makes the session inactive at once, and returns when its keys are wiped
// and nothing of it runs.
func (s *Service) end(ctx context.Context, c *session) error {
	delete(s.sessions, c.sid)
	c.void()
	c.ended = true
	s.turns.Broadcast()
	if err := s.wipe(ctx, c, s.task.EndSession(s.cfg.Authority, c.sid)); err != nil {
		return err
	}
	s.task.Mark("identity: session end", c.marker())
	return nil
}

// endAll ends the user's sessions. It goes on after an error, which it returns.
func (s *Service) endAll(ctx context.Context, user string) error {
	var first error
	for _, c := range s.sessionsOf(user) {
		if c.ended {
			continue // Somebody else ended it while this waited for the one before.
		}
		if err := s.end(ctx, c); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Event hears that the kernel voided a session. If no seal of identityd's own
// is under way, which lasts till its event was handled, keymintd crashed and the
// kernel sealed the session.
func (s *Service) Event(_ context.Context, ev ipc.Event) {
	if c, ok := s.sessions[ev.SID]; ok && c.sealing == 0 {
		c.void()
	}
}
