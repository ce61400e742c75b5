package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests run nexus-sim as its users do, in processes of its own. It is the
// test's own binary, which does what nexus-sim does where the variable asIs is
// set: so the go command runs the tests again whenever anything in it changes,
// and under the race detector it is watched as well.
const asIs = "NEXUS_SIM_TEST_AS_IS"

// built is a directory with the binary, which any user may run, and the one of
// the insecure mode beside it.
var built string

func TestMain(m *testing.M) {
	if os.Getenv(asIs) != "" {
		main()
		return
	}
	status := 1
	err := os.Setenv(asIs, "1")
	if err == nil {
		built, err = os.MkdirTemp("", "nexus-sim-test-")
	}
	if err == nil {
		err = os.Chmod(built, 0o755)
	}
	if err == nil {
		err = copySelf(filepath.Join(built, "nexus-sim"))
	}
	if err == nil {
		status = m.Run()
		err = os.RemoveAll(built)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func copySelf(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	content, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}

// insecure builds the binary of the insecure mode.
var insecure = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(built, "nexus-sim-insecure")
	cmd := exec.Command("go", "build", "-tags=insecure_deterministic", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, readTagged()
})

// readTagged reads the files of the insecure mode, which are not part of the
// test's binary: then the go command runs the tests again when they change.
func readTagged() error {
	for _, pattern := range []string{"../../services/rngd/*.go", "../boot/mode_*.go"} {
		names, err := filepath.Glob(pattern)
		if err == nil && len(names) == 0 {
			err = fmt.Errorf("%s: %w", pattern, fs.ErrNotExist)
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := os.ReadFile(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// runLimit bounds one run of the binary; no run takes nearly as long.
const runLimit = 2 * time.Minute

// sim is a directory in which the binary is run.
type sim struct {
	t      *testing.T
	dir    string
	binary string
}

func newSim(t *testing.T) *sim {
	t.Helper()
	return &sim{t, t.TempDir(), filepath.Join(built, "nexus-sim")}
}

// ended is how a run of the binary ended. What it warns of depends on the
// machine, and stands by itself.
type ended struct {
	status   int
	out, err string
	warnings string
}

// command prepares a run.
func (s *sim) command(stdin io.Reader, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	s.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Dir, cmd.Stdin = s.dir, stdin
	return cmd
}

// run runs the binary to its end.
func (s *sim) run(stdin string, args ...string) ended {
	s.t.Helper()
	return s.finish(s.command(strings.NewReader(stdin), args...))
}

func (s *sim) finish(cmd *exec.Cmd) ended {
	s.t.Helper()
	var out, err bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &err
	status := statusOf(s.t, cmd.Run())
	return endedWith(status, out.String(), err.String())
}

// endedWith takes the warnings off the errors.
func endedWith(status int, out, err string) ended {
	e := ended{status: status, out: out}
	for line := range strings.Lines(err) {
		if strings.HasPrefix(line, "nexus-sim: warning: ") {
			e.warnings += line
		} else {
			e.err += line
		}
	}
	return e
}

// statusOf is the exit status that an error of exec says; -1 is that of a
// process that a signal ended.
func statusOf(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return 0
	}
	return exit.ExitCode()
}

// boot runs `nexus-sim boot --state os` with a script that must succeed.
func (s *sim) boot(script string, args ...string) ended {
	s.t.Helper()
	e := s.run(script, append([]string{"boot", "--state", "os"}, args...)...)
	if e.status != 0 || e.err != "" {
		s.t.Fatalf("status %d\n%s%s", e.status, e.out, e.err)
	}
	return e
}

// refuse wants a run to end with a status and one line on standard error.
func (s *sim) refuse(e ended, status int, line string) {
	s.t.Helper()
	if e.status != status || e.err != "nexus-sim: "+line+"\n" {
		s.t.Errorf("status %d, wanted %d\n   got %swanted nexus-sim: %s", e.status, status, e.err, line)
	}
}

// snapshot describes everything below a directory: kinds, permissions, sizes
// and bytes.
func (s *sim) snapshot(dir string) map[string]string {
	s.t.Helper()
	all := make(map[string]string)
	root := os.DirFS(filepath.Join(s.dir, dir))
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all[name] = info.Mode().String()
		if !info.Mode().IsRegular() {
			return nil
		}
		content, err := fs.ReadFile(root, name)
		all[name] += fmt.Sprintf(" %d bytes %x", len(content), sha256.Sum256(content))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// same wants everything below a directory to be as it was, but for some names.
func (s *sim) same(dir string, before map[string]string, but ...string) {
	s.t.Helper()
	after := s.snapshot(dir)
	names := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if before[name] != after[name] && !slices.Contains(but, name) {
			s.t.Errorf("%s/%s was %q and is %q", dir, name, before[name], after[name])
		}
	}
}

// Users and a few secrets, as most tests need them.
const (
	makeUsers = `
create-user alice password "correct horse"
create-user bob pin 271828
`
	openAlice = `
login alice password "correct horse"
unseal alice password "correct horse"
`
	openBob = `
login bob pin 271828
unseal bob pin 271828
`
	makeSecrets = makeUsers + openAlice + openBob + `
put alice/notes greeting "hello from notes"
put alice/mail imap "a mail password"
generate alice/mail signing
put bob/notes greeting "hello from bob"
`
	readAlice = `
get alice/notes greeting "hello from notes"
get alice/mail imap "a mail password"
sign alice/mail signing "a message"
`
	readBob = `
get bob/notes greeting "hello from bob"
`
)

// live is a run that waits for lines of its script.
type live struct {
	s     *sim
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // of standard output; closed at its end
	err   *bytes.Buffer
}

// start starts `nexus-sim boot --state os`, which waits for verbs, and returns
// when it has booted.
func (s *sim) start(args ...string) *live {
	s.t.Helper()
	l := &live{s: s, cmd: s.command(nil, append([]string{"boot", "--state", "os"}, args...)...), err: new(bytes.Buffer)}
	l.cmd.Stderr = l.err
	var err error
	if l.in, err = l.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	l.lines = make(chan string, 1<<16) // More than any run here prints.
	go func() {
		defer close(l.lines)
		all := newLines(out)
		for all.Scan() {
			l.lines <- all.Text()
		}
	}()
	cmd := l.cmd // And not l, with all its lines.
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // A test that went well has ended it.
		_ = cmd.Wait()
	})
	l.await("keystore: ready")
	return l
}

// say writes lines of the script.
func (l *live) say(text string) {
	l.s.t.Helper()
	if _, err := io.WriteString(l.in, text); err != nil {
		l.s.t.Fatal(err)
	}
}

// await reads lines till one contains text, and returns that.
func (l *live) await(text string) string {
	l.s.t.Helper()
	for line := range l.lines {
		if strings.Contains(line, text) {
			return line
		}
	}
	l.s.t.Fatalf("the run ended without %q: %s", text, l.err)
	return ""
}

// signal sends a signal and returns how the run ended, with what it printed
// from then on.
func (l *live) signal(s syscall.Signal) ended {
	l.s.t.Helper()
	if err := l.cmd.Process.Signal(s); err != nil {
		l.s.t.Fatal(err)
	}
	return l.wait()
}

// wait waits for the run's end.
func (l *live) wait() ended {
	l.s.t.Helper()
	var out strings.Builder
	for line := range l.lines {
		out.WriteString(line + "\n")
	}
	return endedWith(statusOf(l.s.t, l.cmd.Wait()), out.String(), l.err.String())
}
