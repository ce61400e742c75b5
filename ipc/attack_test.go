package ipc_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/tests/rig"
)

// siege is a world under attack: an app that is attacked with, another one, and
// who reads the record.
type siege struct {
	*world
	mine, other *client
	see         *inspector
	rich        capability.Token // mine as well, and different in every field but the holder
}

func newSiege(t *testing.T, p plan) *siege {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), p)
	s := &siege{world: w, mine: w.app("mine"), other: w.app("other"), see: w.inspector()}
	sid := w.session("bob")
	w.seal(sid) // So that its epoch is 2.
	s.rich = w.mint(s.mine.task, ipc.TokenSpec{SID: sid, App: "mail", Rights: capability.AllTokenRights, Expires: 1 << 62})
	return s
}

// reason is what the record must have.
type reason struct {
	stage ipc.Stage
	why   capability.Refusal
	field capability.Field
}

func (r reason) String() string { return fmt.Sprintf("%v at %v in %q", r.why, r.stage, r.field) }

// attack shows the desk a token. The caller gets the one error itself, not one
// that wraps it, and no body, nor does a buffer of its own change; the record
// has the reason; the desk sees nothing.
func (s *siege) attack(what string, from *client, token *capability.Token, why capability.Refusal, field capability.Field) {
	t := s.t
	t.Helper()
	before, served := s.see.newest().ID, len(s.served)
	buffer := []byte("as it was")
	from.do(func(ctx context.Context) {
		m := ipc.Msg{Slot: from.slot, Op: opGet, Token: token, Body: []byte("x"), Move: ipc.NoSlot}
		got, err := from.task.Call(ctx, m, buffer)
		if err != ipc.Denied || len(got.Body) != 0 || string(buffer) != "as it was" {
			t.Errorf("%s: %v with %d bytes", what, err, len(got.Body))
		}
	})
	all := s.see.after(before)
	if len(all) != 1 || len(s.served) != served {
		t.Fatalf("%s: %d records, %d requests served", what, len(all), len(s.served)-served)
	}
	d, want := all[0], reason{ipc.StageSend, why, field}
	if got := (reason{d.Stage, d.Refusal, d.Field}); got != want || d.Cause != ipc.CauseToken || d.Code != ipc.Denied {
		t.Errorf("%s: recorded is %v, want %v", what, got, want)
	}
}

// fieldAt is the field of a byte of the token.
func fieldAt(byte int) capability.Field {
	begins := []int{0, 1, 2, 4, 8, 16, 24, 32, 40, 48}
	i, found := slices.BinarySearch(begins, byte)
	if !found {
		i--
	}
	return capability.FieldVersion + capability.Field(i)
}

// TestAttackBits flips every bit of a valid token.
func TestAttackBits(t *testing.T) {
	s := newSiege(t, plan{})
	for bit := range capability.TokenSize * 8 {
		forged := s.mine.token
		forged[bit/8] ^= 1 << (bit % 8)
		why, field := capability.RefusedForged, fieldAt(bit/8)
		switch {
		case bit < 2*8:
			why = capability.RefusedLayout
		case bit/8 == 3:
			why = capability.RefusedUnknownRight
		case bit == 24*8+1:
			field = capability.FieldRights // Serial 3 is the rich one's.
		}
		s.attack(fmt.Sprintf("bit %d of byte %d", bit%8, bit/8), s.mine, &forged, why, field)
	}
}

