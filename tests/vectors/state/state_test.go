//go:build insecure_deterministic

package state

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nexus.internal/os/actors"
	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/statefsd/bootrec"
)

var update = flag.Bool("update", false, "write state.json anew")

const jsonFile = "state.json"

// directory is a disk: each file's path and bytes.
type directory map[string][]byte

// MarshalJSON writes bytes as hexadecimal digits.
func (d directory) MarshalJSON() ([]byte, error) {
	text := make(map[string]*string)
	for path, b := range d {
		if text[path] = nil; b != nil {
			s := hex.EncodeToString(b)
			text[path] = &s
		}
	}
	return json.Marshal(text)
}

// with is a copy of d in which changes have been made; a file of nil is absent.
func (d directory) with(changes directory) directory {
	all := maps.Clone(d)
	for path, b := range changes {
		if all[path] = b; b == nil {
			delete(all, path)
		}
	}
	return all
}

// The members of state.json.
type (
	vectors struct {
		Good    []goodVector  `json:"good"`
		Refused []faultVector `json:"refused"`
	}
	goodVector struct {
		Name        string       `json:"name"`
		Why         string       `json:"why"`
		Files       directory    `json:"files"`
		Credentials []credential `json:"credentials"`
		Secrets     []secret     `json:"secrets"`
		Keys        []key        `json:"keys"`
		Tail        *place       `json:"tail,omitempty"`
	}
	faultVector struct {
		Name    string    `json:"name"`
		Of      string    `json:"of"`
		Changes directory `json:"changes"`
		Expect  string    `json:"expect"`
		Place   *place    `json:"place,omitempty"`
		Secrets []secret  `json:"secrets,omitempty"`
	}
	credential struct {
		User string `json:"user"`
		Kind string `json:"kind"`
		Word string `json:"word"`
	}
	secret struct {
		User  string `json:"user"`
		App   string `json:"app"`
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	key struct {
		User string `json:"user"`
		App  string `json:"app"`
		Name string `json:"name"`
	}
	place struct {
		File   string `json:"file"`
		Offset int64  `json:"offset"`
	}
)

// run is one life of a machine whose disk begins as before. It answers what the
// disk is then, the outcome of each line, and the markers.
func run(t *testing.T, before directory, seed uint64, torn bool, text string) (directory, []script.Result, []string) {
	t.Helper()
	memory := machine.NewMemory(nil)
	if torn {
		memory.Tear = func(_ string, unsynced int) int { return unsynced / 2 }
	}
	for path, b := range before {
		if err := memory.Disk().Replace(path, b); err != nil {
			t.Fatal(err)
		}
	}
	var markers []string
	console := script.NewConsole(func(line string) { markers = append(markers, line) })
	m := machine.New(machine.Config{
		Boot: boot.Config{
			Argon:   identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1},
			Chance:  func(n uint64) rngd.Source { return rngd.Seeded(seed, n) },
			Console: console,
		},
		Storage:   memory,
		Scheduler: func(n int) actors.Scheduler { return seeded.New(seed + uint64(n)) },
	})
	var results []script.Result
	r := script.NewRunner(m, console, func(res script.Result) { results = append(results, res) })
	if err := r.RunFrom("state", 0, strings.NewReader(text)); err != nil && len(results) == 0 {
		t.Fatal(err)
	}
	_ = m.Shutdown() // Most scripts have done it.
	left := memory.Disk().Reopen()
	paths, err := left.List("")
	if err != nil {
		t.Fatal(err)
	}
	after := make(directory)
	for _, path := range paths {
		size, err := left.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, size)
		if _, err := left.ReadAt(path, p, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		after[path] = p
	}
	return after, results, markers
}

// failure is the outcome of the first line that failed.
func failure(results []script.Result) error {
	for _, r := range results {
		if r.Err != nil {
			return fmt.Errorf("line %d, %s %v: %w", r.Line, r.Verb, r.Args, r.Err)
		}
	}
	return nil
}

