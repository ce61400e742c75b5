package explore

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/scenario"
)

// What a workload may have at most of everything. Small numbers let things
// meet: the same names, full quotas, everybody at the same moment.
const (
	maxRounds = 3 // from a boot or join to the next join
	maxOps    = 7 // of an app in a round
	maxFaults = 3 // asked for in a round
	appNames  = 4 // names that an app uses
)

// Quotas of two thirds of all workloads.
const (
	tightAppSecrets  = 3
	tightUserSecrets = 7
	tightAppBytes    = 120
	tightUserBytes   = 260
)

var (
	allUsers = []string{"alice", "bob", "carol"}
	allApps  = []string{"notes", "mail", "chat"}
)

// writer makes up a workload.
type writer struct {
	rng    *seeded.Rand
	faults []machine.Kind
	users  []person
	lines  strings.Builder
	values int
}

// person is a user with the apps that run for her.
type person struct {
	name string
	apps []string
}

// Workload makes up the scenario of a seed: what several users and apps do side
// by side, what goes wrong meanwhile, and a look at everything at the end.
func Workload(seed uint64, faults []machine.Kind) *scenario.Scenario {
	w := &writer{rng: seeded.Chance(seed, "workload"), faults: faults}
	s := &scenario.Scenario{
		Name: fmt.Sprintf("seed-%d", seed), About: fmt.Sprintf("The workload of seed %d.\n", seed),
		Machine: scenario.Settings{Seed: int64(seed & math.MaxInt64), Tear: true},
	}
	if w.rng.IntN(3) > 0 {
		s.Machine.AppSecrets, s.Machine.UserSecrets = tightAppSecrets, tightUserSecrets
		s.Machine.AppBytes, s.Machine.UserBytes = tightAppBytes, tightUserBytes
	}
	w.cast()
	w.beginning()
	for range 1 + w.rng.IntN(maxRounds) {
		w.round()
	}
	w.ending()
	s.Script = w.lines.String()
	return s
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.lines, format+"\n", args...) }

// cast draws who takes part.
func (w *writer) cast() {
	for _, name := range allUsers[:1+w.rng.IntN(len(allUsers))] {
		w.users = append(w.users, person{name, allApps[:1+w.rng.IntN(len(allApps))]})
	}
}

func password(user string) string { return "password-of-" + user }

func (w *writer) beginning() {
	w.line("boot")
	for _, u := range w.users {
		w.line("create-user %s password %s", u.name, password(u.name))
		w.line("unlock %s password %s", u.name, password(u.name))
	}
}

// round lets everybody do something side by side.
func (w *writer) round() {
	for range w.rng.IntN(maxFaults + 1) {
		w.fault()
	}
	for _, u := range w.users {
		for _, app := range u.apps {
			w.app(u.name, app)
		}
		if w.rng.IntN(2) == 0 {
			w.session(u)
		}
	}
	if w.rng.IntN(2) == 0 {
		w.adversary()
	}
	w.mischief()
	w.line("try join")
	w.line("fault-none")
	w.between()
}

// name is one of the few names of a user's apps. They differ from user to user
// so that a marker can be told whose it is.
func (w *writer) name(user string) string { return fmt.Sprintf("%s%d", user[:1], w.rng.IntN(appNames)) }

// value is one that nobody has stored before, and now and then one that does not
// fit a frame.
func (w *writer) value(user, app string) string {
	w.values++
	value := fmt.Sprintf("%s-%s-%d-%s", user, app, w.values, strings.Repeat("x", w.rng.IntN(40)))
	if w.rng.IntN(20) > 0 {
		return value
	}
	return fmt.Sprintf("%q*%d", value, (5000+w.rng.IntN(60000))/len(value))
}

func (w *writer) app(user, app string) {
	for range 1 + w.rng.IntN(maxOps) {
		w.line("async %s-%s try %s", user, app, w.op(user, app))
	}
}

func (w *writer) op(user, app string) string {
	who := user + "/" + app
	switch w.rng.IntN(16) {
	case 0, 1, 2, 3, 4, 5:
		return fmt.Sprintf("put %s %s %s", who, w.name(user), w.value(user, app))
	case 6, 7, 8, 9:
		return fmt.Sprintf("get %s %s", who, w.name(user))
	case 10, 11:
		return fmt.Sprintf("del %s %s", who, w.name(user))
	case 12:
		return "list " + who
	case 13:
		return fmt.Sprintf("generate %s key%d", who, w.rng.IntN(2))
	case 14:
		return fmt.Sprintf("sign %s key%d message", who, w.rng.IntN(2))
	}
	return fmt.Sprintf("delkey %s key%d", who, w.rng.IntN(2))
}

// session lets a user lock and unlock, get another root key, and uninstall, while
// her apps run.
func (w *writer) session(u person) {
	user := u.name
	for range 1 + w.rng.IntN(3) {
		w.pause(user + "-session")
		command := "lock " + user
		switch w.rng.IntN(8) {
		case 0:
			command = "end " + user
		case 1:
			command = fmt.Sprintf("unseal %s password %s", user, password(user))
		case 2, 3:
			command = fmt.Sprintf("unlock %s password %s", user, password(user))
		case 4:
			command = "uninstall " + w.appOf(u)
		case 5:
			command = fmt.Sprintf("rekey %s password %s", user, password(user))
		}
		w.line("async %s-session try %s", user, command)
	}
}

