package trace

import (
	"fmt"
	"strings"
	"sync"
	"unicode"

	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// Timeline draws a play as a Mermaid sequence diagram: who called whom, what
// the answer was, and the markers. Of a script with the line `say timeline` it
// draws only what follows. It is safe for concurrent use: on goroutines, markers,
// outcomes and events come from several.
type Timeline struct {
	mu     sync.Mutex
	names  Names
	begun  bool
	lines  []string
	actors []string
	known  map[string]bool
}

// TimelineFrom is what the line of the script says from which on a timeline is
// drawn.
const TimelineFrom = "timeline"

// NewTimeline makes an empty picture. from says whether it begins only where
// the script says so.
func NewTimeline(from bool) *Timeline {
	return &Timeline{names: NewNames(), begun: !from, known: make(map[string]bool)}
}

// Result takes in an outcome.
func (t *Timeline) Result(r script.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Verb == "say" {
		t.begun = t.begun || r.Text == TimelineFrom
		return
	}
	if t.begun {
		outcome := "ok"
		if r.Err != nil {
			outcome = script.Kind(r.Err)
		}
		words := append([]string{r.Verb}, r.Args...)
		t.note("script", fmt.Sprintf("%s: %s", strings.Join(words, " "), outcome))
	}
}

// Marker takes in a line of the console, which is its service's by its
// beginning.
func (t *Timeline) Marker(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.begun {
		service, _, _ := strings.Cut(line, ":")
		switch service {
		case "keystore":
			service = "keystored"
		case "identity":
			service = "identityd"
		}
		t.note(service, line)
	}
}

func (t *Timeline) note(who, text string) {
	t.add("Note over %s: %s", t.actor(who), clean(text))
}

// Event takes in an event of the kernel.
func (t *Timeline) Event(e ipc.TraceEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names.learn(e)
	if !t.begun {
		return
	}
	from, to := t.names.task(e.From), t.names.task(e.To)
	op := wire.OpName(t.names.tasks[e.To], e.Op)
	switch e.Kind {
	case ipc.TraceSend:
		t.add("%s->>%s: %s", t.actor(from), t.actor(to), op)
	case ipc.TraceReply:
		t.add("%s-->>%s: %s %v", t.actor(to), t.actor(from), op, e.Code)
	case ipc.TraceRefuse:
		if e.To == 0 {
			to = "kernel"
		}
		t.add("%s-x%s: %s %v", t.actor(from), t.actor(to), op, e.Code)
	case ipc.TraceSession:
		t.note("kernel", fmt.Sprintf("session %d %s", e.SID, sessionWords[e.Op]))
	case ipc.TraceCrash:
		t.note(from, "crash")
	case ipc.TraceFault:
		t.note(to, "fault at "+op)
	case ipc.TraceOffload:
		t.note(from, "work outside of the kernel")
	}
}

func (t *Timeline) add(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

func (t *Timeline) actor(name string) string {
	if !t.known[name] {
		t.known[name] = true
		t.actors = append(t.actors, name)
	}
	return name
}

// clean replaces what Mermaid would read as something else: the ends of its
// lines and of its entities, and whatever cannot be printed.
func clean(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == ';':
			return ','
		case c == '#' || !unicode.IsPrint(c):
			return '.'
		}
		return c
	}, text)
}

// String is the diagram.
func (t *Timeline) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	b.WriteString("sequenceDiagram\n")
	for _, a := range t.actors {
		fmt.Fprintf(&b, "  participant %s\n", a)
	}
	for _, line := range t.lines {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}
