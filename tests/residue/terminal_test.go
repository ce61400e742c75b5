package residue

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens the two sides of a terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("NOT TESTED: no terminals here:", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	must(t, err)
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("NOT TESTED: no terminals here:", err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// TestPromptLeavesNothing types at the shell's prompt what it asks for.
func TestPromptLeavesNothing(t *testing.T) {
	master, slave := terminal(t)
	m := &machine{t: t, cmd: exec.Command(shipped, "shell", "--state", filepath.Join(t.TempDir(), "os"))}
	m.cmd.Stdin, m.cmd.Stdout, m.cmd.Stderr = slave, slave, os.Stderr
	m.in, m.out = master, bufio.NewScanner(master)
	must(t, m.cmd.Start())
	t.Cleanup(func() { _ = m.cmd.Process.Kill(); _ = m.cmd.Wait() })
	w := &words{rand.New(rand.NewPCG(2, 2))}
	word, other, value := w.next("credential-", 40), w.next("changed-", 30), w.next("value-", 200)
	m.type1("boot")
	m.type1("create-user alice password", word)
	m.type1("unlock alice password ?", word)
	m.type1("set-credential alice password ? password ?", word, other)
	m.type1("put alice/notes token", value)
	m.type1("lock alice")
	m.type1("fails bad-secret unseal alice password", word)
	patterns := forms(map[string][]byte{"credential": []byte(word), "new credential": []byte(other), "value": []byte(value)})
	for name, hits := range m.look(patterns) {
		t.Errorf("%s is left: %d times, %v", name, len(hits), hits[0])
	}
}

// type1 types a line, and then each secret when it is asked for.
func (m *machine) type1(line string, secrets ...string) {
	m.t.Helper()
	m.keys(line)
	for _, s := range secrets {
		m.until("which is not shown", s)
		m.keys(s)
	}
	verb, _, _ := strings.Cut(line, " ")
	m.until("> "+verb, secrets...)
}

func (m *machine) keys(text string) {
	m.t.Helper()
	_, err := m.in.Write([]byte(text + "\r"))
	must(m.t, err)
}

// until reads the screen up to a line with a text. No line shows a secret.
func (m *machine) until(text string, secrets ...string) {
	m.t.Helper()
	for m.out.Scan() {
		line := m.out.Text()
		for _, s := range secrets {
			if strings.Contains(line, s) {
				m.t.Fatalf("the screen shows %q", s)
			}
		}
		if strings.Contains(line, text) && !strings.Contains(line, "on> ") && !strings.Contains(line, "off> ") {
			if strings.Contains(line, ": usage") {
				m.t.Fatal(line)
			}
			return
		}
	}
	m.t.Fatalf("the screen ended before %q", text)
}
