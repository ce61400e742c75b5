package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const manual = "../../docs/SCRIPT.md"

// shown is a command of a console block and what it prints.
type shown struct {
	line    int
	command string
	prints  string
}

// consoles reads the blocks marked console: a line that begins with $ is a
// command, which goes on to its END if it has one, and what it prints follows.
func consoles(text string) (blocks [][]shown) {
	inside, here := false, false
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "```") {
			if inside = line == "```console"; inside {
				blocks = append(blocks, nil)
			}
			continue
		}
		if !inside {
			continue
		}
		block := &blocks[len(blocks)-1]
		command, isCommand := strings.CutPrefix(line, "$ ")
		if isCommand {
			*block = append(*block, shown{line: i + 1, command: command + "\n"})
			here = strings.HasSuffix(command, "<<END")
			continue
		}
		last := &(*block)[len(*block)-1]
		if !here {
			last.prints += line + "\n"
			continue
		}
		last.command += strings.TrimPrefix(line, "> ") + "\n"
		here = line != "> END"
	}
	return blocks
}

// What docs/SCRIPT.md shows of the command line is what one gets.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, block := range consoles(string(text)) {
		s := newSim(t)
		for _, c := range block {
			count++
			ctx, cancel := context.WithTimeout(context.Background(), runLimit)
			cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.command)
			cmd.Dir = s.dir
			cmd.Env = append(os.Environ(), "PATH="+built+":"+os.Getenv("PATH"))
			got, err := cmd.CombinedOutput()
			cancel()
			statusOf(t, err) // It shows where that matters.
			if string(got) != c.prints {
				t.Errorf("%s:%d: %sprints\n%sand shown is\n%s", manual, c.line, c.command, got, c.prints)
			}
		}
	}
	if count == 0 {
		t.Errorf("%s shows no command", manual)
	}
}
