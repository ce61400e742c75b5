package statefsd

import (
	"errors"
	"path"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
)

func FuzzParsePath(f *testing.F) {
	for _, p := range []string{"state:/a", "state:/identity/alice/vault.kv", "state:/", "state:", "/a", "state:/a/../b", "state:/a//b", "state:/\x00", "state:/" + strings.Repeat("a", 249)} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		rel, err := ParsePath(p)
		if err != nil {
			if !errors.Is(err, ipc.Malformed) || rel != "" {
				t.Fatalf("%q: %q, %v", p, rel, err)
			}
		} else if Scheme+rel != p || len(p) > MaxPath || rel == "." || strings.HasPrefix(rel, "..") && (rel == ".." || rel[2] == '/') || path.Clean("/"+rel) != "/"+rel {
			t.Fatalf("%q is taken for %q", p, rel)
		}
		// Every beginning of a path is a prefix.
		for n := len(Scheme); err == nil && n <= len(p); n++ {
			if _, err := parsePrefix(p[:n]); err != nil {
				t.Fatalf("%q begins with %q, which is no prefix", p, p[:n])
			}
		}
		if before, err := parsePrefix(p); err == nil && Scheme+before != p {
			t.Fatalf("%q is taken for %q", p, before)
		}
	})
}

// slow is the plain meaning of a pattern's part.
func slow(pattern, part string) bool {
	if pattern == "" {
		return part == ""
	}
	if pattern[0] != '*' {
		return part != "" && part[0] == pattern[0] && slow(pattern[1:], part[1:])
	}
	return slow(pattern[1:], part) || part != "" && slow(pattern, part[1:])
}

// FuzzMatch holds match against its plain meaning, and begins against match.
func FuzzMatch(f *testing.F) {
	for _, c := range [][2]string{{"*", "a"}, {"a*", "a"}, {"a*a", "a"}, {"a*b*a", "aba"}, {"*a*a*", "aa"}, {"vault.kv*", "vault.kv.1"}, {"", ""}, {"*ab", "aab"}, {"**", ""}} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, pattern, part string) {
		if len(pattern) > 12 || len(part) > 12 {
			return // slow is exponential
		}
		got := match(pattern, part)
		if want := slow(pattern, part); got != want {
			t.Fatalf("match(%q, %q) is %v", pattern, part, got)
		}
		for n := range len(part) + 1 {
			if got && !begins(pattern, part[:n]) {
				t.Fatalf("%q fits %q, which is said not to begin with %q", part, pattern, part[:n])
			}
		}
		// What may begin so can be completed: with the pattern itself, its
		// stars empty, after what a star takes.
		if begins(pattern, part) {
			fixed, rest, _ := strings.Cut(pattern, "*")
			whole := fixed
			if strings.HasPrefix(part, fixed) {
				whole = part
			}
			whole += strings.ReplaceAll(rest, "*", "")
			if !slow(pattern, whole) {
				t.Fatalf("begins(%q, %q), but %q does not fit", pattern, part, whole)
			}
		}
	})
}
