package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nexus.internal/os/services/identityd"
)

// busy is a scenario in which much depends on the order of things.
const busy = `# Two apps and a lock, side by side.
-- markers.toml --
[[phase]]
name = "boot"
expect = ["init: start", "keystore: ready"]
-- script --
boot
create-user alice pin 123456
unlock alice pin 123456
async notes try put alice/notes a 1
async notes try put alice/notes b 2
async mail try put alice/mail a 3
async mail try get alice/mail a
async owner try lock alice
join
power-cut
boot
unlock alice pin 123456
check
shutdown
`

// insecureSim is a directory in which the build for seeds is run.
func insecureSim(t *testing.T) *sim {
	t.Helper()
	binary, err := insecure()
	if err != nil {
		t.Fatal(err)
	}
	return &sim{t, t.TempDir(), binary}
}

func (s *sim) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sim) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// One seed gives one console and one trace, in every process; another seed
// gives another trace. A replay comes to the same bytes.
func TestRunBySeed(t *testing.T) {
	t.Parallel()
	s := insecureSim(t)
	s.write("busy.txtar", busy)
	var consoles, traces []string
	for i, seed := range []string{"7", "7", "8"} {
		name := fmt.Sprint("trace", i)
		e := s.run("", "run", "busy.txtar", "--seed", seed, "--trace", name)
		if e.status != 0 {
			t.Fatalf("seed %s: %+v", seed, e)
		}
		consoles, traces = append(consoles, e.out), append(traces, s.read(name))
	}
	if consoles[0] != consoles[1] || traces[0] != traces[1] {
		t.Error("two processes differ under one seed")
	}
	if traces[0] == traces[2] {
		t.Error("two seeds have one trace")
	}
	if !strings.Contains(consoles[0], "# disk sha256 ") {
		t.Errorf("the disk's digest is not there:\n%s", consoles[0])
	}
	e := s.run("", "replay", "trace0")
	if want := fmt.Sprintf("# the same bytes: sha256 %x\n", sha256.Sum256([]byte(traces[0]))); e.status != 0 || !strings.HasSuffix(e.out, want) {
		t.Errorf("the replay: %+v", e)
	}
	e = s.run("", "replay", "--until", "user created", "trace0")
	if e.status != 0 || !strings.Contains(e.out, "identity: user created (user=alice)\n  time ") || strings.Contains(e.out, "session start") {
		t.Errorf("till a marker: %+v", e)
	}
	e = s.run("\n\nc\n", "replay", "trace0", "--step")
	for _, part := range []string{"# 1 task 2 rngd", "queued ", "holders init", "waits for reply till ", "session 4294967297: epoch 1"} {
		if !strings.Contains(e.out, part) {
			t.Errorf("step by step: no %q", part)
		}
	}
}

// resum puts the right digest under a trace that was changed.
func resum(trace string) string {
	head := trace[:strings.Index(trace, "sum: ")]
	return head + fmt.Sprintf("sum: %x\n", sha256.Sum256([]byte(head)))
}

// Traces that cannot be replayed are refused, with the reason.
func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	s := insecureSim(t)
	s.write("busy.txtar", busy)
	if e := s.run("", "run", "busy.txtar", "--seed", "7", "--trace", "trace"); e.status != 0 {
		t.Fatalf("%+v", e)
	}
	good := s.read("trace")
	_, build, _ := strings.Cut(good, "build: ")
	build, _, _ = strings.Cut(build, "\n")
	for _, c := range []struct{ name, text, want string }{
		{"version", strings.Replace(good, "nexus-trace 1", "nexus-trace 2", 1),
			"version: a trace of another version: it has version 2, and this build reads version 1"},
		{"build", resum(strings.Replace(good, "build: "+build, "build: 0123abc", 1)),
			"build: a trace of another version: it was made by build 0123abc, and this is " + build + "; --other-build tries all the same"},
		{"digest", strings.Replace(good, "1 task 2 rngd", "1 task 2 rngx", 1), "digest: a damaged trace: its digest is wrong"},
		{"short", good[:len(good)/2], "short: a damaged trace: it has no end"},
		{"scenario", busy, "scenario: neither a trace, nor a crash file, nor a scenario with a seed in its machine.toml"},
	} {
		s.write(c.name, c.text)
		e := s.run("", "replay", c.name)
		if e.status != 1 || !strings.HasPrefix(e.err, "nexus-sim: "+c.want) {
			t.Errorf("%s: %+v, want %s", c.name, e, c.want)
		}
	}
	s.write("changed", resum(strings.Replace(good, "1 task 2 rngd", "1 task 2 rngx", 1)))
	e := s.run("", "replay", "changed")
	if e.status != 1 || !strings.Contains(e.err, `not the same bytes: it has "1 task 2 rngx", and the replay "1 task 2 rngd"`) {
		t.Errorf("a trace that differs: %+v", e)
	}
	s.write("other", resum(strings.Replace(good, "build: "+build, "build: 0123abc", 1)))
	if e := s.run("", "replay", "other", "--other-build"); e.status != 1 || !strings.Contains(e.err, ":2: not the same bytes") {
		t.Errorf("the trace of another build: %+v", e)
	}
}

