package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
)

// Result is the outcome of one line, or of one put of many.
type Result struct {
	Line int
	Verb string
	Args []string // without credentials and values
	Text string   // what the verb found out
	Err  error    // nil if it did what it should
}

// forbidden is a marker that must not come.
type forbidden struct {
	file string
	line int
	text string
	seen <-chan string
}

// Runner runs scripts on one system, one at a time.
type Runner struct {
	system   *boot.System
	launcher *boot.Launcher
	console  *Console
	report   func(Result)
	verbs    []known

	sessions  map[string]uint64 // by user
	ended     map[string]uint64 // sids of sessions that the script ended
	apps      map[string]*boot.App
	file      string
	line      int
	expected  int // console lines before this one have been expected
	forbidden []forbidden
	breach    error // the first of them that came

	turn    sync.Mutex // held while a line runs
	stopped atomic.Bool
}

// NewRunner makes a runner; report hears of each outcome.
func NewRunner(s *boot.System, c *Console, report func(Result)) (*Runner, error) {
	l, err := s.Launcher()
	if err != nil {
		return nil, err
	}
	return &Runner{
		system: s, launcher: l, console: c, report: report, verbs: learn(Verbs),
		sessions: make(map[string]uint64), ended: make(map[string]uint64), apps: make(map[string]*boot.App),
	}, nil
}

// Run runs a script to its end or to the first line that fails, which it
// returns as a *Failure. name stands for the script in errors. After Stop it
// returns ErrStopped, perhaps wrapped in a *Failure.
func (r *Runner) Run(name string, text io.Reader) error {
	r.file = name
	reader := NewReader(text)
	for {
		c, err := reader.Next()
		var syntax *SyntaxError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &syntax):
			return &Failure{File: name, Line: syntax.Line, Err: usageError(syntax.Reason)}
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := r.step(c); err != nil {
			return err
		}
	}
}

// step runs one line and reports it.
func (r *Runner) step(c Command) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	if r.stopped.Load() {
		return ErrStopped
	}
	r.line = c.Line
	out, err := r.run(c.Words)
	if err != nil {
		out = ""
	}
	r.report(Result{Line: c.Line, Verb: c.Words[0], Args: r.public(c.Words)[1:], Text: out, Err: err})
	if err == nil {
		return r.Forbidden()
	}
	f := &Failure{File: r.file, Line: c.Line, Verb: c.Words[0], Err: err}
	if errors.Is(err, ErrUsage) {
		f.Verb = "" // The reason says what is known of it.
	}
	return f
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

// run runs one command.
func (r *Runner) run(words []string) (string, error) {
	k, ok := r.find(words[0])
	if !ok {
		return "", usage("no verb is called %q; the nearest is %q", words[0], r.nearest(words[0]))
	}
	if args := words[1:]; k.fits(args) {
		return k.run(r, args)
	}
	return "", usage("usage: %s", k.Usage())
}

// as runs fn as a flow of control of a task.
func (r *Runner) as(t *ipc.Task, fn func(ctx context.Context) error) (err error) {
	if !r.system.Run(t, func(ctx context.Context) { err = fn(ctx) }) {
		return ErrStuck
	}
	return err
}

// asLauncher runs fn as the session manager.
func (r *Runner) asLauncher(fn func(ctx context.Context, l *boot.Launcher) error) error {
	return r.as(r.launcher.Task(), func(ctx context.Context) error { return fn(ctx, r.launcher) })
}

// asApp runs fn as an app, which is launched if it does not run.
func (r *Runner) asApp(name string, fn func(ctx context.Context, a *boot.App) error) error {
	a, err := r.app(name, boot.AppRights)
	if err != nil {
		return err
	}
	return r.as(a.Task, func(ctx context.Context) error { return fn(ctx, a) })
}

// sid finds the user's session, or the one that the script ended last.
func (r *Runner) sid(user string) (uint64, error) {
	if sid := r.sessions[user]; sid != 0 {
		return sid, nil
	}
	if sid := r.ended[user]; sid != 0 {
		return sid, nil
	}
	return 0, usage("the script has not logged in %q", user)
}

// over notes that the user's session has ended.
func (r *Runner) over(user string) {
	if sid := r.sessions[user]; sid != 0 {
		delete(r.sessions, user)
		r.ended[user] = sid
	}
}

// app returns the running app USER/APP, after starting it if it does not run.
func (r *Runner) app(name string, rights capability.TokenRights) (*boot.App, error) {
	if a := r.apps[name]; a != nil {
		return a, nil
	}
	user, id, ok := strings.Cut(name, "/")
	if !ok {
		return nil, usage("%q is not USER/APP", name)
	}
	sid, err := r.sid(user)
	if err != nil {
		return nil, err
	}
	err = r.asLauncher(func(ctx context.Context, l *boot.Launcher) error {
		a, err := l.Launch(ctx, sid, id, rights)
		if err == nil {
			r.apps[name] = a
		}
		return err
	})
	return r.apps[name], err
}

// exitApp ends an app if it runs.
func (r *Runner) exitApp(name string) {
	if a := r.apps[name]; a != nil {
		a.Exit()
		delete(r.apps, name)
	}
}

// exitApps ends a user's apps: after an unseal they start with new tokens.
func (r *Runner) exitApps(user string) {
	for name := range r.apps {
		if strings.HasPrefix(name, user+"/") {
			r.exitApp(name)
		}
	}
}
