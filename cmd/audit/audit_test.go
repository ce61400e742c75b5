package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/policyd"
)

// samples are records of every shape.
func samples() []Record {
	denials := []ipc.Denial{
		{ID: ipc.AuditID{Boot: 3, Serial: 1}, Time: 5, Stage: ipc.StageSend, Cause: ipc.CauseNoRight, Code: ipc.PermissionDenied,
			Task: 9, Name: "app", Slot: 0, Kind: capability.KindEndpoint, Rights: capability.Recv, Missing: capability.Send, Op: 2},
		{ID: ipc.AuditID{Boot: 3, Serial: 2}, Time: 6, Stage: ipc.StageSend, Cause: ipc.CauseToken, Code: ipc.Denied, Refusal: capability.RefusedForged,
			Field: capability.FieldSID, Task: 9, Name: "app", Slot: 1, Kind: capability.KindEndpoint, Rights: capability.Send,
			Endpoint: 8, Owner: "keystored", Op: 2, Needed: capability.Get, Held: capability.Get, SID: 7, TokenEpoch: 1},
		{ID: ipc.AuditID{Boot: 3, Serial: 3}, Time: 7, Stage: ipc.StageVoid, Cause: ipc.CauseToken, Code: ipc.Denied, Refusal: capability.RefusedStale,
			Field: capability.FieldEpoch, Call: 4, Task: 9, Name: "app", Slot: ipc.NoSlot, Endpoint: 8, Owner: "keystored", Facet: 1, Op: 63,
			Genuine: true, Needed: capability.Get, Held: capability.AllTokenRights, SID: 3<<32 | 1, TokenEpoch: 1, SessionEpoch: 2,
			App: ipc.Digest{1}, User: ipc.Digest{2}},
		{ID: ipc.AuditID{Boot: 3, Serial: 4}, Time: 8, Stage: ipc.StageSend, Cause: ipc.CauseToken, Code: ipc.Denied, Refusal: capability.RefusedMissing,
			Task: 9, Name: "app", Slot: 1, Endpoint: 8, Owner: "keystored", Op: 2, Needed: capability.Get},
	}
	decision := policyd.Record{Boot: 3, Serial: 1, TimestampNS: 9, Subject: "notes", Action: "keychain.put", Target: "00ff", Reason: policyd.ReasonNotInRule}
	all := []Record{OfDecision(&decision)}
	for i := range denials {
		all = append(all, OfDenial(&denials[i]))
	}
	return all
}

func TestWords(t *testing.T) {
	want := []string{
		`p3-1: policyd denied notes to do keychain.put. Reason: not in rule, the subject's rule does not have the action. Target: 00ff.`,
		`k3-1: task 9 (app) asked for operation 2 and was told "permission denied", when it was sent. Reason: right missing, the capability lacks a right. Slot 0: endpoint with RECV. Missing right: SEND.`,
		`k3-2: task 9 (app) asked for keystored.0 Get (endpoint 8) and was told "denied", when it was sent. Reason: forged, the seal is not this boot's. Slot 1: endpoint with SEND. Token field: sid. Rights needed: get; the token claims get, sid 7, epoch 1.`,
		`k3-3: task 9 (app) asked for keystored.1 63 (endpoint 8) and was told "denied", because its token died while it was on its way or being served. Reason: stale, the session has a later epoch than the token. Token field: epoch. Rights needed: get; the token has put|get|del|list|generate|sign|wrap|seal, sid 12884901889, epoch 1. The session's epoch: 2. App: 01000000000000000000000000000000. User: 02000000000000000000000000000000.`,
		`k3-4: task 9 (app) asked for keystored.0 Get (endpoint 8) and was told "denied", when it was sent. Reason: missing, no token was given. Slot 1: empty. Rights needed: get.`,
	}
	for i, r := range samples() {
		if got := r.Words(); got != want[i] {
			t.Errorf("in words:\n%s\nwant\n%s", got, want[i])
		}
	}
	syscall := OfDenial(&ipc.Denial{ID: ipc.AuditID{Boot: 3, Serial: 5}, Stage: ipc.StageSyscall, Syscall: ipc.SyscallReceive, Cause: ipc.CauseNoRight,
		Code: ipc.PermissionDenied, Task: 9, Name: "app", Slot: 4, Kind: capability.KindEndpoint, Rights: capability.Send, Missing: capability.Recv,
		Endpoint: 12, Owner: "app", Facet: 1})
	if got := syscall.Words(); got != `k3-5: task 9 (app) asked for system call receive at app.1 (endpoint 12) and was told "permission denied", by the system call. Reason: right missing, the capability lacks a right. Slot 4: endpoint with SEND. Missing right: RECV.` {
		t.Errorf("in words:\n%s", got)
	}
	r := samples()[2]
	if got := r.Text(); got != "k3-2 app keystored.0 Get: forged" {
		t.Errorf("in short: %q", got)
	}
}

