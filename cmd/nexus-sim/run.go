package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/cmd/trace"
)

// runFlags are what `nexus-sim run` takes.
type runFlags struct {
	file     string
	seed     string
	state    string
	trace    string
	timeline string
	manifest string
	audit    string
	timeout  time.Duration
	json     bool
}

func parseRun(args []string, std streams) (f runFlags, err error) {
	set := newFlags("run")
	set.StringVar(&f.seed, "seed", "", "`number` that decides whatever the scenario does not (bin/nexus-sim-insecure only)")
	set.StringVar(&f.state, "state", "", "state `directory` for a run without a seed; otherwise one that is removed afterwards")
	set.StringVar(&f.trace, "trace", "", "write every event to this `file`")
	set.StringVar(&f.timeline, "timeline", "", "draw a Mermaid sequence diagram into this `file`")
	set.StringVar(&f.manifest, "markers", "", "expect the markers of this TOML `file` beside the scenario's own")
	set.DurationVar(&f.timeout, "timeout", 0, "give up after this `time`, as 500ms or 1m; 0 is never")
	set.StringVar(&f.audit, "audit", "", auditHelp)
	set.BoolVar(&f.json, "json", false, "print one JSON object a line")
	files, err := parseWith(set, args, std)
	switch {
	case err != nil:
		return f, err
	case len(files) != 1:
		return f, fmt.Errorf("%w: run needs one SCENARIO", errUsage)
	case f.timeout < 0:
		return f, fmt.Errorf("%w: run: --timeout is negative", errUsage)
	}
	f.file = files[0]
	return f, nil
}

func runRun(args []string, std streams) error {
	f, err := parseRun(args, std)
	if err != nil {
		return err
	}
	s, err := loadScenario(f.file)
	if err != nil {
		return err
	}
	if f.manifest != "" {
		if s.Markers, err = loadManifest(f.manifest); err != nil {
			return err
		}
	}
	seed, err := f.theSeed(s)
	if err != nil {
		return err
	}
	p := &printer{out: std.out, json: f.json, state: f.state}
	if seed == nil {
		err = runOrdinary(f, s, p, std)
	} else {
		err = runSeeded(f, s, *seed, p, std)
	}
	return p.ended(err)
}

// theSeed is the one on the command line, or else the scenario's; nil if there
// is none, which an ordinary build never has.
func (f *runFlags) theSeed(s *scenario.Scenario) (*uint64, error) {
	if f.seed != "" {
		n, err := strconv.ParseUint(f.seed, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: run: --seed %q is no number from 0 to %d", errUsage, f.seed, uint64(1<<64-1))
		}
		if bySeed == nil {
			return nil, otherBuild("run " + quotedArg(f.file) + " --seed " + f.seed)
		}
		return &n, nil
	}
	if bySeed == nil {
		return nil, nil
	}
	if s.Machine.Seed == 0 {
		one := uint64(1)
		return &one, nil
	}
	own := uint64(s.Machine.Seed)
	return &own, nil
}

// otherBuild says which command does what this build cannot.
func otherBuild(command string) error {
	return fmt.Errorf("%w: the chance of this build is the system's; `make sim` builds the one for seeds, and then: "+
		"bin/nexus-sim-insecure %s", errUsage, command)
}

func quotedArg(word string) string { return quoted([]string{word})[0] }

// loadScenario reads a scenario and finds what is wrong with it, before
// anything is made.
func loadScenario(name string) (*scenario.Scenario, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return scenario.Parse(name, text)
}

