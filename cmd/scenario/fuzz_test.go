package scenario

import (
	"errors"
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