// The ordinary build plays the same file, and names the other one for seeds.
func TestRunOrdinary(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.write("busy.txtar", busy)
	e := s.run("", "run", "busy.txtar", "--state", "os", "--timeline", "line.mmd")
	if e.status != 0 || !strings.Contains(e.out, "> notes| try put alice/notes a: ") || !strings.HasPrefix(s.read("line.mmd"), "sequenceDiagram\n") {
		t.Fatalf("%+v", e)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "busy.txtar", "--seed", "3"}, "bin/nexus-sim-insecure run busy.txtar --seed 3"},
		{[]string{"replay", "trace"}, "bin/nexus-sim-insecure replay trace"},
		{[]string{"explore", "--seeds", "9"}, "bin/nexus-sim-insecure explore --seeds 9"},
		{[]string{"shell", "--seed", "9"}, "bin/nexus-sim-insecure shell --seed 9"},
		{[]string{"run", "busy.txtar", "--seed", "x"}, `--seed "x" is no number`},
		{[]string{"run"}, "run needs one SCENARIO"},
		{[]string{"run", "a", "b"}, "run needs one SCENARIO"},
		{[]string{"run", "busy.txtar", "--sed", "3"}, "flag provided but not defined: -sed"},
	} {
		if e := s.run("", c.args...); e.status != 2 || !strings.Contains(e.err, c.want) || strings.Count(e.err, "\n") != 1 {
			t.Errorf("%v: %+v, want %q", c.args, e, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"-- script --\nboot\nputt alice/notes a b\n", `bad.txtar:3: no verb is called "putt"; the nearest is "put"`},
		{"-- script --\nboot\nput alice/notes a\n", "bad.txtar:3: usage: put USER/APP NAME VALUE"},
		{"-- machine.toml --\nseed = \"many\"\n-- script --\nboot\n", "bad.txtar:2: machine.toml: "},
		{"-- script --\nboot\nget alice/notes a\n", `bad.txtar:3: the script has not logged in "alice"`},
		{"-- markers.toml --\n[[phase]]\nname = \"b\"\nexpect = [\"rngd: x\"]\n-- script --\nboot\n",
			`phase "b": missing marker "rngd: x"; seen instead: "init: start", "rngd: ready", "statefsd: ready" and 4 more`},
	} {
		s.write("bad.txtar", c.text)
		if e := s.run("", "run", "bad.txtar"); e.status != 1 || !strings.HasPrefix(e.err, "nexus-sim: "+c.want) {
			t.Errorf("%q: %+v, want %q", c.text, e, c.want)
		}
	}
	s.write("slow.txtar", "-- script --\nboot\nsleep 3600000\n")
	if e := s.run("", "run", "slow.txtar", "--timeout", "300ms"); e.status != 1 || !strings.Contains(e.err, "timed out after 300ms") {
		t.Errorf("%+v", e)
	}
}

// An exploration says what it has found, and one that is interrupted what it
// has till then.
func TestExplore(t *testing.T) {
	t.Parallel()
	s := insecureSim(t)
	e := s.run("", "explore", "--seeds", "20", "--json")
	var v verdict
	if err := json.Unmarshal([]byte(e.out), &v); err != nil || e.status != 0 || v.Seeds != 20 || v.Boots < 40 || v.Failed {
		t.Errorf("%+v: %v, %+v", e, err, v)
	}
	e = s.run("", "explore", "--seeds", "5", "--faults", "none", "--twice")
	if e.status != 0 || !strings.Contains(e.out, "faults that came: crash 0 power 0 disk 0") {
		t.Errorf("%+v", e)
	}
	if e := s.run("", "explore", "--faults", "crash,fire"); e.status != 2 || !strings.Contains(e.err, `no kind of fault is called "fire"`) {
		t.Errorf("%+v", e)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, "explore", "--seeds", "100000000")
	cmd.Dir = s.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	e = s.finish(cmd)
	if e.status != 130 || !strings.Contains(e.out, " boots a second") || !strings.Contains(e.err, "of 100000000 seeds") {
		t.Errorf("interrupted: %+v", e)
	}
}

// The shell goes on after a line that fails, and shows no credential.
func TestShell(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	e := s.run("users\nboot\nputt\nput\ncreate-user alice pin 123456\nhelp fails\nget alice/notes a\nunlock alice pin 123456\n"+
		"put alice/notes a value\nget alice/notes a\npower-cut\nexit\nusers\n", "shell", "--state", "os")
	for _, part := range []string{
		"> users: the machine is off\n", "> boot: boot 1\n", `# no verb is called "putt"; the nearest is "put"` + "\n",
		"# usage: put USER/APP NAME VALUE\n", "> create-user alice pin: ok\n", "# fails KIND COMMAND…", `# the script has not logged in "alice"`,
		"> get alice/notes a: \"value\"\n", "> power-cut: ok\n",
	} {
		if !strings.Contains(e.out, part) {
			t.Errorf("no %q in\n%s", part, e.out)
		}
	}
	if e.status != 0 || strings.Contains(e.out, "123456") || strings.HasSuffix(e.out, "users: the machine is off\n") {
		t.Errorf("%+v", e)
	}
}

// Every boot on a real disk has the floor of what ships under its credentials.
func TestShippedFloor(t *testing.T) {
	if got := shipped(); got.Floor != identityd.Floor() || got.Floor == (identityd.Params{}) || got.Argon != (identityd.Params{}) {
		t.Errorf("what ships begins with %+v", got)
	}
}
