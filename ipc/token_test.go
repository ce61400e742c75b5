package ipc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// attack is a request that must be refused, and what the kernel records of it.
type attack struct {
	what  string
	from  *client
	token *capability.Token
	op    uint16
	why   capability.Refusal
}

// TestTokenAttacks sends every kind of bad token through the kernel. Whatever
// the reason, the caller gets the same code and no body, the service sees
// nothing, and the trace says why. A truncated token cannot be sent at all: the
// type has 80 bytes.
func TestTokenAttacks(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		w := newWorld(t, r, plan{})
		mine, other := w.app("mine"), w.app("other")
		sealed, ended := w.session("bob"), w.session("carol")
		list := []attack{
			{"no token", mine, nil, opGet, capability.RefusedMissing},
			{"another task's", mine, &other.token, opGet, capability.RefusedHolder},
			{"without the right", mine, &mine.token, opPut, capability.RefusedRight},
			{"zero", mine, &capability.Token{}, opGet, capability.RefusedLayout},
		}
		add := func(what string, token capability.Token, why capability.Refusal) {
			list = append(list, attack{what, mine, &token, opGet, why})
		}
		revoked, seal, end := w.mint(mine.task, ipc.TokenSpec{}), w.mint(mine.task, ipc.TokenSpec{SID: sealed}), w.mint(mine.task, ipc.TokenSpec{SID: ended})
		add("revoked", revoked, capability.RefusedRevoked)
		add("of a sealed epoch", seal, capability.RefusedStale)
		add("of an ended session", end, capability.RefusedSession)
		if err := w.ident.RevokeToken(w.auth, &revoked); err != nil {
			t.Error(err)
		}
		w.seal(sealed)
		if err := w.ident.EndSession(w.auth, ended); err != nil {
			t.Error(err)
		}
		for bit := range capability.TokenSize * 8 {
			forged := mine.token
			forged[bit/8] ^= 1 << (bit % 8)
			why := capability.RefusedForged
			switch {
			case bit < 16:
				why = capability.RefusedLayout
			case bit >= 24 && bit < 32:
				why = capability.RefusedUnknownRight
			}
			add("a flipped bit", forged, why)
		}
		session2 := w.mint(mine.task, ipc.TokenSpec{SID: w.session("dave"), App: "mail", Rights: capability.AllTokenRights})
		for _, part := range [][2]int{{2, 4}, {8, 16}, {16, 24}, {24, 32}, {48, 80}} { // Rights, sid, app, serial, seal.
			mixed := mine.token
			copy(mixed[part[0]:part[1]], session2[part[0]:part[1]])
			add("a field of another own token", mixed, capability.RefusedForged)
		}
		mine.do(func(ctx context.Context) {
			for _, a := range list {
				before, _ := w.Kernel.Trace()
				body, err := a.from.send(ctx, ipc.Msg{Op: a.op, Token: a.token, Body: []byte("secret")})
				want(t, a.what, body, err, ipc.Denied)
				events, _ := w.Kernel.Trace()
				if e := events[len(events)-1]; len(events) != len(before)+1 || e.Kind != ipc.TraceRefuse || e.Refusal != a.why || e.Code != ipc.Denied {
					t.Errorf("%s: the trace has %d new events, the last one %+v", a.what, len(events)-len(before), e)
				}
			}
			if body, err := mine.call(ctx, opGet, "mine"); err != nil || body != "mine" {
				t.Errorf("the genuine token: %q, %v", body, err)
			}
			if body, err := mine.send(ctx, ipc.Msg{Op: opPut, Token: &session2, Body: []byte("put")}); err != nil || body != "put" {
				t.Errorf("another session's genuine token: %q, %v", body, err)
			}
		})
		if len(w.served) != 2 {
			t.Errorf("the service saw %q", w.served)
		}
		if n := w.Kernel.Stats().Refused; n != uint64(len(list)) {
			t.Errorf("%d refused, of %d", n, len(list))
		}
	})
}

// TestNeedIsAnyOf: an operation that needs one of two rights takes either.
func TestNeedIsAnyOf(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		for right := capability.Put; right <= capability.Seal; right <<= 1 {
			token := w.mint(c.task, ipc.TokenSpec{Rights: right})
			for op, need := range map[uint16]capability.TokenRights{
				opGet: capability.Get, opPut: capability.Put, opEither: capability.Get | capability.Put,
			} {
				wanted := error(ipc.Denied)
				if need&right != 0 {
					wanted = nil
				}
				body, err := c.send(ctx, ipc.Msg{Op: op, Token: &token})
				want(t, "an operation", body, err, wanted)
			}
		}
	})
}

