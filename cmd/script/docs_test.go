package script

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/actors"
)

const manual = "../../docs/SCRIPT.md"

// example is what docs/SCRIPT.md shows: one script, with the lines where they
// are in the document, and what some of them print.
type example struct {
	script  string
	prints  map[int]string
	heading []string // verbs with their arguments, in order
	used    map[string]bool
	text    string
}

var verbHeading = regexp.MustCompile("^### `(.*)`$")

func readManual(t *testing.T) *example {
	t.Helper()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	e := &example{text: string(text), prints: make(map[int]string), used: make(map[string]bool)}
	verb, inside, last := "", false, 0
	for i, line := range strings.Split(e.text, "\n") {
		command := ""
		if m := verbHeading.FindStringSubmatch(line); m != nil {
			e.heading = append(e.heading, m[1])
			verb, _, _ = strings.Cut(m[1], " ")
		}
		switch shown, printed := strings.CutPrefix(line, "#> "); {
		case strings.HasPrefix(line, "```"):
			inside = line == "```script"
		case inside && printed:
			e.prints[last] = shown
		case inside:
			command, last = line, i+1
			e.used[verb] = e.used[verb] || slices.Contains(strings.Fields(line), verb)
		}
		e.script += command + "\n"
	}
	return e
}

// The examples of docs/SCRIPT.md do what they say, on goroutines and by a seed.
func TestExamples(t *testing.T) {
	e := readManual(t)
	for name, sched := range map[string]func(int) actors.Scheduler{
		"goroutines": nil,
		"seeded":     bySeed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sched)
			if err := w.runner.Run(manual, strings.NewReader(e.script)); err != nil {
				t.Fatal(err)
			}
			printed := make(map[int]string)
			for _, r := range w.results {
				printed[r.Line] = r.Text
				if r.Text == "" {
					printed[r.Line] = "ok"
				}
			}
			for line, want := range e.prints {
				if printed[line] != want {
					t.Errorf("%s:%d prints %q, and shown is %q", manual, line, printed[line], want)
				}
			}
		})
	}
	if len(e.prints) == 0 {
		t.Error("no line of the examples shows what it prints")
	}
}

// The manual has every verb, with its arguments, and an example of it, and
// every kind of failure.
func TestManualIsComplete(t *testing.T) {
	e := readManual(t)
	var usages []string
	for _, v := range Verbs() {
		usages = append(usages, v.Usage())
		if !e.used[v.Name] {
			t.Errorf("%s has no example of %s", manual, v.Name)
		}
	}
	if got := e.heading; !slices.Equal(got, usages) {
		t.Errorf("%s has the headings\n%s\nwanted are\n%s", manual, strings.Join(got, "\n"), strings.Join(usages, "\n"))
	}
	for _, k := range wanted {
		if !strings.Contains(e.text, "`"+k.name+"`") {
			t.Errorf("%s does not have the kind %s", manual, k.name)
		}
	}
}
