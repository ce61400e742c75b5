package ipc

import (
	"context"

	"nexus.internal/os/capability"
)

// session is the kernel's record of a session: what tokens and requests of it
// are worth. Only the holder of the session authority changes it.
type session struct {
	sid         uint64
	user        string
	incarnation [16]byte
	epoch       uint32
	unsealed    bool
	ended       bool

	rows     []*capability.Row // live tokens
	calls    *call             // queued or being served
	news     int               // events not handled yet
	draining []*fiber
}

// authority checks that slot holds the session authority, for a system call.
func (t *Task) authority(number uint16, slot Slot) Code {
	c, err := t.table.Lookup(slot)
	if err != nil || c.Kind != capability.KindSessionAuthority {
		t.deny(number, slot, PermissionDenied, 0)
		return PermissionDenied
	}
	return OK
}

// session checks the authority and finds a session that has not ended.
func (t *Task) session(number uint16, auth Slot, sid uint64) (*session, Code) {
	if code := t.authority(number, auth); code != OK {
		return nil, code
	}
	s := t.kernel.sessions[sid]
	if s == nil || s.ended {
		return nil, NotFound
	}
	return s, OK
}

// StartSession makes a session of the user, active and sealed, and returns its
// sid, which is never used again on this state directory. It returns
// LimitReached beyond MaxSessions and InvalidArgument for a user id that is
// not canonical.
func (t *Task) StartSession(auth Slot, user string, incarnation [16]byte) (uint64, error) {
	k := t.kernel
	k.lock()
	defer k.unlock()
	if code := t.authority(SyscallStartSession, auth); code != OK {
		return 0, code
	}
	if capability.CheckUser(user) != nil {
		return 0, InvalidArgument
	}
	if len(k.sessions) >= MaxSessions || k.lastSID == ^uint32(0) {
		return 0, LimitReached
	}
	k.lastSID++
	s := &session{sid: k.sidBase | uint64(k.lastSID), user: user, incarnation: incarnation, epoch: 1}
	k.sessions[s.sid] = s
	k.traceSession(t.id, s, SessionStarted)
	return s.sid, nil
}

// OpenSession says that the session's keys are unsealed.
func (t *Task) OpenSession(auth Slot, sid uint64) error {
	k := t.kernel
	k.lock()
	defer k.unlock()
	s, code := t.session(SyscallOpenSession, auth, sid)
	if code != OK {
		return code
	}
	s.unsealed = true
	k.traceSession(t.id, s, SessionOpened)
	return nil
}

// SealSession ends the session's epoch: tokens and requests of it are void when
// it returns, queued ones are gone, and whoever waited has been told. Handlers
// that run still run: DrainSession waits for them.
func (t *Task) SealSession(auth Slot, sid uint64) error { return t.void(auth, sid, false) }

// EndSession does what SealSession does and forgets the session.
func (t *Task) EndSession(auth Slot, sid uint64) error { return t.void(auth, sid, true) }

func (t *Task) void(auth Slot, sid uint64, ended bool) error {
	k := t.kernel
	k.lock()
	defer k.unlock()
	number := SyscallSealSession
	if ended {
		number = SyscallEndSession
	}
	s, code := t.session(number, auth, sid)
	if code != OK {
		return code
	}
	k.void(t.id, s, ended)
	return nil
}

// void ends a session's epoch, and the session itself if ended is set. by is
// the task that asked for it, 0 if that was the kernel itself.
func (k *Kernel) void(by TaskID, s *session, ended bool) {
	old := s.epoch
	s.epoch++
	s.unsealed = false
	s.ended = s.ended || ended
	what := SessionSealed
	if ended {
		what = SessionEnded
	}
	k.traceSession(by, s, what)
	for _, row := range s.rows {
		k.tokens.Revoke(row)
	}
	s.rows = nil
	// The news counts before requests are released: with the last of them the
	// session must not look as if nothing were left to wait for.
	for _, sub := range k.subscribers {
		sub.events = append(sub.events, Event{SID: s.sid, Epoch: old, Ended: ended, session: s})
		s.news++
		k.wakeTask(sub)
	}
	for c := s.calls; c != nil; {
		following := c.nextSID
		k.endVoid(c)
		c = following
	}
	k.recheckWaiting(s)
	if ended && s.idle() {
		delete(k.sessions, s.sid)
	}
}

