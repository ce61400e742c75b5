package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// fail wraps an error of the operating system, or one of this package, for
// the caller.
func fail(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	return &Error{Op: op, Path: path, Err: classify(err)}
}

func classify(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return ErrNotExist
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EEXIST):
		return ErrConflict
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return ErrNoSpace
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return ErrReadOnly
	}
	return err
}

// failRead is fail for what doesn't write: a refusal to read keeps the
// operating system's words.
func failRead(op, path string, err error) error {
	for _, refusal := range []error{unix.EROFS, unix.EACCES, unix.EPERM} {
		if errors.Is(err, refusal) {
			return &Error{Op: op, Path: path, Err: refusal}
		}
	}
	return fail(op, path, err)
}

// gone says that something isn't there, or not as a directory.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }
