package state

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReader has the reader in Python, which knows the specification alone, read
// every vector.
func TestReader(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("NOT TESTED: there is no python3 here, and the reader of docs/spec/state.md needs it")
	}
	out, err := exec.Command(python, "../reader/read.py", "--vectors", "state.json").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "0 differ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestReaderNotices: a reader that says yes to everything would pass as well.
func TestReaderNotices(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("NOT TESTED: there is no python3 here, and the reader of docs/spec/state.md needs it")
	}
	for name, change := range map[string][2]string{
		"another value":     {`"value":"68656c6c6f`, `"value":"69656c6c6f`},
		"another place":     {`"offset":57`, `"offset":58`},
		"another class":     {`"expect":"unsupported"`, `"expect":"damaged"`},
		"a tail not wanted": {`"expect":"torn"`, `"expect":"damaged"`},
		"a rollback":        {`"expect":"rolled-back"`, `"expect":"damaged"`},
	} {
		file := changed(t, change[0], change[1])
		out, err := exec.Command(python, "../reader/read.py", "--vectors", file).CombinedOutput()
		if err == nil {
			t.Errorf("%s: not noticed\n%s", name, out)
		}
	}
}

// changed is a copy of the vectors with another text in each place of one.
func changed(t *testing.T, from, to string) string {
	t.Helper()
	text, err := os.ReadFile("state.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(from)) {
		t.Fatalf("no %s in the vectors", from)
	}
	file := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte(from), []byte(to)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
