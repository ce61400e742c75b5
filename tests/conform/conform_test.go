package conform

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
)

func narrow(string, uint8) (depth, parallel int) { return 2, 1 }

// Tasks of the traces: init, a service with endpoint 1, an app, and an inbox, 2, of the app.
const (
	initTask ipc.TaskID = iota + 1
	service
	app
)

func prologue() []ipc.TraceEvent {
	return []ipc.TraceEvent{
		{Kind: ipc.TraceTask, From: initTask, Name: "init"},
		{Kind: ipc.TraceTask, From: service, Name: "svc"},
		{Kind: ipc.TraceTask, From: app, Name: "app"},
		{Kind: ipc.TraceEndpoint, From: initTask, To: service, Endpoint: 1},
		{Kind: ipc.TraceEndpoint, From: initTask, To: app, Endpoint: 2, Name: "inbox"},
		{Kind: ipc.TraceStart, From: service},
		{Kind: ipc.TraceSession, From: initTask, SID: 7, Op: ipc.SessionStarted},
		{Kind: ipc.TraceToken, From: initTask, To: app, SID: 7},
	}
}

// of is an event of a call from the app to the service.
func of(kind ipc.EventKind, call uint64, code ipc.Code) ipc.TraceEvent {
	return ipc.TraceEvent{Kind: kind, Call: call, From: app, To: service, Endpoint: 1, Op: 3, Size: 5, Code: code}
}

// with is the same with a token.
func with(kind ipc.EventKind, call uint64, code ipc.Code) ipc.TraceEvent {
	e := of(kind, call, code)
	e.SID, e.Name = 7, "notes"
	return e
}

func mail(kind ipc.EventKind, call uint64, to ipc.TaskID) ipc.TraceEvent {
	return ipc.TraceEvent{Kind: kind, Call: call, From: service, To: to, Endpoint: 2, Op: 9, Size: 4}
}

func voided(op uint16) ipc.TraceEvent {
	return ipc.TraceEvent{Kind: ipc.TraceSession, From: initTask, SID: 7, Op: op}
}

func by(kind ipc.EventKind, task ipc.TaskID) ipc.TraceEvent {
	return ipc.TraceEvent{Kind: kind, From: task}
}

func closes(endpoint uint32) ipc.TraceEvent {
	return ipc.TraceEvent{Kind: ipc.TraceSyscall, Op: ipc.SyscallCloseEndpoint, From: initTask, Endpoint: endpoint}
}

