package main

import (
	"slices"
	"strings"
	"testing"
)

const warning = "INSECURE: built with insecure_deterministic: everybody can compute every key; for tests only"

// The insecure build says so on both outputs, and neither build touches a
// directory of the other.
func TestModesKeepApart(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	binary, err := insecure()
	if err != nil {
		t.Fatal(err)
	}
	other := &sim{t, t.TempDir(), binary}
	for _, script := range []string{makeSecrets, openAlice + readAlice} {
		e := other.run(script, "boot", "--state", "os")
		if e.status != 0 || e.err != "nexus-sim: "+warning+"\n" || !strings.HasPrefix(e.out, "# "+warning+"\ninit: start\n") {
			t.Fatalf("the insecure build: %+v", e)
		}
	}
	e := other.run("", "boot", "--state", "os", "--json")
	if r := records(t, e.out); r[0].Kind != "note" || r[0].Text != warning {
		t.Errorf("the first line of JSON is %+v", r[0])
	}
	before := other.snapshot("os")
	other.binary = s.binary
	other.refuse(other.run("users\n", "boot", "--state", "os"), 1,
		"os/boot: the state directory was made in another mode of chance; this build's is system")
	other.same("os", before)

	if e := s.boot(makeSecrets); strings.Contains(e.out, "INSECURE") {
		t.Error(e.out)
	}
	before = s.snapshot("os")
	s.binary = binary
	e = s.run("users\n", "boot", "--state", "os")
	lines := slices.Collect(strings.Lines(e.err))
	if e.status != 1 || len(lines) != 2 || lines[1] !=
		"nexus-sim: os/boot: the state directory was made in another mode of chance; this build's is insecure_deterministic\n" {
		t.Errorf("the insecure build on an ordinary directory: %+v", e)
	}
	s.same("os", before)
}
