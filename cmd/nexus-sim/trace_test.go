package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// telling is a scenario with two boots, a refusal, and a value that no drawing
// may have.
const telling = `-- script --
boot
create-user alice pin 123456
unlock alice pin 123456
put alice/notes name "a value that nobody may see"
get alice/notes name "a value that nobody may see"
try get alice/notes name
async notes try get alice/notes name
join
fails denied send alice/notes store Get 0a046e616d65 none
power-cut
boot
unlock alice pin 123456
shutdown
`

// drawing is what Perfetto is given, as far as the tests look at it.
type drawing struct {
	TraceEvents []struct {
		Name string
		Ph   string
		Pid  int
		Args map[string]any
	}
	OtherData map[string]string
}

// drawn draws a trace in every format, and finds in each what it should have
// and nothing that is secret.
func (s *sim) drawn(file, seed string) {
	s.t.Helper()
	for format, wanted := range map[string][]string{
		"mermaid": {"sequenceDiagram\n", "  launcher->>identityd: UnsealSession\n", "-->>launcher: UnsealSession ok\n", ": Get denied (missing)\n",
			"  Note over keystored: keystore: ready\n", "  Note over kernel: boot 2\n", "  Note over script: line 5 put: ok\n"},
		"chrome": {`"name":"keystored.Put"`, `"refusal":"missing"`, `"name":"keystore: ready"`},
		"text":   {" marker \"keystore: ready\"\n", " result 6 get ok\n", ">keystored.0 Put "},
	} {
		e := s.run("", "trace", file, "--format", format, "--lines", "0")
		if e.status != 0 || e.err != "" {
			s.t.Errorf("%s: %+v", format, e)
		}
		for _, part := range wanted {
			if !strings.Contains(e.out, part) {
				s.t.Errorf("%s of %s has no %q in\n%s", format, file, part, e.out)
			}
		}
		for _, secret := range []string{"nobody may see", "123456"} {
			if strings.Contains(e.out, secret) {
				s.t.Errorf("%s of %s has %q", format, file, secret)
			}
		}
		if same := s.run("", "trace", "--out", "out", "--lines", "0", "--format", format, file); same.status != 0 || same.out != "" || s.read("out") != e.out {
			s.t.Errorf("%s: a file has something else: %+v", format, same)
		}
	}
	var d drawing
	if err := json.Unmarshal([]byte(s.run("", "trace", file, "--format", "chrome").out), &d); err != nil {
		s.t.Fatal(err)
	}
	calls := make(map[int]int)
	for _, e := range d.TraceEvents {
		if e.Name == "identityd.UnsealSession" && e.Ph == "X" && e.Args["code"] == "ok" {
			calls[e.Pid]++
		}
	}
	if calls[1] != 1 || calls[2] != 1 || d.OtherData["seed"] != seed || d.OtherData["scenario"] != "telling.txtar" {
		s.t.Errorf("unseals by boot: %v; %v", calls, d.OtherData)
	}
}

// A trace of goroutines is drawn, and says that it cannot be replayed; so does
// the build for seeds.
func TestTraceOrdinary(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.write("telling.txtar", telling)
	if e := s.run("", "run", "telling.txtar", "--trace", "live"); e.status != 0 || e.err != "" {
		t.Fatalf("%+v", e)
	}
	if !strings.Contains(s.read("live"), "\nseed: none\n") || !strings.HasPrefix(s.read("live"), "nexus-trace 1\n") {
		t.Error("it does not say that it is without a seed")
	}
	s.drawn("live", "none")
	no := "live: a trace of a run without a seed: it can be drawn, and nobody can play it again; to draw it: nexus-sim trace live"
	s.refuse(s.run("", "replay", "live"), 1, no)
	var err error
	if s.binary, err = insecure(); err != nil {
		t.Fatal(err)
	}
	s.refuse(s.run("", "replay", "live"), 1, no)
	s.refuse(s.run("", "replay", "live", "--other-build"), 1, no)
}

