package adversary

import (
	"fmt"
	"strconv"
	"strings"

	"nexus.internal/os/cmd/crash"
	"nexus.internal/os/cmd/scenario"
)

// maxSteps bounds a story; bytes that are left then do nothing.
const maxSteps = 64

// Who takes part. The first is the one with the secrets.
const victim = "alice/notes"

var (
	users   = []string{"alice", "bob"}
	thieves = []string{"alice/spy", "bob/spy", "bob/notes"}
	apps    = append([]string{victim}, thieves...)
)

// Quotas of a story that has tight ones.
var tight = scenario.Settings{AppSecrets: 3, UserSecrets: 5, AppBytes: 400, UserBytes: 700}

// story is a story that is being told.
type story struct {
	in      source
	script  strings.Builder
	beside  bool // what is told now happens side by side
	waiting bool // something waits for the join
	values  int
}

// Scenario is the story of the bytes. The first says the seed, the second what
// the machine is like; then one byte says what happens next, and others how.
func (Keystored) Scenario(input []byte) *scenario.Scenario {
	t := &story{in: source{input[:min(len(input), crash.MaxInput)]}}
	s := &scenario.Scenario{Name: "story", About: "What the bytes of a fuzzer mean to the live system.\n"}
	seed, kind := t.in.next(), t.in.next()
	if kind&1 != 0 {
		s.Machine = tight
	}
	s.Machine.Seed, s.Machine.Tear = int64(seed)+1, kind&2 != 0
	t.beginning()
	for range maxSteps {
		if len(t.in.rest) == 0 {
			break
		}
		t.step()
	}
	t.ending()
	s.Script = t.script.String()
	s.Text = s.Format()
	return s
}

// besideBit of a step's byte says that the step happens side by side with
// others that have it, up to the next one without.
const besideBit = 0x80

func (t *story) step() {
	b := t.in.next()
	t.beside = b&besideBit != 0
	steps[int(b&^besideBit)%len(steps)](t)
}

// steps are what can happen. Which byte means which is what kept inputs are
// written in: new ones go to the end.
var steps = []func(*story){
	func(t *story) { t.put(victim) },
	func(t *story) { t.get(victim) },
	func(t *story) { t.remove(victim) },
	func(t *story) { t.key(victim) },
	func(t *story) { t.put(t.thief()) },
	func(t *story) { t.get(t.thief()) },
	func(t *story) { t.remove(t.thief()) },
	func(t *story) { t.key(t.thief()) },
	func(t *story) { t.list(t.app()) },
	func(t *story) { who := t.thief(); t.acts(who, "steal %s %s %s", who, t.other(who), t.name(who)) },
	func(t *story) { t.frame(t.thief()) },
	func(t *story) { t.frame(t.thief()) },
	func(t *story) { t.frame(victim) },
	(*story).launch,
	(*story).session,
	(*story).session,
	(*story).off,
	(*story).fault,
}

func (t *story) line(format string, args ...any) { fmt.Fprintf(&t.script, format+"\n", args...) }

// tell tells of a command that may come to anything.
func (t *story) tell(strand, format string, args ...any) {
	if t.beside {
		t.waiting = true
		t.line("async %s try "+format, append([]any{strand}, args...)...)
		return
	}
	t.join()
	t.line("try "+format, args...)
}

// acts tells of what an app does, which is one thing at a time.
func (t *story) acts(who, format string, args ...any) {
	t.tell(strings.ReplaceAll(who, "/", "-"), format, args...)
}

func (t *story) join() {
	if t.waiting {
		t.line("try join")
		t.waiting = false
	}
}

func (t *story) thief() string { return from(&t.in, thieves) }
func (t *story) app() string   { return from(&t.in, apps) }

// other is another app than that one.
func (t *story) other(who string) string {
	switch o := t.app(); {
	case o != who:
		return o
	case who == victim:
		return thieves[0]
	}
	return victim
}

func password(user string) string { return "password-of-" + user }
func unlock(user string) string   { return "unlock " + user + " password " + password(user) }

func (t *story) beginning() {
	t.line("boot")
	for _, u := range users {
		t.line("create-user %s password %s", u, password(u))
		t.line("%s", unlock(u))
	}
	t.line("put %s %s %s", victim, ownName(victim, 0), t.canary(victim, 0))
	for _, who := range thieves {
		t.line("launch %s", who)
		t.line("launch %s", who) // So that it has a token that is void.
	}
}

// ending looks at everything, before and after a power cut, with nothing going
// wrong any more.
func (t *story) ending() {
	t.join()
	t.line("fault-none")
	t.on("try ")
	t.look("try")
	t.line("check")
	t.line("power-cut")
	t.on("")
	t.look("one-of ok,not-found")
	t.line("check")
	t.line("shutdown")
}

// on switches the machine on if it is off, and lets everybody in. how is ""
// where that must work, or "try ".
func (t *story) on(how string) {
	t.line("%sboot", how)
	for _, u := range users {
		t.line("%s%s", how, unlock(u))
	}
}

// look reads everything. how is what an outcome may be.
func (t *story) look(how string) {
	for _, who := range apps {
		t.line("%s list %s", how, who)
		for i := range ownNames {
			t.line("%s get %s %s", how, who, ownName(who, i))
		}
	}
}

// ownNames is how many names an app has that are just its own. They are long
// enough for the oracle to know them anywhere.
const ownNames = 3

func ownName(who string, i int) string {
	return fmt.Sprintf("name-%d-of-%s", i, strings.ReplaceAll(who, "/", "-"))
}

// odd are names of which most are none.
var odd = []string{
	"", "n", "a b", "é", "\x00", "\x1b[2J", "..", "a)", "k, key=k", "../../vault.kv", "\"q\"", "#",
	strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("n", 257),
}

// name is one that an app uses: its own, an odd one, or the victim's.
func (t *story) name(who string) string {
	switch n := t.in.below(8); {
	case n < 4:
		return ownName(who, t.in.below(ownNames))
	case n < 6:
		return strconv.Quote(from(&t.in, odd))
	}
	return ownName(victim, t.in.below(ownNames))
}

// sizes are how many bytes are added to a value; two of them are around the
// limit.
var sizes = []int{0, 0, 30, 300, 4060, 4090}

func (t *story) value(who string) string { return t.canary(who, from(&t.in, sizes)) }

// canary is a value that nobody has stored before, and that the oracle knows
// anywhere.
func (t *story) canary(who string, more int) string {
	t.values++
	return fmt.Sprintf("canary-%d-of-%s-%s", t.values, who, strings.Repeat("x", more))
}
