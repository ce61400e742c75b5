package trace

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
)

var update = flag.Bool("update", false, "make the golden drawings in testdata again")

// draw draws what a trace has in a format.
func draw(t *testing.T, text []byte, format string) []byte {
	t.Helper()
	h, err := Read(text)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	switch format {
	case "mmd":
		err = Mermaid(&b, Entries(text), 0)
	case "json":
		err = Chrome(&b, h, Entries(text))
	case "txt":
		err = Text(&b, Entries(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The golden trace is drawn as the golden drawings, which have no value.
// `go test ./cmd/trace -update` makes them again.
func TestGoldenDrawings(t *testing.T) {
	text := write(t)
	if !bytes.Contains(text, []byte(canary)) {
		t.Fatal("the trace itself has no value that could come out")
	}
	for _, format := range []string{"mmd", "json", "txt"} {
		name := "testdata/golden." + format
		got := draw(t, text, format)
		if *update {
			if err := os.WriteFile(name, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if line, was, is := Difference(want, got); line > 0 {
			t.Errorf("%s:%d: got %q, want %q", name, line, is, was)
		}
		if bytes.Contains(got, []byte(canary)) || bytes.Contains(got, []byte("About")) {
			t.Errorf("%s has a value, or the scenario", name)
		}
	}
}

// Every line of the golden trace is understood but the one of an unknown kind.
func TestEntries(t *testing.T) {
	all := slices.Collect(Entries(write(t)))
	for _, e := range all {
		known := e.Kind == "marker" || e.Kind == "result" || e.Text == ""
		if !known && e.Kind != "kind-99" {
			t.Errorf("not understood: %v", e)
		}
	}
	find := func(line string) (e Entry) {
		for _, e := range all {
			if e.line == line {
				e.Line, e.line = 0, ""
				return e
			}
		}
		t.Errorf("no line %q", line)
		return e
	}
	for line, want := range map[string]Entry{
		"4 send 1 app3>keystored.0 Put 40 bytes sid=9 app=notes": {Boot: 1, Time: 4, Kind: "send", Call: 1, From: "app3", To: "keystored",
			At: "keystored.0", Op: "Put", Size: 40, SID: 9, App: "notes"},
		"7 refuse 0 app3>keystored.0 63 0 bytes slot=0 denied because=forged": {Boot: 1, Time: 7, Kind: "refuse", From: "app3",
			To: "keystored", At: "keystored.0", Op: "63", Slot: "0", Code: "denied", Why: "forged"},
		"3 session started by keystored sid=9 user=alice": {Boot: 1, Time: 3, Kind: "session", From: "keystored", Op: "started", SID: 9, User: "alice"},
		"3 token by keystored for app3 sid=9":             {Boot: 1, Time: 3, Kind: "token", From: "keystored", To: "app3", SID: 9},
		"5 fault at keystored.Get":                        {Boot: 1, Time: 5, Kind: "fault", To: "keystored", Op: "Get"},
		`marker "keystore: ready"`:                        {Boot: 1, Time: 9, Kind: "marker", From: "keystored", Text: "keystore: ready"},
		`result 5 strand="a b" get ok`:                    {Boot: 1, Time: 9, Kind: "result", From: "script a b", Text: "line 5 get", Code: "ok"},
		"2600 receive 3 keystored>app3.inbox6 2 12 bytes by app3 slot=4": {Boot: 2, Time: 2600, Kind: "receive", Call: 3, From: "keystored",
			To: "app3", At: "app3.inbox6", Op: "2", Size: 12, Slot: "4"},
		"2601 receive 0 by app3 slot=4 queue-empty": {Boot: 2, Time: 2601, Kind: "receive", To: "app3", Slot: "4", Code: "queue empty"},
		"2603 syscall app3 close-endpoint slot=4 at app3.inbox6 permission-denied": {Boot: 2, Time: 2603, Kind: "syscall", From: "app3",
			To: "app3", At: "app3.inbox6", Op: "close endpoint", Slot: "4", Code: "permission denied"},
		"2604 syscall app3 999 7 bytes ok": {Boot: 2, Time: 2604, Kind: "syscall", From: "app3", Op: "999", Size: 7, Code: "ok"},
		"9000 expire app3 at keystored.0 Put call=4": {Boot: 2, Time: 9000, Kind: "expire", Call: 4, From: "app3", To: "keystored",
			At: "keystored.0", Op: "Put"},
		"8 expire app3":                   {Boot: 1, Time: 8, Kind: "expire", From: "app3"},
		"9104 expire app3 at app3.inbox6": {Boot: 2, Time: 9104, Kind: "expire", From: "app3", To: "app3", At: "app3.inbox6"},
		"9102 cancel 7 app3>keystored.0 Put 0 bytes canceled": {Boot: 2, Time: 9102, Kind: "cancel", Call: 7, From: "app3", To: "keystored",
			At: "keystored.0", Op: "Put", Code: "canceled"},
		"9103 late 7 app3>keystored.0 Put 3 bytes not-found": {Boot: 2, Time: 9103, Kind: "late", Call: 7, From: "app3", To: "keystored",
			At: "keystored.0", Op: "Put", Size: 3, Code: "not found"},
	} {
		if got := find(line); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	}
}

// A marker of a service that the trace does not name is its service's by its
// beginning.
func TestMarkerWithoutMark(t *testing.T) {
	for text, who := range map[string]string{"keystore: x": "keystored", "identity: x": "identityd", "hello: x": "hello"} {
		if e := (&reader{}).marker(text); e.From != who {
			t.Errorf("%q is said by %q", text, e.From)
		}
	}
}

// many is a play with n calls.
func many(n int) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range n {
			if !yield(Entry{Line: i + 10, Kind: "send", From: "app" + fmt.Sprint(i), To: strings.Repeat("é", 2*maxNote), Op: strings.Repeat("é", 2*maxNote)}) {
				return
			}
		}
	}
}

// A diagram has as many lines as it may, is never longer than Mermaid reads,
// and says what is not there.
func TestMermaidIsBounded(t *testing.T) {
	for _, c := range []struct{ entries, limit, drawn int }{
		{4, 5, 4}, {5, 5, 5}, {6, 5, 5}, {9, 0, 9}, {5000, 1 << 20, -1}, {5000, 0, 5000},
	} {
		var b bytes.Buffer
		if err := Mermaid(&b, many(c.entries), c.limit); err != nil {
			t.Fatal(err)
		}
		drawn := strings.Count(b.String(), "->>")
		if c.drawn >= 0 && drawn != c.drawn || drawn == 0 {
			t.Errorf("%d entries, at most %d: %d are drawn", c.entries, c.limit, drawn)
		}
		note := fmt.Sprintf("%d more lines are left out, from line %d of the trace on\n", c.entries-drawn, drawn+10)
		if got := strings.HasSuffix(b.String(), note); got != (drawn < c.entries) {
			t.Errorf("%d entries, at most %d: the note is there: %v", c.entries, c.limit, got)
		}
		if c.limit > 0 && b.Len() > MaxDiagram {
			t.Errorf("a diagram of %d bytes", b.Len())
		}
	}
}

// mermaidLine is what a sequence diagram here has in its lines.
var mermaidLine = regexp.MustCompile(`^  (participant \w+|Note over \w+: [^#;]*|\w+(->>|-->>|-x|-\))\w+: [^#;]*)$`)

func checkMermaid(t *testing.T, text []byte) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if lines[0] != "sequenceDiagram" {
		t.Errorf("begins with %q", lines[0])
	}
	for _, line := range lines[1:] {
		if !mermaidLine.MatchString(line) {
			t.Errorf("no line of a sequence diagram: %q", line)
		}
	}
}

// chromeEvent is one event as a reader of the format sees it.
type chromeEvent struct {
	Name *string
	Ph   string
	Ts   *float64
	Dur  *float64
	Pid  *int
	Tid  *int
	ID   uint64
	Bp   string
	S    string
	Args map[string]any
}

func (e *chromeEvent) end() float64 { return *e.Ts + *e.Dur }

// checkChrome holds a file against the format: fields, nesting of slices,
// arrows from a slice to a slice, boots one after the other.
func checkChrome(t *testing.T, text []byte) []chromeEvent {
	t.Helper()
	var file struct{ TraceEvents []chromeEvent }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	on := make(map[int][]chromeEvent)
	begun, named, boots := make(map[uint64]chromeEvent), make(map[int]bool), make(map[int][2]float64)
	for _, e := range file.TraceEvents {
		if e.Name == nil || e.Ts == nil || e.Pid == nil || e.Tid == nil {
			t.Fatalf("a field is missing: %+v", e)
		}
		if e.Ph != "M" {
			b, ok := boots[*e.Pid]
			if !ok {
				b = [2]float64{*e.Ts, *e.Ts}
			}
			boots[*e.Pid] = [2]float64{min(b[0], *e.Ts), max(b[1], *e.Ts)}
			if !named[*e.Tid] {
				t.Errorf("thread %d has no name before %q", *e.Tid, *e.Name)
			}
		}
		switch e.Ph {
		case "M":
			named[*e.Tid] = named[*e.Tid] || *e.Name == "thread_name" && e.Args["name"] != ""
		case "X":
			if e.Dur == nil || *e.Dur < 0 {
				t.Errorf("a slice without a length: %+v", e)
			}
			on[*e.Tid] = append(on[*e.Tid], e)
		case "s":
			begun[e.ID] = e
		case "f":
			s, ok := begun[e.ID]
			if !ok || *s.Ts > *e.Ts || e.Bp != "e" || *s.Name != *e.Name {
				t.Errorf("an arrow without a beginning: %+v", e)
			}
			delete(begun, e.ID)
		case "i":
			if e.S != "t" {
				t.Errorf("a point without a scope: %+v", e)
			}
		default:
			t.Errorf("an event of another kind: %+v", e)
		}
	}
	if len(begun) > 0 {
		t.Errorf("arrows without an end: %v", begun)
	}
	checkSlices(t, file.TraceEvents, on)
	checkBoots(t, boots)
	return file.TraceEvents
}

func checkSlices(t *testing.T, all []chromeEvent, on map[int][]chromeEvent) {
	t.Helper()
	for tid, slicesOf := range on {
		slices.SortStableFunc(slicesOf, func(a, b chromeEvent) int { return cmp.Compare(*a.Ts, *b.Ts) })
		for i, e := range slicesOf[1:] {
			if before := slicesOf[i]; before.end() > *e.Ts+1e-6 {
				t.Errorf("slices overlap on thread %d: %v+%v and %v", tid, *before.Ts, *before.Dur, *e.Ts)
			}
		}
	}
	for _, e := range all {
		if e.Ph == "s" || e.Ph == "f" {
			if !slices.ContainsFunc(on[*e.Tid], func(s chromeEvent) bool { return *s.Ts == *e.Ts }) {
				t.Errorf("an arrow that touches no slice: %s at %v", e.Ph, *e.Ts)
			}
		}
	}
}

func checkBoots(t *testing.T, boots map[int][2]float64) {
	t.Helper()
	for a, x := range boots {
		for b, y := range boots {
			if a < b && x[1] >= y[0] {
				t.Errorf("boot %d ends at %v, and boot %d begins at %v", a, x[1], b, y[0])
			}
		}
	}
}

// What is drawn of the golden trace is well formed, and has what it should.
func TestFormats(t *testing.T) {
	text := write(t)
	checkMermaid(t, draw(t, text, "mmd"))
	events := checkChrome(t, draw(t, text, "json"))
	count := make(map[string]int)
	for _, e := range events {
		count[e.Ph]++
	}
	// Seven requests and messages have two ends in it but one that expired in its
	// queue and one that nobody received; the eighth is the first boot's.
	if count["s"] != 6 || count["f"] != 6 || count["X"] != 6*2+2 {
		t.Errorf("drawn are %v", count)
	}
	slice := func(name string, pid int) chromeEvent {
		for _, e := range events {
			if *e.Name == name && e.Ph == "X" && *e.Pid == pid {
				return e
			}
		}
		t.Fatalf("no slice %s", name)
		return chromeEvent{}
	}
	get := slice("Get", 2)
	if get.Args["answer_bytes"] != 30.0 || get.Args["bytes"] != 40.0 || get.Args["code"] != "ok" || get.Args["call"] != 1.0 || get.Args["app"] != "notes" {
		t.Errorf("the served get has %v", get.Args)
	}
	if d := slice("keystored.Get", 2); *d.Dur < 1.4 || *d.Dur > 1.6 {
		t.Errorf("1,498 ns are %v µs", *d.Dur)
	}
	if p := slice("Put", 2); p.Args["code"] != "denied" || *p.Tid == *get.Tid {
		t.Errorf("the put side by side with it: %+v", p)
	}
}

// A file that begins in the middle of things is drawn as well.
func TestMiddle(t *testing.T) {
	text := write(t)
	all := slices.Collect(Entries(text))
	for i := range all {
		var mmd, chrome bytes.Buffer
		if err := Mermaid(&mmd, slices.Values(all[i:]), 10); err != nil {
			t.Fatal(err)
		}
		if err := Chrome(&chrome, Header{}, slices.Values(all[i:])); err != nil {
			t.Fatal(err)
		}
		checkMermaid(t, mmd.Bytes())
		checkChrome(t, chrome.Bytes())
	}
}

// Whatever does not take a drawing is an error.
func TestDrawingFails(t *testing.T) {
	text := write(t)
	for name, err := range map[string]error{
		"mermaid": Mermaid(full{}, Entries(text), 0), "chrome": Chrome(full{}, Header{}, Entries(text)), "text": Text(full{}, Entries(text)),
	} {
		if err == nil {
			t.Errorf("%s: it was not written, and that is no error", name)
		}
	}
}

// An event of each kind that might come, with each field set, has a line that is
// drawn.
func TestEveryKind(t *testing.T) {
	names := NewNames()
	for kind := range 256 {
		line := names.Text(ipc.TraceEvent{Time: 5, Kind: ipc.EventKind(kind), From: 2, To: 3, Endpoint: 4, Call: 6, Op: 7, Size: 8, SID: 9, Slot: 1, Code: 3, Refusal: 2, Name: "n"})
		e := (&reader{boot: 1}).entry(line)
		if e.Kind == "" || e.Time != 5 {
			t.Errorf("kind %d: %q is %+v", kind, line, e)
		}
	}
}

// sealed makes a whole trace of any events.
func sealed(events string) []byte {
	head := "nexus-trace 1\nbuild: b\nseed: 1\nscenario: \"s\"\nevents:\n" + events + "\nend: boots=1 outcome=\"ok\"\n"
	return fmt.Appendf(nil, "%ssum: %x\n", head, sha256.Sum256([]byte(head)))
}

// FuzzDraw: whatever the events of a trace say, drawing them panics never and
// comes to something well formed.
func FuzzDraw(f *testing.F) {
	good, err := os.ReadFile(golden)
	if err != nil {
		f.Fatal(err)
	}
	_, events, _ := strings.Cut(string(good), eventsHeading+"\n")
	f.Add(events)
	f.Add("1 task 1 init\n18446744073709551615 send 1 a>b.0 x 1 bytes\n2 task 1 init\n3 deliver 1 a>b.0 x 1 bytes\n4 reply 1 a>b.0 x 1 bytes ok")
	f.Add("result 1 strand=\"\\n\" get ok \"x\"\nmarker \"end\nmarker \"#;\"\n1 send\n1 fault x\n1\n\n1 receive 1 by\n1 send 1 >. x 1 bytes")
	f.Fuzz(func(t *testing.T, events string) {
		text := sealed(events)
		if _, err := Read(text); err != nil {
			t.Fatal(err)
		}
		checkMermaid(t, draw(t, text, "mmd"))
		checkChrome(t, draw(t, text, "json"))
		draw(t, text, "txt")
	})
}
