package scan

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// modeVar tells a child what it is to be.
const modeVar = "NEXUS_SCANNED"

// Mode is what this process was started for with Start, or "".
func Mode() string { return os.Getenv(modeVar) }

// Rest says in the child that it has come to a step, and waits till the parent
// has looked.
func Rest(step string) {
	fmt.Println(step)
	b := make([]byte, 1)
	if _, err := os.Stdin.Read(b); err != nil {
		os.Exit(1) // The parent is gone.
	}
}

// Child is another process of the same test binary.
type Child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	steps *bufio.Scanner
}

// Start runs one test of this binary in a child. The runtime does not interrupt
// it by signals, as in nexus-sim.
func Start(test, mode string) (*Child, error) {
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), modeVar+"="+mode, "GODEBUG=asyncpreemptoff=1,gcshrinkstackoff=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &Child{cmd, in, bufio.NewScanner(out)}, cmd.Start()
}

// At waits till the child rests at a step, looks for patterns in it, and lets it
// go on. A child that comes to another step ends.
func (c *Child) At(step string, patterns map[string][]byte) ([]Hit, error) {
	if !c.steps.Scan() || strings.TrimSpace(c.steps.Text()) != step {
		_ = c.in.Close()
		return nil, fmt.Errorf("the child says %q, not %q", c.steps.Text(), step)
	}
	hits, err := Process(c.cmd.Process.Pid, patterns)
	if err != nil {
		return nil, err
	}
	_, err = c.in.Write([]byte("\n"))
	return hits, err
}

// Wait waits for the child's end.
func (c *Child) Wait() error { return c.cmd.Wait() }
