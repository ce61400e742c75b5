package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"nexus.internal/os/cmd/fsck"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
)

// errFindings is what a directory gives that is not as a system left it.
var errFindings = errors.New("not everything is as it was written")

// runFsck looks at a state directory on which no system runs, and changes nothing.
func runFsck(args []string, std streams) error {
	set := newFlags("fsck")
	user := set.String("user", "", "also read all that this `user`'s credential opens; it is asked for")
	kind := set.String("kind", "password", "of the credential: `password, pin or recovery`")
	file := set.String("credential-file", "", "read the credential from the first line of a `file`, - being standard input")
	asJSON := set.Bool("json", false, "print one JSON object a line")
	rest, err := parseWith(set, args, std)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return fmt.Errorf("%w: nexus-sim fsck DIR", errUsage)
	}
	kinds := map[string]userdb.Kind{"password": userdb.Password, "pin": userdb.PIN, "recovery": userdb.Recovery}
	if kinds[*kind] == 0 {
		return fmt.Errorf("%w: --kind %q: it is password, pin or recovery", errUsage, *kind)
	}
	if *user == "" && *file != "" {
		return fmt.Errorf("%w: a credential is some --user's", errUsage)
	}
	files, release, err := readState(rest[0])
	if err != nil {
		return err
	}
	defer release()
	if *user == "" {
		return reportFindings(fsck.Check(files), nil, *asJSON, std.out)
	}
	word, err := credentialFrom(*file, std)
	if err != nil {
		return err
	}
	defer word.Wipe()
	found, holdings, err := fsck.CheckAll(files, fsck.Credential{User: *user, Kind: kinds[*kind], Word: word})
	if errors.Is(err, ipc.BadSecret) {
		_ = reportFindings(found, nil, *asJSON, std.out) // The credential is what is wrong.
		return fmt.Errorf("%s: %w", *user, err)
	}
	return reportFindings(found, holdings, *asJSON, std.out)
}

// reportFindings prints what was found, and fails if anything is wrong.
func reportFindings(found []fsck.Finding, holdings []fsck.Holding, asJSON bool, out io.Writer) error {
	wrong := 0
	for _, f := range found {
		if err := printOne(f, f.String(), asJSON, out); err != nil {
			return err
		}
		if !f.Harmless() {
			wrong++
		}
	}
	for _, h := range holdings {
		text := fmt.Sprintf("app %s can be read: %s", h.App, strings.Join(h.Secrets, " "))
		if err := printOne(h, text, asJSON, out); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%w: %d findings", errFindings, wrong)
	}
	return nil
}

func printOne(v any, text string, asJSON bool, out io.Writer) error {
	if asJSON {
		return json.NewEncoder(out).Encode(v)
	}
	_, err := fmt.Fprintln(out, oneLine(text))
	return err
}

// readState reads a whole state directory, and keeps systems away from it till
// release is called.
func readState(dir string) (files fsck.Files, release func(), err error) {
	top, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	release = func() { _ = top.Close() } // It was only read.
	if err := unix.Flock(int(top.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		release()
		return nil, nil, fmt.Errorf("%s: a system runs on it: %w", dir, err)
	}
	files = make(fsck.Files)
	root := os.DirFS(dir)
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(root, name)
		return err
	})
	if err != nil {
		release()
	}
	return files, release, err
}

// credentialFrom reads a credential from a file, or asks for it.
func credentialFrom(file string, std streams) (*secret.Bytes, error) {
	in := std.in
	switch f, isFile := std.in.(*os.File); {
	case file == "" && isFile && term.IsTerminal(int(f.Fd())):
		fmt.Fprint(std.err, "credential: ")
		word, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(std.err)
		return secret.Take(word), err
	case file != "" && file != "-":
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	lines := script.NewLines(in)
	defer lines.Close()
	line, err := lines.Next()
	if err != nil {
		return nil, fmt.Errorf("no credential: %w", err)
	}
	return secret.Copy(line), nil
}