// TestReasonsHaveAMeaning: every reason that there can be is explained.
func TestReasonsHaveAMeaning(t *testing.T) {
	n := 0
	each := func(what func(i int) fmt.Stringer, from int) {
		for i := from; what(i).String() != "unknown"; i++ {
			n++
			if reasons[what(i).String()] == "" {
				t.Errorf("%q means nothing", what(i))
			}
		}
	}
	each(func(i int) fmt.Stringer { return capability.Refusal(i) }, int(capability.RefusedMissing))
	each(func(i int) fmt.Stringer { return ipc.Cause(i) }, int(ipc.CauseSlotRange))
	each(func(i int) fmt.Stringer { return policyd.Reason(i) }, 0)
	if n != len(reasons) {
		t.Errorf("there are %d reasons and %d meanings", n, len(reasons))
	}
	for s := ipc.StageSend; s.String() != "unknown"; s++ {
		if stages[s.String()] == "" {
			t.Errorf("stage %v means nothing", s)
		}
	}
}

func TestFind(t *testing.T) {
	var file bytes.Buffer
	w := NewWriter(&file)
	for _, r := range samples() {
		w.write(r)
	}
	if err := w.Err(); err != nil {
		t.Fatal(err)
	}
	whole := file.String()
	for _, want := range samples() {
		if got, err := Find(strings.NewReader(whole), want.ID); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v", want.ID, got, err)
		}
	}
	newer := strings.Replace(strings.SplitAfter(whole, "\n")[1], `"task":9`, `"task":10`, 1)
	if got, err := Find(strings.NewReader(whole+newer), "k3-1"); err != nil || got.Denial.Task != 10 {
		t.Errorf("the newer one of two: %+v, %v", got, err)
	}
	for text, want := range map[string]error{
		"": ErrUnknown, whole: ErrUnknown, whole + `{"id":"k3-9","ti`: ErrUnknown,
		whole + "\n": ErrRecord, "garbage\n" + whole: ErrRecord, whole + `{"id":"k3-9","ti` + "\n": ErrRecord,
		strings.Repeat(" ", MaxLine) + whole: ErrRecord,
	} {
		if _, err := Find(strings.NewReader(text), "k3-9"); !errors.Is(err, want) {
			t.Errorf("%.20q…: %v, want %v", text, err, want)
		}
	}
}

// TestLineLimit is at the limit and one byte beyond it.
func TestLineLimit(t *testing.T) {
	for n := MaxLine - 1; n <= MaxLine+1; n++ {
		r := samples()[0]
		line, err := r.line()
		if err != nil {
			t.Fatal(err)
		}
		padded := strings.Repeat(" ", n-len(line)) + string(line)
		if _, err := Find(strings.NewReader(padded), r.ID); (err == nil) != (n <= MaxLine) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		``, `{}`, `[]`, `null`, `{"id":"k1-1"}`, `{"id":"p1-1","denial":{}}`, `{"id":"k1-1","decision":{}}`, `{"id":"k1-1","denial":{},"decision":{}}`,
		`{"id":"x1-1","denial":{}}`, `{"id":"k01-1","denial":{}}`, `{"id":"","denial":{}}`, `{"id":"k1-1","denial":{"task":-1}}`, `{"id":"k1-1","denial":{}} {}`,
	} {
		if r, err := Parse([]byte(line)); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %+v, %v", line, r, err)
		}
	}
}

type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.ErrShortWrite
	}
	d.left--
	return len(p), nil
}

func TestWriterKeepsItsFirstError(t *testing.T) {
	d := &fullDisk{left: 1}
	w := NewWriter(d)
	for i, want := range []error{nil, io.ErrShortWrite, io.ErrShortWrite} {
		w.Decided(policyd.Record{Boot: 1, Serial: uint64(i + 1)})
		if err := w.Err(); !errors.Is(err, want) {
			t.Errorf("record %d: %v, want %v", i+1, err, want)
		}
		d.left *= 2
	}
}

// FuzzFind: no file is too strange, and what is read as a record is written as
// one that reads the same.
func FuzzFind(f *testing.F) {
	var file []byte
	for _, r := range samples() {
		line, err := r.line()
		if err != nil {
			f.Fatal(err)
		}
		file = append(file, line...)
		f.Add(line, r.ID)
	}
	f.Add(file, "k3-3")
	f.Add(file[:len(file)-9], "k3-4")
	f.Fuzz(func(t *testing.T, file []byte, id string) {
		r, err := Find(bytes.NewReader(file), id)
		if err != nil {
			if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrRecord) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		if r.ID != id || !IsID(id) || r.Words() == "" || r.Text() == "" {
			t.Errorf("found %+v for %q", r, id)
		}
		line, err := r.line()
		if err != nil {
			t.Fatal(err)
		}
		if len(line) > MaxLine {
			return // Spaces were saved, but characters written as escapes.
		}
		again, err := Parse(line)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v is written as %s, which is %+v, %v", r, line, again, err)
		}
	})
}
