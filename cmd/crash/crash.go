// Package crash has the file that keeps an input under which the live system
// did something wrong, and says what such inputs are run by: a fuzz target and
// `nexus-sim replay` run the same code on the same bytes. docs/FUZZING.md shows
// a file.
//
// It touches no file and runs nothing by itself.
package crash

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Target is something live that bytes drive.
type Target interface {
	// Name is what crash files call it: one word.
	Name() string
	// Run does what the bytes say, from a fresh start, and returns what of it
	// was wrong, or nil: in one line, and then perhaps lines about how it came to
	// that. Any bytes are an input, and the same bytes always do the same.
	Run(input []byte) error
}

// MaxInput is how long an input may be, in bytes. Targets read no further.
const MaxInput = 4096

// File is a crash file.
type File struct {
	Target string
	// Failed is what was wrong when the file was made: one line.
	Failed string
	Input  []byte
	// About is for people: what the input does. Nothing reads it.
	About string
}

// The format: a line with the version, lines with a key each, and the text for
// people, to the end. A long input has several lines.
const (
	magic     = "nexus-crash "
	version   = "1"
	targetKey = "target "
	failedKey = "failed "
	inputKey  = "input "
	aboutLine = "about:"
	lineBytes = 48 // of an input in one line
)

// Ways in which a crash file cannot be read.
var (
	ErrNotCrash = errors.New("not a crash file")
	ErrVersion  = errors.New("a crash file of another version")
	ErrDamaged  = errors.New("a damaged crash file")
)

// Is says whether a text begins as a crash file does.
func Is(text []byte) bool { return strings.HasPrefix(string(text), magic) }

// Format writes a crash file that Parse reads. Line ends in Failed become
// spaces; an input is cut at MaxInput.
func (f *File) Format() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n%s%s\n%s%s\n", magic, version, targetKey, f.Target, failedKey, strings.Join(strings.Fields(f.Failed), " "))
	rest := f.Input[:min(len(f.Input), MaxInput)]
	for first := true; first || len(rest) > 0; first = false {
		n := min(len(rest), lineBytes)
		fmt.Fprintf(&b, "%s%x\n", inputKey, rest[:n])
		rest = rest[n:]
	}
	fmt.Fprintf(&b, "%s\n%s", aboutLine, f.About)
	return []byte(b.String())
}

// Parse reads a crash file. Its errors are ErrNotCrash, ErrVersion and
// ErrDamaged, which names the line.
func Parse(text []byte) (*File, error) {
	if !Is(text) {
		return nil, ErrNotCrash
	}
	head, about, ended := strings.Cut(string(text), "\n"+aboutLine+"\n")
	lines := strings.Split(head, "\n")
	if v := strings.TrimPrefix(lines[0], magic); v != version {
		return nil, fmt.Errorf("%w: it has version %q, and this build reads version %s", ErrVersion, v, version)
	}
	if !ended {
		return nil, fmt.Errorf("%w: it has no line %q", ErrDamaged, aboutLine)
	}
	f := &File{About: about}
	for i, line := range lines[1:] {
		if err := f.line(line); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrDamaged, i+2, err)
		}
	}
	if f.Target == "" || strings.ContainsAny(f.Target, " \t") {
		return nil, fmt.Errorf("%w: it names no target", ErrDamaged)
	}
	return f, nil
}

// line takes in one line of a key and its value.
func (f *File) line(line string) error {
	key, value, _ := strings.Cut(line, " ")
	switch key + " " {
	case targetKey:
		f.Target = value
	case failedKey:
		f.Failed = value
	case inputKey:
		part, err := hex.DecodeString(value)
		if err != nil {
			return fmt.Errorf("%q is not hexadecimal", value)
		}
		if f.Input = append(f.Input, part...); len(f.Input) > MaxInput {
			return fmt.Errorf("an input of more than %d bytes", MaxInput)
		}
	default:
		return fmt.Errorf("no key is called %q", key)
	}
	return nil
}
