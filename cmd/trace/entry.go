package trace

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// Entry is one line of a trace's events, taken apart. What a line of its kind
// does not say is empty, or zero.
type Entry struct {
	Line int    // of the file, from 1
	Boot int    // from 1
	Time uint64 // kernel time in nanoseconds since boot; of markers and results, that of the event before
	Kind string // the word of the event, or marker or result
	Call uint64
	From string // the task that acted, as the trace calls it
	To   string // the task it was about: a request's service
	At   string // the endpoint: its owner, a dot, its facet
	Op   string // operation, system call, what became of a session, a new task's number
	Size int    // bytes
	Slot string // that the caller named, in decimal
	SID  uint64
	User string
	App  string
	Code string // with spaces, as ipc.Code has it; of a result, its kind
	Why  string // a refusal's reason
	// Text is a marker's line, a result's line and verb, and whatever is said by
	// a line of a kind that is not known. It is never what a verb found out,
	// which may be a secret's value.
	Text string
	line string
}

// String is the line as the trace has it, but for what a verb found out.
func (e Entry) String() string { return e.line }

// Inbox says whether the endpoint is an inbox, from which its owner receives.
func (e *Entry) Inbox() bool { return strings.HasPrefix(e.At, e.To+"."+inboxPlace) }

// Text writes entries as a trace has them, each after the number of its line in
// the trace, and without what verbs found out.
func Text(w io.Writer, entries iter.Seq[Entry]) error {
	out := bufio.NewWriter(w)
	for e := range entries {
		_, _ = fmt.Fprintf(out, "%d: %s\n", e.Line, e) // Flush says what went wrong.
	}
	return out.Flush()
}

// Entries takes the events of a trace apart, which Read has found to be whole.
// A line that it does not understand is an entry that holds its text.
func Entries(text []byte) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		r, number, inside := reader{boot: 1}, 0, false
		for line := range strings.Lines(string(text)) {
			number++
			line = strings.TrimSuffix(line, "\n")
			switch {
			case strings.HasPrefix(line, endKey):
				return
			case inside:
				e := r.entry(line)
				e.Line = number
				if !yield(e) {
					return
				}
			}
			inside = inside || line == eventsHeading
		}
	}
}

// firstTask is the number of init, which begins a boot.
const firstTask = "1"

// reader takes lines apart in their order.
type reader struct {
	boot  int
	begun bool
	time  uint64
	marks []string // whose markers have not come yet, in the order of the console
}

func (r *reader) entry(line string) Entry {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "marker":
		text, err := strconv.Unquote(rest)
		if err != nil {
			text = rest
		}
		return r.marker(text)
	case "result":
		return r.result(rest)
	}
	at, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return Entry{Boot: r.boot, Time: r.time, Kind: "unknown", Text: word, line: word}
	}
	kind, rest, _ := strings.Cut(rest, " ")
	if kind == "task" && strings.HasPrefix(rest, firstTask+" ") {
		r.begin()
	}
	r.time = at
	e := Entry{Boot: r.boot, Time: at, Kind: kind, line: line}
	if !e.parse(rest) {
		e = Entry{Boot: r.boot, Time: at, Kind: kind, Text: rest, line: line}
	}
	if kind == "mark" {
		r.marks = append(r.marks, e.From)
	}
	return e
}

// begin begins a boot. Lines before the first one are counted with it.
func (r *reader) begin() {
	if r.begun {
		r.boot++
	}
	r.begun, r.marks = true, nil
}

// marker takes in a line of the console. The kernel noted whose it is just
// before; if the trace does not say so, its service is known by its beginning.
func (r *reader) marker(text string) Entry {
	e := Entry{Boot: r.boot, Time: r.time, Kind: "marker", Text: text, line: "marker " + strconv.Quote(text)}
	if len(r.marks) > 0 {
		e.From, r.marks = r.marks[0], r.marks[1:]
		return e
	}
	e.From, _, _ = strings.Cut(text, ":")
	switch e.From {
	case "keystore":
		e.From = "keystored"
	case "identity":
		e.From = "identityd"
	}
	return e
}

// result takes in the outcome of a line of the script, and leaves out what it
// found out.
func (r *reader) result(rest string) Entry {
	e := Entry{Boot: r.boot, Time: r.time, Kind: "result", From: "script"}
	number, rest, _ := strings.Cut(rest, " ")
	e.line = "result " + number
	if after, ok := strings.CutPrefix(rest, "strand="); ok {
		if quoted, err := strconv.QuotedPrefix(after); err == nil {
			name, _ := strconv.Unquote(quoted) // It is one that is quoted.
			e.From, rest = "script "+name, strings.TrimPrefix(after[len(quoted):], " ")
			e.line += " strand=" + quoted
		}
	}
	if words := strings.SplitN(rest, " ", 3); len(words) == 3 {
		e.Text, e.Code = "line "+number+" "+words[0], words[1]
		e.line += " " + words[0] + " " + words[1]
	}
	return e
}