// Each trace has one thing that cannot be, or none.
func TestTraces(t *testing.T) {
	send, deliver, reply := ipc.TraceSend, ipc.TraceDeliver, ipc.TraceReply
	expired := of(ipc.TraceExpire, 1, ipc.TimedOut)
	cancelled, late := of(ipc.TraceCancel, 1, ipc.Canceled), of(ipc.TraceLate, 1, ipc.OK)
	mailGone := mail(ipc.TraceCancel, 1, app)
	mailGone.Code = ipc.NoSuchEndpoint
	larger := of(deliver, 1, ipc.OK)
	larger.Size++
	for _, c := range []struct {
		what  string
		trace []ipc.TraceEvent
		wrong string
	}{
		{"a call", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), of(reply, 1, 0)}, ""},
		{"two, in their order", []ipc.TraceEvent{of(send, 1, 0), of(send, 2, 0), of(deliver, 1, 0), of(reply, 1, 0), of(deliver, 2, 0)}, ""},
		{"overtaken", []ipc.TraceEvent{of(send, 1, 0), of(send, 2, 0), of(deliver, 2, 0)}, "older"},
		{"past one that timed out", []ipc.TraceEvent{of(send, 1, 0), of(send, 2, 0), expired, of(deliver, 2, 0)}, ""},
		{"one that timed out", []ipc.TraceEvent{of(send, 1, 0), expired, of(deliver, 1, 0)}, "over"},
		{"never sent", []ipc.TraceEvent{of(deliver, 1, 0)}, "never was"},
		{"answered twice", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), of(reply, 1, 0), of(reply, 1, 0)}, "over"},
		{"answered after its caller left", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), expired, of(reply, 1, 0)}, "waits no more"},
		{"answered by nobody", []ipc.TraceEvent{of(send, 1, 0), of(reply, 1, 0)}, "nobody has served"},
		{"more of it", []ipc.TraceEvent{of(send, 1, 0), larger}, "more or less"},
		{"a number again", []ipc.TraceEvent{of(send, 2, 0), of(send, 1, 0)}, "used again"},
		{"too deep", []ipc.TraceEvent{of(send, 1, 0), of(send, 2, 0), of(send, 3, 0)}, "may be"},
		{"full", []ipc.TraceEvent{of(send, 1, 0), of(send, 2, 0), of(ipc.TraceRefuse, 0, ipc.QueueFull)}, ""},
		{"not full", []ipc.TraceEvent{of(send, 1, 0), of(ipc.TraceRefuse, 0, ipc.QueueFull)}, "not full"},
		{"two at a time", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), of(send, 2, 0), of(deliver, 2, 0)}, "may be"},
		{"sealed while queued", []ipc.TraceEvent{with(send, 1, 0), voided(ipc.SessionSealed), with(reply, 1, ipc.Denied), by(ipc.TraceMark, app)}, ""},
		{"sealed and answered", []ipc.TraceEvent{with(send, 1, 0), with(deliver, 1, 0), voided(ipc.SessionSealed), with(reply, 1, 0)}, "epoch is over"},
		{"sealed and delivered", []ipc.TraceEvent{with(send, 1, 0), voided(ipc.SessionSealed), with(deliver, 1, 0)}, "not told"},
		{"sealed and told late", []ipc.TraceEvent{with(send, 1, 0), voided(ipc.SessionSealed), by(ipc.TraceMark, app), with(reply, 1, ipc.Denied)}, "not told"},
		{"of no session", []ipc.TraceEvent{voided(ipc.SessionEnded), with(send, 1, 0)}, "does not live"},
		{"ended twice", []ipc.TraceEvent{voided(ipc.SessionEnded), voided(ipc.SessionEnded)}, "does not live"},
		{"denied without a token", []ipc.TraceEvent{of(send, 1, 0), of(reply, 1, ipc.Denied)}, "nobody has served"},
		{"a token of no session", []ipc.TraceEvent{voided(ipc.SessionEnded), {Kind: ipc.TraceToken, From: initTask, To: app, SID: 7}}, "token is made"},
		{"closed", []ipc.TraceEvent{of(send, 1, 0), of(reply, 1, ipc.NoSuchEndpoint), closes(1), of(ipc.TraceRefuse, 0, ipc.NoSuchEndpoint)}, ""},
		{"closed and not told", []ipc.TraceEvent{of(send, 1, 0), closes(1)}, "not told"},
		{"told and not closed", []ipc.TraceEvent{of(send, 1, 0), of(reply, 1, ipc.NoSuchEndpoint), by(ipc.TraceMark, app)}, "has not"},
		{"sent to what is closed", []ipc.TraceEvent{closes(1), of(send, 1, 0)}, "not open"},
		{"crashed", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), by(ipc.TraceCrash, service), of(reply, 1, ipc.Unavailable), by(ipc.TraceStart, service)}, ""},
		{"crashed and not told", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), by(ipc.TraceCrash, service), by(ipc.TraceStart, service)}, "last instance"},
		{"served by what has crashed", []ipc.TraceEvent{of(send, 1, 0), by(ipc.TraceCrash, service), of(deliver, 1, 0)}, "does not run"},
		{"sent by who is gone", []ipc.TraceEvent{by(ipc.TraceExit, app), of(send, 1, 0)}, "not there"},
		{"a marker of who is gone", []ipc.TraceEvent{by(ipc.TraceExit, app), by(ipc.TraceMark, app)}, "not there"},
		{"past what who crashed had sent", []ipc.TraceEvent{of(send, 1, 0), of(send, 2, 0), by(ipc.TraceCrash, app), cancelled, of(deliver, 2, 0)}, ""},
		{"what who crashed had sent", []ipc.TraceEvent{of(send, 1, 0), of(send, 2, 0), by(ipc.TraceCrash, app), of(deliver, 2, 0)}, "older"},
		{"a late answer", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), cancelled, late}, ""},
		{"a late answer, and its caller waits", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), late}, "caller waits"},
		{"left twice", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), cancelled, expired}, "left before"},
		{"left and answered", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), cancelled, of(reply, 1, 0)}, "waits no more"},
		{"answered and left", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), of(reply, 1, 0), expired}, "over"},
		{"lost, and given up after a restart", []ipc.TraceEvent{of(send, 1, 0), of(deliver, 1, 0), {Kind: ipc.TraceFault, To: service, Endpoint: 1},
			by(ipc.TraceCrash, service), by(ipc.TraceStart, service), expired}, ""},
		{"a message that dies with its inbox", []ipc.TraceEvent{mail(send, 1, app), mailGone, closes(2)}, ""},
		{"a message, and its inbox goes", []ipc.TraceEvent{mail(send, 1, app), closes(2)}, "not told"},
		{"a message", []ipc.TraceEvent{mail(send, 1, app), mail(ipc.TraceReceive, 1, app)}, ""},
		{"received twice", []ipc.TraceEvent{mail(send, 1, app), mail(ipc.TraceReceive, 1, app), mail(ipc.TraceReceive, 1, app)}, "not sent"},
		{"messages overtaken", []ipc.TraceEvent{mail(send, 1, app), mail(send, 2, app), mail(ipc.TraceReceive, 2, app)}, "older"},
		{"an inbox served", []ipc.TraceEvent{mail(send, 1, app), mail(deliver, 1, app)}, "in an inbox"},
		{"a time before", []ipc.TraceEvent{{Kind: ipc.TraceMark, From: app, Time: 9}, {Kind: ipc.TraceMark, From: app, Time: 8}}, "went back"},
		{"another boot", slices.Concat([]ipc.TraceEvent{of(send, 1, 0), {Kind: ipc.TraceMark, From: app, Time: 9}}, prologue(), []ipc.TraceEvent{of(send, 1, 0)}), ""},
	} {
		checker := New(narrow)
		for _, e := range append(prologue(), c.trace...) {
			checker.Event(e)
		}
		switch err := checker.Verdict(); {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.wrong != "" && (!errors.Is(err, ErrNoBehaviour) || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: %v; want %q", c.what, err, c.wrong)
		}
	}
}

// TestBudgets: a trace that queues more than an owner may have is none.
func TestBudgets(t *testing.T) {
	checker := New(func(string, uint8) (int, int) { return ipc.MaxDepth, 1 })
	for _, e := range prologue() {
		checker.Event(e)
	}
	for n := range uint64(ipc.MaxOwnerBytes / ipc.MaxFrame) {
		e := of(ipc.TraceSend, n+1, ipc.OK)
		e.Size = ipc.MaxFrame
		checker.Event(e)
	}
	if err := checker.Verdict(); err != nil {
		t.Fatalf("a full budget: %v", err)
	}
	checker.Event(of(ipc.TraceSend, 1000, ipc.OK))
	if err := checker.Verdict(); !errors.Is(err, ErrNoBehaviour) {
		t.Errorf("over the budget: %v", err)
	}
}
