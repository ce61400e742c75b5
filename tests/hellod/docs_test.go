package hellod

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	manual = root + "/docs/HACKING.md"
)

// written are the files of the example that somebody has to write.
var written = []string{"hello.proto", "hellod.go", example}

// tooMany is how many lines the example does not have: comments and empty lines
// count, generated code and tests do not.
const tooMany = 100

func TestExampleIsShort(t *testing.T) {
	lines := 0
	for _, name := range written {
		lines += strings.Count(read(t, name), "\n")
	}
	if lines >= tooMany {
		t.Errorf("%v have %d lines; less than %d have to be enough", written, lines, tooMany)
	}
}

// Nothing is left out of the count: all other sources are tests or generated.
func TestNothingElseIsWritten(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		source := slices.Contains([]string{".go", ".proto", ".txtar"}, filepath.Ext(name))
		free := strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go")
		if source && !free && !slices.Contains(written, name) {
			t.Errorf("%s is not counted", name)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block is a fenced block of a document.
type block struct {
	line int
	info string // what follows the fence
	text string
}

func blocks(text string) (all []block) {
	inside := false
	for i, line := range strings.SplitAfter(text, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !inside:
			all = append(all, block{line: i + 1, info: strings.TrimSpace(info)})
		case !fence && inside:
			all[len(all)-1].text += line
		}
		inside = inside != fence
	}
	return all
}

// A block of docs/HACKING.md that names a file is a part of it, whole lines and
// without a gap; all others are commands. Each file of the example is shown.
func TestManualShowsTheFiles(t *testing.T) {
	shown := make(map[string]bool)
	for _, b := range blocks(read(t, manual)) {
		_, name, named := strings.Cut(b.info, " ")
		switch {
		case !named && b.info == "console":
		case !named:
			t.Errorf("%s:%d: a block %q without the name of its file", manual, b.line, b.info)
		case b.text == "" || !strings.Contains("\n"+read(t, filepath.Join(root, name)), "\n"+b.text):
			t.Errorf("%s:%d: this is not in %s:\n%s", manual, b.line, name, b.text)
		default:
			shown[filepath.Base(name)] = true
		}
	}
	for _, name := range written {
		if !shown[name] {
			t.Errorf("%s shows nothing of %s", manual, name)
		}
	}
}

// The comparison can fail.
func TestBlocks(t *testing.T) {
	got := blocks("a\n```go f.go\nb\n\nc\n```\nd\n```console\n```\n")
	want := []block{{2, "go f.go", "b\n\nc\n"}, {8, "console", ""}}
	if !slices.Equal(got, want) {
		t.Errorf("blocks %+v, want %+v", got, want)
	}
}