// recheckWaiting tells senders that wait for room with a token of s that it is
// void, instead of letting them find out when there is room.
func (k *Kernel) recheckWaiting(s *session) {
	for f := k.timers; f != nil; {
		following := f.timerNext
		if f.waiting == waitRoom {
			if ep, code := k.target(f.task, &f.msg); code == OK {
				if _, why := k.validate(f, ep.needs(f.msg.Op)); why != capability.Accepted {
					k.abort(f, k.refuse(f, ep, Denied, why))
				}
			}
		}
		f = following
	}
}

// voidAll seals or ends every session, in the order of their sids.
func (k *Kernel) voidAll(end bool) {
	for n := uint32(1); n <= k.lastSID; n++ {
		if s := k.sessions[k.sidBase|uint64(n)]; s != nil && !s.ended {
			k.void(0, s, end)
		}
	}
}

// idle says whether no handler of an old epoch runs and no news is out.
func (s *session) idle() bool {
	if s.news > 0 {
		return false
	}
	for c := s.calls; c != nil; c = c.nextSID {
		if c.stamp.Epoch != s.epoch {
			return false
		}
	}
	return true
}

// drained readies those who wait for a session to be idle, and forgets a
// session that has ended and is.
func (k *Kernel) drained(s *session) {
	if (len(s.draining) == 0 && !s.ended) || !s.idle() {
		return
	}
	for _, f := range s.draining {
		k.ready(f, OK)
	}
	s.draining = nil
	if s.ended {
		delete(k.sessions, s.sid)
	}
}

// DrainSession parks till no handler of an old epoch of the session runs and
// its last SealSession's or EndSession's news has been handled. A session that
// is unknown has nothing to drain.
func (t *Task) DrainSession(ctx context.Context, auth Slot, sid uint64) error {
	f, deadline, err := t.enter(ctx)
	if err != nil {
		return err
	}
	k := t.kernel
	defer k.guard()
	code, s := t.authority(SyscallDrainSession, auth), k.sessions[sid]
	if code != OK || s == nil || s.idle() {
		k.leave(f)
		return code.err()
	}
	f.waiting, f.list = waitDrain, &s.draining
	s.draining = append(s.draining, f)
	k.setTimer(f, deadline)
	code = k.park(ctx, f)
	k.left(f)
	return code.err()
}

// TokenSpec describes a token to be minted.
type TokenSpec struct {
	SID    uint64
	App    string
	Holder TaskID
	Rights capability.TokenRights
	// Expires is kernel time, 0 for the session's life.
	Expires Time
}

// MintToken makes a token of the session's current epoch. It returns NotFound
// for an unknown session, InvalidArgument for an app id that is not canonical,
// an unknown right, no right or an unknown holder, and LimitReached beyond
// MaxTokens.
func (t *Task) MintToken(auth Slot, spec TokenSpec) (capability.Token, error) {
	k := t.kernel
	k.lock()
	defer k.unlock()
	s, code := t.session(SyscallMintToken, auth, spec.SID)
	if code != OK {
		return capability.Token{}, code
	}
	if capability.CheckApp(spec.App) != nil || spec.Rights == 0 || k.tasks[spec.Holder] == nil {
		return capability.Token{}, InvalidArgument
	}
	if k.tokens.Live() >= MaxTokens {
		return capability.Token{}, LimitReached
	}
	token, row, err := k.tokens.Mint(capability.TokenFields{
		Rights: spec.Rights, Epoch: s.epoch, SID: s.sid, App: k.appNumber(spec.App),
		Holder: uint64(spec.Holder), Expires: uint64(spec.Expires),
	}, s)
	if err != nil {
		return capability.Token{}, InvalidArgument
	}
	row.AppID = spec.App
	s.rows = append(s.rows, row)
	k.ring.add(TraceEvent{Time: k.now, From: t.id, To: spec.Holder, SID: s.sid, Kind: TraceToken})
	return token, nil
}

