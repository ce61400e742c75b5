package script

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// How long a line waits, in kernel time.
const (
	expectTimeout = 5 * time.Second
	maxSleep      = time.Hour
	nap           = 10 * time.Millisecond // between two looks at what is waited for
)

// napUntil lets kernel time pass till there is a reason to stop, and says
// whether it came in time.
func (r *Runner) napUntil(limit time.Duration, reason func() bool) (came bool, err error) {
	err = r.as(r.launcher.Task(), func(ctx context.Context) error {
		for left := limit; ; left -= nap {
			if r.stopped.Load() {
				return ErrStopped
			}
			if came = reason(); came || left <= 0 {
				return nil
			}
			if err := r.launcher.Task().Sleep(ctx, min(left, nap)); err != nil {
				return err
			}
		}
	})
	return came, err
}

func expect(r *Runner, a []string) (string, error) {
	found, err := r.napUntil(expectTimeout, func() bool {
		at, ok := r.console.Find(a[0], r.expected)
		if ok {
			r.expected = at + 1
		}
		return ok
	})
	if err == nil && !found {
		err = Missing(a[0], r.console)
	}
	return "", err
}

// Missing says that a marker has not come, and which came last.
func Missing(text string, c *Console) error {
	last, ok := c.Last()
	if !ok {
		return fmt.Errorf("%w %q: no marker came", ErrMissing, text)
	}
	return fmt.Errorf("%w %q; the last one is %q", ErrMissing, text, last)
}

func forbid(r *Runner, a []string) (string, error) {
	r.forbidden = append(r.forbidden, forbidden{r.file, r.line, a[0], r.console.Watch(a[0])})
	return "", nil
}

func fails(r *Runner, a []string) (string, error) {
	i := slices.IndexFunc(wanted, func(k kind) bool { return k.name == a[0] })
	if i < 0 {
		return "", usage("no kind of failure is called %q", a[0])
	}
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

func sleep(r *Runner, a []string) (string, error) {
	ms, err := number(a[0], int(maxSleep/time.Millisecond))
	if err != nil {
		return "", err
	}
	_, err = r.napUntil(time.Duration(ms)*time.Millisecond, func() bool { return false })
	return "", err
}

func say(_ *Runner, a []string) (string, error) { return strings.Join(a, " "), nil }
