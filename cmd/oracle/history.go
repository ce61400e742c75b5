package oracle

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// forever is when an operation ends of which nobody heard.
const forever = math.MaxInt64

type opKind uint8

const (
	opPut opKind = iota + 1
	opGet
	opDelete
	opList
	opGenerate
	opSign
	opDeleteKey
	opKeys
	opUnwrap      // puts a key back, unless it is there under whatever name
	opUninstall   // ends an app's secrets
	opDestroyKeys // and its keys, which is not the same moment
)

// outcome says what is known of an operation's effect.
type outcome uint8

const (
	unknown outcome = iota // it may have happened, or happen later
	done                   // it happened
	failed                 // it did not; its verdict is known
	void                   // it did not, and nothing follows from that
)

// operation is one operation on a user's vault.
type operation struct {
	kind    opKind
	app     string
	name    string
	value   string // put: what is stored; get: what was read
	names   []string
	verdict string // of one that failed
	outcome outcome
	raw     bool // a frame of a script's own making
	marked  bool
	sent    bool // a request of it passed the router
	settled bool // it is over: nothing can come of it any more
	ended   bool
	call    int64
	ret     int64
}

// user is one incarnation of a user.
type user struct {
	name      string
	locked    uint64 // generation of the lock that holds, 0 for none
	lastLock  uint64
	unlockers int   // unseals that are under way
	touched   int64 // when an unseal began or ended last
	history   []*operation
}

// user finds the current incarnation.
func (o *Oracle) user(name string) *user {
	if o.users[name] == nil {
		o.replace(name)
	}
	return o.users[name]
}

// replace begins a new incarnation. The old one stays in the histories.
func (o *Oracle) replace(name string) {
	if old := o.users[name]; old != nil {
		if len(old.history) == 0 {
			return
		}
		o.made++
		o.users[fmt.Sprintf("%s, number %d", name, o.made)] = old
	}
	o.users[name] = &user{name: name}
}

// unsealing is the beginning of an unseal: from here on apps may get through.
func (u *user) unsealing(now int64) {
	u.locked, u.touched = 0, now
	u.unlockers++
}

func (u *user) unsealed(now int64) {
	u.touched = now
	u.unlockers--
}

// sent notes that a request of an app's passed the router.
func (u *user) sent(app string) {
	for _, op := range u.history {
		if op.app == app && !op.ended {
			op.sent = true
		}
	}
}

// lock is the end of a lock that began at call: what began before is over, or
// never will be. If an unseal was under way meanwhile, nobody can say which of
// the two was first.
func (u *user) lock(call, now int64) {
	for _, op := range u.history {
		if op.ended && op.call < call {
			op.over(now)
		}
	}
	if u.unlockers > 0 || u.touched > call {
		return
	}
	u.lastLock++
	u.locked = u.lastLock
}

// stored says whether the app itself has put that value under the name.
func (u *user) stored(app, name, value string) bool {
	return slices.ContainsFunc(u.history, func(op *operation) bool {
		return op.kind == opPut && op.app == app && op.name == name && op.value == value
	})
}

// uninstalled says whether the request's app was or is being uninstalled after
// it was sent, so that its token was void.
func (u *user) uninstalled(c call) bool {
	return slices.ContainsFunc(u.history, func(op *operation) bool {
		return op.kind == opUninstall && op.app == c.app && (!op.ended || op.outcome == unknown || op.ret > c.at)
	})
}

// operation is what a command does to a vault, nil if that is nothing.
func (s *step) operation() *operation {
	w := s.words
	op := &operation{app: s.app}
	if len(w) > 2 {
		op.name = w[2]
	}
	switch w[0] {
	case "put":
		op.kind, op.value = opPut, w[3]
	case "get":
		op.kind = opGet
	case "del":
		op.kind = opDelete
	case "list":
		op.kind, op.name = opList, ""
	case "generate":
		op.kind = opGenerate
	case "sign":
		op.kind = opSign
	case "delkey", "detach":
		op.kind = opDeleteKey
	case "unwrap":
		op.kind = opUnwrap
	case "keys":
		op.kind, op.name = opKeys, ""
	case "uninstall":
		op.kind, op.name = opUninstall, ""
	case "send":
		return s.frame()
	default:
		return nil
	}
	return op
}

// changes says whether the operation has an effect.
func (op *operation) changes() bool {
	switch op.kind {
	case opGet, opList, opSign, opKeys:
		return false
	}
	return true
}

// open says whether the operation's effect may still be to come in this boot.
func (op *operation) open() bool { return !op.settled && (!op.ended || op.outcome == unknown) }

// mark notes that a marker proved the operation's effect.
func (op *operation) mark(now int64) {
	op.marked = true
	op.ret = min(op.ret, now)
	if op.ended {
		op.outcome = done
	}
}

// end notes the outcome of a command.
func (op *operation) end(kind, text string, now int64) {
	op.ended = true
	switch kind {
	case "ok":
		op.outcome, op.ret = done, min(op.ret, now)
		op.read(text)
	case "quota", "not-found", "exists":
		op.outcome, op.verdict, op.ret = failed, kind, now
	default:
		op.outcome = void
		if op.changes() && !without[kind] && (op.sent || !op.stored()) {
			op.outcome = unknown
		}
		if op.marked {
			op.outcome = done
		}
	}
}

// without are the ways to fail that say that nothing was done.
var without = map[string]bool{"malformed": true, "too-large": true, "sealed": true, "off": true, "usage": true}

// read takes in what a reader has found out.
func (op *operation) read(text string) {
	if op.raw {
		op.readFrame(text)
		return
	}
	switch op.kind {
	case opGet:
		if value, err := strconv.Unquote(text); err == nil {
			op.value = value
		}
	case opList, opKeys:
		if text != "none" {
			op.names = strings.Fields(text)
		}
	}
}

// stored says whether keystored answers the operation, and not keymintd.
func (op *operation) stored() bool { return op.kind <= opList }

// over notes that what the operation has not done by now, it never will.
func (op *operation) over(now int64) {
	if op.settled {
		return
	}
	op.settled = true
	op.ret = min(op.ret, now)
	if op.ended {
		return
	}
	op.ended = true
	switch {
	case op.marked:
		op.outcome = done
	case !op.changes() || op.stored() && !op.sent:
		op.outcome = void
	}
}

// settle is called when the machine is on again: what an earlier boot has not
// done by now, it never will.
func (o *Oracle) settle() {
	now := o.tick()
	clear(o.sessions)
	clear(o.calls)
	for _, u := range o.users {
		u.locked, u.unlockers = 0, 0
		for _, op := range u.history {
			op.over(now)
		}
	}
}
