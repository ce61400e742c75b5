package script

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
)

// Strand is a sequence of lines: the script itself, or one of those that run
// side by side.
type Strand struct {
	*Runner
	name    string
	line    int
	parker  ipc.Parker      // nil for the script itself
	secrets []*secret.Bytes // of the command that runs
	shown   *secret.Bytes   // what it has found out, nil if that is no secret
	system  *boot.System    // that a strand runs on, and ends with; nil for the script
}

// step runs one line and reports it. It wipes the line's secrets.
func (r *Strand) step(c Command) error {
	r.secrets = c.secrets
	out, err := r.run(c.Words)
	defer r.wipe(err)
	if err != nil {
		out = ""
		r.shown.Wipe()
		r.shown = nil
	}
	if r.dead() {
		if r.system != nil {
			return ErrPowerCut // Nobody is left to be told.
		}
		if err := r.clearUp(); err != nil {
			return err
		}
	}
	result := Result{Line: c.Line, Strand: r.name, Verb: c.Words[0], Args: r.public(c.Words)[1:], Text: out, Err: err}
	if r.discreet {
		result.Secret = r.shown
	} else if r.shown != nil {
		result.Text = string(r.shown.Expose())
	}
	r.tell(result)
	if err == nil {
		return nil
	}
	var inner *Failure
	if errors.As(err, &inner) {
		return err // It is a line of a strand that failed.
	}
	f := &Failure{File: r.file, Line: c.Line, Verb: c.Words[0], Err: err}
	if errors.Is(err, ErrUsage) {
		f.Verb = "" // The reason says what is known of it.
	}
	return f
}

// wipe wipes what a line has had of secrets. If the power was cut, what it began
// may still be looking at them.
func (r *Strand) wipe(err error) {
	if !errors.Is(err, ErrPowerCut) {
		wipe(r.secrets)
	}
	r.shown.Wipe()
}

// run runs one command.
func (r *Strand) run(words []string) (string, error) {
	if err := r.understand(words); err != nil {
		return "", err
	}
	k, _ := r.find(words[0])
	if r.system != nil && k.alone {
		return "", usage("%s is not for strands", k.Name)
	}
	switch {
	case k.wraps():
		return k.Run(r, words[1:])
	case r.witness == nil:
		return r.outcome(k.Run(r, words[1:]))
	}
	step := r.begin(r.revealed(words))
	text, err := r.outcome(k.Run(r, words[1:]))
	if r.shown != nil {
		r.end(step, string(r.shown.Expose()), err)
		return text, err
	}
	r.end(step, text, err)
	return text, err
}

// outcome is what a command came to: of one during which the power was cut,
// nobody knows.
func (r *Strand) outcome(text string, err error) (string, error) {
	if r.dead() || errors.Is(err, boot.ErrPowerCut) {
		return "", ErrPowerCut
	}
	return text, err
}

// dead says whether the power was cut: that of the system that a strand runs on,
// or, for the script, if it has not cleared up after it yet. A strand may run
// out while the script does that.
func (r *Strand) dead() bool {
	s := r.system
	if s == nil {
		s = r.machine.System()
	}
	return s != nil && s.Cut()
}

// clearUp ends what a power cut has left of a boot.
func (r *Runner) clearUp() error {
	defer r.forget() // Till then, what runs out may still note something.
	return r.machine.Shutdown()
}

func (r *Runner) begin(words []string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.witness.Begin(words, r.public(words))
}

func (r *Runner) end(step int, text string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.witness.End(step, text, err)
}

// understand says why a command cannot be one, that in its arguments included.
func (r *Runner) understand(words []string) error {
	k, ok := r.find(words[0])
	if !ok {
		return usage("no verb is called %q; the nearest is %q", words[0], r.nearest(words[0]))
	}
	args := words[1:]
	if !k.fits(args) {
		return usage("usage: %s", k.Usage())
	}
	for i, word := range args {
		switch p, _ := k.at(i); p.name {
		case command:
			return r.understand(args[i:])
		case "KIND":
			if !isWanted(word) {
				return usage("no kind of failure is called %q", word)
			}
		case "KINDS":
			if err := areKinds(word); err != nil {
				return err
			}
		}
	}
	return nil
}

// running is the system, if there is power.
func (r *Strand) running() (*boot.System, error) {
	s := r.system
	if s == nil {
		s = r.machine.System()
	}
	switch {
	case s == nil:
		return nil, machine.ErrOff
	case s.Cut():
		return nil, ErrPowerCut
	}
	return s, nil
}

// as runs fn as a flow of control of a task. If the power is cut meanwhile, fn
// may go on for a while after that: then nothing that it writes may be read.
func (r *Strand) as(t *ipc.Task, fn func(ctx context.Context) error) error {
	s, err := r.running()
	if err != nil {
		return err
	}
	if r.system != nil {
		return r.beside(t, fn)
	}
	var result error
	switch {
	case s.Run(t, func(ctx context.Context) { result = fn(ctx) }):
		return result
	case s.Cut():
		return ErrPowerCut
	}
	return ErrStuck
}

