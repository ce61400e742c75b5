package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const aliceWord = "correct horse\n"

// fsck runs it with alice's password on standard input, or without a credential.
func (s *sim) fsck(word string, args ...string) ended {
	s.t.Helper()
	args = append([]string{"fsck", "os"}, args...)
	if word != "" {
		args = append(args, "--user", "alice")
	}
	return s.run(word, args...)
}

// finds wants a report with a line that begins so, and status 1.
func (s *sim) finds(e ended, line string) {
	s.t.Helper()
	if e.status != 1 || !strings.Contains("\n"+e.out, "\n"+line) || strings.Count(e.err, "\n") != 1 {
		s.t.Errorf("status %d, wanted 1 and a line %q:\n%s%s", e.status, line, e.out, e.err)
	}
}

// A good directory has no findings, and with the credential fsck lists what there
// is. Nothing is changed by looking.
func TestFsckOfAGoodDirectory(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.stock()
	before := s.snapshot("os")
	if e := s.fsck(""); e.status != 0 || e.out != "" || e.err != "" {
		t.Errorf("without keys: %+v", e)
	}
	if e := s.fsck(aliceWord); e.status != 0 || e.err != "" || !strings.Contains(e.out, "app notes can be read: ") || !strings.Contains(e.out, "greeting") {
		t.Errorf("with them: %+v", e)
	}
	if e := s.fsck(aliceWord, "--json"); e.status != 0 || !strings.Contains(e.out, `{"app":"notes","secrets":[`) {
		t.Errorf("as JSON: %+v", e)
	}
	s.same("os", before)
}

func TestFsckRefuses(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.stock()
	for _, args := range [][]string{{"fsck"}, {"fsck", "os", "os"}, {"fsck", "os", "--user", "alice", "--kind", "face"}, {"fsck", "os", "--credential-file", "x"}} {
		if e := s.run("", args...); e.status != 2 {
			t.Errorf("%q: %+v", args, e)
		}
	}
	for _, c := range []struct{ word, says string }{{"not the password\n", "unknown user or wrong secret"}, {"", "no credential"}} {
		if e := s.run(c.word, "fsck", "os", "--user", "alice"); e.status != 1 || !strings.Contains(e.err, c.says) {
			t.Errorf("%q: %+v", c.word, e)
		}
	}
	if e := s.run("", "fsck", "none"); e.status != 1 {
		t.Errorf("a directory that is not there: %+v", e)
	}
	top, err := os.Open(filepath.Join(s.dir, "os"))
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	if err := unix.Flock(int(top.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if e := s.fsck(""); e.status != 1 || !strings.Contains(e.err, "a system runs on it") {
		t.Errorf("while a system runs: %+v", e)
	}
}

// What is missing, too much, or not what was written is named; with the
// credential what is lost as well.
func TestFsckNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		do         func(path string, content []byte) error
		word, line string
	}{
		{"a key file that is gone", "state/identity/alice/root.keys", damages[6].do, "", "state/identity/alice/root.keys: missing"},
		{"a head that is gone", "state/identity/alice/vault.head", damages[6].do, "", "state/identity/alice/vault.head: missing"},
		{"keys of an app that are gone", "state/identity/alice/apps/*.ring", damages[6].do, aliceWord, "state/identity/alice/apps/"},
		{"a vault without its last byte", "state/identity/alice/vault.kv", damages[3].do, "", "state/identity/alice/vault.kv: offset "},
		{"an empty database", "state/identity/users.db", damages[4].do, "", "state/identity/users.db: offset 0: damaged"},
		{"a database that is gone", "state/identity/users.db", damages[6].do, "", "state/identity/users.db: missing"},
		{"a byte of a ring", "state/identity/alice/apps/*.ring", damages[2].do, aliceWord, "state/identity/alice/apps/"},
		{"a byte of the first segment", "state/identity/alice/vault.kv", func(path string, content []byte) error { return flip(path, content, 100) }, aliceWord,
			"state/identity/alice/vault.kv: offset 0: damaged: a segment that is not authentic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSim(t)
			s.stock()
			for _, name := range s.glob(c.file) {
				s.damage(name, c.do)
			}
			s.finds(s.fsck(c.word), c.line)
		})
	}
	s := newSim(t)
	s.stock()
	s.write("os/state/identity/alice/vault.kv.tail-7", "a tail")
	if e := s.fsck(""); e.status != 0 || !strings.HasPrefix(e.out, "state/identity/alice/vault.kv.tail-7: tail: 6 bytes") {
		t.Errorf("a tail: %+v", e)
	}
	s.write("os/state/identity/mallory", "x")
	s.finds(s.fsck(""), "state/identity/mallory: stray")
}