// TestPreviousBoot shows a kernel the tokens of another one with the same key:
// the seal is right, and no row stands behind it.
func TestPreviousBoot(t *testing.T) {
	before := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	now := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	old, mine := before.app("app"), now.app("app")
	if old.task.ID() != mine.task.ID() || old.token != mine.token {
		t.Fatal("the two kernels differ in more than their boot")
	}
	for range 3 {
		old.token = before.mint(old.task, ipc.TokenSpec{Rights: capability.Get | capability.Put})
	}
	mine.do(func(ctx context.Context) {
		body, err := mine.send(ctx, ipc.Msg{Op: opGet, Token: &old.token})
		want(t, "another boot's token", body, err, ipc.Denied)
	})
	events, _ := now.Kernel.Trace()
	if e := events[len(events)-1]; e.Refusal != capability.RefusedRevoked {
		t.Errorf("refused as %v", e.Refusal)
	}
}

// TestExpiry asks at one nanosecond before, at and after the expiry, at send.
func TestExpiry(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{})
		c := w.app("app")
		c.do(func(ctx context.Context) {
			expires := c.task.Now().Add(time.Second)
			token := w.mint(c.task, ipc.TokenSpec{Expires: expires})
			for _, step := range []struct {
				at     ipc.Time
				wanted error
			}{{expires - 1, nil}, {expires, ipc.Denied}, {expires + 1, ipc.Denied}} {
				if err := c.task.Sleep(ctx, time.Duration(step.at-c.task.Now())); err != nil || c.task.Now() != step.at {
					t.Fatalf("%v, now %d, want %d", err, c.task.Now(), step.at)
				}
				body, err := c.send(ctx, ipc.Msg{Op: opGet, Token: &token})
				want(t, "a call", body, err, step.wanted)
			}
		})
	})
}

// TestExpiryInTheQueue lets the token expire before its request is delivered.
func TestExpiryInTheQueue(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		for _, late := range []time.Duration{-1, 0, 1} {
			w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{parallel: 1, task: pause})
			c, other := w.app("app"), w.app("other")
			var queued *outcome
			var done <-chan struct{}
			held, gone := other.begin(ipc.Msg{Op: opTask, Body: []byte("1s")})
			c.do(func(ctx context.Context) {
				settle(ctx, c.task)
				token := w.mint(c.task, ipc.TokenSpec{Expires: w.began(t).Add(time.Second - late)})
				queued, done = c.begin(ipc.Msg{Op: opGet, Token: &token, Body: []byte("x")})
			})
			w.await(done, gone)
			if wanted := late >= 0; wanted != errors.Is(queued.err, ipc.Denied) || held.err != nil {
				t.Errorf("expired %d ns before delivery: %v", late, queued.err)
			}
			if saw := len(w.served) == 2; saw != (late < 0) {
				t.Errorf("expired %d ns before delivery: served %q", late, w.served)
			}
		}
	})
}

// TestExpiryBeforeReply lets the token expire while its request is served.
func TestExpiryBeforeReply(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		for _, late := range []time.Duration{-1, 0, 1} {
			var replied error
			w := newWorld(t, rig.NewSeeded(t, seed, nil), plan{task: func(ctx context.Context, d *desk, r *ipc.Request) {
				_ = d.task.Sleep(ctx, time.Second)
				replied = r.Reply(ipc.OK, []byte("the secret"))
			}})
			c := w.app("app")
			c.do(func(ctx context.Context) {
				token := w.mint(c.task, ipc.TokenSpec{Expires: c.task.Now().Add(time.Second - late)})
				wanted := error(nil)
				if late >= 0 {
					wanted = ipc.Denied
				}
				body, err := c.send(ctx, ipc.Msg{Op: opTaskGet, Token: &token})
				want(t, "the call", body, err, wanted)
				if !errors.Is(replied, wanted) {
					t.Errorf("the handler's reply: %v", replied)
				}
			})
		}
	})
}

// pause is a handler that sleeps for as long as the body says.
func pause(ctx context.Context, d *desk, r *ipc.Request) {
	long, err := time.ParseDuration(string(r.Body))
	if err == nil {
		err = d.task.Sleep(ctx, long)
	}
	if err == nil {
		_ = r.Reply(ipc.OK, r.Body)
	}
}

