package identityd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/guesses"
	"nexus.internal/os/tests/rig"
)

var wrong = password("wrong horse")

// guess starts a session with a credential, and ends it again.
func (w *world) guess(ctx context.Context, user string, c *wire.Credential) error {
	sid, err := w.start(ctx, user, c)
	if err == nil {
		err = w.end(ctx, sid)
	}
	return err
}

// failures is what the disk counts for a name.
func (w *world) failures(user string) int {
	file, _ := w.disk.file(guessesPath)
	table, err := guesses.Decode(file)
	if err != nil {
		w.t.Fatal(err)
	}
	return table.Failures(w.svc.row(user))
}

// later expects TryLater with that many seconds, and that nothing was done.
func (w *world) later(ctx context.Context, user string, c *wire.Credential, seconds uint32) {
	w.t.Helper()
	runs, written := w.svc.runs, len(w.fs.counted)
	var later *wire.Later
	if err := w.guess(ctx, user, c); !errors.As(err, &later) || later.Seconds != seconds {
		w.t.Errorf("a guess at %q: %v, want a wait of %d s", user, err, seconds)
	}
	if w.svc.runs != runs || len(w.fs.counted) != written {
		w.t.Errorf("a guess at %q that has to wait is checked or counted", user)
	}
}

// until sleeps till d after the row's wait began.
func (w *world) until(ctx context.Context, user string, d time.Duration) {
	over := w.svc.guessing.since[w.svc.row(user)].Add(d)
	expect(w.t, "sleep", w.login.Sleep(ctx, time.Duration(over-w.login.Now())), nil)
}

// TestWaits goes through the whole table, for everybody at whom one can guess:
// a nanosecond before a wait is over nothing is checked, then everything is.
func TestWaits(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		expect(t, "create bob", w.create(ctx, "bob", number), nil)
		for user, c := range map[string]*wire.Credential{
			"alice":  wrong,
			"bob":    wrong, // who has no password
			"nobody": wrong,
			"a\nb":   password("x"),
		} {
			for n := range 19 {
				wait := guesses.Wait(n)
				if wait > 0 {
					w.later(ctx, user, c, uint32(wait/time.Second))
					w.until(ctx, user, wait-time.Second)
					w.later(ctx, user, c, 1)
					w.until(ctx, user, wait-1)
					w.later(ctx, user, c, 1)
					w.until(ctx, user, wait)
				}
				expect(t, fmt.Sprintf("guess %d at %q", n+1, user), w.guess(ctx, user, c), ipc.BadSecret)
				if got := w.failures(user); got != n+1 {
					t.Errorf("after %d wrong guesses at %q the disk counts %d", n+1, user, got)
				}
			}
		}
	})
}

// TestRightGuess: one that comes too early is not looked at, one that may come
// gives all free ones back, whichever kind it is of.
func TestRightGuess(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		expect(t, "set a PIN", w.set(ctx, "alice", right, number), nil)
		for _, c := range []*wire.Credential{right, number} {
			for range guesses.Free + 1 {
				expect(t, "a wrong guess", w.guess(ctx, "alice", wrong), ipc.BadSecret)
			}
			for _, c := range []*wire.Credential{right, number, wrong} {
				w.later(ctx, "alice", c, 30)
			}
			w.until(ctx, "alice", guesses.First)
			expect(t, "the right one", w.guess(ctx, "alice", c), nil)
			if n := w.failures("alice"); n != 0 {
				t.Errorf("%d failures after the right one", n)
			}
		}
	})
}

// TestEveryProofIsAGuess: whatever proves a credential counts in the same row.
func TestEveryProofIsAGuess(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		sid := w.session(ctx)
		guess := []func(*wire.Credential) error{
			func(c *wire.Credential) error { return w.unseal(ctx, sid, c) },
			func(c *wire.Credential) error { return w.set(ctx, "alice", c, number) },
			func(c *wire.Credential) error { return w.remove(ctx, "alice", c) },
			func(c *wire.Credential) error { return w.guess(ctx, "alice", c) },
		}
		for n := range guesses.Free + 1 {
			expect(t, "a wrong guess", guess[n%len(guess)](wrong), ipc.BadSecret)
		}
		for _, fn := range guess {
			expect(t, "a guess too early", fn(right), ipc.TryLater)
		}
		expect(t, "lock", w.lock(ctx, sid), nil) // It needs no guess.
		w.until(ctx, "alice", guesses.First)
		expect(t, "unseal", w.unseal(ctx, sid, right), nil)
	})
}

