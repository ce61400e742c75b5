package vectors

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// lists are all lists of all files.
func lists(t *testing.T) (all []row) {
	t.Helper()
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range names {
		for name, raw := range read[map[string]json.RawMessage](t, file, contents(t, file)) {
			if raw[0] == '[' {
				all = append(all, row{file: file, list: name})
			}
		}
	}
	return all
}

// TestEveryClassHasARunner: every list of every file has an owner and as many
// vectors as it should, and of every class an owner that sees it.
func TestEveryClassHasARunner(t *testing.T) {
	there := lists(t)
	for _, l := range there {
		for class, n := range Classes(t, l.file, l.list) {
			if !slices.ContainsFunc(table, func(w row) bool { return w.file == l.file && w.list == l.list && w.leaves != class }) {
				t.Errorf("%s, %s: %d vectors of class %q are run by nobody", l.file, l.list, n, class)
			}
		}
	}
	for _, w := range table {
		if !slices.Contains(there, row{file: w.file, list: w.list}) {
			t.Errorf("there is no %s, %s", w.file, w.list)
			continue
		}
		n := 0
		for _, of := range Classes(t, w.file, w.list) {
			n += of
		}
		if n < w.least {
			t.Errorf("%s, %s has only %d vectors", w.file, w.list, n)
		}
	}
}