// makeGood makes every good state, and what is in it.
func makeGood(t *testing.T) []goodVector {
	made := make(map[string]directory)
	var all []goodVector
	for _, g := range goods {
		files, results, _ := run(t, made[g.from], g.seed, g.torn, g.script)
		if err := failure(results); err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		made[g.name] = files
		v := goodVector{Name: g.name, Why: g.why, Files: files, Credentials: []credential{}, Secrets: secretsOf(g.holds), Keys: []key{}}
		for line := range strings.Lines(g.creds) {
			w := strings.SplitN(strings.TrimSpace(line), " ", 3)
			v.Credentials = append(v.Credentials, credential{w[0], w[1], strings.Trim(w[2], `"`)})
		}
		for line := range strings.Lines(g.keys) {
			who, name, _ := strings.Cut(strings.TrimSpace(line), " ")
			user, app, _ := strings.Cut(who, "/")
			v.Keys = append(v.Keys, key{User: user, App: app, Name: name})
		}
		if g.tail != "" {
			v.Tail = placeOf(g.tail)
		}
		all = append(all, v)
	}
	return all
}

func secretsOf(holds string) []secret {
	all := []secret{}
	for line := range strings.Lines(holds) {
		w := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		user, app, _ := strings.Cut(w[0], "/")
		all = append(all, secret{user, app, w[1], hex.EncodeToString([]byte(w[2]))})
	}
	return all
}

func placeOf(text string) *place {
	file, offset, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(offset, 10, 64)
	if err != nil {
		panic(err)
	}
	return &place{file, n}
}

// TestVectors: state.json is what the system makes now, and what it says of each
// state is what stands there.
func TestVectors(t *testing.T) {
	all := vectors{Good: makeGood(t)}
	named := make(map[string]goodVector)
	for _, g := range all.Good {
		named[g.Name] = g
	}
	for _, f := range faults(named) {
		v := faultVector{Name: f.name, Of: f.of, Changes: f.changes, Expect: f.class, Secrets: secretsOf(f.holds)}
		if f.file != "" {
			v.Place = &place{f.file, f.offset}
		}
		all.Refused = append(all.Refused, v)
	}
	if len(all.Good) < 20 || len(all.Refused) < 60 {
		t.Errorf("%d good states and %d with a fault", len(all.Good), len(all.Refused))
	}
	compare(t, all)
	for _, g := range all.Good {
		t.Run(g.Name, func(t *testing.T) { readBack(t, g.Files, g.Credentials, g.Secrets, g.Keys, g.Tail) })
	}
	for _, f := range all.Refused {
		t.Run(f.Name, func(t *testing.T) {
			g := named[f.Of]
			files := g.Files.with(f.Changes)
			if same := maps.EqualFunc(files, g.Files, bytes.Equal); same {
				t.Fatal("nothing was changed")
			}
			if f.Expect == "torn" || f.Expect == "ok" {
				readBack(t, files, g.Credentials, f.Secrets, g.Keys, f.Place)
				return
			}
			fails(t, files, g, f)
		})
	}
}