// TestWaitsBeginAnew: a boot and a crash of identityd keep what was counted, and
// begin the wait anew, however much of it was over.
func TestWaitsBeginAnew(t *testing.T) {
	w := newAlice(t, 1)
	fail := func(ctx context.Context) {
		for range guesses.Free + 1 {
			expect(t, "a wrong guess", w.guess(ctx, "alice", wrong), ipc.BadSecret)
			expect(t, "a wrong guess", w.guess(ctx, "nobody", wrong), ipc.BadSecret)
		}
		w.until(ctx, "alice", guesses.First-1)
	}
	waits := func(ctx context.Context) {
		for _, user := range []string{"alice", "nobody"} {
			w.later(ctx, user, right, 30)
		}
		w.until(ctx, "alice", guesses.First-1)
		w.later(ctx, "alice", right, 1)
		w.until(ctx, "alice", guesses.First)
		expect(t, "the right one", w.guess(ctx, "alice", right), nil)
		expect(t, "a wrong one", w.guess(ctx, "nobody", right), ipc.BadSecret)
	}
	w.do(fail)
	w = newWorld(t, 1, w.disk.reboot())
	w.do(waits)
	w.do(func(ctx context.Context) {
		w.rest(ctx)
		for range guesses.Free + 1 {
			expect(t, "a wrong guess", w.guess(ctx, "alice", wrong), ipc.BadSecret)
		}
		w.later(ctx, "alice", right, 30)
	})
	w.do(func(ctx context.Context) { w.until(ctx, "alice", guesses.First-1) })
	w.Do(w.task, func(ctx context.Context) { // What a crash leaves is what a new instance starts with.
		s := New(w.task, w.svc.cfg)
		expect(t, "start", s.load(ctx), nil)
		expect(t, "start", s.loadGuesses(ctx), nil)
		row := s.row("alice")
		if left := s.guessing.left(row, w.task.Now()); s.guessing.table.Failures(row) != guesses.Free+1 || left != guesses.First {
			t.Errorf("%d failures, %v left", s.guessing.table.Failures(row), left)
		}
	})
}

// TestCountedBeforeChecked cuts the power at the writes of a guess, before and
// after they happened. What was checked is counted.
func TestCountedBeforeChecked(t *testing.T) {
	for name, c := range map[string]struct {
		guess    *wire.Credential
		write    int // of the guess, at which the power goes
		after    bool
		runs     uint64
		failures int
	}{
		"wrong, not counted":         {wrong, 1, false, 0, 1},
		"wrong, counted":             {wrong, 1, true, 0, 2},
		"right, not counted":         {right, 1, false, 0, 1},
		"right, counted":             {right, 1, true, 0, 2},
		"right, checked":             {right, 2, false, 1, 2},
		"right, checked and counted": {right, 2, true, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAlice(t, 1)
			w.do(func(ctx context.Context) {
				expect(t, "one before", w.guess(ctx, "alice", wrong), ipc.BadSecret)
				runs := w.svc.runs
				w.disk.cut, w.disk.after, w.disk.power = w.disk.made+c.write, c.after, true
				expect(t, "the guess", w.guess(ctx, "alice", c.guess), ipc.IOError)
				if n := w.svc.runs - runs; n != c.runs {
					t.Errorf("%d runs of Argon2id", n)
				}
			})
			w = newWorld(t, 1, w.disk.reboot())
			if n := w.failures("alice"); n != c.failures {
				t.Errorf("%d failures are counted, want %d", n, c.failures)
			}
		})
	}
}

