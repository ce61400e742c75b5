package ipc_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestMark prints what a marker is meant to look like.
func TestMark(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		task := r.Task(ipc.TaskSpec{Name: "keystored", Marks: []string{"keystore:", "vault:"}})
		task.Mark("keystore: ready")
		task.Mark("keystore: put", ipc.F("app", "notes"), ipc.F("key", "mail/password"))
		task.Mark("vault: opened", ipc.F("user", ""))
		if got := fmt.Sprintf("%q", r.Console()); got != `["keystore: ready" "keystore: put (app=notes, key=mail/password)" "vault: opened (user=)"]` {
			t.Errorf("printed %s", got)
		}
		if n := r.Kernel.Stats().Muted; n != 0 {
			t.Errorf("%d markers were muted", n)
		}
	})
}

// TestMarkOfOthers: a task prints only what begins as its own markers do.
func TestMarkOfOthers(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	app := r.Task(ipc.TaskSpec{Name: "app"})
	service := r.Task(ipc.TaskSpec{Name: "desk", Marks: []string{"desk:"}})
	forged := []string{"", "desk", "keystore: put (app=notes, key=x)", "\nkeystore: ready", " desk: ready", "DESK: ready", "keystore: \ndesk: ready"}
	for _, text := range forged {
		app.Mark(text, ipc.F("app", "notes"))
		service.Mark(text)
	}
	app.Mark("desk: ready")
	if got := r.Console(); len(got) != 1 || got[0] != "" {
		t.Errorf("printed %q", got)
	}
	if n := r.Kernel.Stats().Muted; n != uint64(2*len(forged)+1) {
		t.Errorf("%d markers were muted, of %d", n, 2*len(forged)+1)
	}
}

// TestMarkAfterExit: a task that has exited prints nothing, not even a handler
// that was parked when its task exited and runs out.
func TestMarkAfterExit(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		ran := false
		w := newWorld(t, r, plan{task: func(ctx context.Context, d *desk, _ *ipc.Request) {
			d.task.Mark("desk: parks")
			_ = d.gate.Wait(ctx, d.task) // It ends with the task.
			d.task.Mark("desk: runs out")
			ran = true
		}})
		c := w.app("app")
		_, done := c.begin(ipc.Msg{Op: opTask})
		c.do(func(ctx context.Context) {
			for r.Console()[0] == "" {
				settle(ctx, c.task)
			}
		})
		r.Engine.Stop()
		w.await(done)
		w.svc.Mark("desk: stopped")
		if got := r.Console(); len(got) != 1 || got[0] != "desk: parks" {
			t.Errorf("printed %q", got)
		}
		if n := r.Kernel.Stats().Muted; n != 2 || !ran {
			t.Errorf("%d markers were muted; the handler ran out: %t", n, ran)
		}
	})
}

// TestMarkEscapes: no value ends its field, its line or its marker.
func TestMarkEscapes(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	task := r.Task(ipc.TaskSpec{Name: "desk", Marks: []string{"desk:"}})
	for value, escaped := range map[string]string{
		"plain/name-1.2_x":   `plain/name-1.2_x`,
		"a\nkeystore: ready": `a\x0akeystore:\x20ready`,
		"\r\x1b[2J\x00\x7f":  `\x0d\x1b[2J\x00\x7f`,
		"x)\n":               `x\x29\x0a`,
		"a, key=b":           `a\x2c\x20key\x3db`,
		`\x0a`:               `\x5cx0a`,
		`"quoted"`:           `\x22quoted\x22`,
		"(":                  `\x28`,
		"caf\xc3\xa9":        `caf\xc3\xa9`,
		"\xff\xfe":           `\xff\xfe`,
		"\u2028\u202e":       `\xe2\x80\xa8\xe2\x80\xae`,
	} {
		if got := ipc.EscapeMark(value); got != escaped {
			t.Errorf("%q is escaped as %s, want %s", value, got, escaped)
		}
		task.Mark("desk: put", ipc.F("app", "notes"), ipc.F("key", value))
		lines := r.Console()
		if got := lines[len(lines)-1]; got != "desk: put (app=notes, key="+escaped+")" {
			t.Errorf("%q prints as %q", value, got)
		}
	}
	if n := len(r.Console()); n != 11 {
		t.Errorf("%d lines", n)
	}
}

