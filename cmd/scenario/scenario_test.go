package scenario

import (
	"errors"
	"strings"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/oracle"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/services/identityd"
)

// What is wrong with a scenario's file is said with file and line.
func TestBadScenarios(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "bad:1: no section -- script --"},
		{"# only this\n", "bad:1: no section -- script --"},
		{"-- script --\nboot\nputt alice\n", `bad:3: no verb is called "putt"; the nearest is "put"`},
		{"# x\n\n-- script --\nboot\n\nput alice/notes name\n", "bad:6: usage: put USER/APP NAME VALUE"},
		{"-- script --\nasync a fails denied gett alice/notes a\n", `bad:2: no verb is called "gett"; the nearest is "get"`},
		{"-- script --\nfails never users\n", `bad:2: no kind of failure is called "never"`},
		{"-- script --\nsay \"no end\n", "bad:2: a quoted word does not end"},
		{"-- scrip --\nboot\n", `bad:1: no section is called "scrip"; there are script, markers.toml, policy.toml, machine.toml`},
		{"-- script --\nboot\n-- script --\nboot\n", `bad:3: a second section "script"`},
		{"-- machine.toml --\n\nsed = 1\n-- script --\nboot\n", `bad:3: machine.toml: no key is called "sed"`},
		{"-- machine.toml --\nseed = \"x\"\n-- script --\nboot\n", "bad:2: machine.toml: "},
		{"-- machine.toml --\nseed = -1\n-- script --\nboot\n", "bad:2: machine.toml: "},
		{"-- machine.toml --\nseed = 1\ntear\n-- script --\nboot\n", "bad:3: machine.toml: "},
		{"-- markers.toml --\n-- script --\nboot\n", "bad:2: markers.toml: no [[phase]]"},
		{"-- markers.toml --\n[[phase]]\nexpect = [\"x\"]\n-- script --\nboot\n", "bad:2: markers.toml: phase 1 has no name"},
		{"-- markers.toml --\n[[phase]]\nname = \"a\"\n[[phase]]\nname = \"b\"\n-- script --\nboot\n",
			`bad:3: markers.toml: phase "a" expects nothing, and is not the last`},
		{"-- markers.toml --\n[[phase]]\nname = \"a\"\nexpects = []\n-- script --\n", `bad:4: markers.toml: no key is called "phase.expects"`},
	} {
		_, err := Parse("bad", []byte(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		} else if !errors.Is(err, script.ErrUsage) {
			t.Errorf("%q: %v is not an ErrUsage", c.text, err)
		}
	}
}

// What was read and written again is the same scenario.
func TestFormat(t *testing.T) {
	const text = "# Title.\n-- machine.toml --\nseed = 7\ntear = true\napp-secrets = 3\n-- policy.toml --\n[allow]\n-- script --\nboot\nsay x\n"
	s, err := Parse("good", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(s.Format()); got != text {
		t.Errorf("got\n%s\nwant\n%s", got, text)
	}
	if s.Machine.Seed != 7 || !s.Machine.Tear || s.Machine.Quotas().AppSecrets != 3 || s.Lines != 8 {
		t.Errorf("read %+v", s)
	}
}

// The first marker that is missing is named, with what was seen instead.
func TestManifest(t *testing.T) {
	const text = `
[[phase]]
name = "boot"
expect = ["init: start", "ready"]
forbid = ["FAIL"]

[[phase]]
name = "use"
expect = ["put (app=a)"]
forbid = ["lock"]
`
	m, err := ParseManifest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ markers, want string }{
		{"init: start|x: ready|y: put (app=a)", ""},
		{"noise|init: start|noise|x: ready|noise|y: put (app=a)|more", ""},
		{"", `phase "boot": missing marker "init: start"; seen instead: nothing`},
		{"init: start|a|b|c|d", `phase "boot": missing marker "ready"; seen instead: "a", "b", "c" and 1 more`},
		{"x: ready|init: start", `phase "boot": missing marker "ready"; seen instead: nothing`},
		{"init: start|x: ready", `phase "use": missing marker "put (app=a)"; seen instead: nothing`},
		{"init: start|x FAIL|x: ready|put (app=a)", `phase "boot": forbidden marker "x FAIL"`},
		{"init: start|x: ready|x FAIL|put (app=a)", ""}, // It is forbidden in the other phase.
		{"init: start|x: ready|put (app=a)|x lock", `phase "use": forbidden marker "x lock"`},
	} {
		var markers []string
		if c.markers != "" {
			markers = strings.Split(c.markers, "|")
		}
		err := m.Check(markers)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.markers, got, c.want)
		}
	}
}

// perform plays a script on goroutines and a disk in memory.
func perform(t *testing.T, text string) Outcome {
	t.Helper()
	s, err := Parse("play", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Play(Stage{Machine: machine.Config{
		Boot:    boot.Config{Argon: identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}},
		Storage: machine.NewMemory(nil),
	}})
}

// Each thing that a play is judged by can fail it.
func TestVerdicts(t *testing.T) {
	const users = "boot\ncreate-user alice pin 123456\nunlock alice pin 123456\n"
	for _, c := range []struct {
		name, text string
		is         error
	}{
		{"all is well", "-- script --\n" + users + "put alice/notes a b\ncheck\n", nil},
		{"a line", "-- script --\n" + users + "get alice/notes a\n", nil},
		{"a forbidden marker at the end", "-- script --\nforbid \"session end\"\n" + users, script.ErrForbidden},
		{"the manifest", "-- markers.toml --\n[[phase]]\nname = \"a\"\nexpect = [\"never\"]\n-- script --\nboot\n", script.ErrMissing},
		{"a strand", "-- script --\n" + users + "async a get alice/notes a\njoin\n", nil},
	} {
		o := perform(t, c.text)
		if (o.Err == nil) != (c.name == "all is well") || c.is != nil && !errors.Is(o.Err, c.is) {
			t.Errorf("%s: %v", c.name, o.Err)
		}
		if o.Boots != 1 {
			t.Errorf("%s: %d boots", c.name, o.Boots)
		}
	}
	if o := perform(t, "-- script --\n"+users+"get alice/notes a\n"); o.Err.Error() != "play:5: get: not found" {
		t.Errorf("the failure says %v", o.Err)
	}
	if o := perform(t, "-- script --\n"+users+"async x get alice/notes a\nasync y users\njoin\n"); o.Err.Error() != "play:5: get: not found" {
		t.Errorf("the failure of a strand says %v", o.Err)
	}
	if errors.Is(perform(t, "-- script --\n"+users).Err, oracle.ErrViolated) {
		t.Error("nothing is a violation")
	}
}