// parse takes apart what follows the time and the kind, and says whether it
// understood that.
func (e *Entry) parse(rest string) bool {
	w := e.attributes(strings.Split(rest, " "))
	if len(w) == 0 {
		return false
	}
	switch e.Kind {
	case "expire":
		return e.expired(w)
	case "start", "mark", "crash", "exit", "offload":
		e.From = w[0]
		return len(w) == 1
	case "task", "endpoint":
		return e.made(w)
	case "session", "token", "fault":
		return e.about(w)
	case "send", "deliver", "reply", "refuse", "receive", "cancel", "late":
		return e.message(w)
	case "syscall":
		return e.syscall(w)
	}
	return false
}

// attributes takes key=value and the number of bytes out of a line's words.
func (e *Entry) attributes(words []string) (rest []string) {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		number, err := strconv.ParseUint(value, 10, 64)
		last := len(rest) - 1
		switch {
		case key == "sid" && err == nil:
			e.SID = number
		case key == "call" && err == nil:
			e.Call = number
		case key == "slot" && err == nil:
			e.Slot = value
		case key == "user" && value != "":
			e.User = value
		case key == "app" && value != "":
			e.App = value
		case key == "because" && value != "":
			e.Why = spaced(value)
		case word == "bytes" && last >= 0 && e.size(rest[last]):
			rest = rest[:last]
		default:
			rest = append(rest, word)
		}
	}
	return rest
}

func (e *Entry) size(word string) bool {
	n, err := strconv.ParseUint(word, 10, 32)
	if err == nil {
		e.Size = int(n)
	}
	return err == nil
}

func (e *Entry) made(w []string) bool {
	id, err := strconv.ParseUint(w[0], 10, 64)
	if err != nil || len(w) != 2 {
		return false
	}
	if e.Kind == "task" {
		e.From, e.Op = label(w[1], id), w[0]
		return true
	}
	return e.place(w[1])
}

func (e *Entry) about(w []string) bool {
	switch {
	case e.Kind == "fault" && len(w) == 2:
		dot := strings.LastIndexByte(w[1], '.')
		if dot < 0 {
			return false
		}
		e.To, e.Op = w[1][:dot], w[1][dot+1:]
		return true
	case e.Kind == "session" && len(w) == 3:
		e.Op, e.From = w[0], w[2]
		return true
	case e.Kind == "token" && len(w) == 4:
		e.From, e.To = w[1], w[3]
		return true
	}
	return false
}

// message takes apart CALL FROM>ENDPOINT OPERATION [by TASK] [CODE], and of a
// receive that got nothing CALL by TASK CODE.
func (e *Entry) message(w []string) (ok bool) {
	call, err := strconv.ParseUint(w[0], 10, 64)
	if err != nil {
		return false
	}
	e.Call, w = call, w[1:]
	if len(w) >= 2 && w[0] != "by" {
		from, place, _ := strings.Cut(w[0], ">")
		e.From, e.Op = from, w[1]
		if !e.place(place) {
			return false
		}
		w = w[2:]
	}
	if len(w) >= 2 && w[0] == "by" {
		e.To, w = w[1], w[2:]
	}
	if len(w) == 1 {
		e.Code, w = spaced(w[0]), nil
	}
	return len(w) == 0
}

// expired takes apart TASK [at ENDPOINT [OPERATION]].
func (e *Entry) expired(w []string) bool {
	e.From = w[0]
	if len(w) == 4 {
		e.Op, w = w[3], w[:3]
	}
	return len(w) == 1 || len(w) == 3 && w[1] == "at" && e.place(w[2])
}

// syscall takes apart TASK NAME [at ENDPOINT] CODE.
func (e *Entry) syscall(w []string) bool {
	if len(w) < 3 {
		return false
	}
	e.From, e.Op, e.Code = w[0], spaced(w[1]), spaced(w[len(w)-1])
	switch w = w[2 : len(w)-1]; {
	case len(w) == 0:
		return true
	case len(w) == 2 && w[0] == "at":
		return e.place(w[1])
	}
	return false
}

// place takes in an endpoint and, from it, its owner.
func (e *Entry) place(at string) bool {
	dot := strings.LastIndexByte(at, '.')
	if dot <= 0 {
		return false
	}
	e.At, e.To = at, at[:dot]
	return true
}

// hyphened writes a text as one word, and spaced is its inverse.
func hyphened(text string) string { return strings.ReplaceAll(text, " ", "-") }
func spaced(word string) string   { return strings.ReplaceAll(word, "-", " ") }
