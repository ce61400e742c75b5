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

// The tests run the binary as users do. It is built once, and the one of the
// insecure mode beside it.
var (
	built    string // the directory of both
	ordinary = sync.OnceValues(func() (string, error) { return build("nexus-sim", "-tags=") })
	insecure = sync.OnceValues(func() (string, error) { return build("nexus-sim-insecure", "-tags=insecure_deterministic") })
)

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "nexus-sim-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	if err := os.RemoveAll(built); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func build(name, tags string) (string, error) {
	if err := os.Chmod(built, 0o755); err != nil { // Other users run it as well.
		return "", err
	}
	binary := filepath.Join(built, name)
	cmd := exec.Command("go", "build", tags, "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", tags, err, out)
	}
	return binary, nil
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
	binary, err := ordinary()
	if err != nil {
		t.Fatal(err)
	}
	return &sim{t, t.TempDir(), binary}
}

// ended is how a run of the binary ended.
type ended struct {
	status   int
	out, err string
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
	return ended{status, out.String(), err.String()}
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
	l.lines = make(chan string, 1<<20) // More than any run here prints.
	go func() {
		defer close(l.lines)
		all := newLines(out)
		for all.Scan() {
			l.lines <- all.Text()
		}
	}()
	s.t.Cleanup(func() {
		_ = l.cmd.Process.Kill() // A test that went well has ended it.
		_ = l.cmd.Wait()
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
	return ended{statusOf(l.s.t, l.cmd.Wait()), out.String(), l.err.String()}
}