// TestAttackLengths shows the kernel every other number of bytes, by Send,
// which takes any.
func TestAttackLengths(t *testing.T) {
	s := newSiege(t, plan{})
	inbox := s.Endpoint(s.mine.task, ipc.EndpointSpec{Inbox: true})
	reply := s.Connect(s.mine.task, inbox)
	try := func(token []byte, op uint16) (err error) {
		m := request(s.mine.slot, op, 1, "x")
		m.Token, m.Header.Flags, m.Header.Src = token, frame.CapMove, uint32(reply)
		s.Do(s.mine.task, func(ctx context.Context) { err = s.mine.task.Send(ctx, m) })
		return err
	}
	long := append(bytes.Clone(s.mine.token[:]), make([]byte, 2*capability.TokenSize)...)
	refused := func(what string, token []byte, op uint16, why capability.Refusal) {
		t.Helper()
		before := s.see.newest().ID
		wants(t, what, try(token, op), ipc.Denied)
		if all := s.see.after(before); len(all) != 1 || all[0].Refusal != why {
			t.Errorf("%s: recorded are %v", what, all)
		}
	}
	for n := range len(long) + 1 {
		if n != capability.TokenSize {
			refused(fmt.Sprintf("%d bytes", n), long[:n], opGet, capability.RefusedLength)
		}
	}
	refused("no token", nil, opGet, capability.RefusedMissing)
	refused("another right", long[:capability.TokenSize], opPut, capability.RefusedRight)
	wants(t, "the token itself", try(long[:capability.TokenSize], opGet), nil)
}

// TestAttackFields takes every combination of fields from one valid token and
// the rest from another: once of the same task, once of another one.
func TestAttackFields(t *testing.T) {
	s := newSiege(t, plan{})
	ranges := [][2]int{{2, 4}, {4, 8}, {8, 16}, {16, 24}, {24, 32}, {32, 40}, {40, 48}, {48, 80}}
	for _, b := range []capability.Token{s.rich, s.other.token} {
		a := s.mine.token
		for mask := 1; mask < 1<<len(ranges)-1; mask++ {
			mixed := a
			for i, r := range ranges {
				if mask&(1<<i) != 0 {
					copy(mixed[r[0]:r[1]], b[r[0]:r[1]])
				}
			}
			if mixed == a || mixed == b {
				continue // They do not differ in those fields.
			}
			row := a
			if mask&(1<<4) != 0 {
				row = b
			}
			first := 0
			for mixed[first] == row[first] {
				first++
			}
			s.attack(fmt.Sprintf("fields %08b", mask), s.mine, &mixed, capability.RefusedForged, fieldAt(first))
		}
	}
}

// sealed puts the right seal on whatever the token says, as only who has the
// key can.
func sealed(token capability.Token) capability.Token {
	mac := hmac.New(sha256.New, []byte("a key for tests, not from rngd.."))
	mac.Write(token[:48])
	copy(token[48:], mac.Sum(nil))
	return token
}

// TestAttackSealed gives tokens the right seal that the kernel never made, or
// made and took back: the table is the authority, not the seal.
func TestAttackSealed(t *testing.T) {
	s := newSiege(t, plan{})
	token := s.mine.token
	if sealed(token) != token {
		t.Fatal("the seal is another one")
	}
	change := func(at int, to byte) capability.Token {
		changed := token
		changed[at] = to
		return sealed(changed)
	}
	none := token
	binary.LittleEndian.PutUint64(none[24:], 1<<40)
	for _, x := range []struct {
		what  string
		token capability.Token
		why   capability.Refusal
		field capability.Field
	}{
		{"another version", change(0, 2), capability.RefusedLayout, capability.FieldVersion},
		{"the reserved byte", change(1, 1), capability.RefusedLayout, capability.FieldReserved},
		{"more rights", change(2, 0xff), capability.RefusedRevoked, capability.FieldRights},
		{"no right", change(2, 0), capability.RefusedRevoked, capability.FieldRights},
		{"a later epoch", change(4, 2), capability.RefusedRevoked, capability.FieldEpoch},
		{"an earlier epoch", change(4, 0), capability.RefusedStale, capability.FieldEpoch},
		{"a later epoch of another session", change(8, 2), capability.RefusedStale, capability.FieldEpoch},
		{"a session that never was", change(8, 99), capability.RefusedRevoked, capability.FieldSID},
		{"another boot", change(12, 2), capability.RefusedBoot, capability.FieldSID},
		{"another app", change(16, 2), capability.RefusedRevoked, capability.FieldApp},
		{"another token's serial", change(24, 2), capability.RefusedRevoked, capability.FieldHolder},
		{"a serial that was not given", sealed(none), capability.RefusedRevoked, capability.FieldSerial},
		{"another holder", change(32, 99), capability.RefusedRevoked, capability.FieldHolder},
		{"another expiry", change(47, 1), capability.RefusedRevoked, capability.FieldExpires},
	} {
		s.attack(x.what, s.mine, &x.token, x.why, x.field)
	}
	for bit := 8; bit < 16; bit++ {
		unknown := change(3, 1<<(bit-8))
		s.attack(fmt.Sprintf("right %d", bit), s.mine, &unknown, capability.RefusedUnknownRight, capability.FieldRights)
	}
}

