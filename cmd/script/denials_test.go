package script

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
)

// last is what the newest line printed.
func (w *world) last() string { return w.results[len(w.results)-1].Text }

func TestDenials(t *testing.T) {
	w := newWorld(t, bySeed)
	w.run(t, "denials\n")
	if w.last() != "none" {
		t.Errorf("before anything was refused: %q", w.last())
	}
	w.run(t, "create-user alice pin 123456\nunlock alice pin 123456\nput alice/notes n v\n")
	for range 12 {
		w.run(t, "fails permission-denied send alice/notes 99 1 \"\"\n")
	}
	w.run(t, "denials\n")
	if got := strings.Split(w.last(), "; "); len(got) != shownDenials || got[0] != "k1-12 app operation 1: empty slot" || got[9] != "k1-3 app operation 1: empty slot" {
		t.Errorf("listed is %q", got)
	}
	w.run(t, fmt.Sprintf("denials 1\ndenials %d\n", ipc.MaxDenials))
	if got := strings.Count(w.last(), ";"); got != 11 {
		t.Errorf("all are %d", got+1)
	}
	for _, n := range []string{"0", "-1", "x", fmt.Sprint(ipc.MaxDenials + 1)} {
		if f := w.fail(t, "denials "+n); !errors.Is(f, ErrUsage) {
			t.Errorf("denials %s: %v", n, f)
		}
	}
	w.run(t, "shutdown\nfails off denials\nfails off explain k1-1\n")
}

func TestExplain(t *testing.T) {
	w := newWorld(t, bySeed)
	w.run(t, "create-user alice pin 123456\nunlock alice pin 123456\nfails permission-denied send alice/notes 99 1 \"\"\nfails denied launch alice/demo.reader put\n")
	w.run(t, "explain k1-1\n")
	if got := w.last(); !strings.Contains(got, "Slot 99: empty.") {
		t.Errorf("k1-1 is %q", got)
	}
	w.run(t, "denials\n")
	_, policy, _ := strings.Cut(w.last(), "p1-")
	policy, _, _ = strings.Cut("p1-"+policy, " ")
	w.run(t, "explain "+policy+"\nexplain p1-1\n")
	if got := w.results[len(w.results)-2].Text; !strings.HasPrefix(got, policy+": policyd denied demo.reader to do keychain.put.") {
		t.Errorf("%s is %q", policy, got)
	}
	if got := w.last(); !strings.HasPrefix(got, "p1-1: policyd allowed ") {
		t.Errorf("p1-1 is %q", got)
	}
	w.run(t, "fails not-found explain k1-2\nfails not-found explain k2-1\nfails not-found explain p1-1000\nfails not-found explain p2-1\n")
	for _, id := range []string{"1-1", "k1", "K1-1", "q1-1", "k1-1 k1-2", `""`} {
		if f := w.fail(t, "explain "+id); !errors.Is(f, ErrUsage) {
			t.Errorf("explain %s: %v", id, f)
		}
	}
}
