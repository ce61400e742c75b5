package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/statefsd/bootrec"
	"nexus.internal/os/services/statefsd/disk"
)

// located is an error of a run, in the words of who gave the state directory:
// files have paths that begin with it, as it was given.
type located struct {
	state string
	err   error
}

func (l located) Unwrap() error { return l.err }

func (l located) Error() string {
	text := l.err.Error()
	var fault *wire.Fault
	if errors.As(l.err, &fault) {
		text = strings.ReplaceAll(text, fault.Error(), l.fault(fault))
	}
	var damage *bootrec.Damage
	if errors.As(l.err, &damage) {
		text = strings.ReplaceAll(text, damage.Error(),
			fmt.Sprintf("%s: damaged at offset %d: %s", l.file(damage.File), damage.Offset, damage.What))
	}
	var failed *disk.Error
	if errors.As(l.err, &failed) {
		text = strings.ReplaceAll(text, failed.Error(), l.disk(failed))
	}
	if errors.Is(l.err, bootrec.ErrMode) {
		text = strings.ReplaceAll(text, bootrec.ErrMode.Error(),
			fmt.Sprintf("%s: %v; this build's is %s", l.file(bootrec.File), bootrec.ErrMode, rngd.Mode))
	}
	return text
}

// file is the path of a file on the disk; of one in memory, the disk's own.
func (l located) file(path string) string {
	if l.state == "" {
		return path
	}
	return strings.TrimRight(l.state, "/") + "/" + path
}

func (l located) fault(f *wire.Fault) string {
	path, ok := strings.CutPrefix(f.File, "state:/")
	if !ok {
		return f.Error()
	}
	return fmt.Sprintf("%s: %v at offset %d", l.file(bootrec.StateDir+"/"+path), f.Code, f.Offset)
}

func (l located) disk(e *disk.Error) string {
	reason := e.Err
	var system *fs.PathError
	if errors.As(reason, &system) {
		reason = system.Err
	}
	if e.Op != "open" {
		return fmt.Sprintf("%s: %v", l.file(e.Path), reason)
	}
	switch {
	case errors.Is(reason, disk.ErrConflict):
		return l.state + ": a part of this path is not a directory"
	case errors.Is(reason, disk.ErrNotExist):
		return l.state + ": cannot be made"
	}
	return fmt.Sprintf("%s: %v", l.state, reason)
}

// codeOf says in one word why a run failed: for failures of a script what
// script.Kind says, otherwise one of these.
func codeOf(err error) string {
	var signal signalError
	switch kind := script.Kind(err); {
	case kind != "other":
		return kind
	case errors.As(err, &signal):
		return "signal"
	case errors.Is(err, errLate):
		return "timed-out"
	case errors.Is(err, disk.ErrInUse):
		return "in-use"
	case errors.Is(err, disk.ErrReadOnly):
		return "not-writable"
	case errors.Is(err, disk.ErrNotDir), errors.Is(err, disk.ErrConflict):
		return "not-a-directory"
	case errors.Is(err, bootrec.ErrDamaged):
		return "damaged"
	case errors.Is(err, bootrec.ErrMode):
		return "other-mode"
	}
	return "other"
}

// oneLine writes everything that is not printable as Go's escapes, so that no
// word of a script can end a line, or do something to a terminal.
func oneLine(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		c, size := utf8.DecodeRuneInString(text)
		switch {
		case c == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case !unicode.IsPrint(c):
			b.WriteString(strings.Trim(strconv.QuoteRune(c), "'"))
		default:
			b.WriteRune(c)
		}
		text = text[size:]
	}
	return b.String()
}
