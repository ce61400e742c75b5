package main

import (
	"strings"
	"testing"
)

// refusing is a scenario in which the kernel and policyd refuse something.
const refusing = `-- markers.toml --
[[phase]]
name = "boot"
expect = ["keystore: ready"]
-- script --
boot
create-user alice pin 123456
unlock alice pin 123456
put alice/notes name "a value that nobody may see"
fails denied launch alice/demo.reader put
fails denied send alice/notes store Get 0a046e616d65 flip:33
fails denied send alice/notes store Get 0a046e616d65 none
lock alice
fails denied get alice/notes name
fails permission-denied send alice/notes 9 1 ""
denials 1
shutdown
`

// A run by seed leaves the same records every time, in words too, and nothing
// that is secret in them.
func TestAuditBySeed(t *testing.T) {
	t.Parallel()
	s := insecureSim(t)
	s.write("refusing.txtar", refusing)
	for _, file := range []string{"one", "two"} {
		if r := s.run("", "run", "refusing.txtar", "--seed", "7", "--audit", file); r.status != 0 {
			t.Fatalf("status %d\n%s\n%s", r.status, r.out, r.err)
		}
	}
	one := s.read("one")
	if one != s.read("two") {
		t.Error("the same seed leaves other records")
	}
	if strings.Contains(one, "nobody may see") || strings.Contains(one, "alice") || strings.Contains(one, "123456") {
		t.Errorf("the records tell a secret:\n%s", one)
	}
	for id, want := range map[string]string{
		"k1-1": "Token field: epoch.", "k1-2": "no token was given", "k1-3": "stale", "k1-4": "Slot 9: empty.",
	} {
		r := s.run("", "explain", id, "--audit", "one")
		if r.status != 0 || r.err != "" || !strings.HasPrefix(r.out, id+": ") || !strings.Contains(r.out, want) || strings.Count(r.out, "\n") != 1 {
			t.Errorf("%s: status %d\n%s%s", id, r.status, r.out, r.err)
		}
	}
	out := s.run("", "explain", "k1-3", "--audit", "one").out
	if strings.Contains(out, "notes") || !strings.Contains(out, " App: ") || !strings.Contains(out, " User: ") {
		t.Errorf("apps and users are not digests: %s", out)
	}
}

// What is wrong with the command line is 2; a file that is none, a record that
// is none or is not there is 1; each with a line that says so.
func TestExplainFailures(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	s.write("empty", "")
	s.write("garbage", "garbage\n")
	for _, c := range []struct {
		args   string
		status int
		said   string
	}{
		{"explain", 2, "needs one AUDIT-ID"},
		{"explain k1-1", 2, "needs --audit FILE"},
		{"explain k1-1 k1-2 --audit empty", 2, "needs one AUDIT-ID"},
		{"explain K1-1 --audit empty", 2, "no id of a record"},
		{"explain k1-1 --audits empty", 2, "flag provided but not defined"},
		{"explain k1-1 --audit empty", 1, "empty: k1-1: no record has this id"},
		{"explain k1-1 --audit garbage", 1, "garbage: k1-1: line 1: not an audit record"},
		{"explain k1-1 --audit missing", 1, "no such file"},
		{"boot --state os --audit no/such/directory", 1, "no such file"},
	} {
		r := s.run("", strings.Fields(c.args)...)
		if r.status != c.status || r.out != "" || !strings.Contains(r.err, c.said) {
			t.Errorf("%s: status %d, %q, %q", c.args, r.status, r.out, r.err)
		}
	}
}
