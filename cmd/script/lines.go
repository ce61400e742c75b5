package script

import (
	"bytes"
	"errors"
	"io"

	"nexus.internal/os/services/secret"
)

// Lines reads lines that may hold credentials. They are in the pool of package
// secret, and nowhere else in this process.
type Lines struct {
	from   io.Reader
	held   *secret.Bytes
	filled int // bytes that were read
	used   int // of them, those of lines that were returned
	number int // of the last line, from 1
	err    error
}

// NewLines reads lines from r.
func NewLines(r io.Reader) *Lines {
	const lineEnd = 2 // bytes of "\r\n"
	return &Lines{from: r, held: secret.New(MaxLine + lineEnd + 1)}
}

// Next returns the next line without its end, which is gone at the next call, or
// io.EOF, or what is wrong: that goes on for ever.
func (l *Lines) Next() ([]byte, error) {
	l.forget()
	for {
		b := l.held.Expose()[:l.filled]
		end := bytes.IndexByte(b, '\n')
		switch {
		case end >= 0:
			return l.take(b[:end], end+1)
		case errors.Is(l.err, errTooLong):
			return nil, l.err
		case l.filled == l.held.Len() && l.err == nil:
			return l.take(b, l.filled)
		case l.err != nil && l.filled > 0:
			return l.take(b, l.filled)
		case l.err != nil:
			l.Close()
			return nil, l.err
		}
		n, err := l.from.Read(l.held.Expose()[l.filled:])
		l.filled, l.err = l.filled+n, err
	}
}

// take returns a line, of which that many bytes are used up with its end.
func (l *Lines) take(line []byte, used int) ([]byte, error) {
	l.number++
	l.used = used
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) > MaxLine {
		l.Close()
		l.err = errTooLong
		return nil, l.err
	}
	return line, nil
}

// forget overwrites the line that was returned last.
func (l *Lines) forget() {
	b := l.held.Expose()
	n := copy(b, b[l.used:l.filled])
	clear(b[n:l.filled])
	l.filled, l.used = n, 0
}

// Close wipes what was read and not returned. The next line is io.EOF.
func (l *Lines) Close() {
	l.held.Wipe()
	l.filled, l.used = 0, 0
	if l.err == nil {
		l.err = io.EOF
	}
}
