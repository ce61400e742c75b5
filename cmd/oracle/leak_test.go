package oracle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// frames of store requests, and of what they are answered with.
const (
	putFrame = "0a0161120131" // name a, value 1
	getFrame = "0a0161"
)

// Frames of an app's own making count as what they are.
func TestFramesAreOperations(t *testing.T) {
	for _, c := range []struct {
		name, check string
		tell        func(*tale)
	}{
		{"a frame puts, gets and deletes", "", func(t *tale) {
			t.frame("store Put "+putFrame, "", nil)
			t.does("get alice/notes a", `"1"`, nil)
			t.frame("store 2 "+getFrame, "0a0131", nil)
			t.frame("store Delete "+getFrame+" own", "", nil)
			t.does("get alice/notes a", "", ipc.NotFound)
		}},
		{"what a frame put is gone", "durable", func(t *tale) {
			t.frame("store Put "+putFrame, "", nil)
			t.does("boot", "", nil)
			t.does("get alice/notes a", "", ipc.NotFound)
		}},
		{"a frame's put has no marker", "marker", func(t *tale) {
			t.End(t.begin("send alice/notes store Put "+putFrame), "", nil)
		}},
		{"a frame reads another value", "linearizable", func(t *tale) {
			t.frame("store Put "+putFrame, "", nil)
			t.frame("store Get "+getFrame, "0a0132", nil)
		}},
		{"a frame reads in a locked session", "epoch", func(t *tale) {
			t.does("lock alice", "", nil)
			t.frame("store Get "+getFrame, "", ipc.NotFound)
		}},
		{"frames make a key and need one", "", func(t *tale) {
			t.frame("keys GenerateKey "+getFrame, "00", nil)
			t.frame("keys PublicKey "+getFrame, "00", nil)
			t.frame("keys Sign "+getFrame, "00", nil)
			t.does("keys alice/notes", "a", nil)
			t.frame("keys ListKeys -", "0a0161", nil)
			t.frame("keys DeleteKey "+getFrame, "", nil)
			t.frame("keys PublicKey "+getFrame, "", ipc.NotFound)
		}},
		{"a frame makes a key that is there", "linearizable", func(t *tale) {
			t.frame("keys GenerateKey "+getFrame, "00", nil)
			t.does("generate alice/notes a", "00", nil)
		}},
		{"a frame lists", "", func(t *tale) {
			t.frame("store Put "+putFrame, "", nil)
			t.frame("store List -", "0a0161", nil)
		}},
		{"a frame lists a name that there is not", "linearizable", func(t *tale) {
			t.frame("store List -", "0a0161", nil)
		}},
		{"of a long list a frame shows a part", "", func(t *tale) {
			t.frame("store List -", "0a01621001", nil)
		}},
		{"a list from a name on says nothing of all", "", func(t *tale) {
			t.frame("store List "+getFrame, "0a0162", nil)
		}},
		{"bytes that are nothing do nothing", "", func(t *tale) {
			t.frame("store Put ff", "", ipc.Malformed)
			t.frame("store 77 "+putFrame, "", ipc.Unsupported)
			t.frame("9 1 "+putFrame, "", ipc.PermissionDenied)
			t.does("get alice/notes a", "", ipc.NotFound)
		}},
		{"a forged token gets a frame judged", "token", func(t *tale) {
			t.does("send alice/notes store Get ff flip:3", "", ipc.Malformed)
		}},
		{"the token of an app's own gets a frame judged", "", func(t *tale) {
			t.does("send alice/notes store Get ff of:alice/notes", "", ipc.Malformed)
		}},
		{"a forged token finds a quota full", "token", func(t *tale) {
			t.does("send alice/notes store Put "+putFrame+" of:alice/mail", "", ipc.Quota)
		}},
	} {
		o := newTale(vault.Limits{})
		c.tell(o)
		err := o.Verdict()
		var v *Violation
		if c.check == "" && err != nil || c.check != "" && (!errors.As(err, &v) || v.Check != c.check) {
			t.Errorf("%s: %v, want %q", c.name, err, c.check)
		}
	}
}

// frame tells of a frame of alice/notes; a put that succeeds shows its marker.
// A dash stands for no bytes.
func (t *tale) frame(call, text string, err error) {
	words := strings.Fields("send alice/notes " + call)
	if words[4] == "-" {
		words[4] = ""
	}
	n := t.Begin(words, words[:1])
	t.next++
	t.Event(ipc.TraceEvent{Kind: ipc.TraceSend, SID: 1, Call: t.next, To: 7, Name: "notes"})
	if words[3] == "Put" && err == nil {
		t.put("alice/notes", "a")
	}
	t.End(n, text, err)
}