// TestAttackOthers shows tokens that are valid, or were, somewhere else: in
// another boot, for another task, in a session or an epoch that is over.
func TestAttackOthers(t *testing.T) {
	s := newSiege(t, plan{})
	s.attack("no token", s.mine, nil, capability.RefusedMissing, capability.NoField)
	s.attack("another task's", s.mine, &s.other.token, capability.RefusedHolder, capability.FieldHolder)
	s.attack("shown by another task", s.other, &s.mine.token, capability.RefusedHolder, capability.FieldHolder)
	writer := s.mint(s.mine.task, ipc.TokenSpec{Rights: capability.Put})
	s.attack("without the right", s.mine, &writer, capability.RefusedRight, capability.FieldRights)

	f, err := s.mine.token.Fields()
	if err != nil {
		t.Fatal(err)
	}
	f.SID += 1 << 32
	boot := capability.NewTokens(&[capability.TokenKeySize]byte{2})
	for range 9 { // Some of their serials are those of live rows.
		token, _, err := boot.Mint(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.attack("another boot's", s.mine, &token, capability.RefusedBoot, capability.FieldSID)
		token = sealed(token)
		s.attack("another boot's, under the same key", s.mine, &token, capability.RefusedBoot, capability.FieldSID)
	}
	for name, over := range map[string]struct {
		end   func(sid uint64, token *capability.Token) error
		why   capability.Refusal
		field capability.Field
	}{
		"carol": {func(sid uint64, _ *capability.Token) error { return s.ident.SealSession(s.auth, sid) }, capability.RefusedStale, capability.FieldEpoch},
		"dave":  {func(sid uint64, _ *capability.Token) error { return s.ident.EndSession(s.auth, sid) }, capability.RefusedSession, capability.FieldSID},
		"erin":  {func(_ uint64, token *capability.Token) error { return s.ident.RevokeToken(s.auth, token) }, capability.RefusedRevoked, capability.FieldSerial},
	} {
		sid := s.session(name)
		token := s.mint(s.mine.task, ipc.TokenSpec{SID: sid})
		if err := over.end(sid, &token); err != nil {
			t.Fatal(err)
		}
		s.attack("of a token that is over", s.mine, &token, over.why, over.field)
		if d := s.see.newest(); !d.Genuine || d.SID != sid || d.TokenEpoch != 1 || d.Held != capability.Get || d.Needed != capability.Get || d.App == (ipc.Digest{}) {
			t.Errorf("%v: recorded is %+v", over.why, d)
		}
	}
}

// deaths are the ways in which a token dies, and what the record calls them.
var deaths = []struct {
	name  string
	kill  func(s *siege) error
	why   capability.Refusal
	field capability.Field
}{
	{"revoked", func(s *siege) error { return s.ident.RevokeToken(s.auth, &s.mine.token) }, capability.RefusedRevoked, capability.FieldSerial},
	{"sealed", func(s *siege) error { return s.ident.SealSession(s.auth, s.sid) }, capability.RefusedStale, capability.FieldEpoch},
	{"ended", func(s *siege) error { return s.ident.EndSession(s.auth, s.sid) }, capability.RefusedSession, capability.FieldSID},
}

// TestAttackOfEachStep lets the token die at each step of a request's life:
// before it is sent, while it waits for room, in the queue, and while it is
// served, before, during and after a nested call.
func TestAttackOfEachStep(t *testing.T) {
	for _, d := range deaths {
		void := reason{ipc.StageVoid, d.why, d.field}
		over := reason{ipc.StageSend, capability.RefusedRequest, capability.NoField}
		for _, step := range []struct {
			name string
			run  func(t *testing.T, kill func(*siege)) []reason
			want []reason
		}{
			{"before send", beforeSend, []reason{{ipc.StageSend, d.why, d.field}}},
			{"waiting for room", waitingForRoom, []reason{void}},
			{"queued", inQueue, []reason{void}},
			{"before the nested call", beforeNested, []reason{void, over}},
			{"in the nested call", inNested, []reason{void, void}},
			{"before the reply", beforeReply, []reason{void}},
		} {
			t.Run(d.name+" "+step.name, func(t *testing.T) {
				kill := func(s *siege) {
					if err := d.kill(s); err != nil {
						t.Error(err)
					}
				}
				if got := step.run(t, kill); !slices.Equal(got, step.want) {
					t.Errorf("recorded is %v, want %v", got, step.want)
				}
			})
		}
	}
}

// reasons are those of all records.
func (s *siege) reasons() (all []reason) {
	for _, d := range s.see.after(ipc.AuditID{}) {
		all = append(all, reason{d.Stage, d.Refusal, d.Field})
	}
	return all
}

func beforeSend(t *testing.T, kill func(*siege)) []reason {
	s := newSiege(t, plan{})
	kill(s)
	s.mine.do(func(ctx context.Context) {
		body, err := s.mine.call(ctx, opGet, "x")
		want(t, "the call", body, err, ipc.Denied)
	})
	return s.reasons()
}

func waitingForRoom(t *testing.T, kill func(*siege)) []reason { return behind(t, 1, kill) }
func inQueue(t *testing.T, kill func(*siege)) []reason        { return behind(t, 8, kill) }

// behind has the token die behind one request that is being served and one that
// is queued.
func behind(t *testing.T, depth int, kill func(*siege)) []reason {
	s := newSiege(t, plan{depth: depth, parallel: 1})
	_, first := s.other.begin(ipc.Msg{Op: opHold})
	s.other.do(func(ctx context.Context) { settle(ctx, s.other.task) })
	_, second := s.other.begin(ipc.Msg{Op: opEcho})
	s.other.do(func(ctx context.Context) { settle(ctx, s.other.task) })
	o, done := s.mine.begin(ipc.Msg{Op: opGet, Token: &s.mine.token})
	s.other.do(func(ctx context.Context) {
		settle(ctx, s.other.task)
		kill(s)
		settle(ctx, s.other.task)
	})
	if !o.over {
		t.Error("the caller was not told at once")
	}
	s.open(first, second, done)
	want(t, "the call", o.body, o.err, ipc.Denied)
	if len(s.served) != 3 { // The one that holds, the one behind it, and who opens.
		t.Errorf("served was %q", s.served)
	}
	return s.reasons()
}

func beforeNested(t *testing.T, kill func(*siege)) []reason {
	return nested(t, func(ctx context.Context, s *siege, f *front, r *ipc.Request) {
		kill(s)
		want(t, "the nested call", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: r}), ipc.Denied)
		want(t, "the reply", "", r.Reply(ipc.OK, []byte("a secret")), ipc.PeerClosed)
	})
}

