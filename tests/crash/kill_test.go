package crash

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"nexus.internal/os/services/statefsd/simdisk"
)

var errKilled = errors.New("killed")

// TestKilledInTheMiddle kills the process in the middle of each call that changes
// a directory: the next one finds the change, which is not durable yet, goes on
// from there, and then the power is cut. Nothing that was shown or acknowledged
// in between may be gone.
func TestKilledInTheMiddle(t *testing.T) {
	r := record(t)
	tried := 0
	for _, c := range r.cuts {
		d := c.disk.Clone()
		d.SetFault(func(simdisk.Op) error { return simdisk.Unsure{Err: errKilled} })
		switch c.call.Kind {
		case simdisk.Replace:
			_ = d.Replace(c.call.Path, c.data)
		case simdisk.Rename:
			_ = d.Rename(c.call.Path, c.call.To)
		case simdisk.Remove:
			_ = d.Remove(c.call.Path)
		default:
			continue
		}
		d.SetFault(nil)
		if tried++; brief() && tried%5 != 0 {
			continue
		}
		if err := revived(t, d); err != nil {
			t.Errorf("%s, killed in it: %v", &c, err)
		}
	}
	t.Logf("%d calls to be killed in", tried)
}

// revived goes on from where a process was killed, and has the power cut then:
// once when everything was put to use, and once as soon as the next one is ready.
func revived(t *testing.T, d *simdisk.Disk) error {
	seen, after, err := goOnFrom(t, d)
	if err != nil {
		return err
	}
	now, _, err := goOnFrom(t, after.Crash())
	if err != nil {
		return fmt.Errorf("and then a power cut: %w", err)
	}
	if !maps.Equal(now, seen) {
		return fmt.Errorf("and then a power cut: there is%s", difference(now, seen))
	}
	ready := &watched{Disk: d.Reopen()}
	w, err := start(ready)
	if err != nil {
		return err
	}
	ready.TakeAway()
	w.off()
	if _, _, err = goOnFrom(t, ready.Crash()); err != nil {
		return fmt.Errorf("and then a power cut when it was ready: %w", err)
	}
	return nil
}

// goOnFrom boots on a disk, looks, and puts something. It answers what is to be
// seen then, and the disk.
func goOnFrom(t *testing.T, d *simdisk.Disk) (state, *simdisk.Disk, error) {
	s := &watched{Disk: d.Reopen()}
	w, err := start(s)
	if err != nil {
		return nil, nil, fmt.Errorf("boot: %w", err)
	}
	defer func() {
		s.TakeAway()
		w.off()
	}()
	seen, err := w.recover(t.Context())
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(w.others(t.Context(), seen), w.works(t.Context(), seen)); err != nil {
		return nil, nil, err
	}
	seen, err = w.look(t.Context())
	return seen, s.Clone(), err
}
