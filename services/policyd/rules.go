package policyd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"nexus.internal/os/capability"
)

// Limits of a policy.
const (
	MaxPolicyBytes = 16 << 10 // bytes of the text
	MaxSubjects    = 128      // subjects in [allow]
	MaxActions     = 64       // actions of one subject
	MaxReports     = 64       // skipped tables and keys that are reported; a policy with more is refused
)

// AnyApp is the subject whose rule holds for every app without one of its own.
// No app and no service has this name.
const AnyApp = "any-app"

// allowTable is the only table that is read.
const allowTable = "allow"

// ErrPolicy is what every error of Parse is.
var ErrPolicy = errors.New("policyd: bad policy")

// ParseError names the place of what is wrong with a policy.
type ParseError struct {
	Line   int // counted from 1; 0 if it is not about one line
	Reason string
}

func (e *ParseError) Error() string {
	if e.Line == 0 {
		return ErrPolicy.Error() + ": " + e.Reason
	}
	return fmt.Sprintf("%v: line %d: %s", ErrPolicy, e.Line, e.Reason)
}

// Unwrap makes errors.Is(err, ErrPolicy) hold.
func (e *ParseError) Unwrap() error { return ErrPolicy }

// Report names a table or key that is not policyd's and was skipped.
type Report struct {
	Line int
	Key  string // as the text spells it, quotes resolved; not escaped
}

// Rules says which subject may do which action. It does not change after Parse.
// The zero value denies everything.
type Rules struct {
	allow map[string][]string
}

// Parse reads a policy: [allow], in which each key is a subject and its value a
// list of actions. What stands beside [allow] is reported and skipped. A value
// of another type, a key or an action that appears twice, and every subject or
// action that is not in canonical form are errors that name the line.
// A subject with a dot has to be quoted, because a bare one is a TOML table.
func Parse(text []byte) (*Rules, []Report, error) {
	if len(text) > MaxPolicyBytes {
		return nil, nil, &ParseError{Reason: fmt.Sprintf("more than %d bytes", MaxPolicyBytes)}
	}
	var top map[string]toml.Primitive
	md, err := toml.Decode(string(text), &top)
	if err != nil {
		return nil, nil, syntaxError(err)
	}
	p := parser{md: &md, rules: &Rules{allow: make(map[string][]string)}}
	for _, key := range sortedKeys(top) {
		if key == allowTable {
			err = p.table(top[key])
		} else {
			err = p.skip(key, top[key])
		}
		if err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(p.reports, func(a, b Report) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Key, b.Key)
	})
	return p.rules, p.reports, nil
}

// Subjects returns the subjects that have a rule, in byte order.
func (r *Rules) Subjects() []string {
	out := make([]string, 0, len(r.allow))
	for subject := range r.allow {
		out = append(out, subject)
	}
	slices.Sort(out)
	return out
}

type parser struct {
	md      *toml.MetaData
	rules   *Rules
	reports []Report
}

func (p *parser) skip(key string, value toml.Primitive) error {
	if len(p.reports) == MaxReports {
		return &ParseError{Reason: fmt.Sprintf("more than %d tables and keys beside [allow]", MaxReports)}
	}
	p.reports = append(p.reports, Report{Line: p.line(value), Key: key})
	return nil
}

func (p *parser) table(value toml.Primitive) error {
	// The library decodes a value of another type into an empty map without an
	// error, so the type is looked at first.
	line := p.line(value)
	var raw anyValue
	if err := p.md.PrimitiveDecode(value, &raw); err != nil {
		return syntaxError(err)
	}
	if _, ok := raw.v.(map[string]any); !ok {
		return &ParseError{Line: line, Reason: "[allow] is not a table"}
	}
	var entries map[string]toml.Primitive
	if err := p.md.PrimitiveDecode(value, &entries); err != nil {
		return syntaxError(err)
	}
	if len(entries) > MaxSubjects {
		return &ParseError{Line: line, Reason: fmt.Sprintf("more than %d subjects", MaxSubjects)}
	}
	for _, subject := range sortedKeys(entries) {
		if err := p.entry(subject, entries[subject], line); err != nil {
			return err
		}
	}
	return nil
}

// entry reads one rule. A key that dots imply has no line of its own; then the
// table's is named.
func (p *parser) entry(subject string, value toml.Primitive, tableLine int) error {
	line := p.line(value)
	if line == 0 {
		line = tableLine
	}
	var raw anyValue
	if err := p.md.PrimitiveDecode(value, &raw); err != nil {
		return syntaxError(err)
	}
	if capability.CheckApp(subject) != nil {
		return &ParseError{Line: line, Reason: fmt.Sprintf("subject %q is not in canonical form", subject)}
	}
	list, ok := raw.v.([]any)
	if !ok {
		return &ParseError{Line: line, Reason: fmt.Sprintf("subject %q has no list of actions (a subject with a dot is quoted)", subject)}
	}
	if len(list) > MaxActions {
		return &ParseError{Line: line, Reason: fmt.Sprintf("subject %q has more than %d actions", subject, MaxActions)}
	}
	actions := make([]string, 0, len(list))
	for _, item := range list {
		action, ok := item.(string)
		switch {
		case !ok:
			return &ParseError{Line: line, Reason: fmt.Sprintf("subject %q has an action that is not a string", subject)}
		case !canonicalAction(action):
			return &ParseError{Line: line, Reason: fmt.Sprintf("action %q is not in canonical form", action)}
		case slices.Contains(actions, action):
			return &ParseError{Line: line, Reason: fmt.Sprintf("subject %q has action %q twice", subject, action)}
		}
		actions = append(actions, action)
	}
	p.rules.allow[subject] = actions
	return nil
}

// line asks the library where a key stands, through the only thing that it
// tells about it: the position of an error.
func (p *parser) line(value toml.Primitive) int {
	err := p.md.PrimitiveDecode(value, &locate{})
	var at toml.ParseError
	if errors.As(err, &at) {
		return at.Position.Line
	}
	return 0
}

var errLocate = errors.New("policyd: located")

// locate is decoded for its error's position.
type locate struct{}

func (*locate) UnmarshalTOML(any) error { return errLocate }

// anyValue keeps a value of any type.
type anyValue struct{ v any }

func (a *anyValue) UnmarshalTOML(v any) error {
	a.v = v
	return nil
}

func syntaxError(err error) error {
	var at toml.ParseError
	if errors.As(err, &at) {
		return &ParseError{Line: at.Position.Line, Reason: at.Message}
	}
	return &ParseError{Reason: err.Error()}
}

func sortedKeys(m map[string]toml.Primitive) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
