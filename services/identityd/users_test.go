package identityd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/tests/rig"
)

func TestUsersFromCreationToRemoval(t *testing.T) {
	w := newWorld(t, 1, newDisk())
	w.do(func(ctx context.Context) {
		if got := w.users(ctx); len(got) != 0 {
			t.Errorf("users of a new system: %v", got)
		}
		expect(t, "create bob", w.create(ctx, "bob", pin("123456")), nil)
		expect(t, "create alice", w.create(ctx, "alice", password("correct horse")), nil)
		if got := w.users(ctx); !slices.Equal(got, []string{"alice", "bob"}) {
			t.Errorf("users %v", got)
		}
		expect(t, "create alice again", w.create(ctx, "alice", password("another one")), ipc.Exists)
		for _, name := range []string{"", "Alice", "alice ", "a\nb", "alice/..", strings.Repeat("a", 33)} {
			expect(t, fmt.Sprintf("create %q", name), w.create(ctx, name, password("correct horse")), ipc.Malformed)
		}
		expect(t, "create with a short password", w.create(ctx, "carol", password("short")), ipc.Malformed)
		expect(t, "create without a credential", w.create(ctx, "carol", nil), ipc.Malformed)
		alice, _ := w.svc.db.Find("alice")
		expect(t, "remove with a wrong secret", w.remove(ctx, "alice", password("wrong horse")), ipc.BadSecret)
		expect(t, "remove nobody", w.remove(ctx, "nobody", password("correct horse")), ipc.BadSecret)
		expect(t, "remove", w.remove(ctx, "alice", password("correct horse")), nil)
		if got := w.users(ctx); !slices.Equal(got, []string{"bob"}) {
			t.Errorf("users %v", got)
		}
		if w.disk.roots["alice"] != nil || len(w.disk.files) != 3 {
			t.Errorf("left of alice: %v, %d files", w.disk.roots["alice"], len(w.disk.files))
		}
		expect(t, "create alice anew", w.create(ctx, "alice", password("correct horse")), nil)
		if again, _ := w.svc.db.Find("alice"); again.Incarnation == alice.Incarnation {
			t.Error("a new user of the same name is the same incarnation")
		}
	})
	want := []string{
		"identityd: ready",
		"identity: user created (user=bob)", "identity: user created (user=alice)", "identity: user created (user=alice)",
	}
	if !slices.Equal(w.markers(), want) {
		t.Errorf("console %q", w.markers())
	}
}

// TestUnknownUserAndWrongSecretAreAlike asks in every wrong way and expects the
// same bytes after the same work.
func TestUnknownUserAndWrongSecretAreAlike(t *testing.T) {
	w := newWorld(t, 1, newDisk())
	right := password("correct horse")
	w.do(func(ctx context.Context) {
		expect(t, "create", w.create(ctx, "alice", right), nil)
		sid, err := w.start(ctx, "alice", right)
		expect(t, "start", err, nil)
		creds := map[string]*wire.Credential{
			"right for another":  right,
			"wrong":              password("wrong horse"),
			"too short":          password("short"),
			"too long":           password(strings.Repeat("x", MaxPassword+1)),
			"a frame long":       password(strings.Repeat("x", 7900)),
			"not UTF-8":          password("correct hors\xff"),
			"empty":              password(""),
			"no such kind of it": pin("123456"),
			"bad pin":            pin("abc"),
			"unknown kind":       {Kind: 9, Secret: []byte("correct horse")},
			"no kind":            {Secret: []byte("correct horse")},
			"missing":            nil,
		}
		for name, c := range creds {
			for _, user := range []string{"alice", "nobody", "Alice", "", "a\nb", strings.Repeat("a", 200)} {
				if user == "alice" && c == right {
					continue
				}
				for op, q := range map[uint16]proto.Message{
					wire.OpStartSession:  &wire.StartSessionRequest{User: user, Credential: c},
					wire.OpRemoveUser:    &wire.RemoveUserRequest{User: user, Credential: c},
					wire.OpSetCredential: &wire.SetCredentialRequest{User: user, Have: c, Set: pin("654321")},
				} {
					w.refusedAlike(ctx, fmt.Sprintf("%s, user %q, op %d", name, user, op), op, q)
				}
			}
			if c != right {
				w.refusedAlike(ctx, name+", unseal", wire.OpUnsealSession, &wire.UnsealSessionRequest{Sid: sid, Credential: c})
			}
		}
	})
}

func (w *world) refusedAlike(ctx context.Context, what string, op uint16, q proto.Message) {
	body, err := proto.Marshal(q)
	if err != nil {
		w.t.Fatal(err)
	}
	w.rest(ctx)
	before := w.svc.runs
	r, err := w.login.Call(ctx, ipc.Msg{Slot: w.slot, Op: op, Body: body, Move: ipc.NoSlot}, nil)
	if !errors.Is(err, ipc.BadSecret) || len(r.Body) != 0 {
		w.t.Errorf("%s: %v, body %q", what, err, r.Body)
	}
	if n := w.svc.runs - before; n != 1 {
		w.t.Errorf("%s: %d runs of Argon2id", what, n)
	}
}

