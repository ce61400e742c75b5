package main

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/bootrec"
	"nexus.internal/os/services/statefsd/disk"
)

// Errors name files as the user named the state directory.
func TestLocated(t *testing.T) {
	fault := &wire.Fault{Code: ipc.Damaged, File: "state:/identity/alice/vault.kv", Offset: 7}
	for _, c := range []struct {
		state      string
		err        error
		want, code string
	}{
		{"os", fault, "os/state/identity/alice/vault.kv: damaged at offset 7", "damaged"},
		{"./os//", fault, "./os/state/identity/alice/vault.kv: damaged at offset 7", "damaged"},
		{"/", fault, "/state/identity/alice/vault.kv: damaged at offset 7", "damaged"},
		{"os", &script.Failure{File: "f", Line: 3, Verb: "unseal", Err: fault},
			"f:3: unseal: os/state/identity/alice/vault.kv: damaged at offset 7", "damaged"},
		{"os", fmt.Errorf("%w: wanted denied, got: %w", script.ErrMismatch, fault),
			"not what was wanted: wanted denied, got: os/state/identity/alice/vault.kv: damaged at offset 7", "mismatch"},
		{"os", &wire.Fault{Code: ipc.IOError, File: "elsewhere"}, "i/o error: elsewhere at offset 0", "io-error"},
		{"os", &bootrec.Damage{File: "boot", Offset: 16, What: "why"}, "os/boot: damaged at offset 16: why", "damaged"},
		{"os", bootrec.ErrMode, "os/boot: the state directory was made in another mode of chance; this build's is system", "other-mode"},
		{"os", &disk.Error{Op: "open", Path: "os", Err: disk.ErrInUse}, "os: in use by another process", "in-use"},
		{"os", &disk.Error{Op: "open", Path: "os", Err: disk.ErrReadOnly}, "os: not writable", "not-writable"},
		{"os", &disk.Error{Op: "open", Path: "os", Err: disk.ErrNotDir}, "os: not a directory", "not-a-directory"},
		{"os/x", &disk.Error{Op: "open", Path: "os/x", Err: disk.ErrConflict}, "os/x: a part of this path is not a directory", "not-a-directory"},
		{"os", &disk.Error{Op: "open", Path: "os", Err: &fs.PathError{Op: "stat", Path: "os", Err: syscall.ELOOP}},
			"os: too many levels of symbolic links", "other"},
		{"os", &disk.Error{Op: "replace", Path: "boot", Err: disk.ErrNoSpace}, "os/boot: no space left", "other"},
		{"os", errLate, "timed out", "timed-out"},
		{"os", signalError{syscall.SIGTERM}, "stopped by signal: terminated", "signal"},
		{"os", ipc.Denied, "denied", "denied"},
	} {
		if got := (located{c.state, c.err}).Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		if got := codeOf(located{c.state, c.err}); got != c.code {
			t.Errorf("%v: the code is %s, want %s", c.err, got, c.code)
		}
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "",
		"plain, é, … and \ufffd": "plain, é, … and \ufffd",
		"a\nb\t\x00\x7f":         `a\nb\t\x00\x7f`,
		"\x1b[2J":                `\x1b[2J`,
		"\xff\u202e\u2028x":      `\xff\u202e\u2028x`,
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q is printed as %q, want %q", text, got, want)
		}
	}
}

// What a result shows of its line can be read as a script again.
func TestQuoted(t *testing.T) {
	words := []string{"put", "alice/notes", "a word", "", "#", `a"b`, `a\b`, "a\nb", "\xff", "é"}
	line := strings.Join(quoted(words), " ")
	c, err := script.NewReader(strings.NewReader(line)).Next()
	if err != nil || !slices.Equal(c.Words, words) {
		t.Errorf("%s is read as %q, %v", line, c.Words, err)
	}
	if !strings.HasPrefix(line, `put alice/notes "a word" "" "#" `) {
		t.Error(line)
	}
}