func inNested(t *testing.T, kill func(*siege)) []reason {
	return nested(t, func(ctx context.Context, s *siege, f *front, r *ipc.Request) {
		killed := s.other.start(func(ctx context.Context) {
			settle(ctx, s.other.task)
			kill(s)
		})
		want(t, "the nested call", "", f.act(ctx, ipc.Msg{Op: opHoldGet, Behalf: r}), ipc.Denied)
		select {
		case <-killed:
		default:
			t.Error("the nested call was over before the token")
		}
		want(t, "the reply", "", r.Reply(ipc.OK, []byte("a secret")), ipc.PeerClosed)
	})
}

func beforeReply(t *testing.T, kill func(*siege)) []reason {
	return nested(t, func(ctx context.Context, s *siege, f *front, r *ipc.Request) {
		want(t, "the nested call", "", f.act(ctx, ipc.Msg{Op: opGet, Behalf: r}), nil)
		kill(s)
		want(t, "the reply", "", r.Reply(ipc.OK, []byte("a secret")), ipc.PeerClosed)
	})
}

// nested has a service before the desk serve a request whose token dies.
func nested(t *testing.T, serve func(context.Context, *siege, *front, *ipc.Request)) []reason {
	s := newSiege(t, plan{})
	f, slot := newFront(s.world, s.mine)
	f.serve = func(ctx context.Context, r *ipc.Request) { serve(ctx, s, f, r) }
	s.mine.do(func(ctx context.Context) {
		body, err := s.mine.send(ctx, ipc.Msg{Slot: slot, Op: 1, Token: &s.mine.token})
		want(t, "the call", body, err, ipc.Denied)
	})
	return s.reasons()
}

