package ipc

import (
	"errors"

	"nexus.internal/os/capability"
)

// denySend records a request that was refused when it was sent, or, while it
// waits for room, because its token died. It answers the refusal as the record
// has it, which tells more apart than the check that found it. Nothing here
// runs for a request that passes.
func (k *Kernel) denySend(f *fiber, ep *endpoint, code Code, why capability.Refusal) capability.Refusal {
	m := &f.msg
	d := Denial{Time: k.now, Stage: StageSend, Code: code, Task: f.task.id, Name: f.task.name, Slot: m.Slot, Op: m.Op}
	if f.waiting == waitRoom {
		d.Stage = StageVoid
	}
	d.at(ep)
	if why == capability.Accepted {
		d.blame(f.task, m, ep, f.post.oneWay)
	} else {
		d.Cause, d.Refusal = CauseToken, why
		if ep != nil && m.Op < MaxOps {
			d.Needed = ep.ops[m.Op].need
		}
		if c := m.Behalf.liveCall(); c != nil {
			k.blameRow(&d, c)
		} else if m.Behalf == nil && m.Token != nil && !f.post.misfit {
			k.blameToken(&d, m.Token)
		}
	}
	if held, err := f.task.table.Lookup(d.Slot); err == nil {
		d.Kind, d.Rights = held.Kind, held.Rights
	}
	k.audit.add(&d)
	return d.Refusal
}

// denyCall records a request whose token died after it was queued, and answers
// the refusal as the record has it.
func (k *Kernel) denyCall(stage Stage, c *call, why capability.Refusal) capability.Refusal {
	d := Denial{
		Time: k.now, Call: c.id, Stage: stage, Cause: CauseToken, Code: Denied, Refusal: why,
		Task: c.sender.Task, Name: c.sender.Name, Slot: NoSlot, Op: c.op, Needed: c.ep.ops[c.op].need,
	}
	d.at(c.ep)
	k.blameRow(&d, c)
	if f := c.caller; f != nil {
		d.Slot = f.msg.Slot
		if held, err := f.task.table.Lookup(d.Slot); err == nil {
			d.Kind, d.Rights = held.Kind, held.Rights
		}
	}
	k.audit.add(&d)
	return d.Refusal
}

// denyVoid records a request whose caller is about to hear that its token died.
func (k *Kernel) denyVoid(c *call) {
	if c.caller != nil || c.reply != nil {
		k.denyCall(StageVoid, c, capability.RefusedRevoked)
	}
}

func (d *Denial) at(ep *endpoint) {
	if ep != nil {
		d.Endpoint, d.Owner, d.Facet = ep.id, ep.owner.name, ep.facet
	}
}

// blame finds out why a request was refused, if that was not for its token.
func (d *Denial) blame(t *Task, m *Msg, ep *endpoint, oneWay bool) {
	switch {
	case ep == nil:
		held, err := t.table.Lookup(m.Slot)
		_, is := held.Object.(*endpoint)
		switch {
		case errors.Is(err, capability.ErrBadSlot):
			d.Cause = CauseSlotRange
		case err != nil:
			d.Cause = CauseEmptySlot
		case !is:
			d.Cause = CauseNotEndpoint
		default:
			d.Cause, d.Missing = CauseNoRight, capability.Send
		}
	case d.Code == NoSuchEndpoint:
		d.Cause = CauseClosed
	case d.Code == Unsupported && ep.inbox:
		d.Cause = CauseInbox
	case d.Code == Unsupported:
		d.Cause = CauseOpcode
	case d.Code == InvalidArgument && m.Move != NoSlot:
		d.Cause = CauseNoNonce
	default:
		d.Slot = m.Move
		held, err := t.table.Lookup(m.Move)
		switch {
		case oneWay && m.Move == NoSlot:
			d.Cause = CauseNoAnswer
		case err != nil:
			d.Cause = CauseMoveEmpty
		case held.Kind.Fixed():
			d.Cause = CauseMoveFixed
		case oneWay:
			d.Cause = CauseNoAnswer
		default:
			d.Cause = CauseNotTaken
		}
	}
}