func TestCredentials(t *testing.T) {
	w := newWorld(t, 1, newDisk())
	w.do(func(ctx context.Context) {
		first, second, number := password("correct horse"), password("battery staple"), pin("123456")
		expect(t, "create", w.create(ctx, "alice", first), nil)
		expect(t, "set a PIN", w.set(ctx, "alice", first, number), nil)
		expect(t, "set a bad PIN", w.set(ctx, "alice", first, pin("12")), ipc.Malformed)
		expect(t, "set no kind", w.set(ctx, "alice", first, &wire.Credential{Secret: []byte("12345678")}), ipc.Malformed)
		expect(t, "set with a wrong one", w.set(ctx, "alice", second, pin("111111")), ipc.BadSecret)
		expect(t, "change the password by PIN", w.set(ctx, "alice", number, second), nil)
		_, err := w.start(ctx, "alice", first)
		expect(t, "the old password", err, ipc.BadSecret)
		for name, c := range map[string]*wire.Credential{"password": second, "PIN": number} {
			sid, err := w.start(ctx, "alice", c)
			expect(t, "start by "+name, err, nil)
			expect(t, "unseal by "+name, w.unseal(ctx, sid, c), nil)
		}
		expect(t, "change the PIN", w.set(ctx, "alice", number, pin("999999")), nil)
		_, err = w.start(ctx, "alice", number)
		expect(t, "the old PIN", err, ipc.BadSecret)
		alice, _ := w.svc.db.Find("alice")
		if alice.NextProtector != 5 || len(alice.Protectors) != 2 || len(w.disk.roots["alice"].wraps) != 2 {
			t.Errorf("%d protectors, %d wraps, next %d", len(alice.Protectors), len(w.disk.roots["alice"].wraps), alice.NextProtector)
		}
		salts := map[[16]byte]bool{{}: true}
		for _, p := range alice.Protectors {
			if salts[p.Salt] || p.Cost != cheap {
				t.Errorf("salt %x twice, or cost %+v", p.Salt, p.Cost)
			}
			salts[p.Salt] = true
		}
	})
}

func TestUserLimit(t *testing.T) {
	w := newWorld(t, 1, newDisk())
	w.do(func(ctx context.Context) {
		for i := 1; i <= MaxUsers+1; i++ {
			want := error(nil)
			if i > MaxUsers {
				want = ipc.LimitReached
			}
			expect(t, fmt.Sprint("user ", i), w.create(ctx, fmt.Sprint("user", i), pin("123456")), want)
		}
		if len(w.users(ctx)) != MaxUsers || len(w.disk.roots) != MaxUsers {
			t.Errorf("%d users, %d roots", len(w.users(ctx)), len(w.disk.roots))
		}
		expect(t, "remove one", w.remove(ctx, "user3", pin("123456")), nil)
		expect(t, "create in its place", w.create(ctx, "other", pin("123456")), nil)
	})
}

func TestForeignFilesAreNeverOverwritten(t *testing.T) {
	d := newDisk()
	w := newWorld(t, 1, d)
	w.do(func(ctx context.Context) {
		expect(t, "create alice", w.create(ctx, "alice", pin("123456")), nil)
		d.files[vaultFile("bob")] = []byte("all that bob has")
		d.files[vaultFile("bobby")] = []byte("and bobby")
		before := len(d.files)
		var fault *wire.Fault
		err := w.create(ctx, "bob", pin("123456"))
		if !errors.As(err, &fault) || fault.Code != ipc.Damaged || fault.File != vaultFile("bob") {
			t.Errorf("create bob: %v", err)
		}
		d.roots["carol"] = &root{}
		expect(t, "create carol, who has keys elsewhere", w.create(ctx, "carol", pin("123456")), ipc.Exists)
		if len(d.files) != before || d.roots["carol"] == nil || w.svc.db.Len() != 1 {
			t.Errorf("%d files, then %d; carol's keys: %v; %d entries", before, len(d.files), d.roots["carol"] != nil, w.svc.db.Len())
		}
	})
}

func TestStartRefusesWhatItCannotRead(t *testing.T) {
	whole := newDisk()
	w := newWorld(t, 1, whole)
	w.do(func(ctx context.Context) { expect(t, "create", w.create(ctx, "alice", pin("123456")), nil) })
	for name, c := range map[string]struct {
		spoil  func(d *disk)
		code   error
		offset int64
	}{
		"cut":            {func(d *disk) { d.files[dbPath] = d.files[dbPath][:20] }, ipc.Damaged, 20},
		"empty":          {func(d *disk) { d.files[dbPath] = nil }, ipc.Damaged, 0},
		"one bit":        {func(d *disk) { d.files[dbPath][30] ^= 1 }, ipc.Damaged, int64(len(whole.files[dbPath]) - 32)},
		"huge":           {func(d *disk) { d.files[dbPath] = make([]byte, 1<<20) }, ipc.Damaged, userdb.MaxFile},
		"gone":           {func(d *disk) { delete(d.files, dbPath) }, ipc.Damaged, 0},
		"cannot be read": {func(d *disk) { d.fail[at(onFS, wire.OpReadFile)] = &wire.Fault{Code: ipc.IOError, File: dbPath} }, ipc.IOError, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := whole.reboot()
			d.files[dbPath] = bytes.Clone(d.files[dbPath])
			c.spoil(d)
			before := len(d.files)
			var fault *wire.Fault
			v := newWorld(t, 1, d)
			if !errors.As(v.startErr, &fault) || !errors.Is(fault, c.code) || fault.File != dbPath || fault.Offset != c.offset {
				t.Errorf("start: %v", v.startErr)
			}
			if d.made != 0 || len(d.files) != before || len(v.markers()) != 0 {
				t.Errorf("%d changes, %d files, console %q", d.made, len(d.files), v.markers())
			}
		})
	}
	t.Run("bad parameters", func(t *testing.T) {
		if v := buildWorld(t, rig.NewSeeded(t, 1, nil), whole.reboot(), Params{MemoryKiB: 1}); v.startErr == nil {
			t.Error("it started")
		}
	})
}

