package rollback

import (
	"errors"
	"fmt"
	"testing"

	"nexus.internal/os/cmd/script"
)

// change is something during which the power goes, and what must be so after
// it.
type change struct {
	name   string
	before string // a life that went well
	script string // what is cut off at each write to the disk
	redo   string // after that, in a new boot: done again whether or not it was done
	check  string // then
}

var changes = []change{
	{"creating a user", "boot\nshutdown\n", "boot\n" + makeUser,
		"boot\none-of ok,exists " + makeUser + unlock + "put alice/notes name value\n",
		again + "get alice/notes name value\n"},
	{"making a vault", "boot\n" + makeUser + "shutdown\n", again,
		again + "put alice/notes name value\n",
		again + "get alice/notes name value\n"},
	{"making the first ring", fresh + "shutdown\n", again + "put alice/notes name value\n",
		again + "one-of ok,not-found get alice/notes name value\nput alice/notes name value\n",
		again + "get alice/notes name value\nkeys alice/notes\n"},
	{"making another ring", fresh + "put alice/notes name value\nshutdown\n", again + "generate alice/mail one\n",
		again + "get alice/notes name value\none-of ok,exists generate alice/mail one\n",
		again + "keys alice/mail one\nsign alice/mail one message\n"},
	{"changing a ring", fresh + "put alice/notes name value\ngenerate alice/notes one\nshutdown\n",
		again + "generate alice/notes two\ndelkey alice/notes one\n",
		again + "one-of ok,exists generate alice/notes two\none-of ok,not-found delkey alice/notes one\n",
		again + "keys alice/notes two\nget alice/notes name value\n"},
	{"adding a protector", fresh + "put alice/notes name value\nshutdown\n", "boot\nset-credential alice password longword pin 314159\n",
		"boot\nset-credential alice password longword pin 314159\nunlock alice pin 314159\nget alice/notes name value\n",
		again + "get alice/notes name value\n"},
	{"changing a protector", fresh + "set-credential alice password longword pin 314159\nshutdown\n",
		"boot\nset-credential alice password longword pin 271828\n",
		"boot\nset-credential alice password longword pin 271828\n",
		again + "lock alice\nunlock alice pin 271828\n"},
	{"removing a protector", fresh + "set-credential alice password longword pin 314159\nshutdown\n",
		"boot\nremove-credential alice password longword pin\n",
		"boot\none-of ok,not-found remove-credential alice password longword pin\n",
		"boot\nfails bad-secret login alice pin 314159\n" + unlock},
	{"removing a user", fresh + "put alice/notes name value\nshutdown\n", "boot\nremove-user alice password longword\n",
		"boot\none-of ok,bad-secret remove-user alice password longword\n" + makeUser + unlock + "put alice/notes name anew\n",
		again + "get alice/notes name anew\n"},
	{"uninstalling an app", fresh + "put alice/notes name value\nput alice/mail name value\ngenerate alice/notes one\nshutdown\n",
		again + "uninstall alice/notes\n",
		again + "uninstall alice/notes\nput alice/notes name anew\ngenerate alice/notes one\n",
		again + "get alice/mail name value\nget alice/notes name anew\nsign alice/notes one message\n"},
	{"puts up to the head's turn", fresh + putting(1, 62) + "lock alice\n" + unlock + putting(63, 124) + "power-cut\n",
		again + putting(125, 128),
		again + "get alice/notes n124 value\n",
		again + putting(129, 132)},
}

// cuts are what of a file that is not synced a power cut may leave.
var cuts = map[string]func(path string, unsynced int) int{
	"lost": nil,
	"half": func(_ string, n int) int { return n / 2 },
	"kept": func(_ string, n int) int { return n },
}

// TestNoCrashIsAnAlarm cuts the power at every write of every change, and, with
// half of what was not synced, again at every write of what follows. Then everything is there, and nothing is said
// to be older than something else, or damaged.
func TestNoCrashIsAnAlarm(t *testing.T) {
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := life{}.must(t, c.before)
			for how, tear := range cuts {
				if (testing.Short() || !cutTwice) && how != "half" {
					continue
				}
				n := 1
				for ; ; n++ {
					left, cut := cutAt(t, life{before: before, tear: tear}, n, c.script)
					goesOn(t, fmt.Sprintf("%s, write %d", how, n), left, c)
					if !cut {
						break
					}
					for again := 1; how == "half" && cutTwice; again++ {
						twice, cut := cutAt(t, life{before: left, tear: tear}, again, c.redo)
						if !cut {
							break
						}
						goesOn(t, fmt.Sprintf("%s, write %d, then write %d", how, n, again), twice, c)
					}
				}
				if n < 3 {
					t.Errorf("%s: only %d writes", how, n-1)
				}
			}
		})
	}
}

// cutAt plays a script till its n-th write, at which the power goes. It says
// whether there was one.
func cutAt(t *testing.T, l life, n int, text string) (files, bool) {
	t.Helper()
	after, err := l.run(t, fmt.Sprintf("fault-power %d\n%s", n, text))
	if err != nil && !errors.Is(err, script.ErrPowerCut) {
		t.Fatalf("write %d: %v", n, err)
	}
	return after, err != nil
}

// goesOn has the user do it again after a crash, and look at everything.
func goesOn(t *testing.T, name string, left files, c change) {
	t.Helper()
	done, err := life{before: left}.run(t, c.redo+"shutdown\n")
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if _, err := (life{before: done}).run(t, c.check+"shutdown\n"); err != nil {
		t.Fatalf("%s, and a boot later: %v", name, err)
	}
}