// TestEveryOwnerRuns: each owner's tests have one call of Run, in their own name,
// and nobody else has one.
func TestEveryOwnerRuns(t *testing.T) {
	calls := make(map[string]int)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		source, err := os.ReadFile(path)
		for _, owner := range runsIn(t, source) {
			if calls[owner]++; owner != filepath.ToSlash(dir) {
				t.Errorf("%s runs vectors in the name of %s", path, owner)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range table {
		if calls[w.owner] != 1 {
			t.Errorf("%s has %d calls of vectors.Run", w.owner, calls[w.owner])
		}
	}
	for owner := range calls {
		if !slices.ContainsFunc(table, func(w row) bool { return w.owner == owner }) {
			t.Errorf("%s owns no vectors", owner)
		}
	}
}

// runsIn are the owners named in calls of vectors.Run in functions that go test runs.
func runsIn(t *testing.T, source []byte) (owners []string) {
	t.Helper()
	if !bytes.Contains(source, []byte("vectors.Run(")) {
		return nil
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		test, ok := d.(*ast.FuncDecl)
		if !ok || test.Recv != nil || !strings.HasPrefix(test.Name.Name, "Test") {
			continue
		}
		ast.Inspect(test, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isRun(call.Fun) && len(call.Args) > 1 {
				literal, _ := call.Args[1].(*ast.BasicLit)
				if literal == nil {
					t.Error("vectors.Run is called with an owner that is no literal")
					return true
				}
				owner, _ := strconv.Unquote(literal.Value)
				owners = append(owners, owner)
			}
			return true
		})
	}
	return owners
}

func isRun(fun ast.Expr) bool {
	s, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "vectors" && s.Sel.Name == "Run"
}

func TestRunsIn(t *testing.T) {
	for source, want := range map[string]int{
		`func TestX(t *testing.T) { vectors.Run(t, "a") }`:          1,
		`func TestX(t *testing.T) { if x { vectors.Run(t, "a") } }`: 1,
		`// vectors.Run(t, "a")`:                                    0,
		`func runVectors(t *testing.T) { vectors.Run(t, "a") }`:     0,
		`func TestX(t *testing.T) { _ = "vectors.Run(" }`:           0,
	} {
		if got := runsIn(t, []byte("package a\n"+source)); len(got) != want {
			t.Errorf("%s: found %q", source, got)
		}
	}
}

// TestAssigned: a list that is left out, run twice or another one's is an error.
func TestAssigned(t *testing.T) {
	layout, refused := Runner{file: "header.json", list: "layout"}, Runner{file: "header.json", list: "refused"}
	delivered := Runner{file: "header.json", list: "delivered"}
	var all []Runner
	for _, w := range table {
		if w.owner == "ipc/frame" {
			all = append(all, Runner{file: w.file, list: w.list})
		}
	}
	if !slices.ContainsFunc(all, func(r Runner) bool { return r.list == layout.list }) || len(assigned("ipc/frame", all)) != 0 {
		t.Errorf("all of them: %q", assigned("ipc/frame", all))
	}
	for name, c := range map[string]struct {
		runners []Runner
		wrong   int
	}{
		"none":        {nil, len(all)},
		"one":         {[]Runner{layout}, len(all) - 1},
		"two":         {[]Runner{layout, refused}, len(all) - 2},
		"twice":       {append(slices.Clone(all), layout), 1},
		"another's":   {append(slices.Clone(all), delivered), 1},
		"nobody's":    {append(slices.Clone(all), Runner{file: "header.json", list: "none"}), 1},
		"another one": {append(slices.Clone(all[1:]), delivered), 2},
	} {
		if got := assigned("ipc/frame", c.runners); len(got) != c.wrong {
			t.Errorf("%s: %d errors, want %d: %q", name, len(got), c.wrong, got)
		}
	}
}

// TestJudge: what a decoder says must be the vector's class, and for good ones
// the vector's bytes.
func TestJudge(t *testing.T) {
	good, implied, bad := Vector{Bytes: Hex("ab"), Expect: OK}, Vector{Bytes: Hex("ab")}, Vector{Bytes: Hex("ab"), Expect: "malformed"}
	for _, c := range []struct {
		name  string
		v     Vector
		again string
		class string
		right bool
	}{
		{"good", good, "ab", OK, true},
		{"good, without saying so", implied, "ab", OK, true},
		{"good, and refused", good, "", "malformed", false},
		{"good, in other bytes", good, "ac", OK, false},
		{"good, cut off", good, "a", OK, false},
		{"bad", bad, "", "malformed", true},
		{"bad, and taken", bad, "ab", OK, false},
		{"bad, refused as something else", bad, "", "too large", false},
		{"bad, refused, and read", bad, "ab", "malformed", false},
	} {
		if err := c.v.judge([]byte(c.again), c.class); (err == nil) != c.right {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestEach: each vector is run, in the list's order, but for the class that the
// owner leaves.
func TestEach(t *testing.T) {
	all := Read[Token](t, "token.json", "vectors")
	for leaves, want := range map[string]int{"": len(all), "missing": len(all) - 1} {
		var ran []string
		run := Each("token.json", "vectors", func(_ *testing.T, v Token) { ran = append(ran, v.Name) }).run
		t.Run("leaves "+leaves, func(t *testing.T) { run(t, leaves) })
		if len(ran) != want || ran[len(ran)-1] != all[len(all)-1].Name {
			t.Errorf("without %q: %d of %d were run", leaves, len(ran), len(all))
		}
	}
}

// TestREADME: what other implementers read names each file, list, class and
// member.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for _, l := range lists(t) {
		named[l.file], named[l.list] = true, true
		for class := range Classes(t, l.file, l.list) {
			named[class] = true
		}
		raw := read[map[string]json.RawMessage](t, l.file, contents(t, l.file))[l.list]
		for _, v := range read[[]map[string]any](t, l.file, raw) {
			for member := range v {
				named[member] = true
			}
		}
	}
	for name := range named {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("README.md does not say what %s is", name)
		}
	}
	for _, w := range table {
		if !strings.Contains(string(text), "`"+w.owner+"`") {
			t.Errorf("README.md does not say what %s runs", w.owner)
		}
	}
}

// TestSpecificationsShowGoldenBytes: the golden vectors are those that the
// specifications print.
func TestSpecificationsShowGoldenBytes(t *testing.T) {
	for spec, golden := range map[string]map[string]int{
		"frames.md": {"header.json": 1, "envelope.json": 3, "route.json": 6},
		"ks1.md":    {"ks1.json": 13},
	} {
		text, err := os.ReadFile(filepath.Join(root, "docs/spec", spec))
		if err != nil {
			t.Fatal(err)
		}
		printed := strings.ReplaceAll(string(text), " ", "") // Bytes stand in groups.
		for file, want := range golden {
			n := 0
			for _, v := range golds(t, file) {
				if n++; !strings.Contains(printed, "\n"+v.Bytes.String()+"\n") {
					t.Errorf("%s, %s: %s is not in %s", file, v.Name, v.Bytes, spec)
				}
			}
			if n != want {
				t.Errorf("%s has %d golden vectors, want %d", file, n, want)
			}
		}
	}
}

// golds are a file's golden vectors.
func golds(t *testing.T, file string) (all []Vector) {
	t.Helper()
	for _, l := range lists(t) {
		if l.file != file {
			continue
		}
		raw := read[map[string]json.RawMessage](t, file, contents(t, file))[l.list]
		var vectors []Vector
		if err := json.Unmarshal(raw, &vectors); err != nil {
			t.Fatal(err)
		}
		for _, v := range vectors {
			if strings.HasPrefix(v.Name, "golden") {
				all = append(all, v)
			}
		}
	}
	return all
}
