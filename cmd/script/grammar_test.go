package script

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
)

func grammar() *Runner { return &Runner{verbs: learn(Verbs())} }

func TestFits(t *testing.T) {
	for _, c := range []struct {
		line string
		want bool
	}{
		{"users", true}, {"users a", true}, {"users a b c", true},
		{"lock", false}, {"lock a", true}, {"lock a b", false},
		{"get a", false}, {"get a b", true}, {"get a b c", true}, {"get a b c d", false},
		{"active", false}, {"active a", true}, {"active a none", true}, {"active a other", false}, {"active a none none", false},
		{"login a", false}, {"login a pin", false}, {"login a pin 1", true}, {"login a password 1", true},
		{"login a pin 1 2", false}, {"login a other 1", false}, {"login a password|pin 1", false}, {"login a PIN 1", false},
		{"set-credential a pin 1 password 2", true}, {"set-credential a pin 1 other 2", false}, {"set-credential a pin 1 pin", false},
		{"fails denied", false}, {"fails denied users", true}, {"if-user a fails denied users", true},
		{"launch a", true}, {"launch a b", true}, {"launch a b c", false},
		{"list", false}, {"list a", true}, {"list a b c", true}, {"say", false}, {"say a b", true},
	} {
		words := strings.Fields(c.line)
		k, ok := grammar().find(words[0])
		if !ok || k.fits(words[1:]) != c.want {
			t.Errorf("%s: fits is not %v", c.line, c.want)
		}
	}
}

// Every verb has a grammar that some arguments fit, one argument less than it
// needs does not, and so for one more than it takes.
func TestCounts(t *testing.T) {
	r := grammar()
	for _, k := range r.verbs {
		var args []string
		for _, p := range k.params {
			if !p.optional && k.fits(args) {
				t.Errorf("%s: %d arguments do", k.Usage(), len(args))
			}
			word := "x"
			if p.choices != nil {
				word = p.choices[0]
			}
			args = append(args, word)
		}
		if !k.fits(args) {
			t.Errorf("%s: does not take %q", k.Usage(), args)
		}
		repeated := len(k.params) > 0 && k.params[len(k.params)-1].repeated
		if more := append(args, "x"); k.fits(more) != repeated {
			t.Errorf("%s: takes %d arguments: %v", k.Usage(), len(more), !repeated)
		}
	}
}

func TestPublic(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"create-user alice password S", "create-user alice password"},
		{"set-credential alice password S pin S", "set-credential alice password pin"},
		{"put alice/notes name S", "put alice/notes name"},
		{"get alice/notes name S", "get alice/notes name"},
		{"sign alice/notes key S", "sign alice/notes key"},
		{"fails denied put alice/notes name S", "fails denied put alice/notes name"},
		{"if-user alice fails denied login alice pin S", "if-user alice fails denied login alice pin"},
		{"check-puts alice/notes n 3", "check-puts alice/notes n 3"},
		{"say a b", "say a b"},
		// What cannot be understood is not shown at all.
		{"put alice/notes S", "put"},
		{"put alice/notes name S and S", "put"},
		{"login alice S password", "login"},
		{"fails denied login alice S password", "fails denied login"},
		{"logn alice password S", "logn"},
		{"fails denied logn alice password S", "fails denied logn"},
	} {
		got := strings.Join(grammar().public(strings.Fields(c.line)), " ")
		if got != c.want {
			t.Errorf("%s: shown is %q, want %q", c.line, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"puut", "put"}, {"Get", "get"}, {"user", "users"}, {"creat-user", "create-user"}, {"unlok", "unlock"}, {"expct", "expect"},
	} {
		if got := grammar().nearest(c.word); got != c.want {
			t.Errorf("%s: the nearest is %s, want %s", c.word, got, c.want)
		}
	}
}

// Every code of the system is one kind, and every kind has a name of its own.
func TestKinds(t *testing.T) {
	var names []string
	for _, k := range slices.Concat(wanted, others) {
		names = append(names, k.name)
		if got := Kind(fmt.Errorf("why: %w", k.err)); got != k.name {
			t.Errorf("%s is the kind %s", k.name, got)
		}
	}
	slices.Sort(names)
	if n := len(names); len(slices.Compact(names)) != n {
		t.Error("two kinds have one name")
	}
	for c := ipc.OK + 1; c.Valid(); c++ {
		if Kind(c) == "other" {
			t.Errorf("%v has no kind", c)
		}
	}
	if got := Kind(fmt.Errorf("%w: wanted sealed, got: %w", ErrMismatch, ipc.Denied)); got != "mismatch" {
		t.Errorf("a mismatch is the kind %s", got)
	}
	if got := Kind(fmt.Errorf("something else")); got != "other" {
		t.Errorf("something else is the kind %s", got)
	}
}
