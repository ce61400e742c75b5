package script

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"

	"nexus.internal/os/services/secret"
)

// MaxLine is how long a line of a script may be, in bytes without its end.
const MaxLine = 16 << 10

// MaxRepeated is how many bytes the repeated words of a line have at most,
// together: enough for the longest value, and for one that is too long.
const MaxRepeated = 128 << 10

// Command is one line of a script, which has at least one word.
type Command struct {
	Line  int
	Words []string

	secrets []*secret.Bytes // that marks among the words stand for
}

// SyntaxError is a line that cannot be read.
type SyntaxError struct {
	Line   int
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Unwrap returns ErrUsage.
func (e *SyntaxError) Unwrap() error { return ErrUsage }

// Reader reads commands one by one, so that a script may be typed.
type Reader struct {
	lines *Lines
}

// NewReader reads commands from r.
func NewReader(r io.Reader) *Reader { return &Reader{NewLines(r)} }

// Next returns the next command, io.EOF at the end, or a *SyntaxError. What is a
// secret in it is a string from then on.
func (r *Reader) Next() (Command, error) {
	words, err := r.next()
	if err != nil {
		return Command{}, err
	}
	return Command{Line: r.lines.number, Words: reveal(words)}, nil
}

// next returns the words of the next line that has any. The caller wipes them.
func (r *Reader) next() ([]*secret.Bytes, error) {
	for {
		line, err := r.lines.Next()
		if errors.Is(err, errTooLong) {
			return nil, &SyntaxError{r.lines.number, err.Error()}
		}
		if err != nil {
			return nil, err
		}
		words, err := split(line)
		if err != nil {
			return nil, &SyntaxError{r.lines.number, err.Error()}
		}
		if len(words) > 0 {
			return words, nil
		}
	}
}

// reveal makes strings of words, and wipes them.
func reveal(words []*secret.Bytes) (list []string) {
	for _, w := range words {
		list = append(list, string(w.Expose()))
	}
	wipe(words)
	return list
}

func wipe(words []*secret.Bytes) {
	for _, w := range words {
		w.Wipe()
	}
}

// What a line can have wrong.
var (
	errTooLong = fmt.Errorf("longer than %d bytes", MaxLine)
	errText    = errors.New("not UTF-8, or a control character, which a quoted word can have as \\x00")
	errEnd     = errors.New("a quoted word does not end")
	errEscape  = errors.New("an unknown escape in a quoted word; they are Go's")
	errGlued   = errors.New("a quote inside of a word; quote the whole word")
	errRepeat  = errors.New("a quoted word is repeated by a number from 1 on, as in \"x\"*65536, and not to more bytes than a line's words may have")
)

const space = " \t"

// split cuts a line into words, which the caller wipes.
func split(line []byte) (words []*secret.Bytes, err error) {
	defer func() {
		if err != nil {
			wipe(words)
			words = nil
		}
	}()
	if !utf8.Valid(line) || bytes.ContainsFunc(line, func(c rune) bool { return c != '\t' && unicode.IsControl(c) }) {
		return nil, errText
	}
	room := MaxRepeated
	for {
		line = bytes.TrimLeft(line, space)
		if len(line) == 0 || line[0] == '#' {
			return words, nil
		}
		word, count, rest, err := cut(line)
		if err != nil {
			return words, err
		}
		line = rest
		whole, err := repeated(word, count, &room)
		if err != nil {
			return words, err
		}
		words = append(words, whole)
	}
}

// cut takes the first word off a line. Escapes are resolved in place. count is
// what stands behind a quoted word and a star; nil is none.
func cut(line []byte) (word, count, rest []byte, err error) {
	if line[0] != '"' {
		word, rest = line, nil
		if end := bytes.IndexAny(line, space); end >= 0 {
			word, rest = line[:end], line[end:]
		}
		if bytes.IndexByte(word, '"') >= 0 {
			return nil, nil, nil, errGlued
		}
		return word, nil, rest, nil
	}
	end := quoteEnd(line)
	if end < 0 {
		return nil, nil, nil, errEnd
	}
	word, rest = line[1:end-1], line[end:]
	if len(rest) > 0 && rest[0] == '*' {
		count, rest = rest[1:], nil
		if end := bytes.IndexAny(count, space); end >= 0 {
			count, rest = count[:end], count[end:]
		}
	}
	if len(rest) > 0 && rest[0] != ' ' && rest[0] != '\t' {
		return nil, nil, nil, errGlued
	}
	word, err = unescape(word)
	return word, count, rest, err
}

// repeated makes a word of one and the number that follows it, if any does.
func repeated(word, count []byte, room *int) (*secret.Bytes, error) {
	if count == nil {
		return secret.Copy(word), nil
	}
	n, err := strconv.Atoi(string(count))
	if err != nil || n < 1 || count[0] == '+' || n > MaxRepeated || n > 1 && len(word)*n > *room {
		return nil, errRepeat
	}
	if n > 1 {
		*room -= len(word) * n
	}
	whole := secret.New(len(word) * n)
	for at := 0; at < whole.Len(); at += len(word) {
		copy(whole.Expose()[at:], word)
	}
	return whole, nil
}

// quoteEnd returns where the quoted word ends that a line starts with, -1 if it
// does not.
func quoteEnd(line []byte) int {
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// longestEscape is that of \U0010ffff, in bytes.
const longestEscape = 10

// unescape resolves Go's escapes in place: what they stand for is never longer.
func unescape(word []byte) ([]byte, error) {
	n := 0
	for i := 0; i < len(word); {
		if word[i] != '\\' {
			word[n] = word[i]
			n, i = n+1, i+1
			continue
		}
		window := string(word[i:min(i+longestEscape, len(word))])
		c, wide, rest, err := strconv.UnquoteChar(window, '"')
		if err != nil {
			return nil, errEscape
		}
		i += len(window) - len(rest)
		if wide {
			n += utf8.EncodeRune(word[n:n+utf8.UTFMax], c)
		} else {
			word[n] = byte(c)
			n++
		}
	}
	clear(word[n:])
	return word[:n], nil
}
