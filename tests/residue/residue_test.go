package residue

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/tests/scan"
)

// shipped is the binary that `make build` makes, but for the stamp.
var shipped string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "nexus-residue-")
	if err != nil {
		panic(err)
	}
	shipped = filepath.Join(dir, "nexus-sim")
	build := exec.Command("go", "build", "-trimpath", "-o", shipped, "../../cmd/nexus-sim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// machine is a process of the shipped binary that a script drives line by line.
type machine struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t *testing.T, dir string) *machine {
	t.Helper()
	m := &machine{t: t, dir: dir, cmd: exec.Command(shipped, "boot", "--state", dir)}
	in, err := m.cmd.StdinPipe()
	must(t, err)
	out, err := m.cmd.StdoutPipe()
	must(t, err)
	m.cmd.Stderr = os.Stderr
	m.in, m.out = in, bufio.NewScanner(out)
	must(t, m.cmd.Start())
	t.Cleanup(func() { _ = m.cmd.Process.Kill(); _ = m.cmd.Wait() })
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// do has the machine run one line, and waits for its outcome.
func (m *machine) do(line string) {
	m.t.Helper()
	_, err := io.WriteString(m.in, line+"\n")
	must(m.t, err)
	for m.out.Scan() {
		if text := m.out.Text(); strings.HasPrefix(text, "> ") {
			if strings.Contains(text, "FAIL") {
				m.t.Fatalf("%q: %s", line, text)
			}
			return
		}
	}
	m.t.Fatalf("%q: the machine has ended", line)
}

// look scans the process, which rests meanwhile.
func (m *machine) look(patterns map[string][]byte) map[string][]scan.Hit {
	m.t.Helper()
	hits, err := scan.Process(m.cmd.Process.Pid, patterns)
	must(m.t, err)
	by := make(map[string][]scan.Hit)
	for _, h := range hits {
		by[h.Name] = append(by[h.Name], h)
	}
	return by
}

// secrets are what the user has and what is made of it: the credential, values,
// and every key that is on the way from one to the other.
func secrets(t *testing.T, dir, user, word string, values map[string]string) map[string][]byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(dir, "state/identity/users.db"))
	must(t, err)
	db, err := userdb.Decode(file)
	must(t, err)
	u, _ := db.Find(user)
	p, ok := u.Protector(userdb.Password)
	if !ok {
		t.Fatal("no password")
	}
	out := argon2.IDKey([]byte(word), p.Salt[:], p.Cost.Passes, p.Cost.MemoryKiB, p.Cost.Lanes, 64)
	all := map[string][]byte{"credential": []byte(word), "half of the stretched secret": out[:32]}
	for name, key := range keys(t, dir, user, word, out) {
		all[name] = key
	}
	for name, value := range values {
		all["value "+name] = []byte(value)
	}
	return all
}

// keys asks the reader in tests/vectors, which knows the specification alone.
func keys(t *testing.T, dir, user, word string, out []byte) map[string][]byte {
	t.Helper()
	reader := exec.Command("python3", "../vectors/reader/read.py", "--keys", "--argon", hex.EncodeToString(out), dir, user, "password", word)
	reader.Stderr = os.Stderr
	text, err := reader.Output()
	must(t, err)
	found := make(map[string][]byte)
	for line := range strings.Lines(string(text)) {
		if name, digits, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			key, err := hex.DecodeString(digits)
			must(t, err)
			found[name] = key
		}
	}
	return found
}

// forms are how a secret may lie about beside its bytes.
func forms(secrets map[string][]byte) map[string][]byte {
	all := maps.Clone(secrets)
	for name, s := range secrets {
		all[name+" in hexadecimal"] = []byte(hex.EncodeToString(s))
		all[name+" in base 64"] = []byte(base64.RawStdEncoding.EncodeToString(s[:len(s)/3*3]))
	}
	return all
}

var _ = errors.New
var _ = bytes.Equal

func TestMeasure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "os")
	m := start(t, dir)
	const word, value = "Xk3-credential-of-alice-91c2f", "Vq7-value-of-notes-secret-52da8b1"
	m.do("create-user alice password " + word)
	m.do("unlock alice password " + word)
	m.do("put alice/notes token " + value)
	m.do("get alice/notes token " + value)
	m.do("generate alice/notes key")
	m.do("sign alice/notes key message")
	p := forms(secrets(t, dir, "alice", word, map[string]string{"token": value}))
	show := func(what string, by map[string][]scan.Hit) {
		for name, hits := range by {
			regions := map[string]int{}
			for _, h := range hits {
				regions[h.Region]++
			}
			t.Logf("%s: %s: %d hits %v", what, name, len(hits), regions)
		}
	}
	show("unsealed", m.look(p))
	m.do("lock alice")
	show("locked", m.look(p))
	m.do("end alice")
	show("ended", m.look(p))
}