// A trace by seed is drawn by either build.
func TestTraceBySeed(t *testing.T) {
	t.Parallel()
	s := insecureSim(t)
	s.write("telling.txtar", telling)
	if e := s.run("", "run", "telling.txtar", "--seed", "7", "--trace", "seven"); e.status != 0 {
		t.Fatalf("%+v", e)
	}
	s.drawn("seven", "7")
	s.binary = newSim(t).binary
	s.drawn("seven", "7")
}

// A run that fails leaves a trace that says so.
func TestTraceOfFailure(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.write("bad.txtar", "-- script --\nboot\nfails denied users\n")
	s.write("slow.txtar", "-- script --\nboot\nsleep 3600000\n")
	for name, args := range map[string][]string{"bad.txtar": nil, "slow.txtar": {"--timeout", "1s"}} {
		e := s.run("", append([]string{"run", name, "--trace", "t"}, args...)...)
		if text := s.read("t"); e.status != 1 || strings.Contains(text, `outcome="ok"`) || !strings.Contains(text, "\nend: boots=1 outcome=") {
			t.Errorf("%s: %+v\n%s", name, e, text)
		}
		if e := s.run("", "trace", "t"); e.status != 0 || !strings.HasPrefix(e.out, "sequenceDiagram\n") {
			t.Errorf("%s is drawn: %+v", name, e)
		}
	}
	s.refuse(s.run("", "run", "bad.txtar", "--trace", "no/such"), 1, "open no/such: no such file or directory")
}

// The parts of a trace that are asked for are drawn, a long diagram says what it
// leaves out, and what is wrong is said with its exit status.
func TestTraceParts(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.write("telling.txtar", telling)
	if e := s.run("", "run", "telling.txtar", "--trace", "live"); e.status != 0 {
		t.Fatalf("%+v", e)
	}
	whole := s.run("", "trace", "live", "--format", "text").out
	first, second := s.run("", "trace", "live", "--format", "text", "--boot", "1").out, s.run("", "trace", "live", "--format", "text", "--boot", "2").out
	if first == "" || second == "" || first+second != whole {
		t.Errorf("the boots are %d and %d bytes, and the whole %d", len(first), len(second), len(whole))
	}
	lines := strings.SplitAfter(whole, "\n")
	number, _, _ := strings.Cut(lines[4], ":")
	last, _, _ := strings.Cut(lines[6], ":")
	if e := s.run("", "trace", "live", "--format", "text", "--from", number, "--to", last); e.out != strings.Join(lines[4:7], "") {
		t.Errorf("lines %s to %s: %+v", number, last, e)
	}
	if e := s.run("", "trace", "live", "--lines", "3"); strings.Count(e.out, "Note over") != 4 || !strings.Contains(e.out, " more lines are left out, from line ") {
		t.Errorf("three lines: %+v", e)
	}
	s.write("damaged", strings.Replace(s.read("live"), "rngd", "rngx", 1))
	for _, c := range []struct {
		args   string
		status int
		said   string
	}{
		{"trace", 2, "trace needs one FILE"},
		{"trace live live", 2, "trace needs one FILE"},
		{"trace live --format svg", 2, `no format is called "svg"; there are mermaid, chrome and text`},
		{"trace live --from 9 --to 8", 2, "--to 8 is before --from 9"},
		{"trace live --boot -1", 2, "invalid value"},
		{"trace live --bot 1", 2, "flag provided but not defined"},
		{"trace live --boot 3", 1, "live: no event is in what was asked for; the trace has 2 boots and events in lines "},
		{"trace live --from 100000", 1, "live: no event is in what was asked for"},
		{"trace missing", 1, "no such file"},
		{"trace telling.txtar", 1, "telling.txtar: not a trace"},
		{"trace damaged", 1, "damaged: a damaged trace: its digest is wrong"},
		{"trace live --out no/such", 1, "no such file"},
	} {
		e := s.run("", strings.Fields(c.args)...)
		if e.status != c.status || e.out != "" || !strings.Contains(e.err, c.said) || strings.Count(e.err, "\n") != 1 {
			t.Errorf("%s: %+v, wanted %d and %q", c.args, e, c.status, c.said)
		}
	}
}
