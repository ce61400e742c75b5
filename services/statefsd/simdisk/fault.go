package simdisk

import "errors"

// SetFault installs a hook that is called before each operation, and makes it
// fail by returning an error. A failed Append, Truncate or Sync poisons the
// file; a failed Replace, Rename or Remove has done nothing. An error that is,
// or wraps, a Short or an Unsure changes that. The hook must not call the disk.
// nil takes it away.
func (d *Disk) SetFault(fault func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// Short is what a hook returns for an Append that stores only the beginning of
// what it was given, and fails. For other calls it is its Err.
type Short struct {
	Bytes int // that are stored; all of them if there are fewer
	Err   error
}

func (s Short) Error() string { return "short write: " + s.Err.Error() }

// Unwrap answers what kept the rest from being written.
func (s Short) Unwrap() error { return s.Err }

// Unsure is what a hook returns for a Replace, Rename or Remove that is done,
// but fails before it is durable: a reader sees the change, and a power cut may
// undo it. What was put in the place of a file is poisoned. For other calls it
// is its Err.
type Unsure struct{ Err error }

func (u Unsure) Error() string { return "done, not durable: " + u.Err.Error() }

// Unwrap answers what kept the change from being made durable.
func (u Unsure) Unwrap() error { return u.Err }

// FailAt is a fault hook: the n-th call fails.
func FailAt(n uint64, err error) func(Op) error {
	return func(op Op) error {
		if op.N == n {
			return err
		}
		return nil
	}
}

// FailFrom is a fault hook: the n-th call and all after it fail, as if the
// power had been cut before it.
func FailFrom(n uint64, err error) func(Op) error {
	return func(op Op) error {
		if op.N >= n {
			return err
		}
		return nil
	}
}

// Stored answers what of p an Append stores whose hook returned err; ok is false
// if it does nothing at all.
func Stored(p []byte, err error) (stored []byte, ok bool) {
	var s Short
	if err == nil {
		return p, true
	}
	if !errors.As(err, &s) {
		return nil, false
	}
	return p[:max(0, min(s.Bytes, len(p)))], true
}

// Done says whether a Replace, Rename or Remove happens whose hook returned err.
func Done(err error) bool {
	var u Unsure
	return err == nil || errors.As(err, &u)
}
