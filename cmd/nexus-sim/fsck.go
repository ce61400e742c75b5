package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"nexus.internal/os/cmd/fsck"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/disk"
)

// errFindings is what a directory gives that is not as a system left it.
var errFindings = errors.New("not everything is as it was written")

// runFsck looks at a state directory on which no system runs, and changes nothing.
func runFsck(args []string, std streams) error {
	set := newFlags("fsck")
	by := credentialFlags(set)
	asJSON := set.Bool("json", false, "print one JSON object a line")
	salvage := set.String("salvage", "", "write what can be read of the user's vault to a new `directory`")
	rest, err := parseWith(set, args, std)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return fmt.Errorf("%w: nexus-sim fsck DIR", errUsage)
	}
	if *by.user == "" && (*by.file != "" || *salvage != "") {
		return fmt.Errorf("%w: that takes some --user's credential", errUsage)
	}
	release, err := keepAway(rest[0])
	if err != nil {
		return err
	}
	defer release()
	files, err := readState(rest[0])
	if err != nil {
		return err
	}
	if *by.user == "" {
		return reportFindings(fsck.Check(files), nil, *asJSON, std.out)
	}
	c, err := by.ask(std)
	if err != nil {
		return err
	}
	defer c.Word.Wipe()
	found, holdings, err := fsck.CheckAll(files, c)
	if errors.Is(err, ipc.BadSecret) {
		_ = reportFindings(found, nil, *asJSON, std.out) // The credential is what is wrong.
		return fmt.Errorf("%s: %w", c.User, err)
	}
	if *salvage != "" {
		if err := salvageTo(*salvage, files, c); err != nil {
			return err
		}
	}
	return reportFindings(found, holdings, *asJSON, std.out)
}

// salvageTo writes a new vault to a directory that has none.
func salvageTo(dir string, files fsck.Files, c fsck.Credential) error {
	made, err := fsck.Salvage(files, c, draw)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err // One that is there is somebody's.
	}
	out, err := disk.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // All of it is durable.
	for _, name := range []string{fsck.VaultFile, fsck.HeadFile} {
		if err := out.Replace(name, made[name]); err != nil {
			return err
		}
	}
	return nil
}

// draw is chance for a tool that runs without a system.
func draw(p []byte) error { return rngd.SystemSource().Read("fsck", p) }

// runAdopt puts a salvaged vault in the place of a user's, which is kept aside.
func runAdopt(args []string, std streams) error {
	set := newFlags("adopt")
	by := credentialFlags(set)
	rest, err := parseWith(set, args, std)
	if err != nil {
		return err
	}
	if len(rest) != 2 || *by.user == "" {
		return fmt.Errorf("%w: nexus-sim adopt DIR SALVAGED --user USER", errUsage)
	}
	d, err := disk.Open(rest[0])
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // All of it is durable.
	files, err := readState(rest[0])
	if err != nil {
		return err
	}
	salvaged, err := readState(rest[1])
	if err != nil {
		return err
	}
	c, err := by.ask(std)
	if err != nil {
		return err
	}
	defer c.Word.Wipe()
	a, err := fsck.Adopt(files, salvaged, c, draw)
	if err != nil {
		return fmt.Errorf("%s: %w", c.User, err)
	}
	return adopt(d, files, a, std.out)
}

// adopt moves what there is of a vault aside, and puts the other one there. If it
// is cut short, it is done again: the head comes last, and without one nothing
// opens.
func adopt(d disk.Disk, files fsck.Files, a *fsck.Adoption, out io.Writer) error {
	dir, aside := a.Folder, ""
	for n := 1; ; n++ {
		aside = ".damaged-" + strconv.Itoa(n)
		_, vaultThere := files[dir+fsck.VaultFile+aside]
		_, headThere := files[dir+fsck.HeadFile+aside]
		if !vaultThere && !headThere {
			break
		}
	}
	for _, name := range []string{fsck.HeadFile, fsck.VaultFile} {
		if _, there := files[dir+name]; !there {
			continue
		}
		if err := d.Rename(dir+name, dir+name+aside); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s is kept as %s\n", dir+name, name+aside)
	}
	if err := d.Replace(dir+fsck.VaultFile, a.KV); err != nil {
		return err
	}
	return d.Replace(dir+fsck.HeadFile, a.Head)
}

// credential is how a command is told whose files to open.
type credential struct{ user, kind, file *string }

func credentialFlags(set *flag.FlagSet) credential {
	return credential{
		set.String("user", "", "the `user` whose credential opens the files; it is asked for"),
		set.String("kind", "password", "of the credential: `password, pin or recovery`"),
		set.String("credential-file", "", "read the credential from the first line of a `file`, - being standard input"),
	}
}

// ask reads the credential. The caller wipes it.
func (c credential) ask(std streams) (fsck.Credential, error) {
	kinds := map[string]userdb.Kind{"password": userdb.Password, "pin": userdb.PIN, "recovery": userdb.Recovery}
	if kinds[*c.kind] == 0 {
		return fsck.Credential{}, fmt.Errorf("%w: --kind %q: it is password, pin or recovery", errUsage, *c.kind)
	}
	word, err := credentialFrom(*c.file, std)
	return fsck.Credential{User: *c.user, Kind: kinds[*c.kind], Word: word}, err
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

// keepAway keeps systems away from a state directory till release is called.
func keepAway(dir string) (release func(), err error) {
	top, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(top.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		_ = top.Close()
		return nil, fmt.Errorf("%s: a system runs on it: %w", dir, err)
	}
	return func() { _ = top.Close() }, nil
}

// readState reads a whole directory.
func readState(dir string) (fsck.Files, error) {
	files := make(fsck.Files)
	root := os.DirFS(dir)
	return files, fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(root, name)
		return err
	})
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
