package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestSIDsAreNeverUsedAgain: not within a boot, not over boots, and there is an
// end to them.
func TestSIDsAreNeverUsedAgain(t *testing.T) {
	seen := make(map[uint64]bool)
	for _, boot := range []uint32{1, 2, 3, 1 << 31, ^uint32(0)} {
		k := ipc.New(ipc.Config{Executor: still{}, Boot: boot})
		task, err := k.NewTask(ipc.TaskSpec{Name: "identityd"})
		if err != nil {
			t.Fatal(err)
		}
		auth, err := k.GrantAuthority(task)
		if err != nil {
			t.Fatal(err)
		}
		start := func() uint64 {
			sid, err := task.StartSession(auth, "alice", [16]byte{})
			if err != nil || seen[sid] || sid>>32 != uint64(boot) || sid == 0 {
				t.Fatalf("boot %d: sid %#x, %v", boot, sid, err)
			}
			seen[sid] = true
			return sid
		}
		for range 1000 {
			if err := task.EndSession(auth, start()); err != nil {
				t.Fatal(err)
			}
		}
		k.UseUpSIDs()
		if err := task.EndSession(auth, start()); err != nil {
			t.Fatal(err)
		}
		if sid, err := task.StartSession(auth, "alice", [16]byte{}); !errors.Is(err, ipc.LimitReached) {
			t.Errorf("boot %d: after the last sid: %#x, %v", boot, sid, err)
		}
	}
}

func TestSessionLimit(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	sids := []uint64{w.sid}
	for len(sids) < ipc.MaxSessions {
		sids = append(sids, w.session("alice"))
	}
	if _, err := w.ident.StartSession(w.auth, "alice", [16]byte{}); !errors.Is(err, ipc.LimitReached) {
		t.Errorf("one session too many: %v", err)
	}
	if err := w.ident.EndSession(w.auth, sids[10]); err != nil {
		t.Error(err)
	}
	if _, err := w.ident.StartSession(w.auth, "alice", [16]byte{}); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	if n := w.Kernel.Stats().Sessions; n != ipc.MaxSessions {
		t.Errorf("%d sessions", n)
	}
}

// TestSessionLifecycle goes through what a session can be asked and when.
func TestSessionLifecycle(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	for user, wanted := range map[string]error{
		"alice": nil, strings.Repeat("a", capability.MaxUserID): nil,
		"": ipc.InvalidArgument, "Alice": ipc.InvalidArgument, "a b": ipc.InvalidArgument, "../a": ipc.InvalidArgument,
		strings.Repeat("a", capability.MaxUserID+1): ipc.InvalidArgument,
	} {
		if _, err := w.ident.StartSession(w.auth, user, [16]byte{}); !errors.Is(err, wanted) {
			t.Errorf("user %q: %v", user, err)
		}
	}
	if err := w.ident.EndSession(w.auth, w.sid); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"open": w.ident.OpenSession(w.auth, w.sid), "seal": w.ident.SealSession(w.auth, w.sid), "end": w.ident.EndSession(w.auth, w.sid),
	} {
		if !errors.Is(err, ipc.NotFound) {
			t.Errorf("%s an ended session: %v", what, err)
		}
	}
}

// TestEndedSessionIsUnknown: even while handlers of it still run.
func TestEndedSessionIsUnknown(t *testing.T) {
	events := 0
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{parallel: 4, guards: true, news: func(context.Context, *desk, ipc.Event) { events++ }})
	c := w.app("app")
	_, held := c.begin(ipc.Msg{Op: opHoldGet, Token: &c.token})
	w.Do(w.ident, func(ctx context.Context) {
		settle(ctx, w.ident)
		if err := w.ident.EndSession(w.auth, w.sid); err != nil || !w.Kernel.KnownSession(w.sid) {
			t.Fatalf("%v, draining %v", err, w.Kernel.KnownSession(w.sid))
		}
		_, mint := w.ident.MintToken(w.auth, ipc.TokenSpec{SID: w.sid, App: "notes", Holder: c.task.ID(), Rights: capability.Get})
		for what, err := range map[string]error{
			"open": w.ident.OpenSession(w.auth, w.sid), "seal": w.ident.SealSession(w.auth, w.sid), "end": w.ident.EndSession(w.auth, w.sid), "mint": mint,
		} {
			if !errors.Is(err, ipc.NotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		settle(ctx, w.ident)
	})
	crasher := w.visitor()
	crasher.do(func(ctx context.Context) { _, _ = crasher.send(ctx, ipc.Msg{Op: opPanic}) })
	w.await(held)
	w.Do(w.ident, func(ctx context.Context) {
		if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
			t.Error(err)
		}
	})
	if events != 1 || w.Kernel.KnownSession(w.sid) {
		t.Errorf("%d events, known %v", events, w.Kernel.KnownSession(w.sid))
	}
}

