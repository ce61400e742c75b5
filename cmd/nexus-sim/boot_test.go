package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"nexus.internal/os/ipc"
)

func newLines(r io.Reader) *bufio.Scanner {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRecord)
	return lines
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	for _, c := range []struct {
		args   string
		status int
		want   string // of standard error without its beginning; "" if nothing is there
	}{
		{"", 2, "usage: nexus-sim COMMAND; `nexus-sim help` lists them"},
		{"help", 0, ""}, {"--help", 0, ""}, {"verbs", 0, ""}, {"boot -h", 0, ""}, {"demo --help", 0, ""},
		{"bot", 2, "usage: no command is called \"bot\"; `nexus-sim help` lists them"},
		{"verbs x", 2, `usage: verbs takes no argument, and "x" is one`},
		{"boot", 2, "usage: boot needs --state DIR"},
		{"demo", 2, "usage: demo needs --state DIR"},
		{"boot --state os x", 2, `usage: boot takes no argument, and "x" is one`},
		{"boot --state os --timeout -1s", 2, "usage: boot: --timeout is negative"},
		{"boot --state os --until-marker=", 2, "usage: boot: --until-marker is empty"},
		{"boot --state os --script=", 2, "usage: boot: --script is empty"},
		{"boot --state os --timeout 1", 2, "usage: boot: invalid value \"1\" for flag -timeout: parse error; `nexus-sim boot -h` lists its flags"},
		{"boot --state os --script none", 1, "open none: no such file or directory"},
		{"boot --state os --script .", 1, ".: not a script"},
		{"boot --state os --policy none", 1, "open none: no such file or directory"},
	} {
		e := s.run("", strings.Fields(c.args)...)
		if c.want == "" {
			if e.status != c.status || e.err != "" || e.out == "" {
				t.Errorf("nexus-sim %s: %+v", c.args, e)
			}
			continue
		}
		if s.refuse(e, c.status, c.want); e.out != "" {
			t.Errorf("nexus-sim %s prints %s", c.args, e.out)
		}
	}
	if left := s.snapshot("."); len(left) != 1 {
		t.Errorf("something was made: %q", left)
	}
}

// Two processes, one after the other, on one directory.
func TestSecondBootReadsWhatTheFirstWrote(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.boot(makeSecrets)
	e := s.boot(openAlice + readAlice + openBob + readBob + "users alice bob\n")
	for _, want := range []string{"> get alice/notes greeting: \"hello from notes\"\n", "identity: session start (sid=8589934593)\n"} {
		if !strings.Contains(e.out, "\n"+want) { // The sid is of the second boot: none is used twice.
			t.Errorf("without %q:\n%s", want, e.out)
		}
	}
	if left := s.snapshot("."); !slices.Contains(strings.Split(left["os"], " "), "drwx------") || len(s.snapshot("os"))+1 != len(left) {
		t.Errorf("something is kept outside of the state directory: %q", left)
	}
	// The file of a script does as well as standard input, wherever it is.
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(openAlice+readAlice), 0o600); err != nil {
		t.Fatal(err)
	}
	s.boot("not read", "--script", script)
}

func TestMarkersInOrder(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	want := strings.Join(bootMarkers, "\n") + "\n"
	for range 2 {
		if e := s.boot(""); e.out != want {
			t.Errorf("got\n%s", e.out)
		}
	}
}

func TestDirectoryInUse(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	l := s.start()
	before := s.snapshot("os")
	s.refuse(s.run("users\n", "boot", "--state", "os"), 1, "os: in use by another process")
	s.refuse(s.run("", "demo", "--state", "./os/"), 1, "first boot: ./os/: in use by another process")
	s.refuse(s.run("", "boot", "--state", "os", "--until-marker", "init: start"), 1,
		`missing marker "init: start": no marker came: os: in use by another process`)
	s.same("os", before)
	l.say(makeSecrets)
	if err := l.in.Close(); err != nil {
		t.Fatal(err)
	}
	if e := l.wait(); e.status != 0 || e.err != "" {
		t.Errorf("the one that was there first: %+v", e)
	}
	s.boot(openAlice + readAlice)
}