func loadManifest(name string) (*scenario.Manifest, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	m, err := scenario.ParseManifest(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// runOrdinary plays on goroutines, with real time and disk.
func runOrdinary(f runFlags, s *scenario.Scenario, p *printer, std streams) error {
	warnMode(p, std.err)
	warnMemory(std.err)
	if f.state == "" {
		dir, err := os.MkdirTemp("", "nexus-sim-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		f.state, p.state = dir, dir
	}
	line := trace.NewTimeline(s.DrawsFrom(trace.TimelineFrom))
	st := p.stage(line, f.timeline != "")
	st.Machine = machine.Config{Boot: shipped(), Storage: &machine.Dir{Path: f.state}}
	st.Machine.Boot.Report = p.note
	records, err := openAudit(f.audit)
	if err != nil {
		return err
	}
	records.listen(&st.Machine.Boot)
	return errors.Join(records.close(playOrdinary(f, s, st)), writeTimeline(f.timeline, line))
}

// playOrdinary plays on goroutines. It writes a trace if one is asked for, which
// can be drawn and not be played again.
func playOrdinary(f runFlags, s *scenario.Scenario, st scenario.Stage) error {
	if f.trace == "" {
		o, err := playUntil(s, st, f.timeout)
		return firstOf(err, o.Err)
	}
	file, err := os.OpenFile(f.trace, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	w := trace.NewWriter(file, trace.Header{Build: buildID(), Live: true, Scenario: s.Name, Text: s.Text})
	o, err := playUntil(s, recording(st, w), f.timeout)
	err = firstOf(err, o.Err)
	return errors.Join(err, w.Close(trace.End{Boots: o.Boots, Err: err}), file.Close())
}

// stage is a stage before which the printer sits, and who draws, if somebody does.
func (p *printer) stage(line *trace.Timeline, draws bool) scenario.Stage {
	st := scenario.Stage{Marker: p.marker, Result: p.result, Crash: p.crash}
	if draws {
		st.Marker = func(text string) { p.marker(text); line.Marker(text) }
		st.Result = func(r script.Result) { p.result(r); line.Result(r) }
		st.Event = line.Event
	}
	return st
}

func writeTimeline(name string, line *trace.Timeline) error {
	if name == "" {
		return nil
	}
	return os.WriteFile(name, []byte(line.String()), 0o644)
}

// playUntil plays a scenario till its end, till time is up, or till a signal
// comes; then the current line ends, and the machine is switched off.
func playUntil(s *scenario.Scenario, st scenario.Stage, timeout time.Duration) (o scenario.Outcome, err error) {
	var late <-chan time.Time
	if timeout > 0 {
		late = time.After(timeout)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	begun, done := make(chan *script.Runner, 1), make(chan scenario.Outcome, 1)
	also := st.Begun
	st.Begun = func(r *script.Runner, m *machine.Machine) {
		if also != nil {
			also(r, m)
		}
		begun <- r
	}
	go func() { done <- s.Play(st) }()
	r := <-begun
	select {
	case o := <-done:
		return o, nil
	case <-late:
		err = fmt.Errorf("%w after %v", errLate, timeout)
	case sig := <-signals:
		signal.Stop(signals) // The next one ends the process at once.
		reason, _ := sig.(syscall.Signal)
		err = signalError{reason}
	}
	go r.Stop()
	select {
	case o = <-done:
		return o, err
	case <-time.After(stopTimeout):
		return o, fmt.Errorf("%w, and it did not stop in %v", err, stopTimeout)
	}
}

// firstOf is the first error that is one.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// recorded plays a scenario by a seed and answers its trace as well.
func recorded(s *scenario.Scenario, st *scenario.Seeded, seed uint64, timeout time.Duration) ([]byte, error) {
	var text bytes.Buffer
	w := trace.NewWriter(&text, trace.Header{Build: buildID(), Seed: seed, Scenario: s.Name, Text: s.Text})
	o, err := playUntil(s, recording(st.Stage, w), timeout)
	if err != nil {
		return nil, err
	}
	err = w.Close(trace.End{Boots: o.Boots, Steps: st.Steps(), Virtual: st.VirtualTime(), Disk: st.DiskHash(), Err: o.Err})
	return text.Bytes(), firstOf(o.Err, err)
}

// recording is the stage with a trace's writer before it.
func recording(st scenario.Stage, w *trace.Writer) scenario.Stage {
	marker, result, event := st.Marker, st.Result, st.Event
	st.Marker = func(line string) { w.Marker(line); call(marker, line) }
	st.Result = func(r script.Result) { w.Result(r); call(result, r) }
	st.Event = func(e traceEvent) { w.Event(e); call(event, e) }
	return st
}

func call[T any](fn func(T), what T) {
	if fn != nil {
		fn(what)
	}
}
