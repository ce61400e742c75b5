package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// all reads the patches of this folder.
func all(t *testing.T) []patch {
	t.Helper()
	patches, err := readPatches(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(patches) == 0 {
		t.Fatal("no patches")
	}
	return patches
}

// sourcesCopied copies the working tree.
func sourcesCopied(t *testing.T) *field {
	t.Helper()
	root, err := findRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	f := &field{dir: t.TempDir()}
	f.tree = filepath.Join(f.dir, "tree")
	if err := copySources(t.Context(), root, f.tree); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestPatchesApply fails when the sources have moved on and a patch has not, or
// a package that it names is gone.
func TestPatchesApply(t *testing.T) {
	f := sourcesCopied(t)
	for _, p := range all(t) {
		if err := f.apply(t.Context(), p, "--check"); err != nil {
			t.Error(err)
		}
		for _, pkg := range p.packages {
			tests, err := filepath.Glob(filepath.Join(f.tree, pkg, "*_test.go"))
			if err != nil || len(tests) == 0 {
				t.Errorf("%s: %s has no tests (%v)", p.name, pkg, err)
			}
		}
	}
}

// TestPatchesAreTaken plants one mistake and takes it out again.
func TestPatchesAreTaken(t *testing.T) {
	f := sourcesCopied(t)
	p := all(t)[0]
	if err := f.apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if f.apply(t.Context(), p, "--check") == nil {
		t.Error("what is planted can be planted again")
	}
	if err := f.apply(t.Context(), p, "--reverse"); err != nil {
		t.Error(err)
	}
	if err := f.apply(t.Context(), p, "--check"); err != nil {
		t.Error(err)
	}
}

func TestStalePatchIsNamed(t *testing.T) {
	f := sourcesCopied(t)
	good := all(t)[0]
	stale := good
	stale.name = "99-stale"
	stale.diff = bytes.Replace(good.diff, []byte("\n-"), []byte("\n-nothing of the kind"), 1)
	if bytes.Equal(stale.diff, good.diff) {
		t.Fatalf("%s takes no line away", good.name)
	}
	err := f.checkAll(t.Context(), []patch{good, stale})
	if err == nil || !strings.Contains(err.Error(), stale.name) || strings.Contains(err.Error(), good.name) {
		t.Errorf("error %v", err)
	}
}

// TestPatchesSayWhatTheyAre holds names and headers against their form.
func TestPatchesSayWhatTheyAre(t *testing.T) {
	form := regexp.MustCompile(`^[0-9]{2}(-[a-z0-9]+)+$`)
	numbers := make(map[string]string)
	for _, p := range all(t) {
		if !form.MatchString(p.name) {
			t.Errorf("%s is not NN-name", p.name)
		}
		if other := numbers[p.name[:2]]; other != "" {
			t.Errorf("%s and %s have one number", other, p.name)
		}
		numbers[p.name[:2]] = p.name
		if !strings.HasSuffix(p.mistake, ".") || strings.Contains(p.mistake, ". ") {
			t.Errorf("%s: %q is not one sentence", p.name, p.mistake)
		}
		if _, err := regexp.Compile(p.only); err != nil {
			t.Errorf("%s: -run: %v", p.name, err)
		}
	}
}

func TestParsePatch(t *testing.T) {
	const diff = "diff --git a/x b/x\n"
	for _, c := range []struct {
		text, mistake, packages, only string
		fails                         bool
	}{
		{text: "It forgets.\n" + diff, mistake: "It forgets."},
		{text: "It forgets.\ntests: ./a ./b/c\n\n" + diff, mistake: "It forgets.", packages: "./a ./b/c"},
		{text: "It forgets.\nA word more.\ntests: ./a -run Test(A|B)\n" + diff, mistake: "It forgets.", packages: "./a", only: "Test(A|B)"},
		{text: "It forgets.\ntests:\n" + diff, mistake: "It forgets."},
		{text: "It forgets.\n", fails: true},
		{text: diff, fails: true},
		{text: "tests: ./a\n" + diff, fails: true},
		{text: "It forgets.\ntests: a\n" + diff, fails: true},
		{text: "It forgets.\ntests: -run TestA\n" + diff, fails: true},
		{text: "It forgets.\ntests: ./a -run\n" + diff, fails: true},
		{text: "It forgets.\ntests: ./a -run TestA ./b\n" + diff, fails: true},
	} {
		p, err := parsePatch("01-x", []byte(c.text))
		if c.fails {
			if err == nil || !strings.Contains(err.Error(), "01-x") {
				t.Errorf("%q: error %v", c.text, err)
			}
			continue
		}
		if err != nil || p.mistake != c.mistake || strings.Join(p.packages, " ") != c.packages || p.only != c.only {
			t.Errorf("%q: %q, %q, %q, %v", c.text, p.mistake, p.packages, p.only, err)
		}
	}
}

func TestChoose(t *testing.T) {
	patches := []patch{{name: "01-a"}, {name: "02-b"}, {name: "03-ab"}}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "01-a 02-b 03-ab"},
		{[]string{"--only", "a"}, "01-a 03-ab"},
		{[]string{"02-b"}, "02-b"},
		{[]string{"tests/mutants/03-ab.patch", "01-a"}, "01-a 03-ab"},
		{[]string{"--only", "^01", "01-a", "02-b"}, "01-a"},
		{[]string{"--only", "x"}, ""},
		{[]string{"04-c"}, ""},
	} {
		cfg, err := parseFlags(c.args, os.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		chosen, err := choose(patches, cfg)
		var names []string
		for _, p := range chosen {
			names = append(names, p.name)
		}
		if strings.Join(names, " ") != c.want || errors.Is(err, errUsage) != (c.want == "") {
			t.Errorf("%q: %q, %v", c.args, names, err)
		}
	}
}

func TestWidest(t *testing.T) {
	if got := widest([]patch{{name: "01-short"}, {name: "02-a-longer-one"}}); got != len("02-a-longer-one") {
		t.Error(got)
	}
	if got := widest([]patch{{name: "1"}}); got != len("control") {
		t.Error(got)
	}
}

// TestSourcesWithoutGit: what make writes is left out, and nothing else.
func TestSourcesWithoutGit(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"go.mod", "a/b.go", "bin/x", "build/state/y"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	names, err := sources(t.Context(), root)
	if err != nil || !slices.Equal(names, []string{"a/b.go", "go.mod"}) {
		t.Errorf("%q, %v", names, err)
	}
}
