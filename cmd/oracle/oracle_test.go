package oracle

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/keystored/vault"
)

// tale is a run told to an oracle, without a system.
type tale struct {
	*Oracle
	fired map[machine.Kind]int
	next  uint64
}

func newTale(quotas vault.Limits) *tale {
	t := &tale{fired: make(map[machine.Kind]int)}
	t.Oracle = New(quotas, func() map[machine.Kind]int { return t.fired })
	t.Event(ipc.TraceEvent{Kind: ipc.TraceTask, From: 7, Name: "keystored"})
	t.Event(ipc.TraceEvent{Kind: ipc.TraceSession, SID: 1, Op: ipc.SessionStarted, Name: "alice"})
	return t
}

// begin tells of a command, and that its request passed the router.
func (t *tale) begin(command string) int {
	words := strings.Fields(command)
	n := t.Begin(words, words[:1])
	if _, app, ok := strings.Cut(command, "/"); ok {
		t.next++
		t.Event(ipc.TraceEvent{Kind: ipc.TraceSend, SID: 1, Call: t.next, To: 7, Name: strings.Fields(app)[0]})
	}
	return n
}

// does tells of a command from beginning to end; a put that succeeds shows its
// marker.
func (t *tale) does(command, text string, err error) {
	n := t.begin(command)
	words := strings.Fields(command)
	if words[0] == "put" && err == nil {
		t.put(words[1], words[2])
	}
	t.End(n, text, err)
}

// put tells of the marker of a put.
func (t *tale) put(who, name string) {
	_, app, _ := strings.Cut(who, "/")
	t.Marker(fmt.Sprintf("keystore: put (app=%s, key=%s)", app, name))
}

