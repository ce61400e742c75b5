package scenario

import (
	"errors"
	"strings"
	"testing"

	"nexus.internal/os/cmd/script"
)

// FuzzParse: whatever a file has in it, reading it panics never. What is wrong
// is an ErrUsage, and what is right is the same scenario after it was written.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"# About.\n-- machine.toml --\nseed = 7\n-- markers.toml --\n[[phase]]\nname = \"a\"\nexpect = [\"b\"]\n-- script --\nboot\nput a/b c d\n",
		"-- script --\nasync x fails denied one-of ok,denied send a/b store Get 00 flip:7\njoin\n",
		"-- policy.toml --\n[allow]\n-- script --\n", "-- script --\nsay \"\\x00\"\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("fuzz", text)
		if err != nil {
			if !errors.Is(err, script.ErrUsage) {
				t.Errorf("%v is no ErrUsage", err)
			}
			return
		}
		again, err := Parse("again", s.Format())
		if err != nil || again.Script != s.Script || again.Machine != s.Machine {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// FuzzManifest: a text is a manifest or is wrong in a line that it has, and one
// that is read can be held against any run.
func FuzzManifest(f *testing.F) {
	f.Add([]byte("[[phase]]\nname = \"a\"\nexpect = [\"b\"]\nforbid = [\"c\"]\n"), "b\nc")
	f.Fuzz(func(t *testing.T, text []byte, console string) {
		m, err := ParseManifest(text)
		if err != nil {
			line(t, text, err)
			return
		}
		if len(m.Phases) == 0 {
			t.Error("a manifest without a phase")
		}
		lines := strings.Split(console, "\n")
		wrong := m.Check(lines)
		for i, p := range m.Phases {
			if p.Name == "" || len(p.Expect) == 0 && i < len(m.Phases)-1 {
				t.Errorf("phase %d is %+v", i, p)
			}
			for _, e := range p.Expect {
				if wrong == nil && !strings.Contains(console, e) {
					t.Errorf("%q did not come, and nothing is wrong", e)
				}
			}
		}
	})
}

// FuzzSettings: a text is settings, none of them negative, that are the same
// after they were written, or it is wrong in a line that it has.
func FuzzSettings(f *testing.F) {
	f.Add([]byte("seed = 7\ntear = true\napp-secrets = 3\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSettings(text)
		if err != nil {
			line(t, text, err)
			return
		}
		if min(s.Seed, s.AppSecrets, s.AppBytes, s.UserSecrets, s.UserBytes) < 0 {
			t.Errorf("%+v", s)
		}
		if again, err := parseSettings(s.format()); err != nil || again != s {
			t.Errorf("%+v comes back as %+v, %v", s, again, err)
		}
	})
}

// line wants an error that names a line of the text.
func line(t *testing.T, text []byte, err error) {
	t.Helper()
	var bad *tomlError
	if !errors.As(err, &bad) || bad.line < 1 || bad.line > 1+strings.Count(string(text), "\n") {
		t.Errorf("%v names no line", err)
	}
}