func TestUntilMarker(t *testing.T) {
	t.Parallel()
	const last = `; the last one is "keystore: ready": `
	for _, c := range []struct {
		name, script string
		args         []string
		status       int
		err          string
	}{
		{"the last of the boot", "", []string{"--until-marker", "keystore: ready"}, 0, ""},
		{"the first of the boot", "", []string{"--until-marker", "init: start"}, 0, ""},
		{"standard input is not read", "no such verb\n", []string{"--until-marker", "rngd: ready"}, 0, ""},
		{"of the script", "create-user alice pin 123456\nsleep 3600000\n", []string{"--until-marker", "(user=alice)", "--script", "-"}, 0, ""},
		{"a script may fail after it", "create-user alice pin 123456\nlogin alice pin 123456\nno such verb\n", []string{"--until-marker", "session start", "--script", "-"}, 0, ""},
		{"what is forbidden stays so", "forbid (user=alice)\ncreate-user alice pin 123456\n", []string{"--until-marker", "user created", "--script", "-"}, 1,
			`standard input:1: forbid: forbidden marker: "identity: user created (user=alice)"`},
		{"not there", "", []string{"--until-marker", "rngd: gone", "--timeout", "2s"}, 1,
			`missing marker "rngd: gone"` + last + "timed out after 2s"},
		{"not there when the script ends", "users\n", []string{"--until-marker", "rngd: gone", "--script", "-"}, 1,
			`missing marker "rngd: gone"` + last + "the script ended"},
		{"not there when the script fails", "users\nlock bob\n", []string{"--until-marker", "rngd: gone", "--script", "-"}, 1,
			`missing marker "rngd: gone"` + last + `standard input:2: the script has not logged in "bob"`},
		{"not there in the middle of a script", "sleep 3600000\n", []string{"--until-marker", "rngd: gone", "--script", "-", "--timeout", "2s"}, 1,
			`missing marker "rngd: gone"` + last + "timed out after 2s"},
		{"a result is no marker", "say rngd: gone\n", []string{"--until-marker", "rngd: gone", "--script", "-"}, 1,
			`missing marker "rngd: gone"` + last + "the script ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSim(t)
			e := s.run(c.script, append([]string{"boot", "--state", "os"}, c.args...)...)
			if want := strings.TrimSuffix("nexus-sim: "+c.err+"\n", "nexus-sim: \n"); e.status != c.status || e.err != want {
				t.Errorf("status %d\n   got %swanted %s", e.status, e.err, want)
			}
		})
	}
}

