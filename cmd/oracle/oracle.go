// Package oracle watches a machine from outside and says whether what it does
// is what the system promises:
//
//   - durable: what was acknowledged, or proved by a marker, is there ever after
//   - linearizable: each user's vault behaves as if its operations were done one
//     at a time, quotas included (porcupine decides)
//   - isolation: nobody reads what another app or user has stored: no value
//     and no name of it is in any answer, error or, but for names, marker
//   - epoch: nothing is delivered, answered or done for a session that was
//     locked or has ended meanwhile
//   - denied: keystored denies nothing to who has a good token of a session
//     that goes on
//   - marker: no marker without the effect that it proves
//   - token: a stolen token is of no use
//   - waits: nobody waits till a deadline unless something was lost or late
//   - panic: no service panics unless that was asked for
//
// It hears of commands, markers and the kernel's trace in the order in which
// they happen, and judges at the end. It calls nobody and changes nothing.
package oracle

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/keystored/vault"
)

// Violation is a promise that was not kept.
type Violation struct {
	Check string // one of those of the package comment
	Text  string
}

func (v *Violation) Error() string { return v.Check + ": " + v.Text }

// Oracle is the witness of one run. It is safe for concurrent use.
type Oracle struct {
	quotas vault.Limits
	fired  func() map[machine.Kind]int

	mu       sync.Mutex
	clock    int64 // counts what happens
	steps    []*step
	users    map[string]*user
	made     int // users, over all their incarnations
	values   map[string]place
	canaries []canary
	words    map[reader]string // that an app has said
	markers  map[place]tally
	keystore ipc.TaskID
	sessions map[uint64]session
	calls    map[uint64]call // that are queued or served
	found    []*Violation

	undecided int // histories that were too hard to judge
}

var _ script.Witness = (*Oracle)(nil)

// session is what the trace says of a session.
type session struct {
	user  string
	epoch uint32
}

// place is where a secret is: user is "" where a marker does not say.
type place struct{ user, app, name string }

// tally counts the markers of a name, and the puts that were acknowledged.
type tally struct{ markers, acked int }

// call is a request that passed the router.
type call struct {
	epoch uint32
	app   string
	at    int64
}

// step is a command from its beginning to its outcome.
type step struct {
	words  []string
	shown  string // without credentials and values
	call   int64
	owner  *user // of an app's command, or of an unseal
	app    string
	locked uint64 // generation of the lock under which it began, 0 for none
	put    *operation
	also   *operation // its second effect, which is not the same moment
}

// New makes an oracle for a machine with these quotas. fired answers how often
// each kind of fault came.
func New(quotas vault.Limits, fired func() map[machine.Kind]int) *Oracle {
	return &Oracle{
		quotas: quotas.WithDefaults(), fired: fired,
		users: make(map[string]*user), values: make(map[string]place), markers: make(map[place]tally),
		words:    make(map[reader]string),
		sessions: make(map[uint64]session), calls: make(map[uint64]call),
	}
}

// violated notes a broken promise.
func (o *Oracle) violated(check, format string, args ...any) {
	o.found = append(o.found, &Violation{Check: check, Text: fmt.Sprintf(format, args...)})
}

func (o *Oracle) tick() int64 {
	o.clock++
	return o.clock
}

// Begin implements script.Witness.
func (o *Oracle) Begin(words, shown []string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &step{words: words, shown: strings.Join(shown, " "), call: o.tick()}
	o.steps = append(o.steps, s)
	switch {
	case words[0] == "unseal", words[0] == "unlock":
		s.owner = o.user(words[1])
		s.owner.unsealing(s.call)
	case len(words) > 1 && strings.Contains(words[1], "/"):
		o.beginApp(s)
	}
	return len(o.steps) - 1
}

// beginApp is the beginning of what an app does.
func (o *Oracle) beginApp(s *step) {
	name, app, _ := strings.Cut(s.words[1], "/")
	s.owner, s.app = o.user(name), app
	s.locked = s.owner.locked
	by := reader{s.owner, app}
	o.said(by, s.words[2:])
	if op := s.operation(); op != nil {
		op.call, op.ret = s.call, forever
		s.put = op
		s.owner.history = append(s.owner.history, op)
		if op.kind == opUninstall {
			s.also = &operation{kind: opDestroyKeys, app: app, call: op.call, ret: op.ret}
			s.owner.history = append(s.owner.history, s.also)
		}
		if op.kind == opPut {
			o.values[op.value] = place{name, app, op.name}
			o.hide(by, op)
		}
	}
}

