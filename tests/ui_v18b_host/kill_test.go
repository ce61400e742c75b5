package ui_v18b_host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/disk"
)

// roleVar makes the test binary one of the processes below instead of running
// tests; dirVar is the state directory that it boots on.
const (
	roleVar = "UI_V18B_ROLE"
	dirVar  = "UI_V18B_DIR"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	roles := map[string]func(dir string) error{"writer": writer, "canary": canaryRun}
	role := roles[os.Getenv(roleVar)]
	if role == nil {
		os.Exit(m.Run())
	}
	if err := role(os.Getenv(dirVar)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is the test binary in another role. It does not outlive the test, nor
// its patience.
func process(t testing.TB, role, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVar+"="+role, dirVar+"="+dir)
	return cmd
}

// The writers: two users with two apps each.
var (
	writingUsers = []string{"alice", "bob"}
	writingApps  = []string{"notes", "mail"}
)

// change is what a writer does n-th: every writer goes through the same list,
// one after the other, so that it follows from a count what there must be.
type change struct {
	name   string
	value  string
	remove bool
}

func changeAt(who string, n int) change {
	c := change{name: fmt.Sprint("name", n%9), remove: n%5 == 4}
	if !c.remove {
		c.value = strings.Repeat(fmt.Sprintf("%s %d ", who, n), 1+n%40)
	}
	return c
}

// after is what a writer has after its first n changes.
func after(who string, n int) map[string]string {
	left := make(map[string]string)
	for i := range n {
		if c := changeAt(who, i); c.remove {
			delete(left, c.name)
		} else {
			left[c.name] = c.value
		}
	}
	return left
}

// writer is the process that is killed: it does changes for ever and prints a
// line for each that was acknowledged.
func writer(dir string) error {
	d, err := disk.Open(dir)
	if err != nil {
		return err
	}
	s, err := boot.Boot(boot.Config{Disk: d, Argon: cheap})
	if err != nil {
		return err
	}
	l, err := s.Launcher()
	if err != nil {
		return err
	}
	ctx := context.Background()
	failed := make(chan error)
	var out sync.Mutex
	for _, name := range writingUsers {
		password := boot.Password([]byte("the password of " + name))
		if err := l.CreateUser(ctx, name, password); err != nil && !errors.Is(err, ipc.Exists) {
			return err
		}
		sid, err := l.StartSession(ctx, name, password)
		if err != nil {
			return err
		}
		if err := l.Unseal(ctx, sid, password); err != nil {
			return err
		}
		for _, id := range writingApps {
			a, err := l.Launch(ctx, sid, id, boot.AppRights)
			if err != nil {
				return err
			}
			go func() { failed <- write(ctx, a, name+"/"+id, &out) }()
		}
	}
	return <-failed
}

// write begins again after what an earlier process has done.
func write(ctx context.Context, a *boot.App, who string, out *sync.Mutex) error {
	n, err := done(ctx, a, who)
	if err != nil {
		return err
	}
	for ; ; n++ {
		c := changeAt(who, n)
		if c.remove {
			if err = a.Keychain.Delete(ctx, c.name); errors.Is(err, ipc.NotFound) {
				err = nil
			}
		} else {
			err = a.Keychain.Put(ctx, c.name, secret.Copy([]byte(c.value)))
		}
		if err == nil {
			err = a.Keychain.Put(ctx, "done", secret.Copy(fmt.Append(nil, n+1)))
		}
		if err != nil {
			return err
		}
		out.Lock()
		fmt.Printf("%s %d\n", who, n+1)
		out.Unlock()
	}
}

// done is how many changes of the writer are known to be done.
func done(ctx context.Context, a *boot.App, who string) (n int, err error) {
	v, err := a.Keychain.Get(ctx, "done")
	if errors.Is(err, ipc.NotFound) {
		return 0, nil
	}
	if err == nil {
		_, err = fmt.Sscan(string(v.Expose()), &n)
	}
	return n, err
}

// TestPersistsOverKill kills the process of a running system, several times on
// one directory. Whatever it said was done is there, in full, and at most what
// it was doing besides.
func TestPersistsOverKill(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(seed(t), 1))
	acked := make(map[string]int)
	for round := range 3 {
		cmd := process(t, "writer", dir)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		left := 150 + rng.IntN(150)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var who string
			var n int
			if _, err := fmt.Sscan(lines.Text(), &who, &n); err != nil {
				t.Fatalf("the writer says %q", lines.Text())
			}
			acked[who] = max(acked[who], n)
			if left--; left == 0 {
				must(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); left > 0 || err == nil {
			t.Fatalf("round %d: the writer ended by itself: %v: %s", round, err, complaints.String())
		}
		checkWriters(t, dir, acked)
	}
}

func checkWriters(t *testing.T, dir string, acked map[string]int) {
	d, err := disk.Open(dir)
	must(t, err)
	w := start(t, d)
	for _, name := range writingUsers {
		u := w.back(name)
		for _, id := range writingApps {
			who := name + "/" + id
			a := u.app(id)
			n, err := done(w.ctx(), a.App, who)
			must(t, err)
			if n < acked[who] || n > acked[who]+1 {
				t.Fatalf("%s has done %d changes, and %d were acknowledged", who, n, acked[who])
			}
			// The change after those may have been done as well.
			now, next := after(who, n), after(who, n+1)
			if c := changeAt(who, n); a.has(c.name, next) {
				now = next
			}
			now["done"] = fmt.Sprint(n)
			a.isExactly(now)
		}
	}
	w.end()
	must(t, d.Close())
}

// has says whether what the app has under a name is what there should be.
func (a *app) has(name string, secrets map[string]string) bool {
	a.w.t.Helper()
	got, err := a.tryGet(name)
	if err != nil && !errors.Is(err, ipc.NotFound) {
		a.w.t.Fatal(err)
	}
	value, there := secrets[name]
	return there == (err == nil) && got == value
}