// TestAttackExpiry asks one nanosecond before the expiry, at it and after it, at
// each of the three checks.
func TestAttackExpiry(t *testing.T) {
	for _, late := range []time.Duration{-1, 0, 1} {
		for stage, run := range map[ipc.Stage]func(*testing.T, time.Duration) (*siege, error){
			ipc.StageSend: expiresAtSend, ipc.StageDelivery: expiresInQueue, ipc.StageReply: expiresBeforeReply,
		} {
			s, err := run(t, late)
			var wanted []reason
			if late >= 0 {
				wanted = []reason{{stage, capability.RefusedExpired, capability.FieldExpires}}
			}
			if denied := err == ipc.Denied; denied != (late >= 0) || !denied && err != nil || !slices.Equal(s.reasons(), wanted) {
				t.Errorf("%v, %d ns late: %v, recorded is %v", stage, late, err, s.reasons())
			}
		}
	}
}

func expiresAtSend(t *testing.T, late time.Duration) (s *siege, err error) {
	s = newSiege(t, plan{})
	s.mine.do(func(ctx context.Context) {
		token := s.mint(s.mine.task, ipc.TokenSpec{Expires: s.mine.task.Now().Add(time.Second - late)})
		_ = s.mine.task.Sleep(ctx, time.Second)
		_, err = s.mine.send(ctx, ipc.Msg{Op: opGet, Token: &token})
	})
	return s, err
}

func expiresInQueue(t *testing.T, late time.Duration) (*siege, error) {
	s := newSiege(t, plan{parallel: 1, task: pause})
	_, first := s.other.begin(ipc.Msg{Op: opTask, Body: []byte("1s")})
	var o *outcome
	var done <-chan struct{}
	s.mine.do(func(ctx context.Context) {
		settle(ctx, s.mine.task)
		token := s.mint(s.mine.task, ipc.TokenSpec{Expires: s.began(t).Add(time.Second - late)})
		o, done = s.mine.begin(ipc.Msg{Op: opGet, Token: &token})
	})
	s.await(first, done)
	return s, o.err
}

func expiresBeforeReply(t *testing.T, late time.Duration) (s *siege, err error) {
	s = newSiege(t, plan{task: pause})
	s.mine.do(func(ctx context.Context) {
		token := s.mint(s.mine.task, ipc.TokenSpec{Expires: s.mine.task.Now().Add(time.Second - late)})
		_, err = s.mine.send(ctx, ipc.Msg{Op: opTaskGet, Token: &token, Body: []byte("1s")})
	})
	return s, err
}
