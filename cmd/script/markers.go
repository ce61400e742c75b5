package script

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
)

// How long a line waits, in kernel time.
const (
	expectTimeout = 5 * time.Second
	maxSleep      = time.Hour
	nap           = 10 * time.Millisecond // between two looks at what is waited for
)

// napUntil lets kernel time pass till there is a reason to stop, and says
// whether it came in time.
func (r *Strand) napUntil(limit time.Duration, reason func() bool) (bool, error) {
	came := false
	err := r.AsLauncher(func(ctx context.Context, l *boot.Launcher) error {
		for left := limit; ; left -= nap {
			if r.stopped.Load() {
				return ErrStopped
			}
			if came = reason(); came || left <= 0 {
				return nil
			}
			if r.machine.Cut() {
				return ErrPowerCut
			}
			if err := l.Task().Sleep(ctx, min(left, nap)); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return false, err
	}
	return came, nil
}

func expect(r *Strand, a []string) (string, error) {
	seen := func() bool { return r.sees(a[0]) }
	if r.machine.System() == nil && seen() {
		return "", nil // Of a machine that is off, nothing more will come.
	}
	found, err := r.napUntil(expectTimeout, seen)
	if !found && (err == nil || errors.Is(err, machine.ErrOff)) {
		err = Missing(a[0], r.console)
	}
	return "", err
}

// sees finds a marker after the one expected before.
func (r *Runner) sees(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.console.Find(text, r.expected)
	if ok {
		r.expected = at + 1
	}
	return ok
}

// Missing says that a marker has not come, and which came last.
func Missing(text string, c *Console) error {
	last, ok := c.Last()
	if !ok {
		return fmt.Errorf("%w %q: no marker came", ErrMissing, text)
	}
	return fmt.Errorf("%w %q; the last one is %q", ErrMissing, text, last)
}

func forbid(r *Strand, a []string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forbidden = append(r.forbidden, forbidden{r.file, r.line, a[0], r.console.Watch(a[0])})
	return "", nil
}

func fails(r *Strand, a []string) (string, error) {
	_, err := r.run(a[1:])
	switch {
	case err == nil:
		return "", fmt.Errorf("%w: it succeeded, wanted %s", ErrMismatch, a[0])
	case errors.Is(err, ErrUsage), errors.Is(err, ErrStopped), errors.Is(err, ErrStuck):
		return "", err
	case Kind(err) == a[0]:
		return a[0], nil
	}
	return "", fmt.Errorf("%w: wanted %s, got: %w", ErrMismatch, a[0], err)
}

// oneOf runs a command that must come to one of several outcomes.
func oneOf(r *Strand, a []string) (string, error) {
	kinds := strings.Split(a[0], ",")
	text, err := r.run(a[1:])
	switch {
	case err == nil && slices.Contains(kinds, okKind):
		return text, nil
	case err == nil:
		return "", fmt.Errorf("%w: it succeeded, wanted %s", ErrMismatch, a[0])
	case errors.Is(err, ErrUsage), errors.Is(err, ErrStopped), errors.Is(err, ErrStuck):
		return "", err
	case slices.Contains(kinds, Kind(err)):
		return Kind(err), nil
	}
	return "", fmt.Errorf("%w: wanted %s, got: %w", ErrMismatch, a[0], err)
}

// okKind is the kind of a success.
const okKind = "ok"

// areKinds checks a list of them.
func areKinds(list string) error {
	for k := range strings.SplitSeq(list, ",") {
		if k != okKind && !isWanted(k) {
			return usage("no kind of failure is called %q", k)
		}
	}
	return nil
}

// try runs a command whose outcome may be any of the system's.
func try(r *Strand, a []string) (string, error) {
	text, err := r.run(a)
	switch {
	case err == nil:
		return text, nil
	case errors.Is(err, ErrUsage), errors.Is(err, ErrStopped), errors.Is(err, ErrStuck), errors.Is(err, ErrMismatch):
		return "", err
	}
	return Kind(err), nil
}

func sleep(r *Strand, a []string) (string, error) {
	ms, err := number(a[0], int(maxSleep/time.Millisecond))
	if err != nil {
		return "", err
	}
	_, err = r.napUntil(time.Duration(ms)*time.Millisecond, func() bool { return false })
	return "", err
}

func say(_ *Strand, a []string) (string, error) { return strings.Join(a, " "), nil }
