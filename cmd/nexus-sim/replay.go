package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"nexus.internal/os/cmd/crash"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/cmd/trace"
)

// replayFlags are what `nexus-sim replay` takes.
type replayFlags struct {
	file  string
	step  bool
	until string
	other bool
}

func parseReplay(args []string, std streams) (f replayFlags, err error) {
	set := newFlags("replay")
	set.BoolVar(&f.step, "step", false, "go event by event, and show queues, holders and timers; Enter is the next one")
	set.StringVar(&f.until, "until", "", "stop at the first marker that contains this `text`, and show the same")
	set.BoolVar(&f.other, "other-build", false, "replay a trace of another build as far as it goes")
	files, err := parseWith(set, args, std)
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("%w: replay needs one FILE, a trace, a crash file or a scenario with a seed", errUsage)
	}
	if err == nil {
		f.file = files[0]
	}
	return f, err
}

// errReplay says that a replay came to something else than its trace.
var errReplay = errors.New("not the same bytes")

func runReplay(args []string, std streams) error {
	f, err := parseReplay(args, std)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(f.file)
	if bySeed == nil {
		if h, bad := trace.Read(text); bad == nil && h.Live {
			return f.live()
		}
		return otherBuild("replay " + quotedArg(f.file))
	}
	if err != nil {
		return err
	}
	p := &printer{out: std.out}
	if crash.Is(text) {
		return f.crash(text, targets(), p, std)
	}
	s, seed, err := f.source(text)
	if err != nil {
		return err
	}
	d := f.debugger(p, std)
	again, played := d.play(s, seed)
	switch {
	case d.stopped:
		return p.failed()
	case !trace.Is(text):
		return firstOf(played, p.failed())
	}
	if line, was, is := trace.Difference(text, again); line > 0 {
		return fmt.Errorf("%s:%d: %w: it has %q, and the replay %q", f.file, line, errReplay, was, is)
	}
	p.note(fmt.Sprintf("the same bytes: sha256 %x", sha256.Sum256(again)))
	return p.failed()
}

func (f *replayFlags) debugger(p *printer, std streams) *debugger {
	return &debugger{flags: *f, printer: p, in: bufio.NewScanner(std.in), asks: isTerminalStream(std.in)}
}

// source is the scenario of a file and the seed to play it with.
func (f *replayFlags) source(text []byte) (*scenario.Scenario, uint64, error) {
	if !trace.Is(text) {
		s, err := scenario.Parse(f.file, text)
		if err == nil && s.Machine.Seed == 0 {
			err = fmt.Errorf("%s: neither a trace, nor a crash file, nor a scenario with a seed in its machine.toml", f.file)
		}
		if err != nil {
			return nil, 0, err
		}
		return s, uint64(s.Machine.Seed), nil
	}
	h, err := trace.Read(text)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", f.file, err)
	}
	if h.Live {
		return nil, 0, f.live()
	}
	if h.Build != buildID() && !f.other {
		return nil, 0, fmt.Errorf("%s: %w: it was made by build %s, and this is %s; --other-build tries all the same",
			f.file, trace.ErrVersion, h.Build, buildID())
	}
	s, err := scenario.Parse(h.Scenario, h.Text)
	return s, h.Seed, err
}

// live says what can be done with the trace of a run without a seed.
func (f *replayFlags) live() error {
	return fmt.Errorf("%s: %w; to draw it: nexus-sim trace %s", f.file, trace.ErrLive, quotedArg(f.file))
}

func isTerminalStream(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && isTerminal(f)
}

// debugger plays a scenario and stops where it is asked to.
type debugger struct {
	flags   replayFlags
	printer *printer
	in      *bufio.Scanner
	asks    bool // somebody can press Enter

	machine *machine.Machine
	runner  *script.Runner
	names   trace.Names
	events  []string // since the last stop
	free    bool     // of the prompt
	stopped bool
}

// play plays by the seed, with the same trace header as the one that is
// replayed.
func (d *debugger) play(s *scenario.Scenario, seed uint64) ([]byte, error) {
	st := scenario.BySeed(seed, s, bySeed)
	st.Marker, st.Result, st.Crash = d.marker, d.result, d.printer.crash
	d.names = trace.NewNames()
	st.Event = func(e traceEvent) { d.events = append(d.events, d.names.Text(e)) }
	st.Begun = func(r *script.Runner, m *machine.Machine) { d.runner, d.machine = r, m }
	if d.flags.step {
		st.Watch(d.step)
	}
	return recorded(s, st, seed, 0)
}

func (d *debugger) marker(line string) {
	if d.stopped {
		return
	}
	d.printer.marker(line)
	if d.flags.until != "" && strings.Contains(line, d.flags.until) {
		d.view()
		d.stop()
	}
}

func (d *debugger) result(r script.Result) {
	if !d.stopped {
		d.printer.result(r)
	}
}

// stop lets the run end without showing more of it.
func (d *debugger) stop() {
	d.stopped = true
	go d.runner.Stop() // The line that runs ends first, and this is a part of it.
}

// step is called after each step of the run.
func (d *debugger) step() {
	if d.stopped || len(d.events) == 0 {
		return
	}
	for _, e := range d.events {
		d.printer.note(e)
	}
	d.events = d.events[:0]
	d.view()
	if d.asks && !d.free {
		d.ask()
	}
}

func (d *debugger) ask() {
	fmt.Fprint(d.printer.out, "(Enter: next; c: go on; q: end) ")
	if !d.in.Scan() {
		d.free = true
		return
	}
	switch strings.TrimSpace(d.in.Text()) {
	case "c":
		d.free = true
	case "q":
		d.stop()
	}
}

// view shows the kernel, once the system is up.
func (d *debugger) view() {
	if s := d.machine.System(); s != nil {
		d.printer.view(s.Kernel.View())
	}
}

// view prints what is going on in a kernel.
func (p *printer) view(v kernelView) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "  time %d ns\n", v.Now)
	for _, ep := range v.Endpoints {
		if len(ep.Queued)+len(ep.Serving)+ep.Room == 0 {
			continue
		}
		fmt.Fprintf(&b, "  %s.%d: queued %s, serving %s, %d wait for room; holders %s\n", ep.Owner, ep.Facet,
			trace.Calls(ep.Owner, ep.Queued), trace.Calls(ep.Owner, ep.Serving), ep.Room, strings.Join(ep.Holders, " "))
	}
	for _, t := range v.Timers {
		fmt.Fprintf(&b, "  %s waits for %s till %d ns\n", t.Task, t.For, t.At)
	}
	for _, s := range v.Sessions {
		fmt.Fprintf(&b, "  session %d: epoch %d, unsealed %v, %d tokens\n", s.SID, s.Epoch, s.Unsealed, s.Tokens)
	}
	p.fail(p.write(b.Bytes()))
}
