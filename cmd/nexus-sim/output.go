package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
)

// record is one line of output: as JSON, or as a person reads it.
type record struct {
	Kind string `json:"kind"` // marker, result, note, crash, error
	Text string `json:"text,omitempty"`
	Line int    `json:"line,omitempty"`
	// Strand is the one of those side by side whose line it is.
	Strand string   `json:"strand,omitempty"`
	Verb   string   `json:"verb,omitempty"`
	Args   []string `json:"args,omitempty"`
	OK     *bool    `json:"ok,omitempty"`
	// Of a result that is not ok, and of an error: what is wrong, and its kind
	// in one word.
	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"`
}

// String is the line for people. Only a marker is printed bare: a result begins
// with "> ", and everything else with "# ", so that none can pass for one.
func (r record) String() string {
	switch r.Kind {
	case "marker":
		return oneLine(r.Text)
	case "result":
		line := "> "
		if r.Strand != "" {
			line += quoted([]string{r.Strand})[0] + "| "
		}
		line += strings.Join(append([]string{r.Verb}, quoted(r.Args)...), " ")
		switch {
		case r.Error != "":
			line += ": " + r.Error
		case r.Text != "":
			line += ": " + r.Text
		default:
			line += ": ok"
		}
		return oneLine(line)
	}
	return oneLine("# " + r.Text)
}

// printer writes the console and the results of a script.
type printer struct {
	state string
	out   io.Writer
	json  bool

	mu  sync.Mutex
	err error // what went wrong first beside the run: a line that was not written, a panic
}

func (p *printer) marker(line string) { p.print(record{Kind: "marker", Text: line}) }

func (p *printer) note(text string) { p.print(record{Kind: "note", Text: text}) }

func (p *printer) crash(r *ipc.PanicReport) {
	p.print(record{Kind: "crash", Text: fmt.Sprintf("%s panicked at %s", r.Task, r.Frames)})
	if r.Asked {
		return
	}
	p.fail(fmt.Errorf("%s panicked", r.Task))
}

func (p *printer) result(r script.Result) {
	ok := r.Err == nil
	rec := record{Kind: "result", Line: r.Line, Strand: r.Strand, Verb: r.Verb, Args: r.Args, Text: r.Text, OK: &ok}
	if !ok {
		rec.Text, rec.Error, rec.Code = "", located{p.state, r.Err}.Error(), script.Kind(r.Err)
	}
	if r.Secret != nil {
		p.printSecret(rec, r.Secret.Expose())
		return
	}
	p.print(rec)
}

// hole stands for a secret in a line that is made without it.
const hole = "[secret]"

// printSecret prints a record whose text is a secret, printable and quoted if it
// needs to be. No other copy of it is made than the one that is written.
func (p *printer) printSecret(r record, text []byte) {
	r.Text = hole
	line := p.encode(r)
	at := bytes.LastIndex(line, []byte(hole)) // The text comes last,
	if p.json {
		at = bytes.Index(line, []byte(hole)) // or first of what anybody can choose.
	}
	whole := secret.New(len(line) + 2*len(text))
	defer whole.Wipe()
	b := append(whole.Expose()[:0], line[:at]...)
	for _, c := range text {
		if p.json && (c == '"' || c == '\\') {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	p.fail(p.write(append(b, line[at+len(hole):]...)))
}

// failure is a line for machines alone: a person reads it on standard error.
func (p *printer) failure(err error) {
	if p.json {
		p.print(record{Kind: "error", Error: err.Error(), Code: codeOf(err)})
	}
}

func (p *printer) print(r record) { p.fail(p.write(p.encode(r))) }

// encode is the line of a record, with its end.
func (p *printer) encode(r record) []byte {
	var line bytes.Buffer
	if !p.json {
		fmt.Fprintln(&line, r)
		return line.Bytes()
	}
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	p.fail(encoder.Encode(r))
	return line.Bytes()
}

func (p *printer) write(line []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.out.Write(line)
	return err
}

func (p *printer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// failed returns why a run has failed that seems to have gone well: what it
// printed is not whole, or a service panicked.
func (p *printer) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// ended is the end of a run that came to err: the error, if there is any, says
// which state it is about, and machines are told of it.
func (p *printer) ended(err error) error {
	if err == nil {
		err = p.failed()
	}
	if err != nil {
		err = located{p.state, err}
		p.failure(err)
	}
	return err
}

// quoted writes words as a script has them.
func quoted(words []string) []string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strconv.Quote(w)
		if w != "" && list[i] == `"`+w+`"` && !strings.ContainsAny(w, " #") {
			list[i] = w
		}
	}
	return list
}
