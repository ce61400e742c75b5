package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// stocked is a state directory with two users and their secrets, made once.
var stocked struct {
	once sync.Once
	dir  string
}

// stock puts a copy of it at os.
func (s *sim) stock() {
	s.t.Helper()
	stocked.once.Do(func() {
		made := &sim{s.t, filepath.Join(built, "stocked"), s.binary}
		if err := os.Mkdir(made.dir, 0o700); err != nil {
			s.t.Fatal(err)
		}
		made.boot(makeSecrets)
		stocked.dir = filepath.Join(made.dir, "os")
	})
	if stocked.dir == "" {
		s.t.Fatal("another test could not stock a state directory")
	}
	if err := os.CopyFS(filepath.Join(s.dir, "os"), os.DirFS(stocked.dir)); err != nil {
		s.t.Fatal(err)
	}
}

// guessesFile is written by every guess at a credential, a right one included.
const guessesFile = "state/identity/guesses"

// Ways to damage a file.
var damages = []struct {
	name string
	do   func(path string, content []byte) error
}{
	{"first byte", func(path string, content []byte) error { return flip(path, content, 0) }},
	{"middle byte", func(path string, content []byte) error { return flip(path, content, len(content)/2) }},
	{"last byte", func(path string, content []byte) error { return flip(path, content, len(content)-1) }},
	{"shorter", func(path string, content []byte) error { return os.Truncate(path, int64(len(content)-1)) }},
	{"empty", func(path string, _ []byte) error { return os.Truncate(path, 0) }},
	{"longer", func(path string, content []byte) error { return os.WriteFile(path, append(content, 0), 0o600) }},
	{"gone", func(path string, _ []byte) error { return os.Remove(path) }},
}

func flip(path string, content []byte, at int) error {
	content[at] ^= 0x10
	return os.WriteFile(path, content, 0o600)
}

