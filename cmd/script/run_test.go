package script

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Lines that cannot be understood, or that find something else than they want,
// end a script with the file, the line and the reason.
func TestFailures(t *testing.T) {
	const users = "create-user alice password \"correct horse\"\ncreate-user bob pin 123456\n" +
		"login alice password \"correct horse\"\nunseal alice password \"correct horse\"\nput alice/notes name value\n"
	w := newWorld(t, bySeed)
	w.run(t, users)
	for _, c := range []struct {
		line string
		is   error
		want string
	}{
		{"puut alice/notes name value", ErrUsage, `test:3: no verb is called "puut"; the nearest is "put"`},
		{"put alice/notes name", ErrUsage, "test:3: usage: put USER/APP NAME VALUE"},
		{"put alice/notes name a value", ErrUsage, "test:3: usage: put USER/APP NAME VALUE"},
		{"users\nlogin", ErrUsage, "test:4: usage: login USER password|pin|recovery WORD"},
		{"put alice name value", ErrUsage, `test:3: "alice" is not USER/APP`},
		{"lock bob", ErrUsage, `test:3: the script has not logged in "bob"`},
		{"get bob/notes name", ErrUsage, `test:3: the script has not logged in "bob"`},
		{"login alice pin 123456", ErrUsage, `test:3: the script has logged in "alice" already`},
		{"launch alice/notes get,fly", ErrUsage, `test:3: no right is called "fly"`},
		{"puts alice/notes n 0", ErrUsage, `test:3: "0" is no number from 1 to 1000000000`},
		{"puts alice/notes n x", ErrUsage, `test:3: "x" is no number from 1 to 1000000000`},
		{"check-puts alice/notes n -1", ErrUsage, `test:3: "-1" is no number from 1 to 1000000000`},
		{"sleep 3600001", ErrUsage, `test:3: "3600001" is no number from 1 to 3600000`},
		{"sleep 0", ErrUsage, `test:3: "0" is no number from 1 to 3600000`},
		{"say \"no end", ErrUsage, "test:3: a quoted word does not end"},
		{"fails never users", ErrUsage, `test:3: no kind of failure is called "never"`},
		{"fails usage lock", ErrUsage, `test:3: no kind of failure is called "usage"`},
		{"fails denied lock", ErrUsage, "test:3: usage: lock USER"},
		{"fails denied users", ErrMismatch, "test:3: fails: not what was wanted: it succeeded, wanted denied"},
		{"fails denied get alice/notes none", ErrMismatch, "test:3: fails: not what was wanted: wanted denied, got: not found"},
		{"users alice", ErrMismatch, "test:3: users: not what was wanted: there are [alice bob]"},
		{"list alice/notes", nil, ""},
		{"list alice/notes name more", ErrMismatch, "test:3: list: not what was wanted: there are [name]"},
		{"keys alice/notes more", ErrMismatch, "test:3: keys: not what was wanted: there are []"},
		{"get alice/notes name other", ErrMismatch, "test:3: get: not what was wanted: another value is stored"},
		{"active alice none", ErrMismatch, "test:3: active: not what was wanted: the session is unsealed"},
		{"check-puts alice/notes n 1", nil, "test:3: check-puts: n1, put as number 1: not found"},
		{"expect \"policyd: restarted\"", ErrMissing,
			`test:3: expect: missing marker "policyd: restarted"; the last one is "keystore: put (app=notes, key=name)"`},
		{"put alice/notes name", ErrUsage, "test:3: usage: put USER/APP NAME VALUE"},
	} {
		err := w.runner.Run("test", strings.NewReader("\n\n"+c.line+"\n"))
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != c.want || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s:\n got %s\nwant %s (%v)", c.line, text, c.want, c.is)
		}
	}
}

func TestScriptEndsAtFailure(t *testing.T) {
	w := newWorld(t, bySeed)
	f := w.fail(t, "users\nlock alice\nusers\n")
	if f.Line != 2 || len(w.results) != 2 || w.results[1].Err == nil || w.results[0].Err != nil {
		t.Errorf("%v, after %+v", f, w.results)
	}
	broken := errors.New("broken")
	if err := w.runner.Run("test", failing{broken}); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "test: ") {
		t.Errorf("a script that cannot be read: %v", err)
	}
}

