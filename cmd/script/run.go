package script

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/services/secret"
)

// Result is the outcome of one line, or of one put of many.
type Result struct {
	Line   int
	Strand string // of those that run side by side; otherwise empty
	Verb   string
	Args   []string // without credentials and values
	Text   string   // what the verb found out
	Err    error    // nil if it did what it should

	// Secret is what it found out if that is a secret and the runner is
	// discreet. It is gone when the report has been made.
	Secret *secret.Bytes
}

// Witness hears of every command that does something, with every word of it,
// secrets included, when it begins and when it has its outcome. It is told of
// several strands' at once, but never of two at the same time.
type Witness interface {
	// Begin returns what End is to be called with. shown are those of the words
	// that a report may show.
	Begin(words, shown []string) (step int)
	End(step int, text string, err error)
}

// forbidden is a marker that must not come.
type forbidden struct {
	file string
	line int
	text string
	seen <-chan string
}

// Runner runs scripts on one machine, one at a time.
type Runner struct {
	machine *machine.Machine
	console *Console
	report  func(Result)
	witness Witness // nil if there is none
	verbs   []known
	file    string
	waiting []planned // what runs at the next join

	discreet bool                                      // no string is made of what a verb has read
	ask      func(param string) (*secret.Bytes, error) // nil if nobody can be asked

	mu        sync.Mutex        // guards what strands share, which is what follows
	sessions  map[string]uint64 // by user
	ended     map[string]uint64 // sids of sessions that the script or the boot ended
	apps      map[string]*boot.App
	void      map[string]capability.Token // of apps that ended
	kept      map[string][]byte           // what apps were given to keep, none of it secret
	recovery  map[string]*secret.Bytes    // keys that the script keeps, by user
	expected  int                         // console lines before this one have been expected
	forbidden []forbidden
	breach    error // the first of them that came

	turn    sync.Mutex // held while a line runs
	stopped atomic.Bool
}

// NewRunner makes a runner; report hears of each outcome. Verbs beside the
// language's own are for those who add services to the system.
func NewRunner(m *machine.Machine, c *Console, report func(Result), more ...Verb) *Runner {
	return &Runner{
		machine: m, console: c, report: report, verbs: learn(append(Verbs(), more...)),
		sessions: make(map[string]uint64), ended: make(map[string]uint64),
		apps: make(map[string]*boot.App), void: make(map[string]capability.Token),
		recovery: make(map[string]*secret.Bytes), kept: make(map[string][]byte),
	}
}

// Witnessed has w hear of every command from now on.
func (r *Runner) Witnessed(w Witness) { r.witness = w }

// Run runs a script to its end or to the first line that fails, which it
// returns as a *Failure. name stands for the script in errors. After Stop it
// returns ErrStopped, perhaps wrapped in a *Failure.
func (r *Runner) Run(name string, text io.Reader) error { return r.RunFrom(name, 0, text) }

// RunFrom is Run for a script that stands in a file after that many lines.
func (r *Runner) RunFrom(name string, lines int, text io.Reader) error {
	r.file = name
	return r.eachLine(name, lines, text, r.step)
}

// Discreet has secrets that verbs find out reported as such.
func (r *Runner) Discreet() { r.discreet = true }

// Check reads a script as Run does and finds the first line that cannot be
// understood, without running any.
func (r *Runner) Check(name string, lines int, text io.Reader) error {
	return r.eachLine(name, lines, text, func(c Command) error {
		defer wipe(c.secrets)
		if err := r.understand(c.Words); err != nil {
			return &Failure{File: name, Line: c.Line, Err: err}
		}
		return nil
	})
}

// eachLine reads a script line by line, and ends with what do returns.
func (r *Runner) eachLine(name string, lines int, text io.Reader, do func(Command) error) error {
	reader := NewReader(text)
	defer reader.lines.Close()
	reader.lines.number = lines
	for {
		words, err := reader.next()
		var syntax *SyntaxError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &syntax):
			return &Failure{File: name, Line: syntax.Line, Err: usageError(syntax.Reason)}
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := do(r.command(reader.lines.number, words)); err != nil {
			return err
		}
	}
}

// step runs one line of the script itself.
func (r *Runner) step(c Command) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	if r.stopped.Load() {
		wipe(c.secrets)
		return ErrStopped
	}
	s := &Strand{Runner: r, line: c.Line}
	if err := s.step(c); err != nil {
		return err
	}
	return r.Forbidden()
}

// Stop ends a script in another goroutine. When it returns, no line of it runs
// and none will.
func (r *Runner) Stop() {
	r.stopped.Store(true)
	r.turn.Lock()
	defer r.turn.Unlock()
}

// Forbidden returns the *Failure of the first forbidden marker that was found.
// Run asks after each line; it is worth asking again when the system is down.
// It must not be called while a line may run.
func (r *Runner) Forbidden() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.forbidden {
		select {
		case line := <-f.seen:
			if r.breach == nil {
				r.breach = &Failure{f.file, f.line, "forbid", fmt.Errorf("%w: %q", ErrForbidden, line)}
			}
		default:
		}
	}
	return r.breach
}

// forget ends what a boot's end has ended: sessions are over, and apps gone.
func (r *Runner) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for user, sid := range r.sessions {
		r.ended[user] = sid
	}
	clear(r.sessions)
	for name, a := range r.apps {
		r.void[name] = a.Config.Token
	}
	clear(r.apps)
}

// tell reports an outcome.
func (r *Runner) tell(result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report(result)
}