// visitor is an app without a session.
func (w *world) visitor() *client {
	task := w.Task(ipc.TaskSpec{Name: "visitor"})
	return &client{w: w, task: task, slot: w.Connect(task, w.ep)}
}

func TestTokenSpecs(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, gone := w.app("app"), w.app("gone")
	gone.task.Exit()
	good := ipc.TokenSpec{SID: w.sid, App: "notes", Holder: c.task.ID(), Rights: capability.Get}
	for what, x := range map[string]struct {
		change func(s *ipc.TokenSpec)
		wanted error
	}{
		"good":                  {func(*ipc.TokenSpec) {}, nil},
		"every right":           {func(s *ipc.TokenSpec) { s.Rights = capability.AllTokenRights }, nil},
		"an unknown right":      {func(s *ipc.TokenSpec) { s.Rights |= capability.AllTokenRights + 1 }, ipc.InvalidArgument},
		"no right":              {func(s *ipc.TokenSpec) { s.Rights = 0 }, ipc.InvalidArgument},
		"no app":                {func(s *ipc.TokenSpec) { s.App = "" }, ipc.InvalidArgument},
		"an app in capitals":    {func(s *ipc.TokenSpec) { s.App = "Notes" }, ipc.InvalidArgument},
		"the longest app":       {func(s *ipc.TokenSpec) { s.App = strings.Repeat("a", capability.MaxAppID) }, nil},
		"an app too long":       {func(s *ipc.TokenSpec) { s.App = strings.Repeat("a", capability.MaxAppID+1) }, ipc.InvalidArgument},
		"no holder":             {func(s *ipc.TokenSpec) { s.Holder = 0 }, ipc.InvalidArgument},
		"a holder that is gone": {func(s *ipc.TokenSpec) { s.Holder = gone.task.ID() }, ipc.InvalidArgument},
		"no session":            {func(s *ipc.TokenSpec) { s.SID = 0 }, ipc.NotFound},
		"another session":       {func(s *ipc.TokenSpec) { s.SID++ }, ipc.NotFound},
		"another boot's":        {func(s *ipc.TokenSpec) { s.SID += 1 << 32 }, ipc.NotFound},
	} {
		spec := good
		x.change(&spec)
		before := w.Kernel.Stats().Tokens
		token, err := w.ident.MintToken(w.auth, spec)
		if !errors.Is(err, x.wanted) || (err != nil) != (token == capability.Token{}) {
			t.Errorf("%s: %v", what, err)
		}
		if (w.Kernel.Stats().Tokens != before) != (err == nil) {
			t.Errorf("%s: %d tokens, then %d", what, before, w.Kernel.Stats().Tokens)
		}
	}
}

// TestTokenLimit counts live tokens, over all sessions.
func TestTokenLimit(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, other := w.app("app"), w.app("other")
	second := w.session("bob")
	for w.Kernel.Stats().Tokens < ipc.MaxTokens-1 {
		w.mint(c.task, ipc.TokenSpec{})
	}
	last := w.mint(c.task, ipc.TokenSpec{SID: second})
	spec := ipc.TokenSpec{SID: second, App: "notes", Holder: c.task.ID(), Rights: capability.Get}
	if _, err := w.ident.MintToken(w.auth, spec); !errors.Is(err, ipc.LimitReached) {
		t.Errorf("one token too many: %v", err)
	}
	if err := w.ident.RevokeToken(w.auth, &last); err != nil {
		t.Error(err)
	}
	if _, err := w.ident.MintToken(w.auth, spec); err != nil {
		t.Errorf("after one was revoked: %v", err)
	}
	other.task.Exit()
	if n := w.Kernel.Stats().Tokens; n != ipc.MaxTokens-1 {
		t.Errorf("%d tokens after the exit of a holder of one", n)
	}
	w.seal(w.sid)
	if n := w.Kernel.Stats().Tokens; n != 1 {
		t.Errorf("%d tokens after the seal of all sessions but one", n)
	}
}

