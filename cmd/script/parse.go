package script

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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
	lines *bufio.Scanner
	line  int
}

// NewReader reads commands from r.
func NewReader(r io.Reader) *Reader {
	s := bufio.NewScanner(r)
	const lineEnd = 2 // bytes of "\r\n"
	s.Buffer(nil, MaxLine+lineEnd+1)
	return &Reader{lines: s}
}

// Next returns the next command, io.EOF at the end, or a *SyntaxError.
func (r *Reader) Next() (Command, error) {
	for r.lines.Scan() {
		r.line++
		if len(r.lines.Bytes()) > MaxLine {
			return Command{}, r.tooLong()
		}
		words, err := split(r.lines.Text())
		if err != nil {
			return Command{}, &SyntaxError{r.line, err.Error()}
		}
		if len(words) > 0 {
			return Command{r.line, words}, nil
		}
	}
	if err := r.lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		r.line++
		return Command{}, r.tooLong()
	} else if err != nil {
		return Command{}, err
	}
	return Command{}, io.EOF
}

func (r *Reader) tooLong() error {
	return &SyntaxError{r.line, fmt.Sprintf("longer than %d bytes", MaxLine)}
}

// What a line can have wrong.
var (
	errText   = errors.New("not UTF-8, or a control character, which a quoted word can have as \\x00")
	errEnd    = errors.New("a quoted word does not end")
	errEscape = errors.New("an unknown escape in a quoted word; they are Go's")
	errGlued  = errors.New("a quote inside of a word; quote the whole word")
	errRepeat = errors.New("a quoted word is repeated by a number from 1 on, as in \"x\"*65536, and not to more bytes than a line's words may have")
)

const space = " \t"

// split cuts a line into words.
func split(line string) (words []string, err error) {
	if !utf8.ValidString(line) || strings.ContainsFunc(line, func(c rune) bool { return c != '\t' && unicode.IsControl(c) }) {
		return nil, errText
	}
	room := MaxRepeated
	for {
		line = strings.TrimLeft(line, space)
		if line == "" || line[0] == '#' {
			return words, nil
		}
		end := strings.IndexAny(line, space)
		if line[0] == '"' {
			end = quoteEnd(line)
		}
		word := line
		if end >= 0 {
			word = line[:end]
		}
		line = line[len(word):]
		count := "1"
		if word[0] == '"' && strings.HasPrefix(line, "*") {
			end := strings.IndexAny(line+" ", space)
			count, line = line[1:end], line[end:]
		}
		if word, err = unquote(word, line); err != nil {
			return nil, err
		}
		if count != "1" {
			if word, err = repeat(word, count, room); err != nil {
				return nil, err
			}
			room -= len(word)
		}
		words = append(words, word)
	}
}

// repeat makes a word of a quoted one and the number that follows it.
func repeat(word, count string, room int) (string, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || count[0] == '+' || n > MaxRepeated || len(word)*n > room {
		return "", errRepeat
	}
	return strings.Repeat(word, n), nil
}

// quoteEnd returns where the quoted word ends that a line starts with, -1 if it
// does not.
func quoteEnd(line string) int {
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

// unquote returns what a word stands for, before the rest of the line.
func unquote(word, rest string) (string, error) {
	quoted := word[0] == '"'
	switch {
	case !quoted && strings.Contains(word, `"`):
		return "", errGlued
	case !quoted:
		return word, nil
	case quoteEnd(word) < 0:
		return "", errEnd
	case rest != "" && !strings.Contains(space, rest[:1]):
		return "", errGlued
	}
	text, err := strconv.Unquote(word)
	if err != nil {
		return "", errEscape
	}
	return text, nil
}