// TestWriteOfACountFails: without the write nothing is checked, and what was not
// checked is no failure once the disk works again. A right guess whose failures
// cannot be taken back is refused, and stays counted.
func TestWriteOfACountFails(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		runs := w.svc.runs
		w.disk.fail[at(onGuesses, wire.OpReplaceFile)] = &wire.Fault{Code: ipc.IOError, File: guessesPath}
		for range 2 * guesses.Free {
			for _, user := range []string{"alice", "nobody"} {
				var fault *wire.Fault
				err := w.guess(ctx, user, right)
				if !errors.As(err, &fault) || fault.Code != ipc.IOError || fault.File != guessesPath {
					t.Errorf("a guess at %s: %v", user, err)
				}
			}
		}
		if w.svc.runs != runs {
			t.Errorf("%d runs of Argon2id", w.svc.runs-runs)
		}
		delete(w.disk.fail, at(onGuesses, wire.OpReplaceFile))
		if n := w.failures("alice"); n != 0 {
			t.Errorf("%d failures", n)
		}
		w.disk.cut, w.disk.after = w.disk.made+2, true // The second write happens, and fails all the same.
		expect(t, "right, and not taken back", w.guess(ctx, "alice", right), ipc.IOError)
		expect(t, "wrong", w.guess(ctx, "alice", wrong), ipc.BadSecret)
		if n := w.failures("alice"); n != 2 || len(w.svc.sessions) != 0 {
			t.Errorf("%d failures, %d sessions", n, len(w.svc.sessions))
		}
	})
}

// shape is what a guess makes happen, but for who is guessed at.
type shape struct {
	kind     ipc.EventKind
	op, size uint16
	code     ipc.Code
}

// TestGuessesLookAlike counts what guesses at users and at nobody cost, up to
// where they have to wait, and beyond: events of the kernel, durable writes and
// their bytes, runs of Argon2id, and the seconds to wait.
func TestGuessesLookAlike(t *testing.T) {
	t.Run("password", func(t *testing.T) { lookAlike(t, wrong, guesses.Free+1) })
	// Recovery keys are exempt, of users that have one or not and of nobody.
	t.Run("recovery key", func(t *testing.T) { lookAlike(t, paper(someKey), 10) })
	t.Run("no recovery key", func(t *testing.T) { lookAlike(t, paper("no such text"), 10) })
}

func lookAlike(t *testing.T, wrong *wire.Credential, free int) {
	var events []shape
	w := buildWorld(t, rig.NewSeeded(t, 1, func(e ipc.TraceEvent) {
		events = append(events, shape{e.Kind, e.Op, e.Size, e.Code})
	}), newDisk(), cheap)
	type cost struct {
		err     string
		runs    uint64
		counted []int
		events  []shape
	}
	guess := func(ctx context.Context, user string, c *wire.Credential) (cost, error) {
		runs, counted := w.svc.runs, len(w.fs.counted)
		events = nil
		err := w.guess(ctx, user, c)
		return cost{fmt.Sprint(err), w.svc.runs - runs, slices.Clone(w.fs.counted[counted:]), slices.Clone(events)}, err
	}
	same := func(a, b cost) bool {
		return a.err == b.err && a.runs == b.runs && slices.Equal(a.counted, b.counted) && slices.Equal(a.events, b.events)
	}
	w.do(func(ctx context.Context) {
		expect(t, "create", w.create(ctx, "alice", right), nil)
		expect(t, "create", w.create(ctx, "robin", pin("123456")), nil)
		rows := map[guesses.Row]string{}
		var costs [10]cost // of the guesses at alice, with her own wrong secret
		for _, user := range []string{"alice", "robin", "nobod", "Alice", "al\nce", "roben"} {
			row := w.svc.row(user)
			if other, shared := rows[row]; shared {
				t.Logf("%q and %q share a row, and so a count", user, other)
				continue // By chance: which rows names have depends on the file's key.
			}
			rows[row] = user
			for n := range costs {
				got, err := guess(ctx, user, wrong)
				if user == "alice" {
					costs[n] = got
				}
				if !same(got, costs[n]) {
					t.Errorf("guess %d at %q costs\n%v, at alice\n%v", n+1, user, got, costs[n])
				}
				switch tooEarly := n >= free; {
				case tooEarly && (got.runs != 0 || len(got.counted) != 0 || !errors.Is(err, ipc.TryLater)):
					t.Errorf("guess %d at %q is to wait, and costs %v", n+1, user, got)
				case !tooEarly && (got.runs != 1 || !slices.Equal(got.counted, []int{guesses.Size}) || !errors.Is(err, ipc.BadSecret)):
					t.Errorf("guess %d at %q costs %v", n+1, user, got)
				}
			}
		}
		if len(rows) < 4 {
			t.Errorf("only %d names have rows of their own", len(rows))
		}
	})
}