// A value or a name of an app in anything that another one is shown, or a value
// on the console, is a violation; what the other one has said itself is none.
func TestLeaks(t *testing.T) {
	const value, name = "the-value-of-alice", "the-name-of-alice"
	hexed := func(text string) string { return hex.EncodeToString([]byte("\x0a" + text)) }
	for _, c := range []struct {
		name  string
		leaks bool
		tell  func(*tale)
	}{
		{"nothing", false, func(t *tale) { t.does("get alice/mail x", "", ipc.NotFound) }},
		{"its own", false, func(t *tale) {
			t.does("get alice/notes "+name, `"`+value+`"`, nil)
			t.does("list alice/notes", name, nil)
		}},
		{"the name in a list", true, func(t *tale) { t.does("list alice/mail", "a "+name, nil) }},
		{"the name in another user's list", true, func(t *tale) { t.does("list bob/notes", name, nil) }},
		{"the name in a list of who has said it", false, func(t *tale) {
			t.does("put alice/mail "+name+" 1", "", nil)
			t.does("list alice/mail", name, nil)
		}},
		{"the name in a list of who has said it in a frame", false, func(t *tale) {
			t.does("send alice/mail store Get "+hexed(name), "", ipc.Malformed)
			t.does("send alice/mail store 9 00", hexed(name), nil)
		}},
		{"the value in a frame", true, func(t *tale) { t.does("send alice/mail store 9 00", hexed(value), nil) }},
		{"the value in an error", true, func(t *tale) {
			t.does("del alice/mail x", "", fmt.Errorf("%w: %s", ipc.NotFound, value))
		}},
		{"the name in an error's body", true, func(t *tale) {
			t.does("send alice/mail store 9 00", "", &script.Refused{Err: ipc.IOError, Body: []byte(name)})
		}},
		{"the value where no app asks", true, func(t *tale) { t.does("users", "alice "+value, nil) }},
		{"the value in a marker", true, func(t *tale) { t.Marker("identity: " + value) }},
		{"the name in a marker", false, func(t *tale) { t.Marker("identity: " + name) }},
		{"a value that is a name as well in a marker", false, func(t *tale) {
			t.does("put alice/mail "+value+" 1", "", nil)
		}},
	} {
		o := newTale(vault.Limits{})
		o.does("put alice/notes "+name+" "+value, "", nil)
		c.tell(o)
		var v *Violation
		switch err := o.Verdict(); {
		case !c.leaks && errors.As(err, &v) && v.Check == "isolation":
			t.Errorf("%s: %v", c.name, err)
		case c.leaks && (!errors.As(err, &v) || v.Check != "isolation"):
			t.Errorf("%s: %v", c.name, err)
		case c.leaks && (strings.Contains(err.Error(), value) || strings.Contains(err.Error(), name)):
			t.Errorf("%s: the violation tells it: %v", c.name, err)
		}
	}
}

// What is a byte shorter than telling is not looked for.
func TestTelling(t *testing.T) {
	for n, leaks := range map[int]bool{telling - 1: false, telling: true, telling + 1: true} {
		o := newTale(vault.Limits{})
		value := strings.Repeat("v", n)
		o.does("put alice/notes a "+value, "", nil)
		o.does("send bob/notes store 9 00", hex.EncodeToString([]byte(value)), nil)
		if err := o.Verdict(); (err != nil) != leaks {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// FuzzFrame: whatever bytes an app sends and is answered with, the oracle says
// nothing of it but what it would of the same command in words.
func FuzzFrame(f *testing.F) {
	f.Add(uint8(wire.OpPut), "\n\x01a\x12\x011", "")
	f.Add(uint8(wire.OpGet), "\n\x01a", "\n\x011")
	f.Add(uint8(wire.OpList), "", "\n\x01a\x10\x01")
	f.Add(uint8(wire.OpListKeys), "", "\n\x01a\n\x01b")
	f.Add(uint8(wire.OpSign), "\n\x01a\x12\x01m", "\n\x01s")
	f.Fuzz(func(t *testing.T, code uint8, body, reply string) {
		for door := range doors {
			s := &step{words: []string{"send", "alice/notes", door, fmt.Sprint(code), hex.EncodeToString([]byte(body))}, app: "notes"}
			op := s.operation()
			if op == nil {
				continue
			}
			if !op.raw || op.app != "notes" || !strings.Contains(body, op.name) || !strings.Contains(body, op.value) {
				t.Errorf("%q to %s is %+v", body, door, op)
			}
			asked := *op
			op.read(hex.EncodeToString([]byte(reply)))
			for _, name := range op.names {
				if !strings.Contains(reply, name) {
					t.Errorf("%q is read as %q", reply, name)
				}
			}
			if op.name != asked.name || op.kind != opGet && op.value != asked.value {
				t.Errorf("an answer to %+v makes it %+v", asked, op)
			}
		}
	})
}