// TestReadsADatabaseInPieces needs more than one read of statefsd's.
func TestReadsADatabaseInPieces(t *testing.T) {
	d := newDisk()
	d.files[dbPath] = make([]byte, readPiece+100)
	w := newWorld(t, 1, d)
	var fault *wire.Fault
	if !errors.As(w.startErr, &fault) || fault.Offset != 0 {
		t.Errorf("start: %v", w.startErr)
	}
	got := 0
	w.Do(w.task, func(ctx context.Context) {
		file, err := w.svc.readFile(ctx, dbPath, userdb.MaxFile)
		expect(t, "read", err, nil)
		got = len(file)
	})
	if got != readPiece+100 {
		t.Errorf("%d bytes", got)
	}
}

// TestAPasswordIsAllOfIt has the longest one, and the same with a byte more.
func TestAPasswordIsAllOfIt(t *testing.T) {
	w := newWorld(t, 1, newDisk())
	longest := strings.Repeat("x", MaxPassword)
	w.do(func(ctx context.Context) {
		expect(t, "create", w.create(ctx, "alice", password(longest)), nil)
		for text, want := range map[string]error{longest: nil, longest + "x": ipc.BadSecret, longest[1:]: ipc.BadSecret} {
			_, err := w.start(ctx, "alice", password(text))
			expect(t, fmt.Sprint("start with ", len(text)), err, want)
		}
	})
}

// TestSettingAgainAfterAFailure finds the wrap of the failed attempt in the way
// of the next protector's id, in the same boot and in the next one.
func TestSettingAgainAfterAFailure(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		w.disk.fail[at(onFS, wire.OpReplaceFile)] = ipc.IOError
		expect(t, "set", w.set(ctx, "alice", right, number), ipc.IOError)
	})
	if n := len(w.disk.roots["alice"].wraps); n != 2 {
		t.Fatalf("%d wraps: nothing is in the way", n)
	}
	again := newWorld(t, 1, w.disk.reboot())
	delete(w.disk.fail, at(onFS, wire.OpReplaceFile))
	for boot, w := range map[string]*world{"the same boot": w, "the next boot": again} {
		w.do(func(ctx context.Context) {
			expect(t, "set again in "+boot, w.set(ctx, "alice", right, number), nil)
			expect(t, "unseal in "+boot, unsealAlice(number)(ctx, w), nil)
			if n := len(w.disk.roots["alice"].wraps); n != 2 {
				t.Errorf("%s: %d wraps", boot, n)
			}
		})
	}
}

// TestNeighboursErrorsKeepTheirMeaning lets each neighbour fail. What is about
// the disk passes on with its place; that keymintd lacks a protector says that
// users.db is an older copy; the rest is Unavailable.
func TestNeighboursErrorsKeepTheirMeaning(t *testing.T) {
	fault := &wire.Fault{Code: ipc.IOError, File: "state:/x", Offset: 7}
	older := &wire.Fault{Code: ipc.RolledBack, File: dbPath}
	for given, want := range map[error]error{
		fault: ipc.IOError, ipc.Damaged: ipc.Damaged, ipc.NoSpace: ipc.NoSpace, ipc.LimitReached: ipc.LimitReached,
		older: ipc.RolledBack, ipc.NotFound: ipc.RolledBack, ipc.Denied: ipc.Unavailable, ipc.BadSecret: ipc.Unavailable,
		ipc.Sealed: ipc.Unavailable, ipc.Malformed: ipc.Unavailable, ipc.Unavailable: ipc.Unavailable,
	} {
		w := newAlice(t, 1)
		w.do(func(ctx context.Context) {
			w.disk.fail[at(onMint, wire.OpAddProtector)] = given
			err := w.set(ctx, "alice", right, number)
			expect(t, fmt.Sprint("set, where keymintd says ", given), err, want)
			var place, wanted *wire.Fault
			if errors.As(given, &wanted); given == error(ipc.NotFound) {
				wanted = older
			}
			if errors.As(err, &place) != (wanted != nil) || place != nil && *place != *wanted {
				t.Errorf("%v: place %v", given, place)
			}
		})
	}
}