func TestForbid(t *testing.T) {
	w := newWorld(t, bySeed)
	w.run(t, "forbid \"init: start\"\n") // It came before.
	f := w.fail(t, "users\nforbid \"user created\"\nforbid never\ncreate-user alice pin 123456\nusers\n")
	if !errors.Is(f, ErrForbidden) || f.Line != 2 || !strings.Contains(f.Error(), "identity: user created (user=alice)") {
		t.Errorf("got %v", f)
	}
	if n := len(w.results); n != 5 {
		t.Errorf("%d lines ran", n)
	}
	if f := w.fail(t, "users\n"); !errors.Is(f, ErrForbidden) {
		t.Errorf("it is forgotten: %v", f)
	}
	w = newWorld(t, bySeed)
	w.run(t, unsealed+"forbid \"session end\"\n")
	w.shutdown()
	if err := w.runner.Forbidden(); !errors.Is(err, ErrForbidden) {
		t.Errorf("after the shutdown: %v", err)
	}
}

// A marker is expected after the one that was expected before.
func TestExpectInOrder(t *testing.T) {
	w := newWorld(t, bySeed)
	w.run(t, "expect \"init: start\"\nexpect \"rngd: ready\"\nfails missing-marker expect \"init: start\"\n"+
		"expect \"keystore: ready\"\nfails missing-marker expect \"keystore: ready\"\n")
}

// What was removed can be made again and logged in, in the same script.
func TestRemovedUser(t *testing.T) {
	w := newWorld(t, bySeed)
	const made = "create-user alice pin 123456\nlogin alice pin 123456\nunseal alice pin 123456\n"
	w.run(t, made+"put alice/notes name value\nremove-user alice pin 123456\n"+
		"fails denied get alice/notes name\nactive alice none\n"+made+"fails not-found get alice/notes name\n")
}

// Credentials and values of a script are in no result and no error, whatever
// is wrong with the line; only get shows what it has read.
func TestSecretsAreNotShown(t *testing.T) {
	const canary = "5canary5"
	w := newWorld(t, bySeed)
	w.run(t, "create-user bob pin 123456\n")
	lines := []string{
		"create-user alice password " + canary,
		"create-user alice password " + canary, // There is one.
		"login alice " + canary + " password",
		"login alice pin " + canary,
		"login alice password " + canary,
		"unseal alice password " + canary + " " + canary,
		"unseal alice password x" + canary,
		"unseal alice password " + canary,
		"set-credential alice password " + canary + " password \"new " + canary + "\"",
		"set-credential alice " + canary,
		"put alice/notes name " + canary,
		"put alice/notes name two " + canary,
		"put alice/notes \"bad name\" " + canary,
		"get alice/notes name x" + canary,
		"fails denied get alice/notes name " + canary,
		"fails denied put alice/notes name " + canary,
		"fails deny put alice/notes name " + canary,
		"fails denied putt alice/notes name " + canary,
		"if-user alice put alice/notes name " + canary,
		"if-user nobody put alice/notes name " + canary,
		"ptu alice/notes name " + canary,
		"put alice/notes name \"" + canary,
		"put alice/notes name \"" + canary + "\\q\"",
		"put alice/notes name " + strings.Repeat(canary, MaxLine/len(canary)+1),
		"sign alice/notes none " + canary,
		"remove-user alice password x" + canary,
	}
	for _, line := range lines {
		w.results = nil
		err := w.runner.Run("test", strings.NewReader(line+"\n"))
		if shown := fmt.Sprintf("%v %+v", err, w.results); strings.Contains(shown, canary) {
			t.Errorf("%s\nshows %s", line, shown)
		}
	}
	w.results = nil
	w.run(t, "get alice/notes name\n")
	if got := w.results[0].Text; got != strconv.Quote(canary) {
		t.Errorf("get shows %s", got)
	}
}

// A verb leaves its words as they are, because they are shown after it ran.
func TestArgsAreShownAsWritten(t *testing.T) {
	w := newWorld(t, bySeed)
	w.run(t, "create-user alice pin 123456\ncreate-user bob pin 123456\nusers bob alice\n")
	if r := w.results[2]; !slices.Equal(r.Args, []string{"bob", "alice"}) || r.Text != "alice bob" {
		t.Errorf("got %+v", r)
	}
}

const unsealed = "create-user alice pin 123456\nlogin alice pin 123456\nunseal alice pin 123456\n"

