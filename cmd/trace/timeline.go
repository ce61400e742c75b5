package trace

import (
	"fmt"
	"strings"
	"sync"

	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
)

// Timeline draws a play while it happens, as a Mermaid sequence diagram: who
// called whom, what the answer was, and the markers. Of a script with the line
// `say timeline` it draws only what follows. It is safe for concurrent use: on
// goroutines, markers, outcomes and events come from several.
type Timeline struct {
	mu     sync.Mutex
	names  Names
	reader reader
	begun  bool
	drawn  *sequence
}

// TimelineFrom is what the line of the script says from which on a timeline is
// drawn.
const TimelineFrom = "timeline"

// NewTimeline makes an empty picture. from says whether it begins only where
// the script says so.
func NewTimeline(from bool) *Timeline {
	return &Timeline{names: NewNames(), reader: reader{boot: 1}, begun: !from, drawn: newSequence()}
}

// Result takes in an outcome.
func (t *Timeline) Result(r script.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Verb == "say" {
		t.begun = t.begun || r.Text == TimelineFrom
		return
	}
	words := append([]string{r.Verb}, r.Args...)
	t.draw(Entry{Kind: "result", From: "script", Text: strings.Join(words, " "), Code: outcome(r.Err)})
}

// Marker takes in a line of the console.
func (t *Timeline) Marker(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draw(t.reader.marker(line))
}

// Event takes in an event of the kernel.
func (t *Timeline) Event(e ipc.TraceEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draw(t.reader.entry(t.names.Text(e)))
}

func (t *Timeline) draw(e Entry) {
	if t.begun {
		t.drawn.entry(e)
	}
}

// String is the diagram.
func (t *Timeline) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	if err := t.drawn.write(&b); err != nil {
		return fmt.Sprint(err) // A builder takes everything.
	}
	return b.String()
}