// End implements script.Witness.
func (o *Oracle) End(n int, text string, err error) {
	kind := "ok"
	if err != nil {
		kind = script.Kind(err)
	}
	excused := kind != "timed-out" || o.late() // Asked without the lock: faults have one, too.
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.steps[n]
	now := o.tick()
	if !excused {
		o.violated("waits", "%s waited till its deadline, and nothing was lost or late", s.shown)
	}
	o.shown(s, text, err)
	switch {
	case s.forged():
		o.stole(s, kind)
	case s.words[0] == "unseal", s.words[0] == "unlock":
		s.owner.unsealed(now)
	case s.owner != nil:
		o.endApp(s, kind, text, now)
	case kind == "ok":
		o.endOther(s)
	}
}

// late says whether anything was lost or late.
func (o *Oracle) late() bool {
	fired := o.fired()
	return fired[machine.Drop]+fired[machine.Delay] > 0
}

// forged says whether the command presents a token that is not its own, or none.
func (s *step) forged() bool {
	w := s.words
	return w[0] == "steal" && w[1] != w[2] || w[0] == "send" && len(w) > 5 && w[5] != "own" && w[5] != "of:"+w[1]
}

// stole judges the use of such a token.
func (o *Oracle) stole(s *step, kind string) {
	if gotThrough[kind] || s.words[0] == "send" && judged[kind] {
		o.violated("token", "%s: %s, with a token that is not its own", s.shown, kind)
	}
}

// gotThrough are the answers that only a valid token gets, and judged those that
// a service gives after it has looked at a request's bytes; a client may find
// the same before it sends any.
var (
	gotThrough = map[string]bool{"ok": true, "not-found": true, "sealed": true, "quota": true, "exists": true}
	judged     = map[string]bool{"malformed": true, "bad-secret": true, "damaged": true}
)

// endApp judges what an app did, and puts it into its vault's history.
func (o *Oracle) endApp(s *step, kind, text string, now int64) {
	op := s.put
	if op == nil {
		return // An app may be launched in a locked session.
	}
	if s.locked != 0 && s.owner.locked == s.locked && !afterLock[kind] {
		o.violated("epoch", "%s: %s, after the session was locked or had ended", s.shown, kind)
	}
	op.end(kind, text, now)
	if s.also != nil {
		s.also.end(kind, text, now)
	}
	if op.kind == opGet && kind == "ok" {
		o.isolated(s, op.value)
	}
	if op.kind == opPut && kind == "ok" {
		at := place{"", s.app, ipc.EscapeMark(op.name)}
		t := o.markers[at]
		t.acked++
		o.markers[at] = t
		if t.markers < t.acked {
			o.violated("marker", "%s was acknowledged before its marker", s.shown)
		}
	}
	if op.marked && op.outcome == failed {
		o.violated("marker", "%s: %s, and a marker says that it was done", s.shown, kind)
	}
}

// afterLock are the ways in which a locked session's app may hear of it.
var afterLock = map[string]bool{
	"denied": true, "sealed": true, "malformed": true, "too-large": true, "unavailable": true, "timed-out": true,
	"no-space": true, "no-such-endpoint": true, "queue-full": true, "canceled": true, "limit": true,
	"power-cut": true, "off": true, "usage": true, "stopped": true, "stuck": true, "io-error": true,
}

// isolated judges what a get has read.
func (o *Oracle) isolated(s *step, value string) {
	at, known := o.values[value]
	own := place{s.owner.name, s.app, s.put.name}
	if known && at != own && !s.owner.stored(s.app, s.put.name, value) {
		o.violated("isolation", "%s read what %s/%s stored under %s", s.shown, at.user, at.app, at.name)
	}
}

// endOther follows what commands mean for sessions and users.
func (o *Oracle) endOther(s *step) {
	switch s.words[0] {
	case "boot", "reboot":
		o.settle()
	case "lock", "end", "rekey":
		o.user(s.words[1]).lock(s.call, o.clock)
	case "create-user", "remove-user":
		o.replace(s.words[1])
	}
}

