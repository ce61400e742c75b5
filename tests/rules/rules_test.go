package rules

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// TestArchitecture checks the whole module.
func TestArchitecture(t *testing.T) {
	module, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []struct {
		name string
		run  func(*tree) []finding
	}{
		{"imports", checkImports}, {"doors", checkDoors}, {"tags", checkTags}, {"tidy", checkTidy},
	} {
		t.Run(check.name, func(t *testing.T) {
			for _, f := range check.run(module) {
				t.Error(f)
			}
		})
	}
}

// TestNoBigFile checks what git keeps and would keep.
func TestNoBigFile(t *testing.T) {
	found, err := checkSizes(os.DirFS(root), kept(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// kept lists the files that are in git or not ignored; in a copy of the
// sources without git, all but those that make writes.
func kept(t *testing.T) (names []string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err == nil {
		list := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
		list.Dir = root
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		for name := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
			if _, err := os.Lstat(filepath.Join(root, string(name))); errors.Is(err, fs.ErrNotExist) {
				continue // It is deleted, and that is not committed yet.
			}
			names = append(names, string(name))
		}
		return names
	}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && (name == "bin" || name == "build") {
			return fs.SkipDir
		}
		if err == nil && !entry.IsDir() && !strings.HasSuffix(name, ".test") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
