package rules

import (
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// corpusLeast is how many kept inputs a fuzz target has at least, and
// fuzzManual where the targets are listed.
const (
	corpusLeast = 3
	fuzzManual  = "docs/FUZZING.md"
)

// fuzzTargets lists the module's fuzz targets, as folder and name.
func fuzzTargets(t *tree) (all [][2]string) {
	for _, f := range t.files {
		if f.nested || !f.test {
			continue
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				all = append(all, [2]string{f.pkg, fn.Name.Name})
			}
		}
	}
	return all
}

// checkFuzz wants of each target a kept corpus and a row in the manual, and no
// corpus and no row that is nobody's.
func checkFuzz(root fs.FS, t *tree) (found []finding, err error) {
	manual, err := fs.ReadFile(root, fuzzManual)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool)
	for _, target := range fuzzTargets(t) {
		folder := path.Join(target[0], "testdata/fuzz", target[1])
		known[folder] = true
		kept, err := fs.Glob(root, folder+"/*")
		if err != nil {
			return nil, err
		}
		if len(kept) < corpusLeast {
			found = append(found, finding{folder, 1, fmt.Sprintf("%d inputs are kept; at least %d", len(kept), corpusLeast)})
		}
		if row := fmt.Sprintf("\n| `%s` | `%s` | ", target[0], target[1]); strings.Count(string(manual), row) != 1 {
			found = append(found, finding{fuzzManual, 1, fmt.Sprintf("%s %s has no row, or more than one", target[0], target[1])})
		}
	}
	if rows := strings.Count(string(manual), "` | `Fuzz"); rows != len(known) {
		found = append(found, finding{fuzzManual, 1, fmt.Sprintf("%d rows for %d targets", rows, len(known))})
	}
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.HasSuffix(path.Dir(name), "testdata/fuzz") && !known[name] {
			found = append(found, finding{name, 1, "inputs of a target that there is not"})
		}
		return err
	})
	return found, err
}

func TestFuzzTargetsAreKept(t *testing.T) {
	module, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	found, err := checkFuzz(os.DirFS(root), module)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func TestFuzzRulesCanFail(t *testing.T) {
	const target = "ipc/testdata/fuzz/FuzzA/"
	row := "| `ipc` | `FuzzA` | reads |\n"
	for _, c := range []struct {
		what   string
		change func(root fstest.MapFS)
		want   string
	}{
		{"nothing", func(fstest.MapFS) {}, ""},
		{"a missing input", func(root fstest.MapFS) { delete(root, target+"2") }, "2 inputs are kept; at least 3"},
		{"a missing row", func(root fstest.MapFS) { root[fuzzManual] = &fstest.MapFile{Data: []byte("\n")} }, "ipc FuzzA has no row"},
		{"a row of nobody", func(root fstest.MapFS) {
			root[fuzzManual] = &fstest.MapFile{Data: []byte("\n" + row + "| `ipc` | `FuzzB` | reads |\n")}
		}, "2 rows for 1 targets"},
		{"a corpus of nobody", func(root fstest.MapFS) { root["ipc/testdata/fuzz/FuzzB/1"] = &fstest.MapFile{} }, "a target that there is not"},
	} {
		root := fstest.MapFS{
			"go.mod":        {Data: []byte("module m.test/os\n")},
			"ipc/a_test.go": {Data: []byte("package ipc\nfunc FuzzA(f *testing.F) {}\nfunc fuzzyMatch() {}\n")},
			fuzzManual:      {Data: []byte("\n" + row)},
		}
		for i := range corpusLeast {
			root[fmt.Sprint(target, i)] = &fstest.MapFile{}
		}
		c.change(root)
		module, err := load(root)
		if err != nil {
			t.Fatal(err)
		}
		found, err := checkFuzz(root, module)
		if err != nil {
			t.Fatal(err)
		}
		if c.want == "" && len(found) > 0 || c.want != "" && !slices.ContainsFunc(found, func(f finding) bool { return strings.Contains(f.text, c.want) }) {
			t.Errorf("%s: found %v", c.what, found)
		}
	}
}

// ciFuzz runs .ci/fuzz.
func ciFuzz(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	c := exec.Command(filepath.Join(root, ".ci/fuzz"), args...)
	c.Stdin = strings.NewReader(input)
	out, err := c.CombinedOutput()
	return string(out), err
}

// The runner finds every target, with the tag if it needs one.
func TestFuzzRunnerFindsAll(t *testing.T) {
	module, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	out, err := ciFuzz(t, "", "list")
	if err != nil {
		t.Fatal(err, out)
	}
	var listed, want []string
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		listed = append(listed, strings.Join(words[:2], " "))
	}
	for _, target := range fuzzTargets(module) {
		want = append(want, "./"+target[0]+" "+target[1])
	}
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("it lists %q, and there are %q", listed, want)
	}
	if !strings.Contains(out, "./tests/fuzz FuzzKeystored "+insecureTag+"\n") || !strings.Contains(out, "./ipc FuzzMark\n") {
		t.Errorf("the tag is not where it belongs:\n%s", out)
	}
}

const fuzzLog = `== ./ipc FuzzMark 
fuzz: elapsed: 0s, gathering baseline coverage: 0/12 completed
fuzz: elapsed: 3s, execs: 325017 (108336/sec), new interesting: 11 (total: 202)
fuzz: elapsed: 1m2s, execs: 620000 (0/sec), new interesting: 12 (total: 203)
PASS
== ok
== ./services/policyd FuzzParse 
fuzz: elapsed: 0s, gathering baseline coverage: 0/12 completed
== ok
`

const fuzzFailures = `== ./tests/fuzz FuzzKeystored insecure_deterministic
fuzz: elapsed: 3s, execs: 30 (10/sec), new interesting: 1 (total: 2)
    Failing input written to testdata/fuzz/FuzzKeystored/abc
== failed
== ./ipc FuzzMark 
--- FAIL: FuzzMark (0.00s)
    failure while testing seed corpus entry: FuzzMark/seed#1
== failed
== ./cmd/trace FuzzRead 
fuzz: no luck
== failed
`

// The table of a log has what it says, and a failure is named with the command
// that shows it again.
func TestFuzzTable(t *testing.T) {
	out, err := ciFuzz(t, fuzzLog, "report")
	if want := "" +
		"package           target       executions    a second     new   corpus\n" +
		"ipc               FuzzMark         620000       10000      12      203\n" +
		"services/policyd  FuzzParse             0           -       -        -\n"; err != nil || out != want {
		t.Errorf("%v, and it prints\n%swant\n%s", err, out, want)
	}
	out, err = ciFuzz(t, fuzzFailures, "report")
	if err == nil {
		t.Error("failures, and it does not fail")
	}
	for _, part := range []string{
		"tests/fuzz  FuzzKeystored        FAILED          10       1        2\n",
		"tests/fuzz FuzzKeystored fails with tests/fuzz/testdata/fuzz/FuzzKeystored/abc\n" +
			"again: go test -tags insecure_deterministic ./tests/fuzz -run '^FuzzKeystored/abc$'\n",
		"ipc FuzzMark fails with FuzzMark/seed#1\nagain: go test ./ipc -run '^FuzzMark/seed#1$'\n",
		"cmd/trace FuzzRead failed without an input: see build/fuzz.log\n",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
}
