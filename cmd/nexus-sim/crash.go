package main

import (
	"errors"
	"fmt"
	"strings"

	"nexus.internal/os/cmd/adversary"
	"nexus.internal/os/cmd/crash"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/tests/modelrun"
)

// targets are those whose crash files can be replayed. The router's is of the
// tests: a disagreement with the model is replayed by the driver that found it,
// and a copy of the model for the binary would be a second truth. tests/rules
// holds what is imported here to the same rules as the rest of the binary.
func targets() []crash.Target {
	return []crash.Target{adversary.Keystored{Chance: bySeed}, modelrun.Router{}}
}

// told is a target whose inputs are stories.
type told interface {
	Scenario(input []byte) *scenario.Scenario
}

// crash runs the input of a crash file again. A target that tells a story has
// it played as a scenario, so that it can be watched step by step; what it comes
// to is the same as in the target's own run.
func (f *replayFlags) crash(text []byte, known []crash.Target, p *printer, std streams) error {
	file, target, err := openCrash(text, known)
	if err != nil {
		return fmt.Errorf("%s: %w", f.file, err)
	}
	p.note(fmt.Sprintf("%s, %d bytes; when it was kept: %s", file.Target, len(file.Input), file.Failed))
	if t, ok := target.(told); ok {
		s := t.Scenario(file.Input)
		d := f.debugger(p, std)
		if _, err = d.play(s, uint64(s.Machine.Seed)); d.stopped {
			return p.failed()
		}
	} else {
		err = target.Run(file.Input)
	}
	if err := firstOf(tell(p, err), p.failed()); err != nil {
		return fmt.Errorf("%s: %w", f.file, err)
	}
	p.note("nothing is wrong with it")
	return p.failed()
}

// tell prints how it came to an error, and answers what is wrong.
func tell(p *printer, err error) error {
	if err == nil {
		return nil
	}
	wrong, steps, long := strings.Cut(err.Error(), "\n")
	if !long {
		return err
	}
	for step := range strings.Lines(steps) {
		p.note(strings.TrimSuffix(step, "\n"))
	}
	return errors.New(wrong)
}

// openCrash reads a crash file and finds its target.
func openCrash(text []byte, known []crash.Target) (*crash.File, crash.Target, error) {
	file, err := crash.Parse(text)
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, len(known))
	for i, t := range known {
		if names[i] = t.Name(); names[i] == file.Target {
			return file, t, nil
		}
	}
	return nil, nil, fmt.Errorf("no target is called %q; there are %s", file.Target, strings.Join(names, ", "))
}
