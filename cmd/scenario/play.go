package scenario

import (
	"errors"
	"fmt"
	"strings"

	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/oracle"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
)

// Stage is where and before whom a scenario is played.
type Stage struct {
	// Machine is what the machine is made of. The play fills in console, tap and
	// crash, of which who watches hears below, the scenario's quotas, and its
	// policy if it has one.
	Machine machine.Config
	// Verbs are those of services that were added to the system.
	Verbs []script.Verb
	// Marker, Result, Event and Crash hear of everything, in order. Each may be
	// nil.
	Marker func(line string)
	Result func(script.Result)
	Event  func(ipc.TraceEvent)
	Crash  func(*ipc.PanicReport)
	// Begun gets the runner, before the first line, so that somebody can stop
	// it, and the machine.
	Begun func(*script.Runner, *machine.Machine)
}

// Outcome is what a play came to.
type Outcome struct {
	// Err is nil if everything went as wanted: a *script.Failure for a line, an
	// *oracle.Violation for a promise that was not kept, or a marker that is
	// missing or forbidden.
	Err error
	// Boots counts those that were begun.
	Boots int
	// Fired says how often each kind of fault came.
	Fired map[machine.Kind]int
	// Undecided counts users' histories that were too hard to judge.
	Undecided int
}

// Play plays the scenario to its end or to the first line that fails, and
// switches the machine off. What it says of that is the first of: the line, a
// forbidden marker, the manifest; and what the oracle says.
func (s *Scenario) Play(st Stage) Outcome {
	p := &play{stage: st}
	console := script.NewConsole(p.marker)
	cfg := st.Machine
	cfg.Boot.Console = console
	cfg.Boot.Tap = p.event
	cfg.Boot.Crash = p.crash
	cfg.Boot.Quotas = s.Machine.Quotas()
	if s.Policy != nil {
		cfg.Boot.Policy = s.Policy
	}
	m := machine.New(cfg)
	p.faults = m.Faults()
	p.oracle = oracle.New(cfg.Boot.Quotas, m.Faults().Fired)
	r := script.NewRunner(m, console, p.result, st.Verbs...)
	r.Witnessed(p.oracle)
	if st.Begun != nil {
		st.Begun(r, m)
	}
	err := r.RunFrom(s.Name, s.Lines, strings.NewReader(s.Script))
	if off := m.Shutdown(); err == nil && off != nil && !errors.Is(off, machine.ErrOff) {
		err = off
	}
	if err == nil {
		err = r.Forbidden()
	}
	if err == nil && s.Markers != nil {
		err = s.Markers.Check(p.markers)
	}
	// A line that failed says where, and the oracle perhaps why.
	if verdict := p.oracle.Verdict(); verdict != nil && err != nil {
		err = fmt.Errorf("%w; %w", err, verdict)
	} else if err == nil {
		err = verdict
	}
	return Outcome{Err: err, Boots: m.Boots(), Fired: m.Faults().Fired(), Undecided: p.oracle.Undecided()}
}

// play is one performance.
type play struct {
	stage   Stage
	oracle  *oracle.Oracle
	faults  *machine.Faults
	markers []string // the console's lock guards them
}

func (p *play) marker(line string) {
	p.markers = append(p.markers, line)
	p.oracle.Marker(line)
	if p.stage.Marker != nil {
		p.stage.Marker(line)
	}
}

func (p *play) result(r script.Result) {
	if p.stage.Result != nil {
		p.stage.Result(r)
	}
}

func (p *play) crash(r *ipc.PanicReport) {
	if !r.Asked && !(r.Start && p.harmed()) {
		p.oracle.Panicked(r)
	}
	if p.stage.Crash != nil {
		p.stage.Crash(r)
	}
}

// harmed says whether a fault came, so that a service may fail to start.
func (p *play) harmed() bool { return len(p.faults.Fired()) > 0 }

func (p *play) event(e ipc.TraceEvent) {
	p.oracle.Event(e)
	if p.stage.Event != nil {
		p.stage.Event(e)
	}
}
