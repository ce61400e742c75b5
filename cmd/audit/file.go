package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/policyd"
)

// MaxLine bounds a line of a file, in bytes, its newline included. What is
// written has about 600.
const MaxLine = 4096

// Errors of files.
var (
	ErrUnknown = errors.New("no record has this id")
	ErrRecord  = errors.New("not an audit record")
)

// Writer writes records, each as one line and with one call of Write, as they
// come. It may be used by several goroutines. It calls no kernel, so that it can
// be a boot's Denied and Audit; a kernel then waits for each record that is
// written, and for none where nothing is refused.
type Writer struct {
	mu  sync.Mutex
	out io.Writer
	err error
}

// NewWriter makes a writer.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Denied writes a denial of the kernel.
func (w *Writer) Denied(d ipc.Denial) { w.write(OfDenial(&d)) }

// Decided writes a decision of policyd.
func (w *Writer) Decided(r policyd.Record) { w.write(OfDecision(&r)) }

func (w *Writer) write(r Record) {
	line, err := r.line()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.err == nil {
		_, err = w.out.Write(line)
	}
	if w.err == nil {
		w.err = err
	}
}

// Err returns the first error of writing; nothing was written after it.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (r *Record) line() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(r)
	return b.Bytes(), err
}

// Parse reads one line. It returns ErrRecord for what is no record: JSON of
// another shape, an id that is none, or one that does not go with what follows.
// Fields that it does not know it skips.
func Parse(line []byte) (Record, error) {
	var r Record
	if len(line) > MaxLine || json.Unmarshal(line, &r) != nil || !IsID(r.ID) {
		return Record{}, ErrRecord
	}
	if (r.ID[0] == 'k') != (r.Denial != nil) || (r.ID[0] == 'p') != (r.Decision != nil) {
		return Record{}, ErrRecord
	}
	return r, nil
}

// Find returns the last record of a file that has the id: ErrUnknown if there
// is none. A line that is no record is an error that names it, unless it is the
// last one and has no newline: who wrote it was killed meanwhile.
func Find(in io.Reader, id string) (found Record, err error) {
	lines := bufio.NewReaderSize(in, MaxLine)
	err = ErrUnknown
	for n := 1; ; n++ {
		line, end := lines.ReadSlice('\n')
		if end != nil && end != io.EOF && !errors.Is(end, bufio.ErrBufferFull) {
			return Record{}, end
		}
		r, bad := Parse(line)
		switch {
		case end == io.EOF && bad != nil:
			return found, err
		case bad != nil:
			return Record{}, fmt.Errorf("line %d: %w", n, bad)
		case r.ID == id:
			found, err = r, nil
		}
		if end == io.EOF {
			return found, err
		}
	}
}