// Marker hears of a line on the console.
func (o *Oracle) Marker(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.printed(line)
	app, name, ok := putMarker(line)
	if !ok {
		return
	}
	now := o.tick()
	at := place{"", app, name}
	t := o.markers[at]
	t.markers++
	o.markers[at] = t
	var could []*operation
	for _, u := range o.users {
		for _, op := range u.history {
			if op.kind == opPut && op.app == app && ipc.EscapeMark(op.name) == name && !op.marked && op.open() {
				could = append(could, op)
			}
		}
	}
	switch len(could) {
	case 0:
		o.violated("marker", "%q came, and no put can be what it proves", line)
	case 1:
		could[0].mark(now)
	}
}

// putMarker reads the marker of a put, whose name is escaped.
func putMarker(line string) (app, name string, ok bool) {
	rest, ok := strings.CutPrefix(line, "keystore: put (app=")
	if !ok {
		return "", "", false
	}
	app, rest, ok = strings.Cut(rest, ", key=")
	name, end := strings.CutSuffix(rest, ")")
	return app, name, ok && end
}

// Verdict judges the whole run. The first violation is the one that was seen
// first, if any was.
func (o *Oracle) Verdict() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.found) > 0 {
		return o.found[0]
	}
	return o.linearizable()
}

// Is makes errors.Is(err, ErrViolated) work.
func (v *Violation) Is(target error) bool { return target == ErrViolated }

// ErrViolated is what every Violation is.
var ErrViolated = errors.New("oracle: a promise was not kept")

// Undecided counts histories that were too hard to judge, after the verdict.
func (o *Oracle) Undecided() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.undecided
}

// Panicked hears of a panic of a service that nobody asked for.
func (o *Oracle) Panicked(r *ipc.PanicReport) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.violated("panic", "%s at %s", r.Task, r.Frames)
}

// Event hears of the kernel's trace, in order. A request belongs to the epoch
// in which it was sent: nothing may come of it in another one.
func (o *Oracle) Event(e ipc.TraceEvent) {
	if e.SID == 0 && e.Kind != ipc.TraceTask {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch e.Kind {
	case ipc.TraceTask:
		if e.Name == boot.KeyStoreD {
			o.keystore = e.From
		}
	case ipc.TraceSession:
		s := o.sessions[e.SID]
		s.user = e.Name
		if e.Op == ipc.SessionSealed || e.Op == ipc.SessionEnded {
			s.epoch++
		}
		o.sessions[e.SID] = s
	case ipc.TraceSend:
		s := o.sessions[e.SID]
		o.calls[e.Call] = call{s.epoch, e.Name, o.tick()}
		if e.To == o.keystore {
			o.user(s.user).sent(e.Name)
		}
	case ipc.TraceDeliver:
		o.current(e, "delivered")
	case ipc.TraceRefuse, ipc.TraceExpire, ipc.TraceCancel:
		delete(o.calls, e.Call) // Its end is the kernel's, and says nothing of a service.
	case ipc.TraceReply:
		o.justly(e)
		if e.Code != ipc.Denied && e.Code != ipc.Unavailable && e.Code != ipc.NoSuchEndpoint {
			o.current(e, "answered")
		}
		delete(o.calls, e.Call)
	}
}

// justly judges a denial that is keystored's own: the kernel let the request
// through, and says itself if its token is void by now. While the epoch goes on
// there is nothing that keystored could deny, but to an app that is uninstalled.
func (o *Oracle) justly(e ipc.TraceEvent) {
	c, known := o.calls[e.Call]
	s := o.sessions[e.SID]
	if known && e.Code == ipc.Denied && e.To == o.keystore && c.epoch == s.epoch && !o.user(s.user).uninstalled(c) {
		o.violated("denied", "a request of session %d with a good token was denied by keystored, and the session goes on", e.SID)
	}
}

func (o *Oracle) current(e ipc.TraceEvent, what string) {
	if c, known := o.calls[e.Call]; known && c.epoch != o.sessions[e.SID].epoch {
		o.violated("epoch", "a request of session %d was %s (%v) after the session was sealed or had ended", e.SID, what, e.Code)
	}
}
