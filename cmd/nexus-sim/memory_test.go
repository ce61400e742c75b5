package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMemoryThatCannotBeLocked boots as somebody who may lock 64 KiB: it warns of
// the pool and of Argon2id, and boots.
func TestMemoryThatCannotBeLocked(t *testing.T) {
	s := newSim(t)
	if err := os.Chmod(filepath.Dir(s.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "os"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(s.dir, "os"), 0o777); err != nil { // Whatever the umask.
		t.Fatal(err)
	}
	cmd := s.command(strings.NewReader("users\n"))
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", "ulimit -l 64 && exec \"$0\" boot --state os", s.binary}
	if os.Geteuid() == 0 { // Who may lock everything.
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	e := s.finish(cmd)
	if e.status != 0 || e.err != "" {
		t.Fatalf("status %d: %s", e.status, e.err)
	}
	for _, want := range []string{
		"warning: secrets: they may reach swap: 4096 KiB cannot be locked (RLIMIT_MEMLOCK is 64 KiB)",
		"warning: what Argon2id makes of a password: they may reach swap: 19456 KiB cannot be locked (RLIMIT_MEMLOCK is 64 KiB)",
	} {
		if !strings.Contains(e.warnings, want) {
			t.Errorf("no %q in %q", want, e.warnings)
		}
	}
}

// TestNoWarningWithoutNeed is for who may lock as much as he likes.
func TestNoWarningWithoutNeed(t *testing.T) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &r); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 && r.Cur < 32<<20 {
		t.Skip("this machine's limit is a reason to warn")
	}
	s := newSim(t)
	if e := s.run("users\n", "boot", "--state", "os"); e.warnings != "" {
		t.Errorf("warned: %s", e.warnings)
	}
}

// TestStartsUninterrupted starts with other settings of the runtime's, which
// stay: the process is what it was, with one more.
func TestStartsUninterrupted(t *testing.T) {
	for _, settings := range []string{"", "madvdontneed=1", "asyncpreemptoff=0", "asyncpreemptoff=1", "gcshrinkstackoff=1", uninterrupted} {
		s := newSim(t)
		cmd := s.command(strings.NewReader("users\n"), "boot", "--state", "os")
		cmd.Env = append(os.Environ(), "GODEBUG="+settings)
		if e := s.finish(cmd); e.status != 0 || strings.Contains(e.warnings, "interrupt") {
			t.Errorf("with GODEBUG=%s: status %d: %s%s", settings, e.status, e.err, e.warnings)
		}
	}
	for settings, want := range map[string]bool{
		"": false, "asyncpreemptoff=1": false, "gcshrinkstackoff=1": false, uninterrupted: true, "gcshrinkstackoff=1,a=1,asyncpreemptoff=1": true,
		"x" + uninterrupted: false, uninterrupted + "0": false,
	} {
		if isUninterrupted(settings) != want {
			t.Errorf("%q is taken for another", settings)
		}
	}
}