// liveCall is the call of a request that still has a token, nil if there is
// none or the request is over.
func (r *Request) liveCall() *call {
	if r == nil || r.call == nil || r.call.id != r.id || r.call.row == nil {
		return nil
	}
	return r.call
}

// blameRow fills in what is known of the token that a request went through with.
func (k *Kernel) blameRow(d *Denial, c *call) {
	k.blameClaims(d, &c.row.TokenFields)
	d.Genuine, d.Field = true, fieldOf(d.Refusal, capability.FieldSerial)
	d.App, d.User = k.audit.digest(appDigest, c.row.AppID), k.audit.digest(userDigest, c.session.user)
}

// blameToken fills in what the bytes of a token say, and what the kernel knows
// of it. A seal that is not this boot's is told apart by what the sid claims,
// which makes it a label and nothing more.
func (k *Kernel) blameToken(d *Denial, t *capability.Token) {
	claims := t.Claims()
	differs, sealed := k.tokens.Differs(t)
	switch d.Refusal {
	case capability.RefusedLayout:
		differs = capability.FieldReserved
		if t[0] != capability.TokenVersion {
			differs = capability.FieldVersion
		}
	case capability.RefusedForged:
		if claims.SID&^0xffffffff != k.sidBase && !sealed {
			d.Refusal = capability.RefusedBoot
		}
	case capability.RefusedUnknownRight:
	default:
		d.Genuine = true
	}
	k.blameClaims(d, &claims)
	d.Field = fieldOf(d.Refusal, differs)
	if d.Genuine {
		for app, n := range k.apps {
			if n == claims.App {
				d.App = k.audit.digest(appDigest, app)
			}
		}
		if s := k.sessions[claims.SID]; s != nil {
			d.User = k.audit.digest(userDigest, s.user)
		}
	}
}

// blameClaims fills in what a token says, and tells apart why a genuine one has
// no live row.
func (k *Kernel) blameClaims(d *Denial, f *capability.TokenFields) {
	d.Held, d.SID, d.TokenEpoch = f.Rights, f.SID, f.Epoch
	s := k.sessions[f.SID]
	if s != nil {
		d.SessionEpoch = s.epoch
	}
	if d.Refusal != capability.RefusedRevoked && d.Refusal != capability.RefusedStale {
		return
	}
	switch n := uint32(f.SID); {
	case f.SID&^0xffffffff != k.sidBase:
		d.Refusal = capability.RefusedBoot
	case n == 0 || n > k.lastSID: // No session has had that number yet.
	case s == nil || s.ended:
		d.Refusal = capability.RefusedSession
	case f.Epoch < s.epoch:
		d.Refusal = capability.RefusedStale
	}
}

// fieldOf is the field that a refusal is about; differs is the one that differs
// from the live row.
func fieldOf(why capability.Refusal, differs capability.Field) capability.Field {
	switch why {
	case capability.RefusedForged, capability.RefusedRevoked, capability.RefusedLayout:
		return differs
	case capability.RefusedUnknownRight, capability.RefusedRight:
		return capability.FieldRights
	case capability.RefusedBoot, capability.RefusedSession:
		return capability.FieldSID
	case capability.RefusedStale:
		return capability.FieldEpoch
	case capability.RefusedHolder:
		return capability.FieldHolder
	case capability.RefusedExpired:
		return capability.FieldExpires
	}
	return capability.NoField
}

// checkToken checks a token that t shows for an operation.
func (k *Kernel) checkToken(t *Task, token *capability.Token, need capability.TokenRights) (grant, capability.Refusal) {
	row, why := k.tokens.Check(token, uint64(t.id), uint64(k.now))
	if why == capability.Accepted {
		why = checkSession(row, need)
	}
	if why != capability.Accepted {
		return grant{}, why
	}
	return grant{row: row, session: row.Session.(*session)}, why
}
