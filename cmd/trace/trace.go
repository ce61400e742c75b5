// Package trace writes down what happened in a play, event by event, and reads
// it again. docs/spec/trace.md specifies the format, which is text: a header
// with everything that is needed to play it once more, one line for each event
// of the kernel, each marker and each outcome, and an end with digests. It draws
// what it has read as a Mermaid sequence diagram or as Chrome's trace events.
//
// A trace holds no payload, and no credential or value but those that the
// scenario in its header has and that its verbs found out; drawings hold none at
// all. The package touches no file.
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
	"sync"

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
	noSeed        = "none"
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
	Live     bool   // played on goroutines, without a seed: nobody can play it again
	Scenario string // the name of the file
	Text     []byte // the whole file
}

// End is what a trace ends with. One without a seed has only boots and error.
type End struct {
	Boots   int
	Steps   uint64
	Virtual uint64            // nanoseconds
	Disk    [sha256.Size]byte // digest of what is on the disk
	Err     error
}

// Writer writes a trace. Its methods are called for everything in the order in
// which it happens; they remember the first error of writing, which Close
// returns. It is safe for concurrent use, as a Timeline is.
type Writer struct {
	mu    sync.Mutex
	out   *bufio.Writer
	sum   hash.Hash
	live  bool
	names Names
	over  bool // closed: nothing more is written
	err   error
}

// NewWriter writes the header.
func NewWriter(w io.Writer, h Header) *Writer {
	t := &Writer{sum: sha256.New(), live: h.Live, names: NewNames()}
	t.out = bufio.NewWriter(io.MultiWriter(w, t.sum))
	t.line("%s%d", magic, Version)
	t.line("%s%s", buildKey, h.Build)
	if h.Live {
		t.line("%s%s", seedKey, noSeed)
	} else {
		t.line("%s%d", seedKey, h.Seed)
	}
	t.line("%s%s", scenarioKey, strconv.Quote(h.Scenario))
	for line := range strings.Lines(string(h.Text)) {
		t.line("%s%s", quoted, strings.TrimSuffix(line, "\n"))
	}
	t.line(eventsHeading)
	return t
}

func (t *Writer) line(format string, args ...any) {
	if t.over {
		return
	}
	if _, err := fmt.Fprintf(t.out, format+"\n", args...); err != nil && t.err == nil {
		t.err = err
	}
}

// Marker notes a line of the console.
func (t *Writer) Marker(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line("marker %s", strconv.Quote(line))
}

// Result notes the outcome of a line of the script.
func (t *Writer) Result(r script.Result) {
	strand := ""
	if r.Strand != "" {
		strand = " strand=" + strconv.Quote(r.Strand)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line("result %d%s %s %s %s", r.Line, strand, r.Verb, outcome(r.Err), strconv.Quote(r.Text))
}

// outcome is a line's, in one word.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return script.Kind(err)
}

// Event notes an event of the kernel.
func (t *Writer) Event(e ipc.TraceEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line("%s", t.names.Text(e))
}

// Close writes the end. What comes later is not written: the services of a run
// that did not stop in time may still be at work.
func (t *Writer) Close(e End) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	came := "ok"
	if e.Err != nil {
		came = e.Err.Error()
	}
	played := ""
	if !t.live {
		played = fmt.Sprintf(" steps=%d virtual=%dns disk=%x", e.Steps, e.Virtual, e.Disk)
	}
	t.line("%sboots=%d%s outcome=%s", endKey, e.Boots, played, strconv.Quote(came))
	if err := t.out.Flush(); err != nil && t.err == nil {
		t.err = err
	}
	t.line("%s%x", sumKey, t.sum.Sum(nil))
	if err := t.out.Flush(); err != nil && t.err == nil {
		t.err = err
	}
	t.over = true
	return t.err
}

// Ways in which a trace cannot be read, or not be replayed.
var (
	ErrNotTrace = errors.New("not a trace")
	ErrVersion  = errors.New("a trace of another version")
	ErrDamaged  = errors.New("a damaged trace")
	ErrLive     = errors.New("a trace of a run without a seed: it can be drawn, and nobody can play it again")
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
			if h.Live = bare[len(seedKey):] == noSeed; !h.Live {
				h.Seed, err = strconv.ParseUint(bare[len(seedKey):], 10, 64)
			}
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
