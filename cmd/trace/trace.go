// Package trace writes down what happened in a play, event by event, and reads
// it again. docs/spec/trace.md specifies the format, which is text: a header
// with everything that is needed to play it once more, one line for each event
// of the kernel, each marker and each outcome, and an end with digests.
//
// A trace holds no payload, no credential and no value but those that the
// scenario in its header has. The package touches no file.
package trace

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// Version is that of the format which this package writes and reads.
const Version = 1

// What the first line of a trace begins with, and what its parts do.
const (
	magic         = "nexus-trace "
	buildKey      = "build: "
	seedKey       = "seed: "
	scenarioKey   = "scenario: "
	quoted        = "| "
	eventsHeading = "events:"
	endKey        = "end: "
	sumKey        = "sum: "
)

// Header is what a trace begins with.
type Header struct {
	Build    string // of the binary: its commit
	Seed     uint64
	Scenario string // the name of the file
	Text     []byte // the whole file
}

// End is what a trace ends with.
type End struct {
	Boots   int
	Steps   uint64
	Virtual uint64            // nanoseconds
	Disk    [sha256.Size]byte // digest of what is on the disk
	Err     error
}

// Writer writes a trace. Its methods are called for everything in the order in
// which it happens; they remember the first error of writing, which Close
// returns.
type Writer struct {
	out   *bufio.Writer
	sum   hash.Hash
	names Names
	err   error
}

// NewWriter writes the header.
func NewWriter(w io.Writer, h Header) *Writer {
	t := &Writer{sum: sha256.New(), names: NewNames()}
	t.out = bufio.NewWriter(io.MultiWriter(w, t.sum))
	t.line("%s%d", magic, Version)
	t.line("%s%s", buildKey, h.Build)
	t.line("%s%d", seedKey, h.Seed)
	t.line("%s%s", scenarioKey, strconv.Quote(h.Scenario))
	for line := range strings.Lines(string(h.Text)) {
		t.line("%s%s", quoted, strings.TrimSuffix(line, "\n"))
	}
	t.line(eventsHeading)
	return t
}

func (t *Writer) line(format string, args ...any) {
	if _, err := fmt.Fprintf(t.out, format+"\n", args...); err != nil && t.err == nil {
		t.err = err
	}
}

// Marker notes a line of the console.
func (t *Writer) Marker(line string) { t.line("marker %s", strconv.Quote(line)) }

// Result notes the outcome of a line of the script.
func (t *Writer) Result(r script.Result) {
	outcome := "ok"
	if r.Err != nil {
		outcome = script.Kind(r.Err)
	}
	strand := ""
	if r.Strand != "" {
		strand = " strand=" + strconv.Quote(r.Strand)
	}
	t.line("result %d%s %s %s %s", r.Line, strand, r.Verb, outcome, strconv.Quote(r.Text))
}

// Event notes an event of the kernel.
func (t *Writer) Event(e ipc.TraceEvent) { t.line("%s", t.names.Text(e)) }

// Close writes the end.
func (t *Writer) Close(e End) error {
	outcome := "ok"
	if e.Err != nil {
		outcome = e.Err.Error()
	}
	t.line("%sboots=%d steps=%d virtual=%dns disk=%x outcome=%s", endKey, e.Boots, e.Steps, e.Virtual, e.Disk, strconv.Quote(outcome))
	if err := t.out.Flush(); err != nil && t.err == nil {
		t.err = err
	}
	t.line("%s%x", sumKey, t.sum.Sum(nil))
	if err := t.out.Flush(); err != nil && t.err == nil {
		t.err = err
	}
	return t.err
}

// Names are what tasks and endpoints are called, as the trace itself says.
type Names struct {
	tasks  map[ipc.TaskID]string
	facets map[uint32]uint16
}

// NewNames knows nobody but the kernel.
func NewNames() Names {
	return Names{tasks: map[ipc.TaskID]string{0: "kernel"}, facets: make(map[uint32]uint16)}
}

// learn takes in what an event says of names. A new boot begins anew.
func (n *Names) learn(e ipc.TraceEvent) {
	switch e.Kind {
	case ipc.TraceTask:
		if e.From == 1 {
			*n = NewNames()
		}
		n.tasks[e.From] = e.Name
	case ipc.TraceEndpoint:
		n.facets[e.Endpoint] = e.Op
	}
}

// task is a task's name with its number, because apps have one name.
func (n *Names) task(id ipc.TaskID) string {
	name := n.tasks[id]
	if name == "app" {
		return name + strconv.FormatUint(uint64(id), 10)
	}
	return name
}

var kinds = map[ipc.EventKind]string{
	ipc.TraceSend: "send", ipc.TraceDeliver: "deliver", ipc.TraceReply: "reply", ipc.TraceRefuse: "refuse",
	ipc.TraceExpire: "expire", ipc.TraceMark: "mark", ipc.TraceStart: "start", ipc.TraceCrash: "crash",
	ipc.TraceExit: "exit", ipc.TraceSession: "session", ipc.TraceToken: "token", ipc.TraceOffload: "offload",
	ipc.TraceFault: "fault", ipc.TraceTask: "task", ipc.TraceEndpoint: "endpoint",
}