// Stop ends a script in the middle of a line, and nothing of it runs after it.
func TestStop(t *testing.T) {
	for _, line := range []string{"puts alice/notes n 1000000", "sleep 3600000", "expect never"} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.run(t, unsealed)
			w.results = nil
			begun := make(chan struct{}, 1)
			w.heard = func(Result) {
				select {
				case begun <- struct{}{}:
				default:
				}
			}
			ended := make(chan error, 1)
			go func() { ended <- w.runner.Run("test", strings.NewReader("users\n"+line+"\nusers\n")) }()
			<-begun
			w.runner.Stop()
			if err := <-ended; !errors.Is(err, ErrStopped) {
				t.Errorf("got %v", err)
			}
			if last := w.results[len(w.results)-1]; last.Line == 3 {
				t.Error("the line after it ran")
			}
		})
	}
}

// A script that waits for its next line is stopped without one.
func TestStopWhileReading(t *testing.T) {
	w := newWorld(t, nil)
	begun := make(chan struct{})
	w.heard = func(Result) { close(begun) }
	in, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- w.runner.Run("test", in) }()
	fmt.Fprintln(out, "users")
	<-begun
	stopped := make(chan struct{})
	go func() {
		w.runner.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(time.Minute):
		t.Fatal("Stop waits for a line")
	}
	w.shutdown()
	fmt.Fprintln(out, "users")
	if err := <-ended; !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
}

// puts goes over its names in turn, and check-puts knows what may be there
// after the last number that was acknowledged.
func TestCheckPuts(t *testing.T) {
	for _, last := range []int{1, putNames - 1, putNames, putNames + 1, 2*putNames + 1} {
		w := newWorld(t, bySeed)
		w.run(t, unsealed+"puts alice/notes n "+strconv.Itoa(last)+"\n")
		for _, c := range []struct {
			number int
			ok     bool
		}{{last - 2, last-2 < putNames-1}, {last - 1, true}, {last, true}, {last + 1, false}} {
			if c.number < 1 {
				continue
			}
			err := w.runner.Run("test", strings.NewReader("check-puts alice/notes n "+strconv.Itoa(c.number)+"\n"))
			if (err == nil) != c.ok {
				t.Errorf("after %d puts, %d: %v", last, c.number, err)
			}
		}
	}
}

// One put may be durable without being acknowledged: the next one, under its
// own name.
func TestCheckPutsAfterTheLast(t *testing.T) {
	w := newWorld(t, bySeed)
	w.run(t, unsealed+"puts alice/notes n 120\nput alice/notes n21 121\ncheck-puts alice/notes n 120\n")
	w.run(t, "put alice/notes n21 122\nfails mismatch check-puts alice/notes n 120\n")
	w.run(t, "put alice/notes n21 21\ncheck-puts alice/notes n 120\n")
	w.run(t, "put alice/notes n21 121\nput alice/notes n22 121\nfails mismatch check-puts alice/notes n 120\n")
	w.run(t, "del alice/notes n22\nfails not-found check-puts alice/notes n 120\n")
}

// A service that is stopped for good, in the turn of a service that waits for
// it, does not keep the machine from being switched off.
func TestStoppedForGood(t *testing.T) {
	w := newWorld(t, nil)
	w.run(t, strings.Repeat("crash rngd\n", 10)+"fault-crash rngd.Entropy request\n"+
		"fails unavailable create-user alice pin 271828\nfails unavailable create-user alice pin 271828\nusers\n")
	off := make(chan struct{})
	go func() {
		defer close(off)
		w.shutdown()
	}()
	select {
	case <-off:
	case <-time.After(30 * time.Second):
		t.Fatal("the machine is not off yet")
	}
}

// What a strand comes to after its power was cut counts for nothing, also when
// the machine has been cleared up, or is on again.
func TestStrandRunsOut(t *testing.T) {
	w := newWorld(t, bySeed)
	s := &Strand{Runner: w.runner, name: "late", system: w.machine.System()}
	outcome := func() error {
		_, err := s.outcome("", nil)
		return err
	}
	if err := outcome(); err != nil {
		t.Errorf("with power: %v", err)
	}
	w.run(t, "power-cut\n")
	if err := outcome(); !errors.Is(err, ErrPowerCut) {
		t.Errorf("off: %v", err)
	}
	w.run(t, "boot\n")
	if err := outcome(); !errors.Is(err, ErrPowerCut) {
		t.Errorf("on again: %v", err)
	}
	if _, err := s.running(); !errors.Is(err, ErrPowerCut) {
		t.Errorf("it would run on another system: %v", err)
	}
}
