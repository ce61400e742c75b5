package policyd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/tests/rig"
)

const testPolicy = `[allow]
launcher = ["session.token"]
any-app = ["keychain.get"]
`

// asker calls policyd as a task of the given name.
type asker func(sender string, q *wire.DecideRequest) (bool, error)

func newSystem(t *testing.T, audit func(Record)) (*rig.Rig, *AuditLog, asker) {
	r := rig.NewSeeded(t, 1, nil)
	log := &AuditLog{}
	task := r.Task(ipc.TaskSpec{Name: "policyd", Marks: []string{"policyd:"}})
	ep := r.Endpoint(task, ipc.EndpointSpec{Depth: 8, Parallel: 8, Ops: []ipc.Op{{Code: wire.OpDecide}}})
	rules := mustParse(t, testPolicy)
	r.Host(task, func() ipc.Service {
		return New(task, Config{
			Rules:             rules,
			EnforcementPoints: []string{"identityd"},
			Services:          []string{"policyd", "identityd", "keystored"},
			DigestKey:         [DigestKeySize]byte{7},
			Log:               log,
			Audit:             audit,
		})
	})
	return r, log, func(sender string, q *wire.DecideRequest) (allow bool, err error) {
		asks := r.Task(ipc.TaskSpec{Name: sender})
		slot := r.Connect(asks, ep)
		r.Do(asks, func(ctx context.Context) {
			var reply wire.DecideReply
			err = wire.Call(ctx, asks, ipc.Msg{Slot: slot, Op: wire.OpDecide, Move: ipc.NoSlot}, q, &reply)
			allow = reply.Allow
		})
		return allow, err
	}
}

func TestServiceDecidesForTheStampedSender(t *testing.T) {
	r, log, ask := newSystem(t, nil)
	if !slices.Contains(r.Console(), "policyd: ready") {
		t.Errorf("console %q", r.Console())
	}
	for i, c := range []struct {
		sender, subject, action string
		allow                   bool
		err                     error
		audited                 string
		why                     Reason
	}{
		{"launcher", "", "session.token", true, nil, "launcher", ReasonRule},
		{"launcher", "launcher", "session.token", true, nil, "launcher", ReasonRule},
		{"demo.app", "", "session.token", false, nil, "demo.app", ReasonNotInRule},
		{"demo.app", "launcher", "session.token", false, ipc.Denied, "demo.app", ReasonNotEnforcer},
		{"identityd", "launcher", "session.token", true, nil, "launcher", ReasonRule},
		{"identityd", "demo.app", "keychain.get", true, nil, "demo.app", ReasonAnyApp},
		{"identityd", "keystored", "keychain.get", false, nil, "keystored", ReasonNoRule},
		{"identityd", "Demo.App", "keychain.get", false, ipc.Malformed, "identityd", ReasonNotCanonical},
		{"identityd", "any-app", "keychain.get", false, ipc.Malformed, "identityd", ReasonNotCanonical},
		{"identityd", "demo.app", "keychain.GET", false, ipc.Malformed, "identityd", ReasonNotCanonical},
		{"identityd", "demo.app", strings.Repeat("a", MaxAction+1), false, ipc.TooLarge, "identityd", ReasonTooLarge},
	} {
		allow, err := ask(c.sender, &wire.DecideRequest{Subject: c.subject, Action: c.action, Target: "t"})
		if allow != c.allow || !errors.Is(err, c.err) {
			t.Errorf("%+v: %v, %v", c, allow, err)
		}
		records, _ := log.Records()
		if len(records) != i+1 {
			t.Fatalf("%d records after %d questions", len(records), i+1)
		}
		got := records[i]
		if got.Subject != c.audited || got.Allow != c.allow || got.Reason != c.why || got.TimestampNS == 0 {
			t.Errorf("%+v: audited %+v", c, got)
		}
		if got.Action != "" && got.Action != c.action || got.Action == "" && canonicalAction(c.action) {
			t.Errorf("%+v: audited action %q", c, got.Action)
		}
	}
}

func TestServiceAuditTellsNoTarget(t *testing.T) {
	var seen []Record
	_, log, ask := newSystem(t, func(r Record) { seen = append(seen, r) })
	if _, err := ask("launcher", &wire.DecideRequest{Action: "session.token", Target: "demo.bank"}); err != nil {
		t.Fatal(err)
	}
	_, err := ask("launcher", &wire.DecideRequest{Action: "session.token", Target: strings.Repeat("x", MaxTarget+1)})
	if !errors.Is(err, ipc.TooLarge) {
		t.Errorf("a target of %d bytes: %v", MaxTarget+1, err)
	}
	records, _ := log.Records()
	if !slices.Equal(records, seen) || len(seen) != 2 {
		t.Fatalf("log %+v, callback %+v", records, seen)
	}
	key := [DigestKeySize]byte{7}
	if seen[0].Target != Digest(&key, "demo.bank") || strings.Contains(seen[0].Target, "demo") {
		t.Errorf("target %q", seen[0].Target)
	}
}

func TestServiceWithoutRulesDeniesAll(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	task := r.Task(ipc.TaskSpec{Name: "policyd", Marks: []string{"policyd:"}})
	ep := r.Endpoint(task, ipc.EndpointSpec{Depth: 8, Parallel: 8, Ops: []ipc.Op{{Code: wire.OpDecide}}})
	r.Host(task, func() ipc.Service { return New(task, Config{}) })
	app := r.Task(ipc.TaskSpec{Name: "app"})
	slot := r.Connect(app, ep)
	r.Do(app, func(ctx context.Context) {
		var reply wire.DecideReply
		q := &wire.DecideRequest{Action: "keychain.get"}
		if err := wire.Call(ctx, app, ipc.Msg{Slot: slot, Op: wire.OpDecide, Move: ipc.NoSlot}, q, &reply); err != nil || reply.Allow {
			t.Errorf("%v, %v", reply.Allow, err)
		}
	})
}