// A vault that is damaged opens nothing; what can be read of it is salvaged to a
// new one, which takes its place when somebody with the credential says so. What
// was salvaged is marked, till something is put in its place. The damaged vault is
// kept, byte by byte.
func TestSalvageAndAdopt(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.boot(makeUsers + openAlice + "put alice/notes first 1\nput alice/notes second 2\nput alice/notes third 3\nput alice/mail imap 4\n")
	vault := "state/identity/alice/vault.kv"
	// One put is one segment: this is in the second put's.
	s.damage(vault, func(path string, content []byte) error { return flip(path, content, len(content)/5*2+200) })
	damaged := s.read("os/" + vault)
	head := s.read("os/state/identity/alice/vault.head")
	before := s.snapshot("os")
	e := s.fsck(aliceWord, "--salvage", "saved")
	s.finds(e, vault+": offset ")
	for _, line := range []string{"lost: segments 3 to 3, with the records 2 to 2", "app notes can be read: first third\n", "app mail can be read: imap\n"} {
		if !strings.Contains(e.out, line) {
			t.Errorf("no %q in\n%s", line, e.out)
		}
	}
	s.same("os", before)
	if e := s.fsck(aliceWord, "--salvage", "saved"); e.status != 1 || !strings.Contains(e.err, "exists") {
		t.Errorf("to a directory that is there: %+v", e)
	}
	if e := s.run("wrong horse\n", "adopt", "os", "saved", "--user", "alice"); e.status != 1 || !strings.Contains(e.err, "wrong secret") {
		t.Errorf("adopt with a wrong password: %+v", e)
	}
	if e := s.run("271828\n", "adopt", "os", "saved", "--user", "bob", "--kind", "pin"); e.status != 1 || !strings.Contains(e.err, "not a salvaged vault of this user") {
		t.Errorf("adopt another user's: %+v", e)
	}
	s.same("os", before)
	if e := s.run(aliceWord, "adopt", "os", "saved", "--user", "alice"); e.status != 0 {
		t.Fatalf("adopt: %+v", e)
	}
	if s.read("os/"+vault+".damaged-1") != damaged || s.read("os/state/identity/alice/vault.head.damaged-1") != head {
		t.Error("what was damaged is not kept as it was")
	}
	e = s.run(openAlice+"list alice/notes first third\nget alice/notes first 1\nget alice/mail imap 4\nfails not-found get alice/notes second\n"+
		"put alice/notes first 5\nget alice/notes first 5\nend alice\n"+openAlice+"get alice/notes first 5\nget alice/notes third 3\n", "boot", "--state", "os")
	if e.status != 0 {
		t.Fatalf("%+v", e)
	}
	for line, n := range map[string]int{
		`> get alice/notes first: "1" (salvaged: it may be out of date)`: 1, `> get alice/notes first: "5"` + "\n": 2,
		`> get alice/notes third: "3" (salvaged: it may be out of date)`: 1, `> get alice/mail imap: "4" (salvaged: it may be out of date)`: 1,
	} {
		if strings.Count(e.out, line) != n {
			t.Errorf("%q is not there %d times:\n%s", line, n, e.out)
		}
	}
	if e := s.fsck(aliceWord); e.status != 0 || !strings.Contains(e.out, "app notes can be read: first third (may be out of date)\n") {
		t.Errorf("afterwards: %+v", e)
	}
}

