package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/secret"
)

// uninterrupted are the runtime's settings under which it sends itself no
// signals, each of which would leave registers, and a key in them, on a stack that
// nobody clears, and moves no stack to a smaller one, which would leave all that was
// on it. The runtime reads them only when a process starts.
const uninterrupted = "asyncpreemptoff=1,gcshrinkstackoff=1"

// startUninterrupted starts this process anew, as the same process, with those
// settings. It returns only if there is nothing to do, or if it cannot be done.
func startUninterrupted() {
	settings := os.Getenv("GODEBUG")
	if isUninterrupted(settings) {
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	if settings != "" {
		settings += ","
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GODEBUG=") })
	_ = unix.Exec(self, os.Args, append(env, "GODEBUG="+settings+uninterrupted)) // warnMemory will say it.
}

func isUninterrupted(settings string) bool {
	given := strings.Split(settings, ",")
	for setting := range strings.SplitSeq(uninterrupted, ",") {
		if !slices.Contains(given, setting) {
			return false
		}
	}
	return true
}

// warnMemory says what secrets in memory are not safe from on this machine.
func warnMemory(w io.Writer) {
	warn := func(what string, err error) {
		if err != nil {
			fmt.Fprintf(w, "nexus-sim: warning: %s: %s\n", what, oneLine(err.Error()))
		}
	}
	warn("secrets", secret.Lock())
	warn("what Argon2id makes of a password", secret.Lockable(int(identityd.Floor().MemoryKiB)<<10))
	if !isUninterrupted(os.Getenv("GODEBUG")) {
		warn("secrets", errors.New("interrupts may leave them in memory: not started with GODEBUG="+uninterrupted))
	}
}
