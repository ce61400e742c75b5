package main

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// summary is what the demonstration says at its end.
var summary = regexp.MustCompile(`
== shown, on the real services, through the router, on disk
user alice with 2 apps
user bob with 2 apps
   4 logins, 5 unseals, of them 1 with the PIN instead of the password
 *(\d+) puts, 8 gets of the right value, 2 lists, 1 delete
   1 signing key, 2 signatures that verify
   1 × token of another app, presented from one's own task: denied
   1 × token of another user, presented from one's own task: denied
   2 × token from before the lock: denied
   2 × session that was not unsealed: sealed
   3 × name of another app, or deleted: not found
   1 × wrong PIN: refused
 *(\d+) puts were acknowledged before the kill; all of them are there after it
$`)

// The demonstration works on a new directory, and again on the same one.
func TestDemo(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	for range 2 {
		e := s.run("", "demo", "--state", "build/os", "--audit", "audit")
		if e.status != 0 || e.err != "" || !strings.HasPrefix(e.out, "state directory: build/os\n") {
			t.Fatalf("status %d\n%s%s", e.status, e.out, e.err)
		}
		m := summary.FindStringSubmatch(e.out)
		if m == nil {
			t.Fatalf("no summary as wanted:\n%s", e.out)
		}
		puts, acked := number(t, m[1]), number(t, m[2])
		if acked < killAfter || puts != acked+5 {
			t.Errorf("%d puts, %d acknowledged ones before the kill", puts, acked)
		}
		killed := fmt.Sprintf("(SIGKILL) in the middle of puts, after %d were acknowledged\n", acked)
		if strings.Count(e.out, strings.Join(bootMarkers, "\n")) != 2 || !strings.Contains(e.out, killed) {
			t.Errorf("two boots and a kill are wanted:\n%s", e.out)
		}
		if lines := strings.Count(e.out, "\n"); lines > 130 {
			t.Errorf("%d lines are more than anybody reads", lines)
		}
	}
	for boot := 1; boot <= 4; boot++ {
		if first := fmt.Sprintf(`{"id":"p%d-1",`, boot); strings.Count(s.read("audit"), first) != 1 {
			t.Errorf("the first decision of boot %d is not on record", boot)
		}
	}
}

// The demonstration's users are made anew only if they are the demonstration's.
func TestDemoLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	script := `create-user alice password "another alice"
login alice password "another alice"
unseal alice password "another alice"
`
	e := s.run(script+"put alice/notes name value\n", "boot", "--state", "os")
	if e.status != 0 {
		t.Fatal(e.err)
	}
	before := s.snapshot("os")
	s.refuse(s.run("", "demo", "--state", "os"), 1, "first boot: standard input:2: if-user: unknown user or wrong secret")
	s.same("os", before, "boot", guessesFile)
}

// demonstrate makes a process of the demonstration that was never started.
func demonstrate(script string, killAfter int) *process {
	d := &demo{out: io.Discard}
	return d.process(script, killAfter)
}

func TestCheckMarkers(t *testing.T) {
	check := func(markers ...string) string {
		p := demonstrate("", 0)
		p.markers = markers
		if err := p.checkMarkers(); err != nil {
			return err.Error()
		}
		return ""
	}
	if got := check(append(slices.Clone(bootMarkers), "identity: user created (user=alice)")...); got != "" {
		t.Errorf("all of them: %s", got)
	}
	for i, m := range bootMarkers {
		without := slices.Delete(slices.Clone(bootMarkers), i, i+1)
		if got, want := check(without...), fmt.Sprintf("missing marker %q", m); got != want {
			t.Errorf("without %q: %q", m, got)
		}
		late := append(without, m)
		if got := check(late...); (got == "") != (i == len(bootMarkers)-1) {
			t.Errorf("%q in the last place: %q", m, got)
		}
	}
	if got := check(append(slices.Clone(bootMarkers), "keymintd: self test FAIL")...); got != `forbidden marker "keymintd: self test FAIL"` {
		t.Errorf("with a forbidden one: %q", got)
	}
}

// follow reads what a process prints. A marker, a put, the kill, and half a
// line.
func TestFollow(t *testing.T) {
	const (
		marker = `{"kind":"marker","text":"init: start"}` + "\n"
		one    = `{"kind":"result","verb":"puts","args":["alice/notes","n1"],"text":"1","ok":true}` + "\n"
		two    = `{"kind":"result","verb":"puts","args":["alice/notes","n2"],"text":"2","ok":true}` + "\n"
		three  = `{"kind":"result","verb":"puts","args":["alice/notes","n3"],"text":"3","ok":true}` + "\n"
		bad    = `{"kind":"result","verb":"puts","ok":false,"error":"denied"}` + "\n"
	)
	for _, c := range []struct {
		name, out    string
		killAfter    int
		killed       bool
		acked, kills int
		problem      string
		fails        bool
	}{
		{"to its end", marker + one, 0, false, 1, 0, "", false},
		{"killed", marker + one + two, 2, true, 2, 1, "", false},
		{"acknowledged after the kill", one + two + three, 2, true, 3, 1, "", false},
		{"half a line after the kill", one + two + three[:20], 2, true, 2, 1, "", false},
		{"half a line without a kill", one + two[:20], 2, false, 1, 0, "", true},
		{"too early an end", one, 2, false, 1, 0, "", false},
		{"a put that failed", one + bad, 2, false, 1, 0, "", false},
		{"an error", one + `{"kind":"error","error":"os: damaged","code":"damaged"}`, 2, false, 1, 0, "os: damaged", false},
		{"a crash", `{"kind":"crash","text":"keystored panicked at x"}`, 0, false, 0, 0, "keystored panicked at x", false},
		{"a line too long", strings.Repeat("x", maxRecord+1), 0, false, 0, 0, "", true},
	} {
		p, kills := demonstrate("", c.killAfter), 0
		err := p.follow(strings.NewReader(c.out), func() error { kills++; return nil })
		problem := ""
		if p.problem != nil {
			problem = p.problem.Error()
		}
		if p.killed != c.killed || p.acked != c.acked || kills != c.kills || problem != c.problem || (err != nil) != c.fails {
			t.Errorf("%s: killed %v, acked %d, %d kills, problem %q, %v", c.name, p.killed, p.acked, kills, problem, err)
		}
	}
	p, broken := demonstrate("", 1), errors.New("broken")
	if err := p.follow(strings.NewReader(one), func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a kill that fails: %v", err)
	}
}

// A process that was to be killed must have been.
func TestJudge(t *testing.T) {
	exit := func(command string) error { return exec.Command("/bin/sh", "-c", command).Run() }
	for _, c := range []struct {
		name      string
		killAfter int
		killed    bool
		waited    error
		fails     bool
	}{
		{"killed", 1, true, exit("kill -KILL $$"), false},
		{"another signal", 1, true, exit("kill -TERM $$"), true},
		{"ended by itself before the kill", 1, true, exit("exit 0"), true},
		{"failed before the kill", 1, true, exit("exit 137"), true},
		{"killed by somebody else", 1, false, exit("kill -KILL $$"), true},
		{"to its end", 0, false, exit("exit 0"), false},
		{"failed", 0, false, exit("exit 1"), true},
	} {
		p := demonstrate("", c.killAfter)
		p.killed = c.killed
		if err := p.judge(c.waited, "why\n"); (err != nil) != c.fails || err != nil && !strings.HasSuffix(err.Error(), ": why") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