// TestGuessesAtOnce: of many guesses at one user at the same time as many are
// checked as of guesses in a row, and right ones do not keep each other waiting.
func TestGuessesAtOnce(t *testing.T) {
	eachSeed(t, 20, func(t *testing.T, seed uint64) {
		w := newAlice(t, seed)
		for user, c := range map[string]*wire.Credential{"alice": wrong, "nobody": right} {
			runs, checked := w.svc.runs, 0
			var fns []func(context.Context)
			for range 20 {
				fns = append(fns, func(ctx context.Context) {
					if err := w.guess(ctx, user, c); errors.Is(err, ipc.BadSecret) {
						checked++
					} else {
						expect(t, "a guess", err, ipc.TryLater)
					}
				})
			}
			w.all(fns...)
			if n := w.svc.runs - runs; n != guesses.Free+1 || checked != guesses.Free+1 || w.failures(user) != guesses.Free+1 {
				t.Errorf("%s: %d runs, %d were checked, %d counted", user, n, checked, w.failures(user))
			}
		}
		w.do(func(ctx context.Context) { w.rest(ctx) })
		var fns []func(context.Context)
		for range 20 {
			fns = append(fns, func(ctx context.Context) {
				if err := w.guess(ctx, "alice", right); !errors.Is(err, ipc.LimitReached) {
					expect(t, "a right guess", err, nil)
				}
			})
		}
		w.all(fns...)
		if n := w.failures("alice"); n != 0 {
			t.Errorf("%d failures after right guesses alone", n)
		}
	})
}

// TestNoCountIsLost: guesses at many users at once write the file after each
// other, so that none writes what another has counted out of it.
func TestNoCountIsLost(t *testing.T) {
	eachSeed(t, 50, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, newDisk())
		var users []string
		w.do(func(ctx context.Context) {
			for n := range MaxUsers {
				users = append(users, fmt.Sprint("user", n))
				expect(t, "create", w.create(ctx, users[n], right), nil)
			}
		})
		var fns []func(context.Context)
		for n, user := range users {
			for range n % (guesses.Free + 1) {
				fns = append(fns, func(ctx context.Context) { expect(t, "a guess", w.guess(ctx, user, wrong), ipc.BadSecret) })
			}
		}
		w.all(fns...)
		w = newWorld(t, seed, w.disk.reboot())
		for n, user := range users {
			if got := w.failures(user); got != n%(guesses.Free+1) {
				t.Errorf("%s has %d failures, want %d", user, got, n%(guesses.Free+1))
			}
		}
	})
}

// TestRowsAreUsersOwn: nothing that is asked about others, known or unknown,
// lets a user wait or gives guesses at it back.
func TestRowsAreUsersOwn(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		expect(t, "create bob", w.create(ctx, "bob", right), nil)
		expect(t, "create carol", w.create(ctx, "carol", right), nil)
		for range 3 {
			expect(t, "a wrong guess at alice", w.guess(ctx, "alice", wrong), ipc.BadSecret)
		}
		for n := range 2000 {
			if err := w.guess(ctx, fmt.Sprint("nobody", n), wrong); !errors.Is(err, ipc.BadSecret) && !errors.Is(err, ipc.TryLater) {
				t.Fatal(err)
			}
		}
		expect(t, "a right guess at bob", w.guess(ctx, "bob", right), nil)
		expect(t, "remove bob", w.remove(ctx, "bob", right), nil)
		expect(t, "create dave", w.create(ctx, "dave", right), nil)
		for user, n := range map[string]int{"alice": 3, "carol": 0, "dave": 0} {
			if got := w.failures(user); got != n {
				t.Errorf("%s has %d failures, want %d", user, got, n)
			}
			expect(t, "the right one", w.guess(ctx, user, right), nil)
		}
	})
}

// TestANewUserHasNoFailures: one of a name at which was guessed, as one who had
// it before or as nobody, and after more users than there are rows.
func TestANewUserHasNoFailures(t *testing.T) {
	w := newWorld(t, 1, newDisk())
	w.do(func(ctx context.Context) {
		expect(t, "create bob", w.create(ctx, "bob", right), nil)
		expect(t, "a wrong guess at bob", w.guess(ctx, "bob", wrong), ipc.BadSecret)
		for n := range 3 * MaxUsers {
			user := fmt.Sprint("user", n%5)
			w.rest(ctx)
			for range guesses.Free + 1 {
				if err := w.guess(ctx, user, right); !errors.Is(err, ipc.BadSecret) && !errors.Is(err, ipc.TryLater) {
					t.Fatal(err)
				}
			}
			expect(t, "create", w.create(ctx, user, right), nil)
			expect(t, "a wrong guess", w.guess(ctx, user, wrong), ipc.BadSecret)
			if got := w.failures(user); got != 1 {
				t.Errorf("user %d has %d failures", n, got)
			}
			expect(t, "remove", w.remove(ctx, user, right), nil)
		}
		if n := w.failures("bob"); n != 1 {
			t.Errorf("bob has %d failures", n)
		}
	})
}