// A script that takes too long ends, and what was acknowledged is there.
func TestTimeout(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.boot(makeUsers)
	e := s.run(openAlice+"puts alice/notes n 1000000\n", "boot", "--state", "os", "--json", "--timeout", "10s")
	if e.status != 1 || !strings.HasPrefix(e.err, "nexus-sim: timed out after 10s; the last marker is \"") {
		t.Errorf("status %d: %s", e.status, e.err)
	}
	last := 0
	for _, r := range records(t, e.out) {
		if r.Verb == "puts" && *r.OK {
			last = number(t, r.Text)
		}
	}
	if last == 0 {
		t.Fatal("no put was acknowledged")
	}
	s.boot(openAlice + "check-puts alice/notes n " + strconv.Itoa(last) + "\n")
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// records reads the lines that --json prints.
func records(t *testing.T, out string) (list []record) {
	t.Helper()
	for line := range strings.Lines(out) {
		var r record
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil || d.More() || r.Kind == "" {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, r)
	}
	return list
}

// Every line that --json prints is one object, whatever a script has in it.
func TestJSON(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	if err := os.WriteFile(filepath.Join(s.dir, "policy"), []byte(shortPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	e := s.run(makeUsers+openAlice+"say \"a\\nb\\x00\\xff<&>\u2028\"\nlaunch alice/notes put,get\nput alice/notes name \"a value\"\n"+
		"get alice/notes name\ndel alice/notes name\nlist alice/notes\n",
		"boot", "--state", "os", "--json", "--policy", "policy")
	s.refuse(e, 1, "standard input:11: del: denied")
	var kinds []string
	var get, del record
	for _, r := range records(t, e.out) {
		kinds = append(kinds, r.Kind)
		switch r.Verb {
		case "get":
			get = r
		case "del":
			del = r
		}
	}
	if kinds[0] != "note" || kinds[1] != "marker" || kinds[len(kinds)-1] != "error" {
		t.Errorf("kinds of lines are %q", kinds)
	}
	if !*get.OK || get.Line != 10 || get.Text != `"a value"` || !slices.Equal(get.Args, []string{"alice/notes", "name"}) {
		t.Errorf("get is %+v", get)
	}
	if *del.OK || del.Error != "denied" || del.Code != "denied" || del.Text != "" {
		t.Errorf("del is %+v", del)
	}
}

// shortPolicy lets apps put and get only, and has a table that is no policy.
const shortPolicy = `
[allow]
launcher = ["session.token"]
any-app = ["keychain.put", "keychain.get"]
[later]
x = 1
`

// With a policy of its own, an app gets the rights that this allows.
func TestPolicy(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	for name, text := range map[string]string{"short": shortPolicy, "bad": "[allow"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := s.boot(makeUsers+openAlice+"fails denied launch alice/notes\nlaunch alice/notes put,get\n"+
		"put alice/notes name value\nfails denied list alice/notes\n", "--policy", "short")
	if !strings.HasPrefix(e.out, "# policy: line 5: \"later\" is not [allow]: skipped\n") {
		t.Error(e.out)
	}
	before := s.snapshot(".")
	for _, dir := range []string{"os", "new"} {
		e := s.run("", "boot", "--state", dir, "--policy", "bad")
		if e.status != 1 || !strings.HasPrefix(e.err, "nexus-sim: bad:1: ") || strings.Count(e.err, "\n") != 1 {
			t.Errorf("a bad policy: %+v", e)
		}
	}
	s.same(".", before)
}

// Nothing that a script has in it ends a line or reaches a terminal.
func TestOutputIsPrintable(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	e := s.run(makeUsers+openAlice+"say \"\\n> put alice/notes forged: ok\\nkeystore: ready\\x1b[2J\\xff\\u202e\"\n"+
		"put alice/notes name \"\\nkeystore: ready\\x1b\"\nget alice/notes name\nlock \"x\\ny\\x1b\"\n", "boot", "--state", "os")
	for line := range strings.Lines(e.out + e.err) {
		unprintable := func(c rune) bool { return !unicode.IsPrint(c) }
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unprintable) || !utf8.ValidString(line) {
			t.Errorf("printed was %q", line)
		}
	}
	if n := strings.Count(e.out, "\nkeystore: ready"); n != 1 {
		t.Errorf("there are %d markers\n%s", n, e.out)
	}
	if e.status != 1 || strings.Count(e.err, "\n") != 1 {
		t.Errorf("status %d\n%s", e.status, e.err)
	}
}

// A marker that is forbidden to the end is one of the shutdown, too.
func TestForbiddenAtShutdown(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	e := s.run(makeUsers+openBob+"forbid \"session end\"\n", "boot", "--state", "os")
	s.refuse(e, 1, `standard input:7: forbid: forbidden marker: "identity: session end (sid=4294967297)"`)
}

// A run in which a service panicked has failed, though the service goes on.
func TestCrash(t *testing.T) {
	var out bytes.Buffer
	p := &printer{out: &out, json: true}
	p.marker("init: start")
	if err := p.failed(); err != nil {
		t.Error(err)
	}
	p.crash(&ipc.PanicReport{Task: "keystored", Frames: "app.go:1"})
	if err := p.failed(); err == nil || err.Error() != "keystored panicked" {
		t.Errorf("got %v", err)
	}
	if r := records(t, out.String())[1]; r.Kind != "crash" || r.Text != "keystored panicked at app.go:1" {
		t.Errorf("printed is %+v", r)
	}
}

// A shutdown that does not come to its end is not waited for for ever.
func TestPatience(t *testing.T) {
	w := &watch{stop: make(chan struct{}), done: make(chan outcome), patience: time.Millisecond}
	if o := w.end(); !errors.Is(o.boot, errLate) {
		t.Errorf("got %v", o.boot)
	}
}

// Output that cannot be written is not passed over.
func TestOutputFails(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here:", err)
	}
	defer full.Close()
	s := newSim(t)
	cmd := s.command(nil, "boot", "--state", "os")
	cmd.Stdout = full
	s.refuse(s.finish(cmd), 1, "write /dev/stdout: no space left on device")
}

// SIGINT and SIGTERM shut down: the session ends, and the status says why.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		signal syscall.Signal
		line   string // that runs when the signal comes
		status int
	}{
		{syscall.SIGINT, "", 130},
		{syscall.SIGTERM, "", 143},
		{syscall.SIGINT, "say now\nsleep 3600000\n", 130},
		{syscall.SIGTERM, "say now\nputs alice/notes n 1000000\n", 143},
	} {
		t.Run(c.signal.String()+" "+c.line, func(t *testing.T) {
			t.Parallel()
			s := newSim(t)
			l := s.start()
			l.say(makeSecrets + "say set\n" + c.line)
			l.await("say set")
			if c.line != "" {
				l.await("say now")
			}
			e := l.signal(c.signal)
			if !strings.HasPrefix(e.err, "nexus-sim: stopped by signal: "+c.signal.String()) || e.status != c.status {
				t.Errorf("status %d: %s", e.status, e.err)
			}
			if n := strings.Count(e.out, "identity: session end"); n != 2 {
				t.Errorf("%d sessions ended\n%s", n, e.out)
			}
			s.boot(openAlice + readAlice)
		})
	}
}