// A vault that is whole is salvaged as it is, and nothing is marked.
func TestSalvageOfAWholeVault(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.stock()
	if e := s.fsck(aliceWord, "--salvage", "saved"); e.status != 0 {
		t.Fatalf("%+v", e)
	}
	if e := s.run(aliceWord, "adopt", "os", "saved", "--user", "alice"); e.status != 0 {
		t.Fatalf("%+v", e)
	}
	if e := s.run(openAlice+readAlice, "boot", "--state", "os"); e.status != 0 || strings.Contains(e.out, "salvaged") {
		t.Errorf("%+v", e)
	}
}

// A deletion stands: a segment with a record that was deleted, put back behind the
// deletion by whoever can write the disk, does not bring the record back.
func TestSalvageKeepsDeletions(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.boot(makeUsers + openAlice + "put alice/notes gone 1\nput alice/notes kept 2\ndel alice/notes gone\nput alice/notes last 3\n")
	s.damage("state/identity/alice/vault.kv", func(path string, content []byte) error {
		const segment = 368 // bytes of each, and the first one has the base
		return os.WriteFile(path, append(content, content[segment:2*segment]...), 0o600)
	})
	if e := s.fsck(aliceWord); !strings.Contains(e.out, "app notes can be read: kept last\n") {
		t.Errorf("status %d:\n%s", e.status, e.out)
	}
	s.damage("state/identity/alice/vault.kv", func(path string, content []byte) error { return flip(path, content, 2*368+200) })
	e := s.fsck(aliceWord)
	s.finds(e, "state/identity/alice/vault.kv: offset ")
	if !strings.Contains(e.out, "app notes can be read: last\n") {
		t.Errorf("with what was kept damaged:\n%s", e.out)
	}
}

// After a rekey fsck looks where root.keys says, calls what is of another root key
// harmless, and salvages and adopts there.
func TestFsckAfterRekey(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.stock()
	former := s.read("os/state/identity/alice/vault.kv")
	s.boot("rekey alice password \"correct horse\"\nunlock alice password \"correct horse\"\nput alice/notes late 9\n")
	if e := s.fsck(""); e.status != 0 || e.out != "" || e.err != "" {
		t.Errorf("without keys: %+v", e)
	}
	if e := s.fsck(aliceWord); e.status != 0 || e.err != "" || !strings.Contains(e.out, "late") || !strings.Contains(e.out, "greeting") {
		t.Errorf("with them: %+v", e)
	}
	s.write("os/state/identity/alice/vault.kv", former)
	if err := os.Mkdir(filepath.Join(s.dir, "os/state/identity/alice/epoch-2"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("os/state/identity/alice/epoch-2/keys.head", "x")
	e := s.fsck(aliceWord)
	for _, line := range []string{
		"state/identity/alice/vault.kv: note: below a root key that the user no longer has",
		"state/identity/alice/epoch-2/keys.head: note: of a rekey that was cut short",
	} {
		if e.status != 0 || !strings.Contains(e.out, line) {
			t.Errorf("no %q, or status %d:\n%s", line, e.status, e.out)
		}
	}
	vault := "state/identity/alice/epoch-1/vault.kv"
	s.damage(vault, func(path string, content []byte) error { return flip(path, content, len(content)-100) })
	s.finds(s.fsck(aliceWord, "--salvage", "saved"), vault+": offset ")
	if e := s.run(aliceWord, "adopt", "os", "saved", "--user", "alice"); e.status != 0 || !strings.Contains(e.out, vault+" is kept as vault.kv.damaged-1") {
		t.Errorf("adopt: %+v", e)
	}
	if e := s.fsck(aliceWord); e.status != 0 || !strings.Contains(e.out, "greeting (may be out of date)") {
		t.Errorf("after adopting: %+v", e)
	}
	s.boot("unlock alice password \"correct horse\"\nget alice/notes greeting\n")
	if _, err := os.Stat(filepath.Join(s.dir, "os/state/identity/alice/vault.kv")); err == nil {
		t.Error("the former vault is there still")
	}
}
