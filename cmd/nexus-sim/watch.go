package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/script"
)

// stopTimeout is a run's patience with its shutdown. However it ends, what was
// acknowledged is durable.
const stopTimeout = 15 * time.Second

// signalError is why a run ended that a signal ended.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string { return "stopped by signal: " + e.Signal.String() }

var (
	errScriptEnded = errors.New("the script ended")
	errLate        = errors.New("timed out")
)

// outcome is how a run went: its boot, and what came after.
type outcome struct {
	boot, script error
}

// afterMarker is what counts of a run whose marker has come.
func (o outcome) afterMarker() error {
	if o.boot == nil && errors.Is(o.script, script.ErrForbidden) {
		return o.script
	}
	return o.boot
}

// watch is one run, from its first marker to its shutdown, with an eye on the
// marker that it is for, on the time, and on signals.
type watch struct {
	flags   bootFlags
	console *script.Console
	script  io.Reader // nil if there is none
	results func(script.Result)
	// patience bounds how long the end of a run may take that has to end.
	patience time.Duration

	stop chan struct{} // closed when the run has to end
	done chan outcome  // holds one when nothing of the system runs any more
}

// run returns nil if everything went as wanted. With a marker to wait for, that
// decides: whether lines of a script fail does not count after it. But the boot
// has to be whole, and what is forbidden stays so. Whatever ends the run, it
// shuts down first.
func (w *watch) run(cfg boot.Config) error {
	w.stop, w.done = make(chan struct{}), make(chan outcome, 1)
	var seen <-chan string
	if w.flags.until != "" {
		seen = w.console.Watch(w.flags.until)
	}
	var late <-chan time.Time
	if w.flags.timeout > 0 {
		late = time.After(w.flags.timeout)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	go func() { w.done <- w.drive(cfg) }()
	select {
	case o := <-w.done:
		if len(seen) > 0 {
			return o.afterMarker()
		}
		return w.verdict(o)
	case <-seen:
		return w.end().afterMarker()
	case <-late:
		return w.failed(fmt.Errorf("%w after %v", errLate, w.flags.timeout))
	case s := <-signals:
		signal.Stop(signals) // The next one ends the process at once.
		reason, _ := s.(syscall.Signal)
		return w.failed(signalError{reason})
	}
}

// drive boots, runs the script, and shuts down.
func (w *watch) drive(cfg boot.Config) outcome {
	m := machine.New(machine.Config{Boot: cfg, Storage: &machine.Dir{Path: w.flags.state}})
	if err := m.Boot(); err != nil {
		return outcome{boot: err}
	}
	r := script.NewRunner(m, w.console, w.results)
	r.Discreet()
	err := w.play(r)
	// The script may have switched it off. What there is to keep is durable by
	// then, or somebody has heard why not.
	_ = m.Shutdown()
	if err == nil {
		err = r.Forbidden()
	}
	return outcome{script: err}
}

// play runs the script till it ends or has to; without one it waits for that.
// A script that waits for input is left behind.
func (w *watch) play(r *script.Runner) error {
	if w.script == nil {
		<-w.stop
		return nil
	}
	name := w.flags.script
	if name == "-" {
		name = "standard input"
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(name, w.script) }()
	select {
	case err := <-ended:
		return err
	case <-w.stop:
		r.Stop()
		return nil
	}
}

// verdict is what to say of a run that came to its end without a marker that
// was waited for.
func (w *watch) verdict(o outcome) error {
	err := o.boot
	if err == nil {
		err = o.script
	}
	if w.flags.until == "" {
		return err
	}
	if err == nil {
		err = errScriptEnded
	}
	return fmt.Errorf("%w: %w", script.Missing(w.flags.until, w.console), err)
}

// failed ends the run and says why. How the rest of it went changes nothing.
func (w *watch) failed(reason error) error {
	if last, ok := w.console.Last(); ok && w.flags.until == "" {
		reason = fmt.Errorf("%w; the last marker is %q", reason, last)
	}
	reason = w.verdict(outcome{boot: reason})
	w.end()
	return reason
}

// end has the run end and waits for that.
func (w *watch) end() outcome {
	close(w.stop)
	select {
	case o := <-w.done:
		return o
	case <-time.After(w.patience):
		return outcome{boot: fmt.Errorf("%w after %v in shutting down", errLate, w.patience)}
	}
}
