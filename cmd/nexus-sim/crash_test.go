package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"nexus.internal/os/cmd/crash"
)

// planted is a target with a mistake: it does not bear the word that it is for.
type planted struct{ word string }

var errPlanted = errors.New("planted: the model says 1, the kernel 2")

func (planted) Name() string { return "planted" }
func (p planted) Run(input []byte) error {
	if strings.Contains(string(input), p.word) {
		return errPlanted
	}
	return nil
}

// A crash file's target runs its input again, and the replay fails in its words
// or says that nothing is wrong.
func TestReplayRunsTheTarget(t *testing.T) {
	known := []crash.Target{planted{"mistake"}}
	file := crash.File{Target: "planted", Failed: "it was wrong", Input: []byte("a mistake")}
	for _, c := range []struct {
		input string
		want  error
	}{{"a mistake", errPlanted}, {"a take", nil}} {
		file.Input = []byte(c.input)
		var out bytes.Buffer
		f := &replayFlags{file: "kept"}
		err := f.crash(file.Format(), known, &printer{out: &out}, streams{out: &out})
		text := out.String()
		if !strings.HasPrefix(text, "# planted, ") || !strings.Contains(text, "when it was kept: it was wrong\n") {
			t.Errorf("%s: it begins with %q", c.input, text)
		}
		fine := strings.HasSuffix(text, "# nothing is wrong with it\n")
		if !errors.Is(err, c.want) || fine != (c.want == nil) || err != nil && err.Error() != "kept: "+errPlanted.Error() {
			t.Errorf("%s: %v, and it printed %q", c.input, err, text)
		}
	}
}

// The replay of a story shows it as that of a scenario does.
func TestReplayCrash(t *testing.T) {
	t.Parallel()
	s := insecureSim(t)
	// A thief sends a frame with the victim's token, and the victim's name is put meanwhile.
	good := crash.File{Target: "keystored", Failed: "token: a story", Input: []byte{6, 2, 0x80, 0, 0, 0, 0x8a, 1, 0, 1, 0, 0, 0, 8, 0}}
	s.write("good", string(good.Format()))
	e := s.run("", "replay", "good")
	for _, part := range []string{
		"# keystored, 15 bytes; when it was kept: token: a story\n", "init: start\n", "> create-user alice password: ok\n",
		"alice-notes| try put alice/notes name-0-of-alice-notes", "bob-spy| try send bob/spy ", "> check: ok\n",
	} {
		if !strings.Contains(e.out, part) {
			t.Errorf("no %q in\n%s", part, e.out)
		}
	}
	if e.status != 0 || !strings.HasSuffix(e.out, "# nothing is wrong with it\n") {
		t.Errorf("%+v", e)
	}
	e = s.run("", "replay", "good", "--until", "user created")
	if e.status != 0 || !strings.Contains(e.out, "identity: user created (user=alice)\n  time ") || strings.Contains(e.out, "session start") {
		t.Errorf("till a marker: %+v", e)
	}
	for _, c := range []struct{ name, text, want string }{
		{"unknown", strings.Replace(string(good.Format()), "keystored", "toaster", 1), `unknown: no target is called "toaster"; there are keystored`},
		{"version", strings.Replace(string(good.Format()), "crash 1", "crash 2", 1), `version: a crash file of another version: it has version "2"`},
		{"damaged", strings.Replace(string(good.Format()), "input 06", "input 0", 1), "damaged: a damaged crash file: line 4: "},
	} {
		s.write(c.name, c.text)
		if e := s.run("", "replay", c.name); e.status != 1 || !strings.HasPrefix(e.err, "nexus-sim: "+c.want) {
			t.Errorf("%s: %+v, want %s", c.name, e, c.want)
		}
	}
}