// damage damages one file below os.
func (s *sim) damage(name string, do func(path string, content []byte) error) {
	s.t.Helper()
	path := filepath.Join(s.dir, "os", name)
	content, err := os.ReadFile(path)
	if err == nil {
		err = do(path, content)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// damaged wants one line about a file, with a place in it.
func (s *sim) damaged(e ended, begin, file string) {
	s.t.Helper()
	rest, ok := strings.CutPrefix(e.err, "nexus-sim: "+begin+file+": damaged at offset ")
	digits, _, _ := strings.Cut(strings.TrimSuffix(rest, "\n"), ":")
	if _, err := strconv.Atoi(digits); e.status != 1 || !ok || err != nil || strings.Count(e.err, "\n") != 1 {
		s.t.Errorf("status %d: %swanted a line with %s%s", e.status, e.err, begin, file)
	}
}

// Damage of what the boot needs fails the boot, which changes nothing at all.
func TestDamageFailsBoot(t *testing.T) {
	t.Parallel()
	for _, f := range []struct{ name, says string }{
		{"boot", ""},
		{"state/keymint/device.salt", "keymintd does not start: "},
		{"state/identity/users.db", "identityd does not start: "},
		{guessesFile, "identityd does not start: "},
	} {
		for _, d := range damages {
			t.Run(f.name+" "+d.name, func(t *testing.T) {
				t.Parallel()
				s := newSim(t)
				s.stock()
				s.damage(f.name, d.do)
				before := s.snapshot("os")
				s.damaged(s.run("users\n", "boot", "--state", "os"), f.says, "os/"+f.name)
				s.same("os", before)
			})
		}
	}
}

// A marker that came before the damage was found is not good enough.
func TestDamageAfterMarker(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.stock()
	s.damage("state/identity/users.db", damages[0].do)
	s.damaged(s.run("", "boot", "--state", "os", "--until-marker", "init: start"), "identityd does not start: ", "os/state/identity/users.db")
	e := s.run("", "boot", "--state", "os", "--until-marker", "identityd: ready")
	s.damaged(e, `missing marker "identityd: ready"; the last one is "keymintd: ready": identityd does not start: `, "os/state/identity/users.db")
}

// Without a user, too, a lost salt is an error and no reason to make another.
func TestLostSaltWithoutUsers(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.boot("create-user alice pin 123456\nremove-user alice pin 123456\n")
	s.damage("state/keymint/device.salt", func(path string, _ []byte) error { return os.Remove(path) })
	before := s.snapshot("os")
	s.damaged(s.run("", "boot", "--state", "os"), "keymintd does not start: ", "os/state/keymint/device.salt")
	s.same("os", before)
}

// Damage of one user's files fails that user's unseal, or the app's first use.
// It stays as it is, and the other user is not concerned.
func TestDamageFailsUnseal(t *testing.T) {
	t.Parallel()
	for _, f := range []struct{ name, says string }{
		{"state/identity/alice/root.keys", "standard input:10: unseal: "},
		{"state/identity/alice/keys.head", "standard input:10: unseal: "},
		{"state/identity/alice/vault.kv", "standard input:10: unseal: "},
		{"state/identity/alice/vault.head", "standard input:10: unseal: "},
		{"state/identity/alice/apps/*.ring", "standard input:12: get: "},
	} {
		for _, d := range damages {
			if d.name == "longer" && strings.HasSuffix(f.name, ".kv") {
				continue // See TestTail.
			}
			t.Run(f.name+" "+d.name, func(t *testing.T) {
				t.Parallel()
				s := newSim(t)
				s.stock()
				names := s.glob(f.name)
				for _, name := range names {
					s.damage(name, d.do)
				}
				before := s.snapshot("os")
				e := s.run(openBob+readBob+"\n\n"+openAlice+readAlice, "boot", "--state", "os")
				at := slices.IndexFunc(names, func(name string) bool { return strings.Contains(e.err, name) })
				s.damaged(e, f.says, "os/"+names[max(at, 0)])
				s.same("os", before, "boot", guessesFile) // The boot was counted, and so was the login.
			})
		}
	}
}

// glob lists the files below os that a pattern names.
func (s *sim) glob(pattern string) (names []string) {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, "os", pattern))
	if err != nil || len(found) == 0 {
		s.t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	for _, path := range found {
		name, err := filepath.Rel(filepath.Join(s.dir, "os"), path)
		if err != nil {
			s.t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// Without its ring an app's secrets are gone, which it is told at every
// attempt. No other ring takes its place.
func TestLostRing(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.stock()
	for _, name := range s.glob("state/identity/alice/apps/*.ring") {
		s.damage(name, func(path string, _ []byte) error { return os.Remove(path) })
	}
	before := s.snapshot("os")
	s.boot(openBob + readBob + openAlice + "fails damaged get alice/notes greeting\nfails damaged list alice/mail\n" +
		"fails damaged sign alice/mail signing message\nfails damaged put alice/notes greeting value\nfails damaged del alice/notes other\n")
	s.same("os", before, "boot", guessesFile)
}

// Bytes after the last batch of a vault are what a power cut leaves. They are
// kept aside, and everything else is there.
func TestTail(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.stock()
	vault := s.glob("state/identity/alice/vault.kv")[0]
	before := s.snapshot("os")
	size := 0
	s.damage(vault, func(path string, content []byte) error {
		size = len(content)
		return os.WriteFile(path, append(content, "a tail"...), 0o600)
	})
	s.boot(openBob + readBob + openAlice + readAlice)
	side := vault + ".tail-" + strconv.Itoa(size)
	if tail, err := os.ReadFile(filepath.Join(s.dir, "os", side)); err != nil || string(tail) != "a tail" {
		t.Errorf("aside is %q, %v", tail, err)
	}
	s.same("os", before, "boot", guessesFile, side)
}

// What cannot be written to fails the boot, which makes nothing in it.
func TestNotWritable(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	if err := os.WriteFile(filepath.Join(s.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := s.snapshot(".")
	for _, c := range []struct{ dir, want string }{
		{"file", "file: not a directory"},
		{"./file", "./file: not a directory"},
		{"file/below", "file/below: a part of this path is not a directory"},
		{os.DevNull, os.DevNull + ": not a directory"},
		{"/proc", "/proc/boot: not writable"},
		{"/proc/none", "/proc/none: cannot be made"},
	} {
		s.refuse(s.run("", "boot", "--state", c.dir), 1, c.want)
	}
	s.same(".", before)
}

// nobody is who may do nothing.
const nobody = 65534

func TestNotPermitted(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	if err := os.Chmod(filepath.Dir(s.dir), 0o755); err != nil { // So that others come as far as this.
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "os"), 0o555); err != nil {
		t.Fatal(err)
	}
	before := s.snapshot(".")
	for _, dir := range []string{"os", "os/new"} {
		cmd := s.command(nil, "boot", "--state", dir)
		if os.Geteuid() == 0 { // For whom nothing is forbidden.
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		s.refuse(s.finish(cmd), 1, dir+": not writable")
	}
	s.same(".", before)
}

func TestReadOnlyMount(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.stock()
	const remount = "mount --bind os os && mount -o remount,bind,ro os || exit 99; "
	cmd := s.command(nil)
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", "exec unshare -rm sh -c '" + remount + "exec \"$0\" boot --state os' \"$0\"", s.binary}
	before := s.snapshot("os")
	e := s.finish(cmd)
	if e.status == 99 || strings.Contains(e.err, "unshare") {
		t.Skip("cannot mount here:", e.err)
	}
	s.refuse(e, 1, "os: not writable")
	s.same("os", before)
}
