package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"nexus.internal/os/cmd/script"
)

// tomlError is a place in a TOML text that cannot be understood.
type tomlError struct {
	line int // from 1
	text string
}

func (e *tomlError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// decode reads TOML strictly: a key that is not known is an error, as a text
// that says something else than is heard is worse than none.
func decode(text []byte, into any) error {
	meta, err := toml.NewDecoder(bytes.NewReader(text)).Decode(into)
	var bad toml.ParseError
	if errors.As(err, &bad) {
		return &tomlError{max(bad.Position.Line, 1), bad.Message}
	}
	if err != nil {
		return &tomlError{1, err.Error()}
	}
	for _, key := range meta.Undecoded() {
		return &tomlError{lineOf(text, key[len(key)-1]), fmt.Sprintf("no key is called %q", key.String())}
	}
	return nil
}

// lineOf is the first line that begins with a key.
func lineOf(text []byte, key string) int {
	for i, line := range strings.Split(string(text), "\n") {
		if strings.Contains(line, key) {
			return i + 1
		}
	}
	return 1
}

// Manifest says which markers a run has to show, phase by phase.
type Manifest struct {
	Phases []Phase `toml:"phase"`
}

// Phase is a part of a run. It begins where the phase before it was complete,
// and is complete with the last marker that it expects.
type Phase struct {
	Name string `toml:"name"`
	// Expect are parts of markers, in the order in which they have to come.
	Expect []string `toml:"expect"`
	// Forbid are parts of markers that must not come in this phase; in the
	// last one, till the end of the run.
	Forbid []string `toml:"forbid"`
}

// ParseManifest reads a manifest.
func ParseManifest(text []byte) (*Manifest, error) {
	var m Manifest
	if err := decode(text, &m); err != nil {
		return nil, err
	}
	if len(m.Phases) == 0 {
		return nil, &tomlError{1, "no [[phase]]"}
	}
	for i, p := range m.Phases {
		if p.Name == "" {
			return nil, &tomlError{1, fmt.Sprintf("phase %d has no name", i+1)}
		}
		if len(p.Expect) == 0 && i < len(m.Phases)-1 {
			return nil, &tomlError{lineOf(text, strconv.Quote(p.Name)), fmt.Sprintf("phase %q expects nothing, and is not the last", p.Name)}
		}
	}
	return &m, nil
}

// shownInstead is how many markers are shown in the place of a missing one.
const shownInstead = 3

// Check holds the markers of a run against the manifest. It names the first
// one that is missing, with what was seen instead, or the first forbidden one.
func (m *Manifest) Check(markers []string) error {
	at := 0
	for i, p := range m.Phases {
		begin := at
		for _, text := range p.Expect {
			next, found := find(markers, text, at)
			if !found {
				return p.missing(text, markers[at:])
			}
			at = next + 1
		}
		end := at
		if i == len(m.Phases)-1 {
			end = len(markers)
		}
		if err := p.forbidden(markers[begin:end]); err != nil {
			return err
		}
	}
	return nil
}

func find(markers []string, text string, from int) (int, bool) {
	for i := from; i < len(markers); i++ {
		if strings.Contains(markers[i], text) {
			return i, true
		}
	}
	return 0, false
}

func (p *Phase) missing(text string, rest []string) error {
	instead := "nothing"
	if len(rest) > 0 {
		quoted := make([]string, 0, shownInstead)
		for _, line := range rest[:min(shownInstead, len(rest))] {
			quoted = append(quoted, strconv.Quote(line))
		}
		instead = strings.Join(quoted, ", ")
		if len(rest) > shownInstead {
			instead += fmt.Sprintf(" and %d more", len(rest)-shownInstead)
		}
	}
	return fmt.Errorf("phase %q: %w %q; seen instead: %s", p.Name, script.ErrMissing, text, instead)
}

func (p *Phase) forbidden(markers []string) error {
	for _, line := range markers {
		for _, text := range p.Forbid {
			if strings.Contains(line, text) {
				return fmt.Errorf("phase %q: %w %q", p.Name, script.ErrForbidden, line)
			}
		}
	}
	return nil
}