// Every promise can be broken, and the oracle says which one it was; told
// rightly, the same tale is without a violation.
func TestEveryCheck(t *testing.T) {
	tight := vault.Limits{AppSecrets: 2}
	for _, c := range []struct {
		name, check string // no check: all is well
		tell        func(*tale)
	}{
		{"a plain tale", "", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("get alice/notes a", `"1"`, nil)
			t.does("list alice/notes", "a", nil)
			t.does("del alice/notes a", "", nil)
			t.does("get alice/notes a", "", ipc.NotFound)
			t.does("list alice/notes", "none", nil)
		}},
		{"an acknowledged put is gone", "durable", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("boot", "", nil)
			t.does("get alice/notes a", "", ipc.NotFound)
		}},
		{"an old value comes back", "linearizable", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("put alice/notes a 2", "", nil)
			t.does("get alice/notes a", `"1"`, nil)
		}},
		{"a put of unknown outcome is seen, and then not", "linearizable", func(t *tale) {
			t.does("put alice/notes a 1", "", ipc.IOError)
			t.does("get alice/notes a", `"1"`, nil)
			t.does("get alice/notes a", "", ipc.NotFound)
		}},
		{"a put of unknown outcome comes late", "", func(t *tale) {
			t.does("put alice/notes a 1", "", ipc.IOError)
			t.does("get alice/notes a", "", ipc.NotFound)
			t.does("boot", "", nil)
			t.does("get alice/notes a", `"1"`, nil)
		}},
		{"a put of unknown outcome comes later than that", "linearizable", func(t *tale) {
			t.does("put alice/notes a 1", "", ipc.IOError)
			t.does("boot", "", nil)
			t.does("get alice/notes a", "", ipc.NotFound)
			t.does("get alice/notes a", `"1"`, nil)
		}},
		{"a quota is refused too early", "linearizable", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("put alice/notes b 2", "", ipc.Quota)
		}},
		{"a quota is refused in time", "", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("put alice/notes b 2", "", nil)
			t.does("put alice/notes c 3", "", ipc.Quota)
			t.does("put alice/notes b 4", "", nil)
			t.does("put alice/mail c 5", "", nil)
		}},
		{"a quota is refused too late", "linearizable", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("put alice/notes b 2", "", nil)
			t.does("put alice/notes c 3", "", nil)
		}},
		{"a key is made twice", "linearizable", func(t *tale) {
			t.does("generate alice/notes k", "00", nil)
			t.does("generate alice/notes k", "00", nil)
		}},
		{"another app's value is read", "isolation", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("get alice/mail a", `"1"`, nil)
		}},
		{"another user's value is read", "isolation", func(t *tale) {
			t.does("put bob/notes a 1", "", nil)
			t.does("get alice/notes a", `"1"`, nil)
		}},
		{"a locked session still reads", "epoch", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("lock alice", "", nil)
			t.does("get alice/notes a", `"1"`, nil)
		}},
		{"a locked session tells whether a name exists", "epoch", func(t *tale) {
			t.does("lock alice", "", nil)
			t.does("get alice/notes a", "", ipc.NotFound)
		}},
		{"an ended session still writes", "epoch", func(t *tale) {
			t.does("end alice", "", nil)
			t.does("put alice/notes a 1", "", nil)
		}},
		{"a session that is unlocked again reads", "", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("lock alice", "", nil)
			t.does("get alice/notes a", "", ipc.Denied)
			t.does("unlock alice pin 1", "", nil)
			t.does("get alice/notes a", `"1"`, nil)
		}},
		{"lock and unlock side by side", "", func(t *tale) {
			n := t.begin("lock alice")
			t.does("unlock alice pin 1", "", nil)
			t.End(n, "", nil)
			t.does("get alice/notes a", "", ipc.NotFound)
		}},
		{"a request is delivered after the seal", "epoch", func(t *tale) {
			t.Event(ipc.TraceEvent{Kind: ipc.TraceSend, SID: 1, Call: 99, To: 7, Name: "notes"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceSession, SID: 1, Op: ipc.SessionSealed, Name: "alice"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceDeliver, SID: 1, Call: 99})
		}},
		{"a request is answered after the seal", "epoch", func(t *tale) {
			t.Event(ipc.TraceEvent{Kind: ipc.TraceSend, SID: 1, Call: 99, To: 7, Name: "notes"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceDeliver, SID: 1, Call: 99})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceSession, SID: 1, Op: ipc.SessionEnded, Name: "alice"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceReply, SID: 1, Call: 99, Code: ipc.NotFound})
		}},
		{"a request is denied after the seal", "", func(t *tale) {
			t.Event(ipc.TraceEvent{Kind: ipc.TraceSend, SID: 1, Call: 99, To: 7, Name: "notes"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceSession, SID: 1, Op: ipc.SessionSealed, Name: "alice"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceReply, SID: 1, Call: 99, Code: ipc.Denied})
		}},
		{"a good token is denied", "denied", func(t *tale) {
			t.Event(ipc.TraceEvent{Kind: ipc.TraceTask, From: 7, Name: "keystored"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceSend, SID: 1, Call: 99, To: 7, Name: "notes"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceReply, SID: 1, Call: 99, To: 7, Code: ipc.Denied})
		}},
		{"a token that died on its way is denied", "", func(t *tale) {
			t.Event(ipc.TraceEvent{Kind: ipc.TraceTask, From: 7, Name: "keystored"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceSend, SID: 1, Call: 99, To: 7, Name: "notes"})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceRefuse, SID: 1, Call: 99, To: 7, Code: ipc.Denied, Refusal: capability.RefusedExpired})
			t.Event(ipc.TraceEvent{Kind: ipc.TraceReply, SID: 1, Call: 99, To: 7, Code: ipc.Denied})
		}},
		{"a put without its marker", "marker", func(t *tale) {
			t.End(t.begin("put alice/notes a 1"), "", nil)
		}},
		{"a marker without a put", "marker", func(t *tale) { t.put("alice/notes", "a") }},
		{"a marker of a put that was refused", "marker", func(t *tale) {
			n := t.begin("put alice/notes a 1")
			t.put("alice/notes", "a")
			t.End(n, "", ipc.Quota)
		}},
		{"a marker, and the effect is gone after a power cut", "durable", func(t *tale) {
			n := t.begin("put alice/notes a 1")
			t.put("alice/notes", "a")
			t.End(n, "", machine.ErrOff)
			t.does("boot", "", nil)
			t.does("get alice/notes a", "", ipc.NotFound)
		}},
		{"a stolen token reads", "token", func(t *tale) { t.does("steal alice/mail alice/notes a", `"1"`, nil) }},
		{"a stolen token tells what exists", "token", func(t *tale) { t.does("steal alice/mail alice/notes a", "", ipc.NotFound) }},
		{"a forged token works", "token", func(t *tale) { t.does("send alice/mail store Get 00 flip:3", "", nil) }},
		{"stolen and forged tokens are denied", "", func(t *tale) {
			t.does("steal alice/mail alice/notes a", "", ipc.Denied)
			t.does("send alice/mail store Get 00 none", "", ipc.Denied)
		}},
		{"somebody waits for nothing", "waits", func(t *tale) { t.does("get alice/notes a", "", ipc.TimedOut) }},
		{"somebody waits for what was lost", "", func(t *tale) {
			t.fired[machine.Drop] = 1
			t.does("get alice/notes a", "", ipc.TimedOut)
		}},
		{"a service panics", "panic", func(t *tale) { t.Panicked(&ipc.PanicReport{Task: "keystored"}) }},
		{"a removed user's secrets are gone", "", func(t *tale) {
			t.does("put alice/notes a 1", "", nil)
			t.does("remove-user alice pin 1", "", nil)
			t.does("create-user alice pin 1", "", nil)
			t.does("get alice/notes a", "", ipc.NotFound)
		}},
	} {
		o := newTale(tight)
		c.tell(o)
		err := o.Verdict()
		var v *Violation
		switch {
		case c.check == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.check != "" && (!errors.As(err, &v) || v.Check != c.check || !errors.Is(err, ErrViolated)):
			t.Errorf("%s: %v, want a violation of %s", c.name, err, c.check)
		}
	}
}

// What a violation says has no word that a report may not show.
func TestViolationsShowNoSecret(t *testing.T) {
	const canary = "5canary5"
	for name, tell := range map[string]func(*tale){
		"a credential": func(t *tale) {
			t.End(t.Begin([]string{"unlock", "alice", "password", canary}, []string{"unlock", "alice", "password"}), "", ipc.TimedOut)
		},
		"a value that is wanted": func(t *tale) {
			t.does("lock alice", "", nil)
			t.End(t.Begin([]string{"get", "alice/notes", "a", canary}, []string{"get", "alice/notes", "a"}), `"`+canary+`"`, nil)
		},
		"a token": func(t *tale) {
			t.End(t.Begin([]string{"send", "alice/notes", "store", "Get", canary, canary}, []string{"send", "alice/notes", "store", "Get"}), "", nil)
		},
	} {
		o := newTale(vault.Limits{})
		tell(o)
		err := o.Verdict()
		if !errors.Is(err, ErrViolated) || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "alice") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
