package trace

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
)

// golden is a trace with every kind of event: the vector of docs/spec/trace.md.
const golden = "testdata/golden.trace"

// canary is a secret's value, which a verb found out.
const canary = "a value that nobody draws"

// secondBoot has messages to inboxes, requests side by side, and calls that
// nothing came of.
var secondBoot = []ipc.TraceEvent{
	{Time: 1, Kind: ipc.TraceTask, From: 1, Name: "init"},
	{Time: 1, Kind: ipc.TraceTask, From: 2, Name: "keystored"},
	{Time: 1, Kind: ipc.TraceTask, From: 3, Name: "app"},
	{Time: 1, Kind: ipc.TraceEndpoint, From: 1, To: 2, Endpoint: 5},
	{Time: 1, Kind: ipc.TraceEndpoint, From: 3, To: 3, Endpoint: 6, Name: "inbox"},
	{Time: 2, Kind: ipc.TraceSend, Call: 1, From: 3, To: 2, Endpoint: 5, Op: 2, Size: 40, SID: 9, Name: "notes"},
	{Time: 2, Kind: ipc.TraceSend, Call: 2, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 50, SID: 9, Name: "notes"},
	{Time: 3, Kind: ipc.TraceDeliver, Call: 1, From: 3, To: 2, Endpoint: 5, Op: 2, Size: 40, SID: 9, Name: "notes"},
	{Time: 3, Kind: ipc.TraceDeliver, Call: 2, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 50, SID: 9, Name: "notes"},
	{Time: 1500, Kind: ipc.TraceReply, Call: 1, From: 3, To: 2, Endpoint: 5, Op: 2, Size: 30, SID: 9, Name: "notes"},
	{Time: 1501, Kind: ipc.TraceRefuse, Call: 2, From: 3, To: 2, Endpoint: 5, Op: 1, SID: 9, Name: "notes", Code: ipc.Denied, Refusal: capability.RefusedStale},
	{Time: 1501, Kind: ipc.TraceReply, Call: 2, From: 3, To: 2, Endpoint: 5, Op: 1, SID: 9, Name: "notes", Code: ipc.Denied},
	{Time: 2000, Kind: ipc.TraceSend, Call: 3, From: 2, To: 3, Endpoint: 6, Op: 2, Size: 12},
	{Time: 2600, Kind: ipc.TraceReceive, Call: 3, From: 2, To: 3, Endpoint: 6, Op: 2, Size: 12, Slot: 4},
	{Time: 2601, Kind: ipc.TraceReceive, To: 3, Slot: 4, Code: ipc.QueueEmpty},
	{Time: 2602, Kind: ipc.TraceSyscall, From: 3, Op: ipc.SyscallClone, Slot: 4},
	{Time: 2603, Kind: ipc.TraceSyscall, From: 3, To: 3, Endpoint: 6, Op: ipc.SyscallCloseEndpoint, Slot: 4, Code: ipc.PermissionDenied},
	{Time: 2604, Kind: ipc.TraceSyscall, From: 3, Op: 999, Slot: ipc.NoSlot, Size: 7},
	{Time: 2605, Kind: 99, From: 3, Size: 7},
	{Time: 3000, Kind: ipc.TraceSend, Call: 4, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 40},
	{Time: 3000, Kind: ipc.TraceSend, Call: 5, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 40},
	{Time: 3001, Kind: ipc.TraceDeliver, Call: 5, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 40},
	{Time: 9000, Kind: ipc.TraceExpire, Call: 4, From: 3, To: 2, Endpoint: 5, Op: 1, Code: ipc.TimedOut},
	{Time: 9001, Kind: ipc.TraceSend, Call: 6, From: 2, To: 3, Endpoint: 6, Op: 2, Size: 12},
	{Time: 9100, Kind: ipc.TraceSend, Call: 7, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 40},
	{Time: 9101, Kind: ipc.TraceDeliver, Call: 7, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 40},
	{Time: 9102, Kind: ipc.TraceCancel, Call: 7, From: 3, To: 2, Endpoint: 5, Op: 1, Code: ipc.Canceled},
	{Time: 9103, Kind: ipc.TraceLate, Call: 7, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 3, Code: ipc.NotFound},
	{Time: 9104, Kind: ipc.TraceExpire, From: 3, To: 3, Endpoint: 6, Slot: 4, Code: ipc.TimedOut},
}