// A signal ends a run that waits for a marker as well.
func TestSignalWhileWaiting(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	l := s.start("--until-marker", "rngd: gone")
	e := l.signal(syscall.SIGTERM)
	s.refuse(e, 143, `missing marker "rngd: gone"; the last one is "keystore: ready": stopped by signal: terminated`)
}

// Who types verbs is told so.
func TestTerminal(t *testing.T) {
	t.Parallel()
	master, slave := terminal(t)
	if _, err := io.WriteString(master, "users\n\x04"); err != nil { // \x04 is Ctrl-D.
		t.Fatal(err)
	}
	s := newSim(t)
	e := s.finish(s.command(slave, "boot", "--state", "os"))
	const hint = "reading verbs, one a line; `nexus-sim verbs` lists them, Ctrl-D ends"
	if s.refuse(e, 0, hint); !strings.HasSuffix(e.out, "\n> users: none\n") {
		t.Error(e.out)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if e := s.finish(s.command(null, "boot", "--state", "os")); e.err != "" || e.status != 0 {
		t.Errorf("%s is no terminal: %+v", os.DevNull, e)
	}
}

// terminal opens the two sides of a terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// Credentials and values of a script are in no line of the output, whatever is
// wrong with the script; only get shows what it has read.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const canary = "6canary6"
	s := newSim(t)
	for _, lines := range []string{
		"create-user alice password " + canary + "\nlogin alice password " + canary + "\nunseal alice password " + canary +
			"\nput alice/notes name " + canary + "\nfails denied put alice/notes name " + canary,
		"login alice " + canary + " password",
		"login alice password \"" + canary,
		"put alice/notes " + canary + " " + canary + " " + canary,
		"putt alice/notes name " + canary,
	} {
		for _, mode := range []string{"--json=false", "--json"} {
			e := s.run(lines, "boot", "--state", "os", mode)
			if e.status != 1 || bytes.Contains([]byte(e.out+e.err), []byte(canary)) {
				t.Errorf("%s\nstatus %d\n%s%s", lines, e.status, e.out, e.err)
			}
		}
	}
}
