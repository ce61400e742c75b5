package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// gitTimeout bounds one call of git.
const gitTimeout = time.Minute

// findRoot looks for the repository's root from a folder in it upwards.
func findRoot(from string) (string, error) {
	dir, err := filepath.Abs(from)
	if err != nil {
		return "", err
	}
	for {
		if info, err := os.Stat(filepath.Join(dir, folder)); err == nil && info.IsDir() {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no folder from %s upwards has %s in it", from, folder)
		}
		dir = up
	}
}

// field is a copy of the sources in which mistakes are planted, one after the
// other: what a mistake does not touch is built once.
type field struct {
	dir  string // temporary
	tree string // the copy
	sim  string // where the binary goes
}

func newField(ctx context.Context, root string) (*field, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	f := &field{dir: dir, tree: filepath.Join(dir, "tree"), sim: filepath.Join(dir, "sim")}
	if err := copySources(ctx, root, f.tree); err != nil {
		f.leave(false, io.Discard)
		return nil, err
	}
	return f, nil
}

// leave removes everything, or says where it is.
func (f *field) leave(keep bool, errs io.Writer) {
	if keep {
		fmt.Fprintln(errs, "mutants: kept", f.dir)
		return
	}
	if err := os.RemoveAll(f.dir); err != nil {
		fmt.Fprintln(errs, "mutants:", err)
	}
}

// copySources copies what is in git or could be, as it is in the working tree.
func copySources(ctx context.Context, root, to string) error {
	names, err := sources(ctx, root)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := copyFile(filepath.Join(root, name), filepath.Join(to, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // It may be deleted, and that not be committed yet.
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}

// sources lists the files that are in git or not ignored; in a copy of the
// sources without git, all but those that make writes.
func sources(ctx context.Context, root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		return everything(root)
	}
	r, err := execute(ctx, job{
		dir: root, limit: gitTimeout, name: "git",
		args: []string{"-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"},
	})
	if err == nil && r.status != 0 {
		err = r.failure("git ls-files")
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range bytes.SplitSeq(bytes.TrimSuffix(r.out, []byte{0}), []byte{0}) {
		names = append(names, string(name))
	}
	return names, nil
}

func everything(root string) (names []string, err error) {
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == "bin" || name == "build":
			return fs.SkipDir
		case entry.Type().IsRegular():
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// apply has git apply a patch to the copy, with more of git's flags. The copy is
// no repository, and git must not find one around it, or it would take the
// patch for that one's; nor may anybody's settings let it apply a little else.
func (f *field) apply(ctx context.Context, p patch, flags ...string) error {
	r, err := execute(ctx, job{
		dir: f.tree, limit: gitTimeout, in: p.diff, name: "git",
		args: append([]string{"apply", "--whitespace=nowarn"}, flags...),
		env:  []string{"GIT_CEILING_DIRECTORIES=" + f.dir, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1"},
	})
	if err == nil && r.status != 0 {
		err = r.failure("git apply")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// checkAll makes sure that each patch applies to the copy as it is.
func (f *field) checkAll(ctx context.Context, patches []patch) error {
	var all []error
	for _, p := range patches {
		all = append(all, f.apply(ctx, p, "--check"))
	}
	return errors.Join(all...)
}
