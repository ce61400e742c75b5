package ui_v18b_host

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/policyd"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/disk"
)

// Canaries are what nobody may ever see again: a value, a password, its
// successor, and a PIN, which is digits and so must not stand out by chance.
var canaries = map[string]string{
	"value": "canary-value-zQ7", "password": "canary-password-kW3", "new password": "canary-password-xJ9", "PIN": "8675309867530986",
}

// hidden are what the disk must not show, though the console may.
var hidden = map[string]string{"name": "canary-name-pL5", "app": "canary.app.vv2"}

// spellings are the ways in which bytes turn up in a text.
func spellings(s string) []string {
	decimal := strings.Trim(fmt.Sprint([]byte(s)), "[]")
	return []string{
		s, hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))), strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "="),
		decimal, strings.ReplaceAll(decimal, " ", ", "), fmt.Sprintf("% x", s), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(s)), "[]byte{"), "}"),
	}
}

// search finds what must not be in a text.
func search(t testing.TB, where string, text []byte, secrets map[string]string) {
	t.Helper()
	for what, s := range secrets {
		for _, spelling := range spellings(s) {
			if bytes.Contains(text, []byte(spelling)) {
				t.Errorf("%s shows the %s, as %q", where, what, spelling)
			}
		}
	}
}

// TestNoSecretIsShown runs a system in a process of its own, which prints all
// that it can, and looks for the canaries in its output and in every file.
func TestNoSecretIsShown(t *testing.T) {
	dir := t.TempDir()
	cmd := process(t, "canary", dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, control := range []string{"control-raw-text", "[redacted]", "[token]", "panicked", "session start", hidden["name"], hidden["app"]} {
		if !bytes.Contains(out, []byte(control)) {
			t.Errorf("the output lacks %q: what is looked for here would not be found either", control)
		}
	}
	search(t, "the output", out, canaries)
	files := tree(t, dir)
	if len(files) < 6 {
		t.Errorf("only %d files", len(files))
	}
	for path, content := range files {
		search(t, path, []byte(path+content), canaries)
		search(t, path, []byte(path+content), hidden)
	}
}

// TestSearchFinds shows that the search above finds what is there.
func TestSearchFinds(t *testing.T) {
	for what, s := range canaries {
		for _, text := range []string{
			s, fmt.Sprintf("%q", s), fmt.Sprintf("%x", s), fmt.Sprintf("%X", s), fmt.Sprint([]byte(s)), fmt.Sprintf("%#v", []byte(s)), fmt.Sprintf("%v", struct{ B []byte }{[]byte(s)}),
			base64.StdEncoding.EncodeToString([]byte(s)), fmt.Sprintf("% x", s),
		} {
			probe := &probe{TB: t}
			search(probe, "a text", []byte("before "+text+" after"), map[string]string{what: s})
			if !probe.failed {
				t.Errorf("%q is not found in %q", s, text)
			}
		}
	}
}

// probe is a test that may fail.
type probe struct {
	testing.TB
	failed bool
}

func (p *probe) Helper()               {}
func (p *probe) Errorf(string, ...any) { p.failed = true }

// canaryRun is the process that prints. Whatever it comes across, it prints in
// every way that fmt knows.
func canaryRun(dir string) error {
	fmt.Println("control-raw-text")
	d, err := disk.Open(dir)
	if err != nil {
		return err
	}
	for range 2 {
		if err := canaryBoot(d); err != nil {
			return err
		}
	}
	return nil
}

// show prints something in every way.
func show(things ...any) {
	for _, v := range things {
		fmt.Printf("%v\n%+v\n%#v\n%s\n%q\n%x\n%d\n", v, v, v, v, v, v, v)
	}
}

func canaryBoot(d disk.Disk) error {
	panicking := &console{}
	s, err := boot.Boot(boot.Config{
		Disk: d, Argon: cheap, Console: io.MultiWriter(os.Stdout, panicking),
		Tap:    func(e ipc.TraceEvent) { fmt.Printf("%+v\n", e) },
		Crash:  func(r *ipc.PanicReport) { show(r, *r); fmt.Println("panicked") },
		Audit:  func(r policyd.Record) { show(r) },
		Denied: func(d ipc.Denial) { show(d) },
		Report: func(line string) { fmt.Println(line) },
	})
	if err != nil {
		return err
	}
	defer s.Shutdown()
	l, err := s.Launcher()
	if err != nil {
		return err
	}
	return canaryUse(context.Background(), s, l, panicking)
}

func canaryUse(ctx context.Context, s *boot.System, l *boot.Launcher, panicking *console) error {
	password, next, pin := boot.Password([]byte(canaries["password"])), boot.Password([]byte(canaries["new password"])), boot.PIN([]byte(canaries["PIN"]))
	value := secret.Copy([]byte(canaries["value"]))
	show(password, pin, value, *value, l.CreateUser(ctx, "alice", password), l.CreateUser(ctx, "Bad Name", password))
	show(l.SetCredential(ctx, "alice", password, pin), l.SetCredential(ctx, "alice", next, pin))
	sid, err := l.StartSession(ctx, "alice", password)
	if err != nil {
		return err
	}
	_, wrong := l.StartSession(ctx, "alice", next)
	_, nobody := l.StartSession(ctx, "nobody", password)
	show(wrong, nobody, l.Unseal(ctx, sid, next), l.Unseal(ctx, sid, pin))
	a, err := l.Launch(ctx, sid, hidden["app"], boot.AppRights)
	if err != nil {
		return err
	}
	name, k := hidden["name"], a.Keychain
	show(k.Put(ctx, name, value), k.Put(ctx, "", value), k.Put(ctx, canaries["value"]+"\n", value), k.Put(ctx, name, secret.New(keychain.MaxValue+1)))
	got, err := k.Get(ctx, name)
	if err != nil || !got.Equal(value) {
		return errors.Join(err, errors.New("the canary did not come back"))
	}
	long := secret.Copy(bytes.Repeat(value.Expose(), keychain.MaxValue/value.Len()))
	show(long, k.Put(ctx, name+"2", long))
	if got, err := k.Get(ctx, name+"2"); err != nil || !got.Equal(long) {
		return errors.Join(err, errors.New("the long canary did not come back"))
	}
	public, err := k.Generate(ctx, name)
	show(got, *got, public, err, a.Config, a.Config.Token, k, *k)
	signature, err := k.Sign(ctx, name, []byte("a message"))
	show(signature, err)
	panicking.failAt("keystore: put")
	show(k.Put(ctx, name, value))
	show(l.Lock(ctx, sid), k.Put(ctx, name, value), l.Unseal(ctx, sid, password))
	trace, total := s.Kernel.Trace()
	records, dropped := s.Audit.Records()
	show(trace, total, records, dropped, s.Kernel.Stats(), s.Boot)
	show(l.SetCredential(ctx, "alice", password, next), l.SetCredential(ctx, "alice", next, password))
	return nil
}