// beside is as for a strand, which is a flow of control itself.
func (r *Strand) beside(t *ipc.Task, fn func(ctx context.Context) error) error {
	var result error
	t.Go(func(ctx context.Context) {
		defer r.parker.Unpark()
		result = fn(ctx)
	})
	if !r.parker.Park(nil) {
		return ErrPowerCut
	}
	return result
}

// launcher is the session manager of this boot.
func (r *Strand) launcher() (*boot.Launcher, error) {
	s, err := r.running()
	if err != nil {
		return nil, err
	}
	return s.Launcher()
}

// AsLauncher runs fn as the session manager. What fn writes may be read only if
// the error is nil.
func (r *Strand) AsLauncher(fn func(ctx context.Context, l *boot.Launcher) error) error {
	l, err := r.launcher()
	if err != nil {
		return err
	}
	return r.as(l.Task(), func(ctx context.Context) error { return fn(ctx, l) })
}

// AsApp runs fn as the app USER/APP, which is launched if it does not run. What
// fn writes may be read only if the error is nil.
func (r *Strand) AsApp(name string, fn func(ctx context.Context, a *boot.App) error) error {
	a, err := r.app(name, boot.AppRights)
	if err != nil {
		return err
	}
	return r.as(a.Task, func(ctx context.Context) error { return fn(ctx, a) })
}

// sid finds the user's session, or the one that ended last.
func (r *Runner) sid(user string) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if sid := r.sessions[user]; sid != 0 {
		delete(r.sessions, user)
		r.ended[user] = sid
	}
}

// app returns the running app USER/APP, after starting it if it does not run.
func (r *Strand) app(name string, rights capability.TokenRights) (*boot.App, error) {
	if a := r.runs(name); a != nil {
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
	var a *boot.App
	err = r.AsLauncher(func(ctx context.Context, l *boot.Launcher) (err error) {
		a, err = l.Launch(ctx, sid, id, rights)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.started(name, a), nil
}

func (r *Runner) runs(name string) *boot.App {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apps[name]
}

// started notes a launched app, unless another strand was quicker.
func (r *Runner) started(name string, a *boot.App) *boot.App {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first := r.apps[name]; first != nil {
		a.Exit()
		return first
	}
	r.apps[name] = a
	return a
}

// exitApps ends apps that run: one, or all of a user, which after an unseal
// start with new tokens.
func (r *Runner) exitApps(which func(name string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(r.apps)) {
		if which(name) {
			r.void[name] = r.apps[name].Config.Token
			r.apps[name].Exit()
			delete(r.apps, name)
		}
	}
}

func (r *Runner) exitApp(name string) { r.exitApps(func(other string) bool { return other == name }) }

func (r *Runner) exitAppsOf(user string) {
	r.exitApps(func(name string) bool { return strings.HasPrefix(name, user+"/") })
}

// planned is a strand that waits for the join.
type planned struct {
	name  string
	lines []Command
}

func async(r *Strand, a []string) (string, error) {
	i := slices.IndexFunc(r.waiting, func(p planned) bool { return p.name == a[0] })
	if i < 0 {
		i = len(r.waiting)
		r.waiting = append(r.waiting, planned{name: a[0]})
	}
	r.waiting[i].lines = append(r.waiting[i].lines, Command{Line: r.line, Words: a[1:], secrets: r.secrets})
	r.secrets = nil // They are for when it runs.
	return "", nil
}

// join runs the strands side by side. Each ends at its first line that fails;
// the first failure in the order of the script is the outcome.
func join(r *Strand, _ []string) (string, error) {
	all := r.waiting
	r.waiting = nil
	s, err := r.running()
	if err != nil {
		return "", err
	}
	failures := make([]error, len(all))
	over := make([]chan struct{}, len(all))
	for i, p := range all {
		over[i] = make(chan struct{})
		s.Go(func(parker ipc.Parker) {
			defer close(over[i])
			failures[i] = r.play(p, s, parker)
		})
	}
	for _, done := range over {
		switch {
		case s.Await(done):
		case s.Cut():
			return "", ErrPowerCut
		default:
			return "", ErrStuck
		}
	}
	return fmt.Sprintf("%d strands", len(all)), first(failures)
}

// play runs the lines of one strand.
func (r *Strand) play(p planned, on *boot.System, parker ipc.Parker) error {
	next := 0
	defer func() {
		for _, c := range p.lines[next:] {
			wipe(c.secrets) // Those of lines that ran are step's.
		}
	}()
	for _, c := range p.lines {
		if r.stopped.Load() {
			return ErrStopped
		}
		next++
		s := &Strand{Runner: r.Runner, name: p.name, line: c.Line, parker: parker, system: on}
		if err := s.step(c); err != nil {
			return err
		}
	}
	return nil
}

// first is the failure of the line that comes first in the script.
func first(failures []error) (err error) {
	line := 0
	for _, f := range failures {
		var failure *Failure
		if errors.As(f, &failure) && (err == nil || failure.Line < line) {
			err, line = f, failure.Line
		} else if err == nil {
			err = f
		}
	}
	return err
}
