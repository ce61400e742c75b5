package hellod

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd"
)

// example is the scenario that docs/HACKING.md shows, others are more of them.
const (
	example = "hello.txtar"
	others  = "testdata/*.txtar"
)

// stealHello says hello from one app's task with another one's token.
var stealHello = script.Verb{
	Name: "steal-hello", Args: "THIEF VICTIM", Help: "say hello with the victim's token; both are USER/APP",
	Run: func(r *script.Strand, a []string) (string, error) {
		m := ipc.Msg{Op: opHello, Move: ipc.NoSlot}
		err := r.AsApp(a[1], func(_ context.Context, victim *boot.App) error {
			m.Token = &victim.Config.Token
			return nil
		})
		if err != nil {
			return "", err
		}
		return "", r.AsApp(a[0], func(ctx context.Context, thief *boot.App) error {
			m.Slot, _ = thief.Reaches("hellod.main")
			return wire.Call(ctx, thief.Task, m, &HelloRequest{}, &HelloReply{})
		})
	},
}

var verbs = []script.Verb{Verb, stealHello}

func load(t *testing.T, name string) *scenario.Scenario {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(name, text, verbs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func scenarios(t *testing.T) (all []*scenario.Scenario) {
	t.Helper()
	names, err := filepath.Glob(others)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, %v", others, len(names), err)
	}
	for _, name := range append([]string{example}, names...) {
		all = append(all, load(t, name))
	}
	return all
}

// withHellod adds the daemon and the verbs to a stage.
func withHellod(st *scenario.Stage) {
	st.Verbs = verbs
	st.Machine.Boot.Daemons = []boot.Daemon{Daemon}
}

// onDirectory is a stage with goroutines, the real clock and a directory. Argon2id
// is kept out of the way.
func onDirectory(dir string) *scenario.Stage {
	st := new(scenario.Stage)
	st.Machine.Boot.Argon = identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}
	st.Machine.Storage = &machine.Dir{Path: dir}
	withHellod(st)
	return st
}

// On goroutines and a real directory, each marker of a hello comes after its byte.
func TestOrdinary(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(filepath.Base(s.Name), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			st := onDirectory(dir)
			counted := 0
			st.Marker = func(line string) {
				app, count, ok := helloMarker(line)
				if !ok {
					return
				}
				counted++
				if !slices.Contains(sizes(t, dir, app), count) {
					t.Errorf("%s: no file of %s has %d bytes", line, app, count)
				}
			}
			if o := s.Play(*st); o.Err != nil {
				t.Error(o.Err)
			}
			if counted == 0 {
				t.Error("no marker of a hello came")
			}
		})
	}
}

// helloMarker takes a marker of a hello apart.
func helloMarker(line string) (app string, count int64, ok bool) {
	_, rest, ok := strings.Cut(line, "hellod: hello (user=")
	_, rest, _ = strings.Cut(rest, ", app=")
	app, rest, _ = strings.Cut(rest, ", count=")
	count, err := strconv.ParseInt(strings.TrimSuffix(rest, ")"), 10, 64)
	return app, count, ok && err == nil
}

// sizes are those of the files of all users' apps of that name.
func sizes(t *testing.T, dir, app string) (all []int64) {
	names, err := filepath.Glob(filepath.Join(dir, "state", "hellod", "*."+app))
	if err != nil {
		t.Error(err)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
			continue
		}
		all = append(all, info.Size())
	}
	return all
}

// The answers of the example are what its markers say.
func TestAnswers(t *testing.T) {
	st := onDirectory(t.TempDir())
	answers := make(map[string][]string)
	st.Result = func(r script.Result) {
		if r.Verb == Verb.Name && r.Err == nil {
			answers[r.Args[0]] = append(answers[r.Args[0]], r.Text)
		}
	}
	if o := load(t, example).Play(*st); o.Err != nil {
		t.Fatal(o.Err)
	}
	if got, want := fmt.Sprint(answers), "map[alice/mail:[1] alice/notes:[1 3]]"; got != want {
		t.Errorf("answers %s, want %s", got, want)
	}
}

// A daemon that may not touch its files is unavailable: the refusal that it met
// is not its caller's.
func TestWithoutGrant(t *testing.T) {
	st := onDirectory(t.TempDir())
	st.Machine.Boot.Daemons[0].Files = nil
	const text = "-- script --\nboot\ncreate-user a pin 271828\nunlock a pin 271828\nfails unavailable hello a/a\n"
	s, err := scenario.Parse("grant.txtar", []byte(text), verbs...)
	if err != nil {
		t.Fatal(err)
	}
	if o := s.Play(*st); o.Err != nil {
		t.Error(o.Err)
	}
}
