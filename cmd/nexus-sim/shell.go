package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/services/secret"
)

// runShell is a prompt: a line is run when it is typed, and one that fails ends
// nothing.
func runShell(args []string, std streams) error {
	set := newFlags("shell")
	state := set.String("state", "", "state `directory`; otherwise one that is removed afterwards")
	seed := set.Uint64("seed", 1, "`number` that decides who runs next (bin/nexus-sim-insecure only)")
	given, err := parse(set, args, std)
	if err != nil {
		return err
	}
	if given["seed"] && bySeed == nil {
		return otherBuild(fmt.Sprintf("shell --seed %d", *seed))
	}
	cfg, remove, err := shellMachine(*state, *seed)
	if err != nil {
		return err
	}
	defer remove()
	sh := &shell{in: std.in, out: std.out}
	return sh.run(cfg, std)
}

// shellMachine is a machine on a directory, or, in the build for that, by seed.
func shellMachine(state string, seed uint64) (cfg machine.Config, remove func(), err error) {
	remove = func() {}
	if bySeed != nil && state == "" {
		return scenario.BySeed(seed, &scenario.Scenario{}, bySeed).Machine, remove, nil
	}
	if state == "" {
		if state, err = os.MkdirTemp("", "nexus-sim-"); err != nil {
			return cfg, remove, err
		}
		remove = func() { _ = os.RemoveAll(state) }
	}
	return machine.Config{Boot: shipped(), Storage: &machine.Dir{Path: state}}, remove, nil
}

// shell reads lines from a person, or from a file of them.
type shell struct {
	in      io.Reader
	out     io.Writer
	machine *machine.Machine
	runner  *script.Runner
	number  int
}

const shellHelp = `A line is a verb with its arguments; Tab completes, the arrows recall. "help" lists the verbs, "help VERB" explains one,
"exit" or Ctrl-D ends. A secret that a line leaves out at its end, or has as ?, is asked for and not shown; one that is typed in the line
stays in memory, with the line's history, till the shell ends.`

func (sh *shell) run(cfg machine.Config, std streams) error {
	p := &printer{out: sh.out}
	warnMode(p, std.err)
	warnMemory(std.err)
	console := script.NewConsole(p.marker)
	cfg.Boot.Console, cfg.Boot.Crash, cfg.Boot.Report = console, p.crash, p.note
	sh.machine = machine.New(cfg)
	sh.runner = script.NewRunner(sh.machine, console, p.result)
	sh.runner.Discreet()
	defer func() { _ = sh.machine.Shutdown() }() // It may be off.
	next, end, err := sh.reader()
	if err != nil {
		return err
	}
	defer end()
	p.out = sh.out
	p.note("the machine is off; `boot` switches it on, `help` helps")
	for {
		line, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !sh.line(p, bytes.TrimSpace(line)) {
			return nil
		}
	}
}

// line runs one line; it reports false if that was the last one.
func (sh *shell) line(p *printer, line []byte) bool {
	sh.number++
	verb, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(verb) {
	case "":
		return true
	case "exit", "quit":
		return false
	case "help":
		sh.help(p, string(bytes.TrimSpace(rest)))
		return true
	}
	// A verb that was understood has been reported with its outcome.
	var f *script.Failure
	if err := sh.runner.Do(sh.number, line); errors.As(err, &f) && errors.Is(err, script.ErrUsage) {
		p.note(f.Err.Error())
	}
	return true
}

func (sh *shell) help(p *printer, verb string) {
	if verb == "" {
		p.note(strings.ReplaceAll(shellHelp, "\n", " "))
	}
	for _, v := range script.Verbs() {
		if verb == "" || v.Name == verb {
			p.note(fmt.Sprintf("%-50s %s", v.Usage(), v.Help))
		}
	}
}

// prompt shows whether there is power.
func (sh *shell) prompt() string {
	if sh.machine.System() == nil {
		return "off> "
	}
	return "on> "
}

// reader reads lines from a terminal, with history and completion, or plainly
// from anything else. end gives the terminal back.
func (sh *shell) reader() (next func() ([]byte, error), end func(), err error) {
	f, ok := sh.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		lines := script.NewLines(sh.in)
		return lines.Next, lines.Close, nil
	}
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, nil, err
	}
	t := term.NewTerminal(readWriter{f, sh.out}, "")
	t.AutoCompleteCallback = sh.complete(t)
	sh.runner.Asking(func(param string) (*secret.Bytes, error) { return askFor(param, f, t) })
	sh.out = t // In raw mode, lines need the terminal's own ends.
	return func() ([]byte, error) {
		t.SetPrompt(sh.prompt())
		line, err := t.ReadLine()
		return []byte(line), err
	}, func() { _ = term.Restore(int(f.Fd()), old) }, nil
}

// mostTyped is how long a secret may be that is asked for, in bytes.
const mostTyped = 4096

var errNotTyped = errors.New("nothing was typed")

// askFor reads a secret from a terminal in raw mode, which does not show it, into
// the pool of secrets and nowhere else.
func askFor(param string, f io.Reader, t io.Writer) (*secret.Bytes, error) {
	if _, err := fmt.Fprintf(t, "%s, which is not shown:\n", param); err != nil {
		return nil, err
	}
	typed := secret.New(mostTyped + 1)
	defer typed.Wipe()
	b := typed.Expose()
	for n := 0; n < len(b); {
		if _, err := io.ReadFull(f, b[n:n+1]); err != nil {
			return nil, err
		}
		switch b[n] {
		case '\r', '\n':
			return secret.Copy(b[:n]), nil
		case '\x7f', '\b':
			n = max(n-1, 0)
		case '\x03', '\x04', '\x1b': // Ctrl-C, Ctrl-D, Escape
			return nil, errNotTyped
		default:
			n++
		}
	}
	return nil, fmt.Errorf("longer than %d bytes", mostTyped)
}

type readWriter struct {
	io.Reader
	io.Writer
}

// complete answers Tab: the longest beginning that all candidates have, or,
// where that adds nothing, the candidates themselves.
func (sh *shell) complete(t io.Writer) func(line string, pos int, key rune) (string, int, bool) {
	return func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' || pos != len(line) {
			return "", 0, false
		}
		word, candidates := sh.runner.Complete(line)
		if len(candidates) == 0 {
			return "", 0, false
		}
		longest := commonPrefix(candidates)
		if len(candidates) == 1 {
			longest += " "
		}
		if len(longest) > len(word) {
			line += longest[len(word):]
			return line, len(line), true
		}
		fmt.Fprintf(t, "%s\n", strings.Join(candidates, "  "))
		return line, pos, true
	}
}

func commonPrefix(words []string) string {
	prefix := words[0]
	for _, w := range words {
		for !strings.HasPrefix(w, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return prefix
}
