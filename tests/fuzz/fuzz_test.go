//go:build insecure_deterministic

package fuzz

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nexus.internal/os/cmd/crash"
	"nexus.internal/os/cmd/scenario"
)

var crashes = flag.String("crashes", "", "keep an input that fails in this `directory`, as a file for nexus-sim replay")

// told is a target whose inputs can be told in words.
type told interface {
	Scenario(input []byte) *scenario.Scenario
}

// fuzz runs a target on whatever the fuzzer finds.
func fuzz(f *testing.F, target crash.Target) {
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > crash.MaxInput {
			return // Targets read no further, so that it is no input of its own.
		}
		if err := check(t, *crashes, target, input); err != nil {
			t.Error(err)
		}
	})
}

func about(target crash.Target, input []byte) string {
	if s, ok := target.(told); ok {
		return string(s.Scenario(input).Format())
	}
	return ""
}

// unfinished is what a crash file says of a run that it did not survive.
const unfinished = "the run did not end"

// check runs a target once. If there is a directory, an input that fails is
// kept there, one that hangs or ends the process included.
func check(t *testing.T, dir string, target crash.Target, input []byte) error {
	if dir == "" {
		return target.Run(input)
	}
	name := filepath.Join(dir, fmt.Sprintf("%s-%.4x.crash", target.Name(), sha256.Sum256(input)))
	keep := func(failed string) {
		failed, steps, _ := strings.Cut(failed, "\n")
		file := crash.File{Target: target.Name(), Failed: failed, Input: input, About: about(target, input) + steps}
		if err := os.WriteFile(name, file.Format(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	keep(unfinished)
	err := target.Run(input)
	if err == nil {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	keep(err.Error())
	t.Logf("replay with: bin/nexus-sim-insecure replay %s", name)
	return err
}

// broken is a target that fails on some inputs and does not survive others.
type broken struct{}

var errBroken = errors.New("broken: by plan\nstep by step")

func (broken) Name() string { return "broken" }
func (broken) Run(input []byte) error {
	switch string(input) {
	case "fails":
		return errBroken
	case "dies":
		panic("by plan")
	}
	return nil
}

// What fails and what the run does not survive is kept as a crash file, and
// nothing else is.
func TestKeeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "crashes")
	for _, c := range []struct{ input, failed string }{
		{"is well", ""}, {"fails", "broken: by plan"}, {"dies", unfinished},
	} {
		func() {
			defer func() {
				if died := recover() != nil; died != (c.failed == unfinished) {
					t.Errorf("%s: died: %v", c.input, died)
				}
			}()
			if err := check(t, dir, broken{}, []byte(c.input)); (err != nil) != (c.failed != "") {
				t.Errorf("%s: %v", c.input, err)
			}
		}()
		names, err := filepath.Glob(filepath.Join(dir, "broken-*.crash"))
		if err != nil || len(names) > 1 || (len(names) == 1) != (c.failed != "") {
			t.Fatalf("%s: kept %q, %v", c.input, names, err)
		}
		if c.failed == "" {
			continue
		}
		text, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		file, err := crash.Parse(text)
		if err != nil || file.Target != "broken" || file.Failed != c.failed || string(file.Input) != c.input ||
			(file.About == "step by step") != (c.input == "fails") {
			t.Errorf("%s: kept as %+v, %v", c.input, file, err)
		}
		if err := os.Remove(names[0]); err != nil {
			t.Fatal(err)
		}
	}
}