// began is when the newest delivery was.
func (w *world) began(t *testing.T) ipc.Time {
	events, _ := w.Kernel.Trace()
	tr := trace{events}
	e := tr.last(ipc.TraceDeliver)
	if e.Time == 0 {
		t.Fatal("nothing was delivered")
	}
	return e.Time
}

// TestSecondLineOfDefence: even a row that survived its epoch would not pass,
// neither at send nor later.
func TestSecondLineOfDefence(t *testing.T) {
	tr := new(trace)
	w := newWorld(t, rig.NewSeeded(t, 1, tr.tap), plan{parallel: 1, depth: 8})
	c, other := w.app("app"), w.app("other")
	_, held := other.begin(ipc.Msg{Op: opHold})
	other.do(func(ctx context.Context) { settle(ctx, other.task) })
	queued, done := c.begin(ipc.Msg{Op: opGet, Token: &c.token})
	c.do(func(ctx context.Context) {
		settle(ctx, c.task)
		w.Kernel.RaiseEpoch(w.sid)
		body, err := c.call(ctx, opGet, "x")
		want(t, "at send", body, err, ipc.Denied)
		if e := tr.last(ipc.TraceRefuse); e.Refusal != capability.RefusedStale {
			t.Errorf("refused as %v", e.Refusal)
		}
	})
	w.open(held, done)
	want(t, "at delivery", queued.body, queued.err, ipc.Denied)
	if e := tr.last(ipc.TraceRefuse); e.Refusal != capability.RefusedStale || len(w.served) != 2 {
		t.Errorf("refused as %v, served %q", e.Refusal, w.served)
	}
}

// TestTokenWhereNoneIsNeeded: it is not looked at and stamps nothing.
func TestTokenWhereNoneIsNeeded(t *testing.T) {
	var stamp ipc.Stamp
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{task: func(_ context.Context, _ *desk, r *ipc.Request) {
		stamp = r.Stamp
		_ = r.Reply(ipc.OK, nil)
	}})
	c := w.app("app")
	c.do(func(ctx context.Context) {
		for _, token := range []*capability.Token{nil, {}, &c.token} {
			if _, err := c.send(ctx, ipc.Msg{Op: opTask, Token: token}); err != nil {
				t.Error(err)
			}
			if stamp != (ipc.Stamp{}) {
				t.Errorf("stamped %+v", stamp)
			}
		}
	})
}

// TestStamps: what a handler learns of a request is the kernel's word.
func TestStamps(t *testing.T) {
	var got ipc.Request
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{task: func(_ context.Context, _ *desk, r *ipc.Request) {
		got = *r
		_ = r.Reply(ipc.OK, nil)
	}})
	c := w.app("an app")
	sid, err := w.ident.StartSession(w.auth, "bob", [16]byte{7, 7})
	if err != nil {
		t.Fatal(err)
	}
	wanted := ipc.Stamp{SID: sid, User: "bob", Incarnation: [16]byte{7, 7}, App: "mail", Epoch: 1, Rights: capability.Get | capability.Del}
	c.do(func(ctx context.Context) {
		for range 2 {
			token := w.mint(c.task, ipc.TokenSpec{SID: sid, App: "mail", Rights: capability.Get | capability.Del})
			for _, open := range []bool{false, true} {
				if open {
					if err := w.ident.OpenSession(w.auth, sid); err != nil {
						t.Error(err)
					}
				}
				wanted.Unsealed = open
				if _, err := c.send(ctx, ipc.Msg{Op: opTaskGet, Token: &token}); err != nil || got.Stamp != wanted {
					t.Errorf("stamped %+v, %v; want %+v", got.Stamp, err, wanted)
				}
			}
			w.seal(sid)
			wanted.Epoch++
		}
	})
	if got.Sender != (ipc.Sender{Task: c.task.ID(), Name: "an app", Service: ipc.ServiceID("an app")}) {
		t.Errorf("sender %+v", got.Sender)
	}
	// The FNV-1a-64 of the empty string and of "a", from the algorithm's authors.
	if ipc.ServiceID("") != 0xcbf29ce484222325 || ipc.ServiceID("a") != 0xaf63dc4c8601ec8c {
		t.Error("ServiceID is not FNV-1a-64")
	}
}
