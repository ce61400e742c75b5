package main

import (
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "where the process is killed; 0 means the variable NEXUS_SEED, or the time")

// seed returns the seed of a test, and prints it.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := *seedFlag
	if text := os.Getenv("NEXUS_SEED"); n == 0 && text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal("NEXUS_SEED:", err)
		}
	}
	if n == 0 {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", n)
	return n
}

// The process is killed in the middle of puts, again and again. Every boot finds
// what the one before has acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	const kills, most = 10, 250
	s := newSim(t)
	s.boot(makeUsers)
	rng := rand.New(rand.NewPCG(seed(t), 0))
	check := ""
	for range kills {
		l := s.start("--json")
		l.say(openAlice + check + "puts alice/notes n 1000000\n")
		last := acknowledged(t, l, 1+rng.IntN(most))
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
		if err := l.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		last = max(last, acknowledged(t, l, 0))
		if status := statusOf(t, l.cmd.Wait()); status != -1 {
			t.Fatalf("it ended by itself, with status %d: %s", status, l.err)
		}
		check = "check-puts alice/notes n " + strconv.Itoa(last) + "\n"
	}
	s.boot(openAlice + check)
}

// acknowledged reads the results of puts, up to that many or to the end, and
// returns the number of the last one.
func acknowledged(t *testing.T, l *live, count int) (last int) {
	t.Helper()
	for line := range l.lines {
		if !strings.HasSuffix(line, "}") {
			continue // The last line of a killed process may be half a line.
		}
		r := records(t, line)[0]
		switch {
		case r.Kind == "error":
			t.Fatal(r.Error)
		case r.Verb == "puts":
			last = number(t, r.Text)
		}
		if last == count && count > 0 {
			break
		}
	}
	return last
}
