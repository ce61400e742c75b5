// Package scenario plays scenarios: a text file that says what is to happen on
// a machine and what must come of it. docs/SCENARIOS.md is the manual.
//
// A scenario plays on a machine of its own, with real goroutines, time and disk
// or by seed; it does not say which. Besides its own lines, an oracle judges
// what happens. The package touches no file and prints nothing: who plays a
// scenario hears of everything and decides.
package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/tools/txtar"

	"nexus.internal/os/cmd/script"
)

// Sections of a scenario's file.
const (
	SectionScript  = "script"
	SectionMarkers = "markers.toml"
	SectionPolicy  = "policy.toml"
	SectionMachine = "machine.toml"
)

var sections = []string{SectionScript, SectionMarkers, SectionPolicy, SectionMachine}

// Scenario is a scenario's file, read.
type Scenario struct {
	Name    string // of the file
	About   string // what stands before the sections
	Script  string
	Lines   int       // of the file before the script
	Markers *Manifest // nil if there is none
	Policy  []byte    // nil means the shipped one
	Machine Settings
	Text    []byte // the whole file
}

// ErrNoScript says that a file has no script.
var ErrNoScript = errors.New("no section -- script --")

// Error is a place in a scenario's file that cannot be understood.
type Error struct {
	File string
	Line int
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }

// Unwrap returns script.ErrUsage.
func (e *Error) Unwrap() error { return script.ErrUsage }

// Parse reads a scenario. Its errors name file and line; they are an *Error or
// a *script.Failure.
func Parse(name string, text []byte, more ...script.Verb) (*Scenario, error) {
	archive := txtar.Parse(text)
	s := &Scenario{Name: name, About: string(archive.Comment), Text: bytes.Clone(text)}
	line := countLines(archive.Comment)
	seen := make(map[string]bool)
	for _, f := range archive.Files {
		line++ // The section's own marker.
		if seen[f.Name] {
			return nil, &Error{name, line, fmt.Sprintf("a second section %q", f.Name)}
		}
		seen[f.Name] = true
		if err := s.section(f, line); err != nil {
			return nil, err
		}
		line += countLines(f.Data)
	}
	if !seen[SectionScript] {
		return nil, &Error{name, max(line, 1), ErrNoScript.Error()}
	}
	return s, s.check(more)
}

// section takes one section in; its marker is that line of the file.
func (s *Scenario) section(f txtar.File, line int) (err error) {
	switch f.Name {
	case SectionScript:
		s.Script, s.Lines = string(f.Data), line
	case SectionMarkers:
		s.Markers, err = ParseManifest(f.Data)
	case SectionMachine:
		s.Machine, err = parseSettings(f.Data)
	case SectionPolicy:
		s.Policy = f.Data
	default:
		return &Error{s.Name, line, fmt.Sprintf("no section is called %q; there are %s", f.Name, strings.Join(sections, ", "))}
	}
	var bad *tomlError
	if errors.As(err, &bad) {
		return &Error{s.Name, line + bad.line, f.Name + ": " + bad.text}
	}
	return err
}

// check finds the first line of the script that cannot be understood.
func (s *Scenario) check(more []script.Verb) error {
	return script.NewRunner(nil, nil, nil, more...).Check(s.Name, s.Lines, strings.NewReader(s.Script))
}

func countLines(text []byte) int { return bytes.Count(text, []byte("\n")) }

// Format writes a scenario as a file that Parse reads.
func (s *Scenario) Format() []byte {
	a := &txtar.Archive{Comment: []byte(s.About)}
	if m := s.Machine.format(); len(m) > 0 {
		a.Files = append(a.Files, txtar.File{Name: SectionMachine, Data: m})
	}
	if s.Policy != nil {
		a.Files = append(a.Files, txtar.File{Name: SectionPolicy, Data: s.Policy})
	}
	a.Files = append(a.Files, txtar.File{Name: SectionScript, Data: []byte(s.Script)})
	return txtar.Format(a)
}

// DrawsFrom says whether the script has a line that says just that.
func (s *Scenario) DrawsFrom(text string) bool {
	for line := range strings.Lines(s.Script) {
		if strings.TrimSpace(line) == "say "+text {
			return true
		}
	}
	return false
}
