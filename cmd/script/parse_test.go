package script

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// all reads commands to the end or to the first error.
func all(text string) (words [][]string, err error) {
	r := NewReader(strings.NewReader(text))
	for {
		c, err := r.Next()
		if err != nil {
			return words, err
		}
		words = append(words, c.Words)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		text string
		want [][]string
	}{
		{"", nil},
		{"\n \t\n\r\n", nil},
		{"# a comment", nil},
		{"users", [][]string{{"users"}}},
		{"users\r\nusers", [][]string{{"users"}, {"users"}}},
		{" put\ta/b  name value ", [][]string{{"put", "a/b", "name", "value"}}},
		{"get a/b name # why", [][]string{{"get", "a/b", "name"}}},
		{"get a/b a#b", [][]string{{"get", "a/b", "a#b"}}},
		{`get a/b "#"`, [][]string{{"get", "a/b", "#"}}},
		{`say "two words" ""`, [][]string{{"say", "two words", ""}}},
		{`say "a \"quote\" and a \\"`, [][]string{{"say", `a "quote" and a \`}}},
		{`say "\x00\xff\n\u00e9"`, [][]string{{"say", "\x00\xff\n\u00e9"}}},
		{`put a/b c "ab"*3`, [][]string{{"put", "a/b", "c", "ababab"}}},
		{`say "a"*1 ""*9 "a b"*2 # twice`, [][]string{{"say", "a", "", "a ba b"}}},
		{`say a*3 *3 "*3"`, [][]string{{"say", "a*3", "*3", "*3"}}},
		{"say é `x` 'y'", [][]string{{"say", "é", "`x`", "'y'"}}},
	} {
		got, err := all(c.text)
		if !errors.Is(err, io.EOF) || !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%q: got %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestUnreadableLines(t *testing.T) {
	for _, c := range []struct {
		text string
		line int
		want error
	}{
		{`say "`, 1, errEnd},
		{"users\n\nsay \"no end\nusers\"", 3, errEnd},
		{`say "no end\"`, 1, errEnd},
		{`say "no end\`, 1, errEnd},
		{`say "\q"`, 1, errEscape},
		{`say "\'"`, 1, errEscape},
		{`say "a"b`, 1, errGlued},
		{`say "a""b"`, 1, errGlued},
		{`say a"b`, 1, errGlued},
		{`say "a"#b`, 1, errGlued},
		{`say "a"*`, 1, errRepeat},
		{`say "a"*0`, 1, errRepeat},
		{`say "a"*-1`, 1, errRepeat},
		{`say "a"*+2`, 1, errRepeat},
		{`say "a"*2x`, 1, errRepeat},
		{`say "a"*2"b"`, 1, errRepeat},
		{`say "a"*2#`, 1, errRepeat},
		{`say ""*131073`, 1, errRepeat},
		{`say "a"*99999999999999999999`, 1, errRepeat},
		{`say "a" * 2"`, 1, errGlued},
		{"say \x00", 1, errText},
		{"say \"a\x00b\"", 1, errText},
		{"users\nsay \x1b[2J", 2, errText},
		{"say a\rb", 1, errText},
		{"say \u0085", 1, errText},
		{"# \xff", 1, errText},
	} {
		_, err := all(c.text)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Line != c.line || syntax.Reason != c.want.Error() || !errors.Is(err, ErrUsage) {
			t.Errorf("%q: got %v, want line %d: %v", c.text, err, c.line, c.want)
		}
	}
}

// TestRepeatedWords: those of one line have MaxRepeated bytes at most, together.
func TestRepeatedWords(t *testing.T) {
	for n, want := range map[int]error{MaxRepeated - 11: io.EOF, MaxRepeated - 10: io.EOF, MaxRepeated - 9: errRepeat} {
		got, err := all(fmt.Sprintf(`say "ab"*5 "x"*%d`, n))
		var syntax *SyntaxError
		if errors.As(err, &syntax) {
			err = nil
			if syntax.Reason == errRepeat.Error() {
				err = errRepeat
			}
		}
		if !errors.Is(err, want) || err == io.EOF && got[0][2] != strings.Repeat("x", n) {
			t.Errorf("%d bytes: %v, want %v", n, err, want)
		}
	}
}

func TestLongestLine(t *testing.T) {
	for _, end := range []string{"", "\n", "\r\n", "\nusers\n"} {
		for size := MaxLine - 1; size <= MaxLine+1; size++ {
			line := "say " + strings.Repeat("x", size-len("say "))
			got, err := all("users\n" + line + end)
			var syntax *SyntaxError
			switch {
			case size <= MaxLine && (!errors.Is(err, io.EOF) || len(got) < 2 || got[1][1] != line[4:]):
				t.Errorf("%d bytes and %q: %v", size, end, err)
			case size > MaxLine && (!errors.As(err, &syntax) || syntax.Line != 2):
				t.Errorf("%d bytes and %q: %v, want an error in line 2", size, end, err)
			}
		}
	}
	if _, err := all(strings.Repeat("x", 4*MaxLine)); !errors.Is(err, ErrUsage) {
		t.Errorf("a line without an end: %v", err)
	}
}

// failing is a reader that fails, as a file may.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestReaderFails(t *testing.T) {
	broken := errors.New("broken")
	if _, err := NewReader(failing{broken}).Next(); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// FuzzParse shows that no text makes the reader panic, that every command has
// words, and that quoted words come back as they were.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "users\n", "put a/b name \"a value\" # comment\r\n", `say "\x00\u1234\"" x`, `"`, `a"b`, "\xff", "\x00",
		"say \"" + strings.Repeat("x", 100), "fails denied get a/b c\n\n\n#", `put a/b c "xy"*32768`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := NewReader(bytes.NewReader(text))
		for last := 0; ; {
			c, err := r.Next()
			var syntax *SyntaxError
			if errors.As(err, &syntax) && syntax.Line <= last {
				t.Fatalf("an error in line %d after line %d", syntax.Line, last)
			}
			if err != nil {
				return
			}
			if len(c.Words) == 0 || c.Line <= last {
				t.Fatalf("line %d after %d: %q", c.Line, last, c.Words)
			}
			last = c.Line
			again(t, c.Words)
		}
	})
}

func again(t *testing.T, words []string) {
	t.Helper()
	var line []string
	for _, w := range words {
		line = append(line, strconv.Quote(w))
	}
	text := strings.Join(line, " ")
	if len(text) > MaxLine {
		return
	}
	got, err := all(text)
	if !errors.Is(err, io.EOF) || len(got) != 1 || !slices.Equal(got[0], words) {
		t.Fatalf("%q came back as %q, %v", words, got, err)
	}
}
