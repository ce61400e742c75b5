package trace

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode"
)

// MaxDiagram is how many bytes of a diagram Mermaid can be sure to read: a
// little below its default maxTextSize of 50,000 characters.
const MaxDiagram = 49_000

// maxNote is how many characters of a text a diagram shows.
const maxNote = 100

// Mermaid draws entries as a sequence diagram. It draws at most lines of them,
// and no more than MaxDiagram bytes; what is left out is counted in a note at
// the end. With lines 0 it draws all of them.
func Mermaid(w io.Writer, entries iter.Seq[Entry], lines int) error {
	s := newSequence()
	s.limit = lines
	for e := range entries {
		s.entry(e)
	}
	s.end()
	return s.write(w)
}

// sequence is a diagram that grows.
type sequence struct {
	limit  int // of lines; 0 is none
	lines  []string
	actors []string
	known  map[string]bool
	size   int // bytes so far
	left   int // lines that were left out
	from   int // the trace's line of the first of them
}

func newSequence() *sequence { return &sequence{known: make(map[string]bool)} }

// entry draws an entry. Deliveries and what prepares a boot are not drawn: the
// arrows would be twice as many and say little more.
func (s *sequence) entry(e Entry) {
	switch e.Kind {
	case "task":
		if e.Op == firstTask {
			s.note(e.Line, "kernel", fmt.Sprintf("boot %d", e.Boot))
		}
	case "endpoint", "deliver", "mark", "start", "exit", "token":
	case "send":
		s.send(e)
	case "reply":
		s.arrow(e.Line, e.To, "-->>", e.From, e.Op+" "+e.Code)
	case "refuse":
		s.arrow(e.Line, e.From, "-x", e.To, e.Op+" "+e.Code+because(e))
	default:
		s.note(e.Line, e.actor(), e.words())
	}
}

func (s *sequence) send(e Entry) {
	if e.Inbox() {
		s.arrow(e.Line, e.From, "-)", e.To, "message "+e.Op)
		return
	}
	s.arrow(e.Line, e.From, "->>", e.To, e.Op)
}

// actor is over whom an entry that is no arrow is noted.
func (e *Entry) actor() string {
	switch {
	case e.Kind == "session", e.From == "" && e.To == "":
		return "kernel"
	case e.Kind == "fault", e.Kind == "receive", e.Kind == "late":
		return e.To
	}
	return e.From
}

// words say what happened, without who did it.
func (e *Entry) words() string {
	switch e.Kind {
	case "session":
		return fmt.Sprintf("session %d %s", e.SID, e.Op)
	case "fault":
		return "fault at " + e.Op
	case "offload":
		return "work outside of the kernel"
	case "expire":
		return "a deadline passed" + e.operation()
	case "cancel":
		return "gave up" + e.operation() + ", " + e.Code
	case "late":
		return "a late answer" + e.operation() + ", " + e.Code
	case "receive":
		if e.Code != "" {
			return "receive " + e.Code
		}
		return "receive " + e.Op + " of " + e.From
	case "syscall":
		return e.Op + slotWords(e) + " " + e.Code
	case "marker":
		return e.Text
	case "result":
		return e.Text + ": " + e.Code
	}
	return strings.TrimSpace(e.Kind + " " + e.Text)
}

// operation is what a call was about, if that is known.
func (e *Entry) operation() string {
	switch {
	case e.At == "":
		return ""
	case e.Op == "":
		return ": " + e.At
	}
	return ": " + e.At + " " + e.Op
}

func slotWords(e *Entry) string {
	if e.Slot == "" {
		return ""
	}
	return " slot " + e.Slot
}

func because(e Entry) string {
	if e.Why == "" {
		return ""
	}
	return " (" + e.Why + ")"
}

func (s *sequence) note(line int, who, text string) {
	s.add(line, "Note over "+actor(who)+": "+short(text), who)
}

func (s *sequence) arrow(line int, from, arrow, to, text string) {
	s.add(line, actor(from)+arrow+actor(to)+": "+short(text), from, to)
}

// add adds a line, with the participants that it needs.
func (s *sequence) add(from int, text string, who ...string) {
	size := len(text) + len("  \n")
	for _, name := range who {
		if !s.known[actor(name)] {
			size += len(participant(name))
		}
	}
	full := s.limit > 0 && (len(s.lines) >= s.limit || s.size+size > MaxDiagram-reserve)
	if full || s.left > 0 {
		if s.left == 0 {
			s.from = from
		}
		s.left++
		return
	}
	s.size += size
	s.lines = append(s.lines, text)
	for _, name := range who {
		if !s.known[actor(name)] {
			s.known[actor(name)] = true
			s.actors = append(s.actors, name)
		}
	}
}

// reserve is room for the diagram's heading and for the note at its end, in
// bytes.
const reserve = 500

// end says what was left out.
func (s *sequence) end() {
	if s.left == 0 {
		return
	}
	who := "kernel"
	if len(s.actors) > 0 {
		who = s.actors[0]
	}
	text := fmt.Sprintf("%d more lines are left out, from line %d of the trace on", s.left, s.from)
	s.left, s.limit = 0, 0
	s.note(0, who, text)
}

func (s *sequence) write(w io.Writer) error {
	b := bufio.NewWriter(w)
	_, _ = b.WriteString("sequenceDiagram\n") // Flush says what went wrong.
	for _, name := range s.actors {
		_, _ = b.WriteString(participant(name))
	}
	for _, line := range s.lines {
		_, _ = b.WriteString("  " + line + "\n")
	}
	return b.Flush()
}

func participant(name string) string { return "  participant " + actor(name) + "\n" }

// actor is a name that Mermaid reads as one word.
func actor(name string) string {
	plain := strings.Map(func(c rune) rune {
		if c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
			return c
		}
		return '_'
	}, name)
	if plain == "" || plain == "end" { // The latter is a word of Mermaid's own.
		plain += "_"
	}
	if len(plain) > maxNote {
		plain = plain[:maxNote]
	}
	return plain
}

// short replaces what Mermaid would read as something else: the ends of its
// lines and of its entities, and whatever cannot be printed. It leaves out what
// is beyond maxNote characters.
func short(text string) string {
	plain := []rune(strings.Map(func(c rune) rune {
		switch {
		case c == ';':
			return ','
		case c == '#' || !unicode.IsPrint(c):
			return '.'
		}
		return c
	}, text))
	if len(plain) > maxNote {
		plain = append(plain[:maxNote-1], '…')
	}
	return string(plain)
}
