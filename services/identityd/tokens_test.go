package identityd

import (
	"context"
	"fmt"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

func (w *world) issue(ctx context.Context, from *ipc.Task, slot ipc.Slot, q *wire.IssueTokenRequest) (capability.Token, error) {
	var p wire.IssueTokenReply
	var token capability.Token
	err := wire.Call(ctx, from, ipc.Msg{Slot: slot, Op: wire.OpIssueToken, Move: ipc.NoSlot}, q, &p)
	if copied := copy(token[:], p.Token); err == nil && copied != capability.TokenSize {
		w.t.Errorf("a token of %d bytes", copied)
	}
	return token, err
}

func TestIssueToken(t *testing.T) {
	w := newAlice(t, 1)
	app := w.Task(ipc.TaskSpec{Name: "demo.notes"})
	holder := uint64(app.ID())
	putGet := uint32(capability.Put | capability.Get)
	w.do(func(ctx context.Context) {
		sid := w.session(ctx)
		for _, c := range []struct {
			name   string
			sid    uint64
			app    string
			holder uint64
			rights uint32
			want   error
		}{
			{"what any app may have", sid, "demo.notes", holder, putGet, nil},
			{"one right of it", sid, "demo.notes", holder, uint32(capability.Get), nil},
			{"one right too many", sid, "demo.notes", holder, putGet | uint32(capability.Del), ipc.Denied},
			{"a rule of its own", sid, "demo.signer", holder, uint32(capability.AllTokenRights), nil},
			{"no right", sid, "demo.notes", holder, 0, ipc.Malformed},
			{"an unknown right", sid, "demo.notes", holder, uint32(capability.AllTokenRights) + 1, ipc.Malformed},
			{"a right beyond 16 bits", sid, "demo.notes", holder, 1<<16 | putGet, ipc.Malformed},
			{"an app in another spelling", sid, "Demo.Notes", holder, putGet, ipc.Malformed},
			{"no app", sid, "", holder, putGet, ipc.Malformed},
			{"identityd's own app", sid, "nexus.identityd", holder, putGet, ipc.Denied},
			{"the system's name", sid, "nexus", holder, putGet, ipc.Denied},
			{"a name beside it", sid, "nexus-x", holder, putGet, nil},
			{"a service's name", sid, "keystored", holder, putGet, ipc.Denied},
			{"the name for any app", sid, "any-app", holder, putGet, ipc.Denied},
			{"no such holder", sid, "demo.notes", 9999, putGet, ipc.NotFound},
			{"no such session", sid + 1, "demo.notes", holder, putGet, ipc.Denied},
		} {
			token, err := w.issue(ctx, w.login, w.slot, &wire.IssueTokenRequest{Sid: c.sid, App: c.app, Holder: c.holder, Rights: c.rights})
			expect(t, c.name, err, c.want)
			if err != nil {
				continue
			}
			f, err := token.Fields()
			if err != nil || f.SID != sid || f.Holder != holder || uint32(f.Rights) != c.rights || f.Expires != 0 {
				t.Errorf("%s: %+v, %v", c.name, f, err)
			}
		}
		expect(t, "end", w.end(ctx, sid), nil)
		_, err := w.issue(ctx, w.login, w.slot, &wire.IssueTokenRequest{Sid: sid, App: "demo.notes", Holder: holder, Rights: putGet})
		expect(t, "a session that has ended", err, ipc.Denied)
	})
}

func TestIssueTokenNeedsThePolicy(t *testing.T) {
	w := newAlice(t, 1)
	other := w.Task(ipc.TaskSpec{Name: "demo.evil"})
	// Even a task that got hold of the login endpoint asks under its own name.
	slot := w.Connect(other, w.loginEndpoint)
	var sid uint64
	w.do(func(ctx context.Context) { sid = w.session(ctx) })
	w.Do(other, func(ctx context.Context) {
		q := &wire.IssueTokenRequest{Sid: sid, App: "demo.evil", Holder: uint64(other.ID()), Rights: uint32(capability.Get)}
		_, err := w.issue(ctx, other, slot, q)
		expect(t, "issue", err, ipc.Denied)
	})
	records, _ := w.log.Records()
	last := records[len(records)-1]
	if last.Subject != "demo.evil" || last.Action != ActionToken || last.Allow {
		t.Errorf("audited %+v", last)
	}
	if n := w.Kernel.Stats().Tokens; n != 0 {
		t.Errorf("%d tokens", n)
	}
}

func TestTokenLimit(t *testing.T) {
	w := newAlice(t, 1)
	app := w.Task(ipc.TaskSpec{Name: "demo.notes"})
	w.do(func(ctx context.Context) {
		sid := w.session(ctx)
		q := &wire.IssueTokenRequest{Sid: sid, App: "demo.notes", Holder: uint64(app.ID()), Rights: uint32(capability.Get)}
		for n := 1; n <= MaxSessionTokens+1; n++ {
			want := error(nil)
			if n > MaxSessionTokens {
				want = ipc.LimitReached
			}
			_, err := w.issue(ctx, w.login, w.slot, q)
			expect(t, fmt.Sprint("token ", n), err, want)
		}
		other := w.session(ctx)
		_, err := w.issue(ctx, w.login, w.slot, &wire.IssueTokenRequest{Sid: other, App: q.App, Holder: q.Holder, Rights: q.Rights})
		expect(t, "another session's first", err, nil)
		expect(t, "lock", w.lock(ctx, sid), nil)
		if n := w.Kernel.Stats().Tokens; n != 1 {
			t.Errorf("%d tokens after the lock", n)
		}
		_, err = w.issue(ctx, w.login, w.slot, q)
		expect(t, "the first after the lock", err, nil)
	})
}
