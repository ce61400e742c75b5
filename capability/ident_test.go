package capability

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

// The reference: the canonical forms as regular expressions.
var (
	labels    = regexp.MustCompile(`\A[a-z][a-z0-9]*([._-][a-z0-9]+)*\z`)
	printable = regexp.MustCompile(`\A[\x21-\x7e]{1,256}\z`)
)

func isApp(id string) bool    { return len(id) <= MaxAppID && labels.MatchString(id) }
func isUser(id string) bool   { return len(id) <= MaxUserID && labels.MatchString(id) }
func isName(name string) bool { return printable.MatchString(name) }

type check struct {
	what string
	is   func(string) bool
	got  func(string) error
}

var checks = []check{{"app", isApp, CheckApp}, {"user", isUser, CheckUser}, {"name", isName, CheckName}}

func (c check) compare(t *testing.T, s string) {
	t.Helper()
	err := c.got(s)
	if err != nil && !errors.Is(err, ErrNotCanonical) {
		t.Errorf("%s %q: %v is not ErrNotCanonical", c.what, s, err)
	}
	if (err == nil) != c.is(s) {
		t.Errorf("%s %q: %v, but the reference says %v", c.what, s, err, c.is(s))
	}
}

// TestIdentExhaustive compares with the reference over every string of up to
// four characters of an alphabet that has each kind of byte.
func TestIdentExhaustive(t *testing.T) {
	alphabet := []string{"a", "z", "0", "9", ".", "-", "_", "A", " ", "/", "\x00", "\n", "\x7f", "é"}
	words := []string{""}
	for range 4 {
		next := make([]string, 0, len(words)*len(alphabet))
		for _, w := range words {
			for _, c := range alphabet {
				next = append(next, w+c)
			}
		}
		words = next
		for _, w := range words {
			for _, c := range checks {
				c.compare(t, w)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func TestIdentEveryByte(t *testing.T) {
	for b := range 256 {
		for _, s := range []string{string([]byte{byte(b)}), string([]byte{'a', byte(b)}), string([]byte{'a', byte(b), 'a'})} {
			for _, c := range checks {
				c.compare(t, s)
			}
		}
	}
}

func TestIdentLengths(t *testing.T) {
	for _, c := range []struct {
		check func(string) error
		limit int
	}{{CheckApp, MaxAppID}, {CheckUser, MaxUserID}, {CheckName, MaxName}} {
		for n, want := range map[int]bool{0: false, 1: true, c.limit - 1: true, c.limit: true, c.limit + 1: false} {
			if err := c.check(strings.Repeat("a", n)); (err == nil) != want {
				t.Errorf("%d bytes of at most %d: %v", n, c.limit, err)
			}
		}
	}
}

// TestRefusedSpellings are the examples of docs/IPC.md: spellings that look
// like a canonical one, or that another system would fold into it.
func TestRefusedSpellings(t *testing.T) {
	for _, id := range []string{
		"Notes", "nOtes", "notes ", " notes", "notes.", ".notes", "no..tes", "no.-tes", "notes-", "_notes", "1notes",
		"notes/", "no/tes", "../notes", "notes\x00", "notes\n", "notes*", "n\xc3\xb6tes", "no\xcc\x88tes", "n\xd0\xbetes", "notes\xff", "",
	} {
		if CheckApp(id) == nil || CheckUser(id) == nil {
			t.Errorf("%q was accepted", id)
		}
	}
	for _, name := range []string{
		"", "a b", "a\tb", "a\nb", "a\x00b", "a\x1b[2Jb", "a\x7f", "caf\xc3\xa9", "a\xe2\x80\x8bb", "a\xc2\xa0b", "\xff", strings.Repeat("a", MaxName+1),
	} {
		if CheckName(name) == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	for _, id := range []string{"a", "notes", "org.example.notes", "a1-b_c.2d"} {
		if CheckApp(id) != nil || CheckUser(id) != nil {
			t.Errorf("%q was refused", id)
		}
	}
	for _, name := range []string{"!", "~", "A", "mail/password", "a.b", "a=b", `"x"`} {
		if CheckName(name) != nil {
			t.Errorf("%q was refused", name)
		}
	}
}

func FuzzCheckApp(f *testing.F) {
	for _, s := range []string{"", "a", "notes", "org.example.notes", "a..b", "a-", "A", strings.Repeat("a", 33), strings.Repeat("a", 65), "a\x00", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checks[0].compare(t, s)
		checks[1].compare(t, s)
	})
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"", "a", "mail/password", "a b", "\x1b[2J", "\x7f", "\xff", strings.Repeat("~", 256), strings.Repeat("~", 257)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checks[2].compare(t, s) })
}
