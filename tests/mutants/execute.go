package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// job is a command to be run.
type job struct {
	dir   string
	limit time.Duration
	env   []string // beside this process's own
	in    []byte
	name  string
	args  []string
}

// result is how a command ended that ended by itself.
type result struct {
	status   int
	out, err []byte
}

// failure says that a command ended with its status, and its last words.
func (r result) failure(what string) error {
	words := lastLine(r.err)
	if len(words) == 0 {
		words = lastLine(r.out)
	}
	return fmt.Errorf("%s: status %d: %s", what, r.status, words)
}

// lastLine is the last line that is not blank, without its end.
func lastLine(text []byte) []byte {
	text = bytes.TrimSpace(text)
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

// grace is how long a command that was killed has to let go of its output.
const grace = 5 * time.Second

// execute runs a command and waits for it. A status other than 0 is no error;
// what did not start, took too long, or was killed is one.
func execute(ctx context.Context, j job) (result, error) {
	limited, cancel := context.WithTimeout(ctx, j.limit)
	defer cancel()
	cmd := exec.CommandContext(limited, j.name, j.args...)
	cmd.Dir = j.dir
	cmd.Env = append(os.Environ(), j.env...)
	cmd.Stdin = bytes.NewReader(j.in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	// What the command itself has started, as go does with tests, dies with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = grace
	err := cmd.Run()
	r := result{out: out.Bytes(), err: errs.Bytes()}
	var exit *exec.ExitError
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		return r, fmt.Errorf("%s did not end within %v", j.title(), j.limit)
	case ctx.Err() != nil:
		return r, ctx.Err()
	case errors.As(err, &exit) && exit.Exited():
		r.status = exit.ExitCode()
		return r, nil
	case err != nil:
		return r, fmt.Errorf("%s: %w", j.title(), err)
	}
	return r, nil
}

// title is the command and its first word.
func (j job) title() string {
	words := []string{j.name[strings.LastIndexByte(j.name, '/')+1:]}
	if len(j.args) > 0 {
		words = append(words, j.args[0])
	}
	return strings.Join(words, " ")
}
