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

var killsFlag = flag.Int("kills", 10, "how often TestKill kills the process")

// writers are those who write when the process is killed, by their strands.
var writers = []struct{ strand, app string }{{"a", "alice/notes"}, {"b", "alice/mail"}, {"c", "bob/notes"}}

// The process is killed while apps of two users write, and sometimes while it
// boots, again and again. Every boot finds what the ones before have acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	const most = 400
	s := newSim(t)
	s.boot(makeUsers)
	rng := rand.New(rand.NewPCG(seed(t), 0))
	known := make(map[string]int) // what is acknowledged, by strand
	total := 0
	for range *killsFlag {
		l := s.start("--json")
		l.say(openAlice + openBob + checks(known) + writeAll())
		last := make(map[string]int)
		pause := time.Duration(rng.IntN(2000)) * time.Microsecond
		if rng.IntN(5) == 0 {
			pause *= 250 // Somewhere between its start and its first puts.
		} else {
			acknowledged(t, l, last, 1+rng.IntN(most))
		}
		time.Sleep(pause)
		if err := l.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		acknowledged(t, l, last, -1)
		if status := statusOf(t, l.cmd.Wait()); status != -1 {
			t.Fatalf("it ended by itself, with status %d: %s", status, l.err)
		}
		for _, w := range writers {
			known[w.strand] = last[w.strand]
			total += last[w.strand]
			if last[w.strand] == 0 {
				// Its first put may be durable and was not acknowledged: then it has
				// taken the place of one that had been.
				delete(known, w.strand)
			}
		}
	}
	s.boot(openAlice + openBob + checks(known))
	t.Logf("%d kills, %d acknowledged puts", *killsFlag, total)
}

func writeAll() (script string) {
	for _, w := range writers {
		script += "async " + w.strand + " puts " + w.app + " n 1000000\n"
	}
	return script + "join\n"
}

// checks looks for what is acknowledged.
func checks(known map[string]int) (script string) {
	for _, w := range writers {
		if n := known[w.strand]; n > 0 {
			script += "check-puts " + w.app + " n " + strconv.Itoa(n) + "\n"
		}
	}
	return script
}

// acknowledged reads the results of puts, count of them or with -1 all, and
// notes the number of each strand's last one.
func acknowledged(t *testing.T, l *live, last map[string]int, count int) {
	t.Helper()
	for line := range l.lines {
		if !strings.HasSuffix(line, "}") {
			continue // The last line of a killed process may be half a line.
		}
		switch r := records(t, line)[0]; {
		case r.Kind == "error":
			t.Fatal(r.Error)
		case r.Verb == "puts":
			last[r.Strand] = number(t, r.Text)
			count--
		}
		if count == 0 {
			break
		}
	}
}
