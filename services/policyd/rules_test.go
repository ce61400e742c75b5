package policyd

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestParseReadsAllowAndReportsTheRest(t *testing.T) {
	text := `
version = 1
[allow]
identityd = ["session.token"]
"demo.notes" = ["keychain.put", "keychain.get"]
any-app = ["keychain.get"]
quiet = []

[Allow]
other = ["keychain.put"]

[[deny]]
x = 1
[limits.deep]
y = 2
`
	rules, reports, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"identityd":  {"session.token"},
		"demo.notes": {"keychain.put", "keychain.get"},
		"any-app":    {"keychain.get"},
		"quiet":      {},
	}
	if !reflect.DeepEqual(rules.allow, want) {
		t.Errorf("rules %v, want %v", rules.allow, want)
	}
	if got := rules.Subjects(); !reflect.DeepEqual(got, []string{"any-app", "demo.notes", "identityd", "quiet"}) {
		t.Errorf("subjects %v", got)
	}
	var keys []string
	for _, r := range reports {
		keys = append(keys, r.Key)
	}
	// "limits" is implied by [limits.deep] and so has no line of its own.
	if !reflect.DeepEqual(keys, []string{"limits", "version", "Allow", "deny"}) || reports[1].Line != 2 || reports[2].Line != 9 {
		t.Errorf("reports %+v", reports)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		line int
	}{
		"syntax":                 {"[allow]\na = [", 2},
		"allow is a string":      {"x = 1\nallow = \"a\"", 2},
		"allow is a list":        {"allow = [1]", 1},
		"allow is tables":        {"[[allow]]\na = []", 1},
		"actions is a string":    {"[allow]\na = \"b\"", 2},
		"actions is a number":    {"[allow]\n\na = 1", 3},
		"action is a number":     {"[allow]\na = [\"b\", 1]", 2},
		"actions are nested":     {"[allow]\na = [[\"b\"]]", 2},
		"subject twice":          {"[allow]\na = []\na = []", 3},
		"subject twice, quoted":  {"[allow]\na = []\n\"a\" = []", 3},
		"table twice":            {"[allow]\na = []\n[allow]\nb = []", 3},
		"action twice":           {"[allow]\na = [\"b\",\"b\"]", 2},
		"subject upper case":     {"[allow]\nA = []", 2},
		"subject empty":          {"[allow]\n\"\" = []", 2},
		"subject with space":     {"[allow]\n\"a \" = []", 2},
		"subject with newline":   {"[allow]\n\"a\\nb\" = []", 2},
		"subject with full stop": {"[allow]\n\"a.\" = []", 2},
		"bare dots":              {"[allow]\na.b = [\"c\"]", 1},
		"sub-table":              {"[allow]\n[allow.a]\nb = []", 2},
		"action upper case":      {"[allow]\na = [\"B\"]", 2},
		"action empty":           {"[allow]\na = [\"\"]", 2},
		"wildcard":               {"[allow]\na = [\"*\"]", 2},
		"invalid UTF-8":          {"[allow]\na = [\"\xff\"]", 2},
	} {
		t.Run(name, func(t *testing.T) {
			rules, _, err := Parse([]byte(c.text))
			var at *ParseError
			if !errors.Is(err, ErrPolicy) || !errors.As(err, &at) {
				t.Fatalf("rules %v, error %v", rules, err)
			}
			if at.Line != c.line {
				t.Errorf("line %d, want %d (%v)", at.Line, c.line, err)
			}
		})
	}
}

func TestParseLimits(t *testing.T) {
	subjects := func(n int) string {
		var b strings.Builder
		b.WriteString("[allow]\n")
		for i := range n {
			fmt.Fprintf(&b, "s%d = []\n", i)
		}
		return b.String()
	}
	actions := func(n int) string {
		var b strings.Builder
		b.WriteString("[allow]\ns = [")
		for i := range n {
			fmt.Fprintf(&b, "\"a%d\",", i)
		}
		return b.String() + "]"
	}
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "k%d = 1\n", i)
		}
		return b.String()
	}
	size := func(n int) string { return strings.Repeat("#", n) }
	for _, c := range []struct {
		name  string
		make  func(int) string
		limit int
	}{
		{"subjects", subjects, MaxSubjects},
		{"actions", actions, MaxActions},
		{"reports", keys, MaxReports},
		{"bytes", size, MaxPolicyBytes},
	} {
		for d := -1; d <= 1; d++ {
			_, _, err := Parse([]byte(c.make(c.limit + d)))
			if (err == nil) != (d <= 0) {
				t.Errorf("%s: %d%+d: %v", c.name, c.limit, d, err)
			}
		}
	}
}

var canonical = regexp.MustCompile(`^[a-z][a-z0-9]*([._-][a-z0-9]+)*$`)

// referenceParse is Parse as one would write it without lines and reports.
func referenceParse(text []byte) (allow map[string][]string, skipped int, ok bool) {
	var doc map[string]any
	if err := toml.Unmarshal(text, &doc); err != nil || len(text) > MaxPolicyBytes {
		return nil, 0, false
	}
	allow = map[string][]string{}
	for key, value := range doc {
		if key != "allow" {
			skipped++
			continue
		}
		table, isTable := value.(map[string]any)
		if !isTable || len(table) > MaxSubjects {
			return nil, 0, false
		}
		for subject, value := range table {
			list, isList := value.([]any)
			if !isList || len(list) > MaxActions || len(subject) > 64 || !canonical.MatchString(subject) {
				return nil, 0, false
			}
			seen := map[string]bool{}
			allow[subject] = []string{}
			for _, item := range list {
				action, isString := item.(string)
				if !isString || seen[action] || len(action) > 32 || !canonical.MatchString(action) {
					return nil, 0, false
				}
				seen[action] = true
				allow[subject] = append(allow[subject], action)
			}
		}
	}
	return allow, skipped, skipped <= MaxReports
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "[allow]\n", "[allow]\na = [\"b\"]\n[x]\ny=1", "[allow]\n\"a.b\" = ['c.d', \"e\"]", "allow = {a = [\"b\"]}",
		"[[allow]]", "allow.a = [\"b\"]", "[allow.a]", "[allow]\na = [\"b\", 1]", "[allow]\nA = []", "x = [[[[]]]]",
		"[allow]\nany-app = [\"keychain.get\"]", "\"al\\u006cow\".a = ['b']", "[allow]\na = 1979-05-27T07:32:00Z",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, reports, err := Parse(text)
		allow, skipped, ok := referenceParse(text)
		if (err == nil) != ok {
			t.Fatalf("Parse: %v; the reference accepts: %v", err, ok)
		}
		if err != nil {
			if !errors.Is(err, ErrPolicy) {
				t.Fatalf("an untyped error: %v", err)
			}
			return
		}
		if !reflect.DeepEqual(rules.allow, allow) || len(reports) != skipped {
			t.Fatalf("rules %v and %d reports, want %v and %d", rules.allow, len(reports), allow, skipped)
		}
	})
}
