package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"nexus.internal/os/cmd/trace"
)

// traceFlags are what `nexus-sim trace` takes.
type traceFlags struct {
	file   string
	format string
	out    string
	boot   uint
	from   uint
	to     uint
	lines  uint
}

// traceLines is how many lines a sequence diagram has unless something else is
// asked for: more than a screen shows, and as many as Mermaid lays out at once.
const traceLines = 400

// drawings are the formats of `nexus-sim trace`.
var drawings = map[string]func(f traceFlags, w io.Writer, h trace.Header, entries iter.Seq[trace.Entry]) error{
	"mermaid": func(f traceFlags, w io.Writer, _ trace.Header, entries iter.Seq[trace.Entry]) error {
		return trace.Mermaid(w, entries, int(f.lines))
	},
	"chrome": func(_ traceFlags, w io.Writer, h trace.Header, entries iter.Seq[trace.Entry]) error {
		return trace.Chrome(w, h, entries)
	},
	"text": func(_ traceFlags, w io.Writer, _ trace.Header, entries iter.Seq[trace.Entry]) error {
		return trace.Text(w, entries)
	},
}

func parseTrace(args []string, std streams) (f traceFlags, err error) {
	set := newFlags("trace")
	set.StringVar(&f.format, "format", "mermaid", "`format`: mermaid (a sequence diagram), chrome (for ui.perfetto.dev) or text")
	set.StringVar(&f.out, "out", "", "write into this `file` instead of standard output")
	set.UintVar(&f.boot, "boot", 0, "only the boot of this `number`; 0 is all of them")
	set.UintVar(&f.from, "from", 0, "only from this `line` of the trace on")
	set.UintVar(&f.to, "to", 0, "only to this `line` of the trace; 0 is its end")
	set.UintVar(&f.lines, "lines", traceLines, "mermaid: at most this `number` of lines, and what Mermaid can read; 0 is all")
	files, err := parseWith(set, args, std)
	switch {
	case err != nil:
		return f, err
	case len(files) != 1:
		return f, fmt.Errorf("%w: trace needs one FILE, which `nexus-sim run --trace FILE` wrote", errUsage)
	case drawings[f.format] == nil:
		return f, fmt.Errorf("%w: trace: no format is called %q; there are mermaid, chrome and text", errUsage, f.format)
	case f.to != 0 && f.to < f.from:
		return f, fmt.Errorf("%w: trace: --to %d is before --from %d", errUsage, f.to, f.from)
	}
	f.file = files[0]
	return f, nil
}

// runTrace draws a trace, whichever build made it.
func runTrace(args []string, std streams) error {
	f, err := parseTrace(args, std)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(f.file)
	if err != nil {
		return err
	}
	h, err := trace.Read(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.file, err)
	}
	entries := f.chosen(trace.Entries(text))
	if empty(entries) {
		return fmt.Errorf("%s: no event is in what was asked for; %s", f.file, extent(text))
	}
	if f.out == "" {
		return drawings[f.format](f, std.out, h, entries)
	}
	out, err := os.OpenFile(f.out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(drawings[f.format](f, out, h, entries), out.Close())
}

// chosen are the entries that the flags ask for.
func (f traceFlags) chosen(entries iter.Seq[trace.Entry]) iter.Seq[trace.Entry] {
	return func(yield func(trace.Entry) bool) {
		for e := range entries {
			line := uint(e.Line)
			wanted := (f.boot == 0 || uint(e.Boot) == f.boot) && line >= f.from && (f.to == 0 || line <= f.to)
			if wanted && !yield(e) {
				return
			}
		}
	}
}

func empty(entries iter.Seq[trace.Entry]) bool {
	for range entries {
		return false
	}
	return true
}

// extent says what a trace has.
func extent(text []byte) string {
	var first, last trace.Entry
	for e := range trace.Entries(text) {
		if last = e; first.Line == 0 {
			first = e
		}
	}
	return fmt.Sprintf("the trace has %d boots and events in lines %d to %d", last.Boot, first.Line, last.Line)
}