func write(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, Header{Build: "0123abc", Seed: 7, Scenario: "a \"name\".txtar", Text: []byte("# About.\n-- script --\nboot\n")})
	for _, e := range []ipc.TraceEvent{
		{Time: 1, Kind: ipc.TraceTask, From: 1, Name: "init"},
		{Time: 1, Kind: ipc.TraceTask, From: 2, Name: "keystored"},
		{Time: 1, Kind: ipc.TraceTask, From: 3, Name: "app"},
		{Time: 1, Kind: ipc.TraceEndpoint, From: 1, To: 2, Endpoint: 5, Op: 0},
		{Time: 2, Kind: ipc.TraceStart, From: 2},
		{Time: 2, Kind: ipc.TraceMark, From: 2, Size: 16},
		{Time: 3, Kind: ipc.TraceSession, From: 2, SID: 9, Op: ipc.SessionStarted, Name: "alice"},
		{Time: 3, Kind: ipc.TraceToken, From: 2, To: 3, SID: 9},
		{Time: 4, Kind: ipc.TraceSend, Call: 1, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 40, SID: 9, Name: "notes"},
		{Time: 4, Kind: ipc.TraceDeliver, Call: 1, From: 3, To: 2, Endpoint: 5, Op: 1, Size: 40, SID: 9, Name: "notes"},
		{Time: 5, Kind: ipc.TraceOffload, From: 2},
		{Time: 5, Kind: ipc.TraceFault, To: 2, Endpoint: 5, Op: 2},
		{Time: 6, Kind: ipc.TraceReply, Call: 1, From: 3, To: 2, Endpoint: 5, Op: 1, SID: 9, Name: "notes", Code: ipc.NotFound},
		{Time: 7, Kind: ipc.TraceRefuse, From: 3, To: 2, Endpoint: 5, Op: 63, Code: ipc.Denied, Refusal: capability.RefusedForged},
		{Time: 8, Kind: ipc.TraceExpire, From: 3, Code: ipc.TimedOut},
		{Time: 9, Kind: ipc.TraceCrash, From: 2},
		{Time: 9, Kind: ipc.TraceSession, SID: 9, Op: ipc.SessionSealed, Name: "alice"},
		{Time: 9, Kind: ipc.TraceExit, From: 3},
	} {
		w.Event(e)
	}
	w.Marker("keystore: ready")
	w.Result(script.Result{Line: 3, Verb: "boot", Text: "boot 1"})
	w.Result(script.Result{Line: 4, Strand: "a b", Verb: "get", Err: ipc.Denied})
	w.Result(script.Result{Line: 5, Strand: "a b", Verb: "get", Text: canary})
	for _, e := range secondBoot {
		w.Event(e)
	}
	if err := w.Close(End{Boots: 2, Steps: 12, Virtual: 9010, Err: errors.New("as it had to")}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is written is the golden trace, byte for byte, and what is read is what
// was written.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got := write(t)
	if line, was, is := Difference(want, got); line > 0 {
		t.Fatalf("%s:%d: got %q, want %q", golden, line, is, was)
	}
	h, err := Read(got)
	if err != nil {
		t.Fatal(err)
	}
	if h.Build != "0123abc" || h.Seed != 7 || h.Scenario != `a "name".txtar` || string(h.Text) != "# About.\n-- script --\nboot\n" {
		t.Errorf("read %+v", h)
	}
	if !Is(got) || Is([]byte("# a scenario")) {
		t.Error("a trace is not told from something else")
	}
}

