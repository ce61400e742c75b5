package main

import (
	"bufio"
	"bytes"
	_ "embed" // for the demonstration's scripts
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed demo_first.txt
var demoFirst string

//go:embed demo_second.txt
var demoSecond string

// bootMarkers are what every boot shows, in this order.
var bootMarkers = []string{
	"init: start", "rngd: ready", "statefsd: ready", "policyd: ready",
	"keymintd: ready", "identityd: ready", "keystore: ready",
}

// forbiddenMarkers must not show in any boot, not even as a part of a marker.
var forbiddenMarkers = []string{"FAIL"}

// Bounds of the demonstration.
const (
	killAfter   = 150              // acknowledged puts
	shownPuts   = 3                // of those that are interrupted
	demoTimeout = 90 * time.Second // of one boot
	maxRecord   = 1 << 20          // bytes of a line that a boot prints
)

func runDemo(args []string, std streams) error {
	set := newFlags("demo")
	state := set.String("state", "", "state `directory`; the users alice and bob in it are the demonstration's (required)")
	records := set.String("audit", "", auditHelp)
	if _, err := parse(set, args, std); err != nil {
		return err
	}
	if *state == "" {
		return fmt.Errorf("%w: demo needs --state DIR", errUsage)
	}
	d := &demo{state: *state, audit: *records, out: std.out}
	fmt.Fprintf(std.out, "state directory: %s\n", oneLine(*state))
	if err := d.run(); err != nil {
		return err
	}
	d.tally.summary(std.out)
	return nil
}

// demo boots the OS in processes of its own, so that one can be killed.
type demo struct {
	state string
	audit string // a file, empty for none
	out   io.Writer
	tally tally
}

func (d *demo) run() error {
	d.heading("first boot")
	first := d.process(demoFirst, killAfter)
	if err := first.run(); err != nil {
		return fmt.Errorf("first boot: %w", err)
	}
	d.tally.acked = first.acked
	d.heading(fmt.Sprintf("the OS process was killed (SIGKILL) in the middle of puts, after %d were acknowledged", first.acked))
	d.heading("second boot, on the same directory")
	second := d.process(demoSecond+"check-puts alice/notes n "+strconv.Itoa(first.acked)+"\n", 0)
	if err := second.run(); err != nil {
		return fmt.Errorf("second boot: %w", err)
	}
	return nil
}

func (d *demo) heading(text string) { fmt.Fprintf(d.out, "\n== %s\n", oneLine(text)) }

// process is one boot in a process of its own.
type process struct {
	*demo
	script    string
	killAfter int // acknowledged puts; 0 lets it end by itself
	killed    bool
	acked     int // by puts
	markers   []string
	problem   error
}

func (d *demo) process(script string, killAfter int) *process {
	return &process{demo: d, script: script, killAfter: killAfter}
}

func (p *process) run() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"boot", "--state", p.state, "--json", "--timeout", demoTimeout.String()}
	if p.audit != "" {
		args = append(args, "--audit", p.audit)
	}
	cmd := exec.Command(self, args...)
	cmd.Stdin = strings.NewReader(p.script)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	followed := p.follow(out, cmd.Process.Kill)
	if followed != nil {
		_ = cmd.Process.Kill() // It may wait for somebody to read; it may be gone.
	}
	ended := p.judge(cmd.Wait(), said.String())
	for _, err := range []error{p.problem, followed, ended} {
		if err != nil {
			return err
		}
	}
	return p.checkMarkers()
}

// judge says whether the process ended as it should have.
func (p *process) judge(waited error, said string) error {
	if p.killAfter == 0 {
		if waited != nil {
			return fmt.Errorf("%w: %s", waited, strings.TrimSpace(said))
		}
		return nil
	}
	var exit *exec.ExitError
	if errors.As(waited, &exit) && p.killed {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signal() == syscall.SIGKILL {
			return nil
		}
	}
	return fmt.Errorf("the OS ended before it could be killed: %s", strings.TrimSpace(said))
}

// follow shows what the process prints and kills it in the middle of puts. It
// reads on after that: what was acknowledged before the end counts.
func (p *process) follow(out io.Reader, kill func() error) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxRecord)
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			if p.killed {
				break // The last line of a killed process may be half a line.
			}
			return fmt.Errorf("the OS printed a line that is no JSON: %w", err)
		}
		p.take(r)
		if p.acked == p.killAfter && p.killAfter > 0 && !p.killed {
			p.killed = true
			if err := kill(); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

func (p *process) take(r record) {
	switch r.Kind {
	case "marker":
		p.markers = append(p.markers, r.Text)
	case "error", "crash":
		p.problem = errors.New(r.Error + r.Text)
		return
	case "result":
		if r.OK == nil || !*r.OK {
			return // The error that follows says why.
		}
		p.tally.add(r)
	}
	p.show(r)
	if n, err := strconv.Atoi(r.Text); err == nil && r.Verb == "puts" {
		p.acked = n
	}
}

// show prints a record, but for those that say nothing new.
func (p *process) show(r record) {
	switch {
	case r.Verb == "say":
		p.heading(r.Text)
	case r.Verb == "expect", r.Verb == "if-user" && r.Text == noSuchUser:
	case p.killAfter > 0 && p.acked >= shownPuts:
		if p.acked == shownPuts && r.Verb == "puts" {
			fmt.Fprintln(p.out, "> …")
		}
	default:
		fmt.Fprintln(p.out, r)
	}
}

// noSuchUser is what the verb if-user says then.
const noSuchUser = "no such user"

// checkMarkers names the first marker of a boot that is missing, or one that
// must not be there.
func (p *process) checkMarkers() error {
	rest := p.markers
	for _, want := range bootMarkers {
		i := slices.Index(rest, want)
		if i < 0 {
			return fmt.Errorf("missing marker %q", want)
		}
		rest = rest[i+1:]
	}
	for _, m := range p.markers {
		for _, bad := range forbiddenMarkers {
			if strings.Contains(m, bad) {
				return fmt.Errorf("forbidden marker %q", m)
			}
		}
	}
	return nil
}