// TestMarkText: a marker's text cannot end its line either.
func TestMarkText(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	task := r.Task(ipc.TaskSpec{Name: "desk", Marks: []string{"desk:"}})
	task.Mark("desk: a\nkeystore: ready\x00\x1b[2J\u2028\xff")
	if got := r.Console(); len(got) != 1 || got[0] != "desk: akeystore: ready[2J" {
		t.Errorf("printed %q", got)
	}
}

// TestMarkValueLimit: the longest name fits whatever its bytes are, and nothing
// beyond the limit is printed.
func TestMarkValueLimit(t *testing.T) {
	for _, n := range []int{ipc.MaxMarkValue - 1, ipc.MaxMarkValue, ipc.MaxMarkValue + 1} {
		if got := ipc.EscapeMark(strings.Repeat("a", n)); len(got) != min(n, ipc.MaxMarkValue) {
			t.Errorf("%d bytes became %d", n, len(got))
		}
	}
	for _, n := range []int{255, 256, 257} {
		if got := ipc.EscapeMark(strings.Repeat("\n", n)); got != strings.Repeat(`\x0a`, min(n, 256)) {
			t.Errorf("%d newlines became %d bytes", n, len(got))
		}
	}
	for n := range 8 {
		value := strings.Repeat("a", ipc.MaxMarkValue-n) + "\n" + strings.Repeat("b", 9)
		got := ipc.EscapeMark(value)
		if len(got) > ipc.MaxMarkValue || strings.Contains(got, `\`) != (n >= 4) || !strings.HasPrefix(got, value[:ipc.MaxMarkValue-n]) {
			t.Errorf("room for %d: %d bytes", n, len(got))
		}
	}
}

// still is an executor under which nothing runs and no time passes.
type still struct{}

func (still) Now() ipc.Time        { return 1 }
func (still) Alarm(ipc.Time)       {}
func (still) Go(func(ipc.Parker))  {}
func (still) Offload(_, _ func())  {}
func (still) Release(p ipc.Parker) {}
func (still) Yield()               {}
func (still) Fatal(report string)  { panic(report) }
func (still) Foreign(context.Context) (ipc.Parker, ipc.Time, error) {
	return nil, 0, ipc.Unsupported
}

// FuzzMark: whatever the values are, a marker is one line of printable ASCII,
// and its fields can be told apart again.
func FuzzMark(f *testing.F) {
	f.Add("notes", "mail")
	f.Add("a, key=b)", "\n\x00\x1b")
	f.Add(`\x0a\`, "\xff\u202e")
	f.Fuzz(func(t *testing.T, app, key string) {
		var console strings.Builder
		k := ipc.New(ipc.Config{Executor: still{}, Boot: 1, Console: &console})
		task, err := k.NewTask(ipc.TaskSpec{Name: "desk", Marks: []string{"desk:"}})
		if err != nil {
			t.Fatal(err)
		}
		task.Mark("desk: put", ipc.F("app", app), ipc.F("key", key))
		lines := strings.Split(strings.TrimSuffix(console.String(), "\n"), "\n")
		if len(lines) != 1 {
			t.Fatalf("%d lines", len(lines))
		}
		for i := range len(lines[0]) {
			if lines[0][i] < 0x20 || lines[0][i] > 0x7e {
				t.Fatalf("byte %#x in %q", lines[0][i], lines[0])
			}
		}
		inner, ok := strings.CutPrefix(lines[0], "desk: put (app=")
		inner, ok2 := strings.CutSuffix(inner, ")")
		fields := strings.Split(inner, ", key=")
		if !ok || !ok2 || len(fields) != 2 || unescape(t, fields[0], app) || unescape(t, fields[1], key) {
			t.Errorf("%q and %q print as %q", app, key, lines[0])
		}
	})
}

// unescape reads an escaped value back and says whether it is another one than
// the original, as far as it was printed.
func unescape(t *testing.T, escaped, original string) bool {
	var b strings.Builder
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '\\' {
			b.WriteByte(escaped[i])
			continue
		}
		var c byte
		if _, err := fmt.Sscanf(escaped[i:min(i+4, len(escaped))], `\x%02x`, &c); err != nil {
			t.Fatalf("%q: %v", escaped, err)
		}
		b.WriteByte(c)
		i += 3
	}
	return b.String() != original[:min(b.Len(), len(original))] || len(escaped) < ipc.MaxMarkValue-3 && b.Len() != len(original)
}