// Every damaged byte is found; another version is refused by its name.
func TestBadTraces(t *testing.T) {
	good := write(t)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := Read(bad); err == nil {
			t.Fatalf("a wrong byte at %d is not found", i)
		}
	}
	for i := range good {
		if _, err := Read(good[:i]); err == nil {
			t.Fatalf("%d bytes of it are taken for a trace", i)
		}
	}
	for text, want := range map[string]error{
		"": ErrNotTrace, "boot\n": ErrNotTrace, "nexus-trace 2\n": ErrVersion, "nexus-trace 1": ErrDamaged,
	} {
		if _, err := Read([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	_, err := Read([]byte("nexus-trace 7\n"))
	if err == nil || !strings.Contains(err.Error(), "version 7") || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("the refusal says %v", err)
	}
}

func TestDifference(t *testing.T) {
	for _, c := range []struct {
		a, b string
		line int
	}{{"x\ny\n", "x\ny\n", 0}, {"x\ny\n", "x\nz\n", 2}, {"x\n", "x\ny\n", 2}, {"", "x", 1}} {
		if line, _, _ := Difference([]byte(c.a), []byte(c.b)); line != c.line {
			t.Errorf("%q and %q differ in line %d, want %d", c.a, c.b, line, c.line)
		}
	}
}

// A trace of a run without a seed says so, and has no seed and no digest of a
// disk.
func TestLive(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, Header{Build: "0123abc", Live: true, Scenario: "s", Text: []byte("boot\n")})
	if err := w.Close(End{Boots: 1}); err != nil {
		t.Fatal(err)
	}
	w.Marker("too late")
	h, err := Read(b.Bytes())
	if err != nil || !h.Live || h.Seed != 0 || string(h.Text) != "boot\n" {
		t.Errorf("read %+v, %v", h, err)
	}
	if !strings.Contains(b.String(), "seed: none\n") || !strings.Contains(b.String(), "\nend: boots=1 outcome=\"ok\"\nsum: ") {
		t.Errorf("written:\n%s", b.String())
	}
	if h, err := Read(write(t)); err != nil || h.Live {
		t.Errorf("one by seed: %+v, %v", h, err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriterFails(t *testing.T) {
	if err := NewWriter(full{}, Header{}).Close(End{}); err == nil {
		t.Error("a trace that was not written is no error")
	}
}

// A timeline has what comes after the line that says so, and no value.
func TestTimeline(t *testing.T) {
	line := NewTimeline(true)
	line.Event(ipc.TraceEvent{Kind: ipc.TraceTask, From: 1, Name: "init"})
	line.Event(ipc.TraceEvent{Kind: ipc.TraceTask, From: 2, Name: "keystored"})
	line.Event(ipc.TraceEvent{Kind: ipc.TraceTask, From: 3, Name: "app"})
	line.Event(ipc.TraceEvent{Kind: ipc.TraceSend, From: 3, To: 2, Op: 2})
	line.Marker("keystore: ready")
	line.Result(script.Result{Verb: "say", Text: TimelineFrom})
	line.Event(ipc.TraceEvent{Kind: ipc.TraceSend, From: 3, To: 2, Op: 1})
	line.Event(ipc.TraceEvent{Kind: ipc.TraceReply, From: 3, To: 2, Op: 1, Code: ipc.Quota})
	line.Event(ipc.TraceEvent{Kind: ipc.TraceRefuse, From: 3, Op: 1, Code: ipc.PermissionDenied})
	line.Marker("identity: session lock (sid=1)")
	line.Result(script.Result{Verb: "put", Args: []string{"alice/notes", "a;b\n\r#c"}, Err: ipc.Quota})
	want := `sequenceDiagram
  participant app3
  participant keystored
  participant kernel
  participant identityd
  participant script
  app3->>keystored: Put
  keystored-->>app3: Put quota exceeded
  app3-xkernel: 1 permission denied
  Note over identityd: identity: session lock (sid=1)
  Note over script: put alice/notes a,b...c: quota
`
	if got := line.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// FuzzRead: whatever a file has in it, reading it panics never, and what passes
// for a trace is one that a writer could have begun.
func FuzzRead(f *testing.F) {
	good, err := os.ReadFile(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("nexus-trace 1\nevents:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := Read(text)
		if err != nil {
			return
		}
		if !Is(text) {
			t.Error("it is read, and is no trace")
		}
		var again bytes.Buffer
		if err := NewWriter(&again, h).Close(End{}); err != nil {
			t.Error(err)
		}
		if same, err := Read(again.Bytes()); err != nil || same.Seed != h.Seed || same.Live != h.Live || same.Scenario != h.Scenario {
			t.Errorf("what was read cannot be written: %v, %+v, %+v", err, h, same)
		}
	})
}