// TestCallersWhoGiveUpAreCounted: what waits for Argon2id is not counted yet;
// what was counted is checked, though nobody hears of it.
func TestCallersWhoGiveUpAreCounted(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		short, cancel := w.login.WithTimeout(ctx, time.Millisecond/2) // shorter than a write
		defer cancel()
		runs := w.svc.runs
		_, err := w.start(short, "alice", wrong)
		expect(t, "start", err, ipc.TimedOut)
		for w.svc.proving != 0 {
			expect(t, "sleep", w.login.Sleep(ctx, time.Millisecond), nil)
		}
		if n := w.svc.runs - runs; n != 1 || w.failures("alice") != 1 {
			t.Errorf("%d runs of Argon2id, %d failures", n, w.failures("alice"))
		}
		w.svc.argon.free = 0
		short, cancel = w.login.WithTimeout(ctx, time.Millisecond/2)
		defer cancel()
		_, err = w.start(short, "alice", wrong)
		expect(t, "start", err, ipc.TimedOut)
		expect(t, "sleep", w.login.Sleep(ctx, time.Second), nil)
		if n := w.svc.runs - runs; n != 1 || w.failures("alice") != 1 {
			t.Errorf("before its turn: %d runs of Argon2id, %d failures", n, w.failures("alice"))
		}
		w.svc.argon.free = 1
		w.svc.argon.leave()
		for w.svc.proving != 0 {
			expect(t, "sleep", w.login.Sleep(ctx, time.Millisecond), nil)
		}
		if n := w.svc.runs - runs; n != 2 || w.failures("alice") != 2 {
			t.Errorf("after its turn: %d runs of Argon2id, %d failures", n, w.failures("alice"))
		}
		expect(t, "the right one", w.guess(ctx, "alice", right), nil)
	})
}

// TestNamesOfFiles: no user's folder can have the path of a file of identityd's.
func TestNamesOfFiles(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		made := w.disk.made
		for path := range w.disk.files {
			if name := strings.TrimPrefix(path, folder); !strings.Contains(name, "/") {
				expect(t, "create "+name, w.create(ctx, name, right), ipc.Exists)
			}
		}
		if w.disk.made != made {
			t.Error("something was written")
		}
		expect(t, "create users.dbx", w.create(ctx, "users.dbx", right), nil)
	})
}

// TestFirstStart makes the file of guesses, which is there before anything else
// is. Where that fails, the next start makes it.
func TestFirstStart(t *testing.T) {
	w := newWorld(t, 1, newDisk())
	expect(t, "start", w.startErr, nil)
	if file, _ := w.disk.file(guessesPath); len(w.disk.files) != 1 || len(file) != guesses.Size {
		t.Errorf("%d files, guesses has %d bytes", len(w.disk.files), len(file))
	}
	key := w.svc.guessing.table
	w = newWorld(t, 1, w.disk.reboot())
	expect(t, "start again", w.startErr, nil)
	if w.svc.guessing.table != key || w.disk.made != 0 {
		t.Error("it was made anew")
	}
	other := newWorld(t, 1, newDisk())
	if other.svc.guessing.table == key {
		t.Error("two systems have the same key")
	}
	for _, after := range []bool{false, true} {
		d := newDisk()
		d.cut, d.after = 1, after
		w := newWorld(t, 1, d)
		expect(t, "start on a failing disk", w.startErr, ipc.IOError)
		w = newWorld(t, 1, d.reboot())
		expect(t, "start after it", w.startErr, nil)
		w.do(func(ctx context.Context) {
			expect(t, "create", w.create(ctx, "alice", right), nil)
			expect(t, "a guess", w.guess(ctx, "alice", right), nil)
		})
	}
}