var sessionWords = map[uint16]string{
	ipc.SessionStarted: "started", ipc.SessionOpened: "opened", ipc.SessionSealed: "sealed", ipc.SessionEnded: "ended",
}

// Text is an event's line.
func (n *Names) Text(e ipc.TraceEvent) string {
	n.learn(e)
	head := fmt.Sprintf("%d %s", e.Time, kinds[e.Kind])
	from, to := n.task(e.From), n.task(e.To)
	switch e.Kind {
	case ipc.TraceTask:
		return fmt.Sprintf("%s %d %s", head, e.From, e.Name)
	case ipc.TraceEndpoint:
		return fmt.Sprintf("%s %d %s.%d", head, e.Endpoint, to, e.Op)
	case ipc.TraceSession:
		return fmt.Sprintf("%s %s by %s sid=%d user=%s", head, sessionWords[e.Op], from, e.SID, e.Name)
	case ipc.TraceToken:
		return fmt.Sprintf("%s by %s for %s sid=%d", head, from, to, e.SID)
	case ipc.TraceMark, ipc.TraceStart, ipc.TraceCrash, ipc.TraceExit, ipc.TraceOffload:
		return fmt.Sprintf("%s %s", head, from)
	case ipc.TraceExpire:
		return fmt.Sprintf("%s %s", head, from)
	case ipc.TraceFault:
		return fmt.Sprintf("%s at %s.%s", head, to, wire.OpName(n.tasks[e.To], e.Op))
	}
	line := fmt.Sprintf("%s %d %s>%s.%d %s %d bytes", head, e.Call, from, to, n.facets[e.Endpoint], wire.OpName(n.tasks[e.To], e.Op), e.Size)
	if e.SID != 0 {
		line += fmt.Sprintf(" sid=%d app=%s", e.SID, e.Name)
	}
	if e.Kind == ipc.TraceReply || e.Kind == ipc.TraceRefuse {
		line += " " + strings.ReplaceAll(e.Code.Error(), " ", "-")
	}
	if e.Refusal != capability.Accepted {
		line += " because=" + strings.ReplaceAll(e.Refusal.String(), " ", "-")
	}
	return line
}

// Ways in which a trace cannot be read.
var (
	ErrNotTrace = errors.New("not a trace")
	ErrVersion  = errors.New("a trace of another version")
	ErrDamaged  = errors.New("a damaged trace")
)

// Is says whether a text begins as a trace does.
func Is(text []byte) bool { return strings.HasPrefix(string(text), magic) }

// Read reads a trace: its header, and whether it is whole. A version that is
// not Version is refused by its number.
func Read(text []byte) (h Header, err error) {
	lines := strings.SplitAfter(string(text), "\n")
	version, ok := strings.CutPrefix(strings.TrimSpace(lines[0]), magic)
	if !ok {
		return h, ErrNotTrace
	}
	if version != strconv.Itoa(Version) {
		return h, fmt.Errorf("%w: it has version %s, and this build reads version %d", ErrVersion, version, Version)
	}
	if err := whole(lines); err != nil {
		return h, err
	}
	return header(lines[1:])
}

// whole checks the last line: the digest of all before it.
func whole(lines []string) error {
	if len(lines) < 3 || lines[len(lines)-1] != "" {
		return fmt.Errorf("%w: it has no end", ErrDamaged)
	}
	last := len(lines) - 2
	sum := sha256.Sum256([]byte(strings.Join(lines[:last], "")))
	if lines[last] != sumKey+hex.EncodeToString(sum[:])+"\n" {
		return fmt.Errorf("%w: its digest is wrong", ErrDamaged)
	}
	return nil
}

func header(lines []string) (h Header, err error) {
	var text strings.Builder
	for _, line := range lines {
		bare := strings.TrimSuffix(line, "\n")
		switch {
		case bare == eventsHeading:
			h.Text = []byte(text.String())
			return h, nil
		case strings.HasPrefix(bare, buildKey):
			h.Build = bare[len(buildKey):]
		case strings.HasPrefix(bare, seedKey):
			h.Seed, err = strconv.ParseUint(bare[len(seedKey):], 10, 64)
		case strings.HasPrefix(bare, scenarioKey):
			h.Scenario, err = strconv.Unquote(bare[len(scenarioKey):])
		case strings.HasPrefix(bare, quoted):
			text.WriteString(bare[len(quoted):] + "\n")
		default:
			err = ErrDamaged
		}
		if err != nil {
			return h, fmt.Errorf("%w: header line %q", ErrDamaged, bare)
		}
	}
	return h, fmt.Errorf("%w: it has no events", ErrDamaged)
}

// Difference finds the first line in which two traces differ, from 1; 0 if they
// are the same.
func Difference(a, b []byte) (line int, was, is string) {
	x, y := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := range max(len(x), len(y)) {
		was, is := at(x, i), at(y, i)
		if was != is {
			return i + 1, was, is
		}
	}
	return 0, "", ""
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}

// Calls lists requests at a service, in one line.
func Calls(service string, calls []ipc.CallView) string {
	if len(calls) == 0 {
		return "none"
	}
	list := make([]string, len(calls))
	for i, c := range calls {
		list[i] = fmt.Sprintf("%s by %s (%d)", wire.OpName(service, c.Op), c.From, c.ID)
	}
	return strings.Join(list, ", ")
}
