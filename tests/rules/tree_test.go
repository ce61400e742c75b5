package rules

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// A file is one Go file of the module.
type file struct {
	path   string // below the module's root
	pkg    string // its folder
	test   bool   // by its name
	nested bool   // in a module below this one
	lines  int
	*ast.File
	set *token.FileSet
}

// generated says whether the file claims that it was generated.
func (f *file) generated() bool { return ast.IsGenerated(f.File) }

// relaxed says whether the file belongs to the tests, and to no binary.
func (f *file) relaxed() bool { return f.test || under(f.pkg, "tests/...") && !shipped[f.pkg] }

// shipped are the packages below tests that a package elsewhere may import, and
// what they may import of tests in turn: a binary has them in it.
var shipped = shippedBy(table)

func shippedBy(table []row) map[string]bool {
	shipped := make(map[string]bool)
	for before := -1; before < len(shipped); {
		before = len(shipped)
		for _, r := range table {
			if under(r.pkg, "tests/...") && !shipped[r.pkg] {
				continue
			}
			for _, target := range strings.Fields(r.may) {
				if under(target, "tests/...") {
					shipped[target] = true
				}
			}
		}
	}
	return shipped
}

func TestShipped(t *testing.T) {
	got := shippedBy([]row{
		{"tests/deepest", "", ""}, {"tests/deep", "ipc tests/deepest", ""}, {"tests/near", "tests/deep", ""},
		{"cmd/a", "ipc tests/near", ""}, {"tests/alone", "tests/rig", ""}, {"cmd/b", "ipc", ""},
	})
	if want := map[string]bool{"tests/near": true, "tests/deep": true, "tests/deepest": true}; !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// A finding is one breach of one rule.
type finding struct {
	path string
	line int
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.text) }

func (f *file) finding(pos token.Pos, format string, args ...any) finding {
	return finding{f.path, f.set.Position(pos).Line, fmt.Sprintf(format, args...)}
}

// A tree is a module's Go files and its path.
type tree struct {
	module string
	files  []*file
}

// load parses every Go file below root that the go command would see with some
// set of build tags.
func load(root fs.FS) (*tree, error) {
	gomod, err := fs.ReadFile(root, "go.mod")
	if err != nil {
		return nil, err
	}
	first, _, _ := bytes.Cut(gomod, []byte("\n"))
	module, ok := strings.CutPrefix(string(first), "module ")
	if !ok {
		return nil, fmt.Errorf("go.mod starts with %q", first)
	}
	t := &tree{module: module}
	nested := ""
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := path.Base(name)
			if name != "." && (base[0] == '.' || base[0] == '_' || base == "testdata") {
				return fs.SkipDir
			}
			if _, err := fs.Stat(root, path.Join(name, "go.mod")); err == nil && name != "." {
				nested = name
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		f, err := parse(root, name)
		if err != nil {
			return err
		}
		f.nested = nested != "" && under(f.pkg, nested+"/...")
		t.files = append(t.files, f)
		return nil
	})
	return t, err
}

func parse(root fs.FS, name string) (*file, error) {
	source, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &file{
		path: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
		lines: bytes.Count(source, []byte("\n")), File: syntax, set: set,
	}, nil
}

// under says whether what is pattern, or below it when it ends in "/...".
func under(what, pattern string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return what == dir || strings.HasPrefix(what, dir+"/")
	}
	return what == pattern
}

// among says whether one of the patterns covers what.
func among(what, patterns string) bool {
	return slices.ContainsFunc(strings.Fields(patterns), func(p string) bool { return under(what, p) })
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		what, patterns string
		want           bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a", false}, {"a/b", "x a/...", true},
		{"a", "a/...", true}, {"ab", "a/...", false}, {"a", "", false},
	} {
		if got := among(c.what, c.patterns); got != c.want {
			t.Errorf("among(%q, %q) = %v", c.what, c.patterns, got)
		}
	}
}