// TestAppNumbers: one number for one app, over sessions, and never for another.
func TestAppNumbers(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	task := w.Task(ipc.TaskSpec{Name: "app"})
	numbers := make(map[string]uint64)
	owner := make(map[uint64]string)
	for round := range 3 {
		sid := w.session("bob")
		for i := range 50 {
			app := fmt.Sprint("app", (i*7+round)%50)
			token := w.mint(task, ipc.TokenSpec{SID: sid, App: app})
			f, err := token.Fields()
			if err != nil || f.App == 0 || f.SID != sid || f.Holder != uint64(task.ID()) {
				t.Fatalf("%+v, %v", f, err)
			}
			if numbers[app] != 0 && numbers[app] != f.App || owner[f.App] != "" && owner[f.App] != app {
				t.Fatalf("%s has number %d, before %d; the number was %q's", app, f.App, numbers[app], owner[f.App])
			}
			numbers[app], owner[f.App] = f.App, app
		}
		if err := w.ident.EndSession(w.auth, sid); err != nil {
			t.Error(err)
		}
	}
	if len(owner) != 50 {
		t.Errorf("%d numbers for 50 apps", len(owner))
	}
}

// TestSerialsAreNeverUsedAgain: revoked tokens leave no number behind.
func TestSerialsAreNeverUsedAgain(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	task := w.Task(ipc.TaskSpec{Name: "app"})
	seen := make(map[uint64]bool)
	for range 200 {
		token := w.mint(task, ipc.TokenSpec{})
		f, err := token.Fields()
		if err != nil || seen[f.Serial] {
			t.Fatalf("serial %d, %v", f.Serial, err)
		}
		seen[f.Serial] = true
		if err := w.ident.RevokeToken(w.auth, &token); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEventsInOrder: news comes in the order in which it happened, once each,
// before requests that were sent later, and to everybody who wants it.
func TestEventsInOrder(t *testing.T) {
	seeds(t, 10, func(t *testing.T, seed uint64) {
		var heard []string
		w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{depth: 8, news: func(_ context.Context, _ *desk, ev ipc.Event) {
			heard = append(heard, fmt.Sprint(ev.SID&0xffff, ".", ev.Epoch, ev.Ended))
		}})
		c := w.app("app")
		bob := w.session("bob")
		c.do(func(ctx context.Context) {
			w.seal(w.sid)
			w.seal(bob)
			w.seal(w.sid)
			if err := w.ident.EndSession(w.auth, bob); err != nil {
				t.Error(err)
			}
			if _, err := c.send(ctx, ipc.Msg{Op: opEcho}); err != nil {
				t.Error(err)
			}
			if got := fmt.Sprint(heard); got != "[1.1 false 2.1 false 1.2 false 2.2 true]" {
				t.Errorf("heard %s before the request", got)
			}
		})
	})
}

// TestManyEvents: none is dropped, however long the listener is away.
func TestManyEvents(t *testing.T) {
	var epochs []uint32
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{news: func(ctx context.Context, d *desk, ev ipc.Event) {
		if len(epochs) == 0 {
			_ = d.task.Sleep(ctx, time.Hour)
		}
		epochs = append(epochs, ev.Epoch)
	}})
	w.Do(w.ident, func(ctx context.Context) {
		for range 3000 {
			w.seal(w.sid)
		}
		_ = w.ident.Sleep(ctx, 2*time.Hour)
		if err := w.ident.DrainSession(ctx, w.auth, w.sid); err != nil {
			t.Error(err)
		}
	})
	if len(epochs) != 3000 {
		t.Fatalf("%d events", len(epochs))
	}
	seen := make(map[uint32]bool)
	for _, e := range epochs {
		seen[e] = true
	}
	if len(seen) != 3000 {
		t.Errorf("%d different events", len(seen))
	}
}
