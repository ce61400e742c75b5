//go:build insecure_deterministic

package pictures

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/cmd/trace"
	"nexus.internal/os/services/rngd"
)

var update = flag.Bool("update", false, "make the pictures in docs/ again")

// docs is where documents with pictures are.
const docs = "../../docs"

// A picture in a document is a Mermaid block after a line with its name.
const (
	before = "<!-- picture: "
	after  = " -->\n\n```mermaid\n"
	end    = "```\n"
)

// TestPictures holds every picture in docs/ against what is drawn now.
func TestPictures(t *testing.T) {
	pictures := map[string]string{"grants": boot.GrantGraph(), "put": timeline(t, "put.txtar")}
	used := make(map[string]bool)
	names, err := filepath.Glob(docs + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		old, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := redraw(t, string(old), pictures, used)
		switch {
		case text == string(old):
		case *update:
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s has a picture that is not current; `make docs` makes it again", name)
		}
	}
	for name := range pictures {
		if !used[name] {
			t.Errorf("no document has the picture %s", name)
		}
	}
}

// redraw puts the current pictures into a document.
func redraw(t *testing.T, text string, pictures map[string]string, used map[string]bool) string {
	t.Helper()
	var out strings.Builder
	for {
		head, rest, found := strings.Cut(text, before)
		out.WriteString(head)
		if !found {
			return out.String()
		}
		name, rest, marked := strings.Cut(rest, after)
		picture, known := pictures[name]
		if !marked || !known {
			t.Fatalf("there is no picture %.20q", name)
		}
		used[name] = true
		_, text, _ = strings.Cut(rest, end)
		out.WriteString(before + name + after + picture + end)
	}
}

// timeline draws a scenario of this folder.
func timeline(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	line := trace.NewTimeline(s.DrawsFrom(trace.TimelineFrom))
	st := scenario.BySeed(uint64(s.Machine.Seed), s, func(seed, boot uint64) rngd.Source { return rngd.Seeded(seed, boot) })
	st.Marker, st.Result, st.Event = line.Marker, line.Result, line.Event
	if o := s.Play(st.Stage); o.Err != nil {
		t.Fatal(o.Err)
	}
	return line.String()
}