// pause lets others go on for a while.
func (w *writer) pause(strand string) {
	if w.rng.IntN(2) == 0 {
		w.line("async %s try active %s", strand, w.users[0].name)
	}
}

// adversary tries what must not work, from an app that exists.
func (w *writer) adversary() {
	for range 1 + w.rng.IntN(4) {
		u, v := w.user(), w.user()
		thief, victim := w.appOf(u), w.appOf(v)
		if w.rng.IntN(2) == 0 && thief != victim {
			w.line("async adversary try steal %s %s %s", thief, victim, w.name(v.name))
			continue
		}
		token := []string{"none", fmt.Sprintf("flip:%d", w.rng.IntN(640))}[w.rng.IntN(2)]
		w.line("async adversary try send %s store Get %s %s", thief, getRequest(w.name(u.name)), token)
	}
}

// getRequest is a request to read a name, in hexadecimal digits: field 1 of
// GetRequest, a string.
func getRequest(name string) string { return fmt.Sprintf("0a%02x%x", len(name), name) }

func (w *writer) user() person { return w.users[w.rng.IntN(len(w.users))] }

func (w *writer) appOf(u person) string { return u.name + "/" + u.apps[w.rng.IntN(len(u.apps))] }

func (w *writer) may(k machine.Kind) bool { return slices.Contains(w.faults, k) }

// services are those whose faults are worth having: without policyd's or rngd's
// little happens.
var services = []string{
	boot.KeyStoreD, boot.KeyStoreD, boot.KeyStoreD, boot.KeyMintD, boot.KeyMintD,
	boot.StateFSD, boot.StateFSD, boot.IdentityD, boot.PolicyD, boot.RNGD,
}

func (w *writer) service() string { return services[w.rng.IntN(len(services))] }

// fault asks for a fault of the coming round.
func (w *writer) fault() {
	if len(w.faults) == 0 {
		return
	}
	end := []string{"request", "reply"}[w.rng.IntN(2)]
	n := 1 + w.rng.IntN(30)
	switch w.faults[w.rng.IntN(len(w.faults))] {
	case machine.Crash:
		w.line("fault-crash %s %s %d", w.service(), end, n)
	case machine.Drop:
		w.line("fault-drop %s %s %d", w.service(), end, n)
	case machine.Delay:
		w.line("fault-delay %s %dms %d", w.service(), 1+w.rng.IntN(40_000), n)
	case machine.Exhaust:
		w.line("fault-exhaust %s %d", w.service(), n)
	case machine.Disk:
		call := []string{"any", "append", "sync", "replace", "read"}[w.rng.IntN(5)]
		w.line("fault-disk %s %s %d", call, []string{"io", "full"}[w.rng.IntN(2)], n)
	case machine.Power:
		w.line("fault-power %d", n)
	}
}

// mischief happens side by side with everything else.
func (w *writer) mischief() {
	if w.may(machine.Crash) && w.rng.IntN(4) == 0 {
		w.pause("crash")
		w.line("async crash try crash %s", w.service())
	}
	if w.may(machine.Power) && w.rng.IntN(6) == 0 {
		for range w.rng.IntN(12) {
			w.line("async power try active %s", w.users[0].name)
		}
		w.line("async power power-cut")
	}
}

// between is what happens after a round: perhaps the machine goes off, and in
// any case everybody is there again.
func (w *writer) between() {
	switch n := w.rng.IntN(8); {
	case n == 0 && w.may(machine.Power):
		w.line("try power-cut")
	case n == 1:
		w.line("try shutdown")
	case n == 2 && w.may(machine.Crash):
		w.line("try crash %s", w.service())
	}
	if w.may(machine.Disk) && w.rng.IntN(3) == 0 {
		w.line("fault-disk read io %d", 1+w.rng.IntN(8)) // Of what a boot or an unseal reads.
		w.line("try boot")
		w.line("fault-none")
	}
	w.line("try boot")
	for _, u := range w.users {
		w.line("try unlock %s password %s", u.name, password(u.name))
	}
}

// ending looks at everything, before and after a power cut, with nothing going
// wrong any more.
func (w *writer) ending() {
	w.look("try")
	w.line("check")
	if w.may(machine.Power) {
		w.line("power-cut")
	} else {
		w.line("shutdown")
	}
	w.line("boot")
	for _, u := range w.users {
		w.line("unlock %s password %s", u.name, password(u.name))
	}
	w.look("one-of ok,not-found")
	w.line("check")
}

// look reads everything. how is what an outcome may be: once nothing goes wrong
// any more, one's own names are there or are not.
func (w *writer) look(how string) {
	for _, u := range w.users {
		for _, app := range u.apps {
			w.line("%s list %s/%s", how, u.name, app)
			for i := range appNames {
				w.line("%s get %s/%s %s%d", how, u.name, app, u.name[:1], i)
			}
			w.line("%s keys %s/%s", how, u.name, app)
		}
	}
}