// compare holds the vectors against the file.
func compare(t *testing.T, all vectors) {
	t.Helper()
	var text bytes.Buffer
	write := func(list string, n int, at func(i int) any) {
		fmt.Fprintf(&text, "%q: [\n", list)
		for i := range n {
			line, err := json.Marshal(at(i))
			if err != nil {
				t.Fatal(err)
			}
			text.Write(line)
			if i < n-1 {
				text.WriteByte(',')
			}
			text.WriteByte('\n')
		}
		text.WriteByte(']')
	}
	text.WriteByte('{')
	write("good", len(all.Good), func(i int) any { return all.Good[i] })
	text.WriteString(",\n")
	write("refused", len(all.Refused), func(i int) any { return all.Refused[i] })
	text.WriteString("}\n")
	if *update {
		if err := os.WriteFile(jsonFile, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(jsonFile)
	if err != nil || !bytes.Equal(there, text.Bytes()) {
		t.Errorf("%s is not what the system makes: %v; go test -tags insecure_deterministic ./tests/vectors/state -update", jsonFile, err)
	}
}

// readBack opens a state with each credential and looks at everything in it.
func readBack(t *testing.T, files directory, creds []credential, secrets []secret, keys []key, tail *place) {
	t.Helper()
	for _, c := range creds {
		_, results, markers := run(t, files, 9, false, reading(c, secrets, keys))
		if err := failure(results); err != nil {
			t.Errorf("as %s with a %s: %v", c.User, c.Kind, err)
		}
		for _, r := range results {
			if (r.Verb == "list" || r.Verb == "keys") && len(r.Args) == 1 && r.Text != "none" {
				t.Errorf("%s %v: %s", r.Verb, r.Args, r.Text)
			}
		}
		dropped := slices.ContainsFunc(markers, func(m string) bool { return strings.Contains(m, "keystore: tail dropped") })
		if dropped != (tail != nil) {
			t.Errorf("as %s with a %s: a tail was dropped: %v", c.User, c.Kind, dropped)
		}
		kept := slices.ContainsFunc(markers, func(m string) bool {
			return tail != nil && strings.Contains(m, fmt.Sprintf("vault.kv.tail-%d", tail.Offset))
		})
		if dropped && !kept {
			t.Errorf("the tail was not dropped at %d: %q", tail.Offset, markers)
		}
	}
}

// reading is the script that reads everything that a user has.
func reading(c credential, secrets []secret, keys []key) string {
	var b strings.Builder
	fmt.Fprintf(&b, "boot\nlogin %s %s %q\nunseal %s %s %q\n", c.User, c.Kind, c.Word, c.User, c.Kind, c.Word)
	names := map[string][]string{"notes": nil, "mail": nil}
	for _, s := range secrets {
		if s.User == c.User {
			value, _ := hex.DecodeString(s.Value)
			names[s.App] = append(names[s.App], s.Name)
			fmt.Fprintf(&b, "get %s/%s %s %q\n", c.User, s.App, s.Name, value)
		}
	}
	signers := map[string][]string{"notes": nil, "mail": nil}
	for _, k := range keys {
		if k.User == c.User {
			signers[k.App] = append(signers[k.App], k.Name)
			fmt.Fprintf(&b, "sign %s/%s %s message\n", c.User, k.App, k.Name)
		}
	}
	for _, app := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&b, "list %s/%s %s\n", c.User, app, strings.Join(names[app], " "))
		fmt.Fprintf(&b, "keys %s/%s %s\n", c.User, app, strings.Join(signers[app], " "))
	}
	b.WriteString("shutdown\n")
	return b.String()
}

// fails opens a state that has a fault, with the good one's first credential.
func fails(t *testing.T, files directory, g goodVector, f faultVector) {
	t.Helper()
	_, results, _ := run(t, files, 9, false, reading(g.Credentials[0], g.Secrets, g.Keys))
	err := failure(results)
	if err == nil {
		t.Fatal("nothing is wrong with it")
	}
	class, at := classOf(err)
	// What is wrong with keys, identityd tells nobody who asks for an unseal.
	untold := class == "unavailable" && (f.Expect == "wrong-key" || f.Expect == "unsupported")
	if class != f.Expect && !untold {
		t.Errorf("%s, want %s: %v", class, f.Expect, err)
	}
	if at != nil && f.Place != nil && *at != *f.Place {
		t.Errorf("at %+v, want %+v", *at, *f.Place)
	}
	if (f.Expect == "damaged" || f.Expect == "rolled-back") && (at == nil || f.Place == nil) {
		t.Errorf("no place: %v", err)
	}
}

// classOf says what kind of error it is and where the fault is.
func classOf(err error) (string, *place) {
	var fault *wire.Fault
	var record *bootrec.Damage
	switch {
	case errors.As(err, &record):
		return "damaged", &place{record.File, record.Offset}
	case errors.Is(err, bootrec.ErrMode):
		return "mode", nil
	case errors.As(err, &fault) && fault.Code == ipc.Damaged:
		return "damaged", &place{"state/" + strings.TrimPrefix(fault.File, "state:/"), fault.Offset}
	case errors.As(err, &fault) && fault.Code == ipc.RolledBack:
		return "rolled-back", &place{"state/" + strings.TrimPrefix(fault.File, "state:/"), fault.Offset}
	case errors.Is(err, ipc.Unsupported):
		return "unsupported", nil
	case errors.Is(err, ipc.BadSecret):
		return "bad-secret", nil
	case errors.Is(err, ipc.Unavailable):
		return "unavailable", nil
	}
	return "unclassed", nil
}