// RevokeToken kills one token of the session, queued requests that carry it
// included.
func (t *Task) RevokeToken(auth Slot, token *capability.Token) error {
	k := t.kernel
	k.lock()
	defer k.unlock()
	if code := t.authority(SyscallRevokeToken, auth); code != OK {
		return code
	}
	why := capability.RefusedMissing
	var row *capability.Row
	if token != nil {
		row, why = k.tokens.Check(token, token.Claims().Holder, 0)
	}
	if why != capability.Accepted {
		t.denyToken(SyscallRevokeToken, token, Denied, CauseToken, why, 0)
		return Denied
	}
	k.revokeRow(row)
	return nil
}

// endVoid ends a request whose token has died: queued or being served, its caller
// hears Denied.
func (k *Kernel) endVoid(c *call) {
	k.denyVoid(c)
	if c.state == callQueued {
		c.ep.unqueue(c)
		k.reject(c, Denied)
	} else {
		k.answer(c, Denied)
	}
}

func (k *Kernel) revokeRow(row *capability.Row) {
	s := row.Session.(*session)
	k.tokens.Revoke(row)
	s.rows = liveRows(s.rows)
	for c := s.calls; c != nil; {
		following := c.nextSID
		if c.row != nil && !c.row.Live() {
			k.endVoid(c)
		}
		c = following
	}
	k.recheckWaiting(s)
}

func liveRows(rows []*capability.Row) []*capability.Row {
	kept := rows[:0]
	for _, r := range rows {
		if r.Live() {
			kept = append(kept, r)
		}
	}
	clear(rows[len(kept):])
	return kept
}

// dropTokensOf revokes what an exiting task holds.
func (k *Kernel) dropTokensOf(t *Task) {
	for n := uint32(1); n <= k.lastSID; n++ {
		s := k.sessions[k.sidBase|uint64(n)]
		if s == nil {
			continue
		}
		for _, row := range append([]*capability.Row(nil), s.rows...) {
			if row.Holder == uint64(t.id) && row.Live() {
				k.revokeRow(row)
			}
		}
	}
}

// appNumber numbers app ids in the order of their first token. A number is
// never used for another id.
func (k *Kernel) appNumber(app string) uint64 {
	n, ok := k.apps[app]
	if !ok {
		n = uint64(len(k.apps)) + 1
		k.apps[app] = n
	}
	return n
}

// stamp puts the session's namespace on a request.
func (s *session) stamp(c *call) {
	c.stamp = Stamp{
		SID: s.sid, User: s.user, Incarnation: s.incarnation, App: c.row.AppID,
		Epoch: s.epoch, Unsealed: s.unsealed, Rights: c.row.Rights,
	}
}

func (s *session) link(c *call) {
	c.prevSID, c.nextSID = nil, s.calls
	if s.calls != nil {
		s.calls.prevSID = c
	}
	s.calls = c
}

func (s *session) unlink(c *call) {
	if c.prevSID != nil {
		c.prevSID.nextSID = c.nextSID
	} else {
		s.calls = c.nextSID
	}
	if c.nextSID != nil {
		c.nextSID.prevSID = c.prevSID
	}
	c.prevSID, c.nextSID = nil, nil
}

func (k *Kernel) subscribe(t *Task) {
	for _, s := range k.subscribers {
		if s == t {
			return
		}
	}
	k.subscribers = append(k.subscribers, t)
}

// unsubscribe forgets an exiting task and the news it will never hear.
func (k *Kernel) unsubscribe(t *Task) {
	for i, s := range k.subscribers {
		if s == t {
			k.subscribers = append(k.subscribers[:i:i], k.subscribers[i+1:]...)
			break
		}
	}
	for _, ev := range t.events {
		ev.session.news--
		k.drained(ev.session)
	}
	t.events = nil
}

func (k *Kernel) traceSession(by TaskID, s *session, what uint16) {
	k.ring.add(TraceEvent{Time: k.now, From: by, SID: s.sid, Op: what, Kind: TraceSession, Name: s.user})
}
