package keystored_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

func TestPutGetDeleteList(t *testing.T) {
	s := newSystem(t)
	mail := s.alice().app("mail")
	s.must(mail.put("imap.password", "one"))
	s.must(mail.put("smtp", ""))
	mail.wantGet("imap.password", "one")
	mail.wantGet("smtp", "")
	s.must(mail.put("imap.password", "two"))
	mail.wantGet("imap.password", "two")
	if names, err := mail.list(); err != nil || !slices.Equal(names, []string{"imap.password", "smtp"}) {
		t.Errorf("list: %v, %v", names, err)
	}
	s.must(mail.delete("imap.password"))
	_, err := mail.get("imap.password")
	wantErr(t, "get after delete", err, ipc.NotFound)
	wantErr(t, "delete again", mail.delete("imap.password"), ipc.NotFound)
	if names, err := mail.list(); err != nil || !slices.Equal(names, []string{"smtp"}) {
		t.Errorf("list: %v, %v", names, err)
	}
	if lines := s.rig.Console(); !slices.Contains(lines, "keystore: put (app=mail, key=imap.password)") || s.marks("keystore: put") != 3 || s.marks("keystore: ready") != 1 {
		t.Errorf("console %q", lines)
	}
}

func TestApparentTwinsAreStrangers(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	apps := map[string]*app{}
	for _, id := range []string{"mail", "mail.x", "mai", "maily"} {
		apps[id] = c.app(id)
		s.must(apps[id].put("name", "of "+id))
	}
	for id, a := range apps {
		a.wantGet("name", "of "+id)
	}
	s.must(apps["mail"].delete("name"))
	_, err := apps["mail"].get("name")
	wantErr(t, "deleted", err, ipc.NotFound)
	apps["mail.x"].wantGet("name", "of mail.x")
	bob := s.session("bob") // Even of the same incarnation, which cannot be.
	s.must(bob.unseal(true))
	_, err = bob.app("mail.x").get("name")
	wantErr(t, "another user's", err, ipc.NotFound)
}

// TestAbsentIsAbsent shows that an app cannot tell a name that another app has
// from one that nobody has: not by the answer and not by the work done for it.
func TestAbsentIsAbsent(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	s.must(c.app("mail").put("taken", "x"))
	spy := c.app("spy")
	s.must(spy.put("own", "x"))
	type work struct {
		fails       [2]string
		opened      int
		sealed      int
		calls, sync uint64
	}
	probe := func(name string) work {
		w := work{opened: s.mint.count(wire.OpOpenRecord), sealed: s.mint.count(wire.OpSealRecord), calls: s.disk.Calls(), sync: s.disk.Stats().Syncs}
		_, err := spy.get(name)
		w.fails = [2]string{fmt.Sprintf("%#v", err), fmt.Sprintf("%#v", spy.delete(name))}
		w.opened = s.mint.count(wire.OpOpenRecord) - w.opened
		w.sealed = s.mint.count(wire.OpSealRecord) - w.sealed
		w.calls, w.sync = s.disk.Calls()-w.calls, s.disk.Stats().Syncs-w.sync
		return w
	}
	taken, free := probe("taken"), probe("never")
	if taken != free {
		t.Errorf("another app's name: %+v, nobody's: %+v", taken, free)
	}
	if taken.calls != 0 {
		t.Errorf("an absent name cost %d calls of the disk", taken.calls)
	}
}

func TestSealedAndMalformed(t *testing.T) {
	s := newSystem(t)
	c := s.session("alice")
	a := c.app("mail")
	wantErr(t, "put", a.put("bad name", strings.Repeat("v", 5000)), ipc.Sealed)
	_, err := a.get("name")
	wantErr(t, "get", err, ipc.Sealed)
	wantErr(t, "delete", a.delete("name"), ipc.Sealed)
	_, err = a.list()
	wantErr(t, "list", err, ipc.Sealed)
	if s.disk.Stats().Writes != 0 {
		t.Error("a sealed session wrote")
	}
	s.must(c.unseal(true))
	for _, name := range []string{"", "bad name", "new\nline", "nul\x00", "\x1b[2J", strings.Repeat("n", 257)} {
		wantErr(t, "put", a.put(name, strings.Repeat("v", 5000)), ipc.Malformed)
		_, err := a.get(name)
		wantErr(t, "get", err, ipc.Malformed)
		wantErr(t, "delete", a.delete(name), ipc.Malformed)
	}
	if n := s.marks("keystore: put"); n != 0 {
		t.Errorf("%d puts are marked", n)
	}
}

func TestSizeLimits(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	for n, want := range map[int]error{4095: nil, 4096: nil, 4097: nil, 65535: nil, 65536: nil, 65537: ipc.TooLarge} {
		name := strings.Repeat("n", 256)
		wantErr(t, fmt.Sprint(n), a.put(name, strings.Repeat("v", n)), want)
		if want == nil {
			a.wantGet(name, strings.Repeat("v", n))
		}
	}
	a.do(func(ctx context.Context) {
		q := &wire.PutRequest{Name: "frame", Value: make([]byte, 4097)}
		wantErr(t, "4097 bytes in a frame", a.call(ctx, wire.OpPut, q, &wire.PutReply{}), ipc.TooLarge)
	})
	for n, want := range map[int]error{255: nil, 256: nil, 257: ipc.Malformed} {
		wantErr(t, fmt.Sprint(n), a.put(strings.Repeat("m", n), "v"), want)
	}
}

func TestQuotas(t *testing.T) {
	limits := vault.Limits{AppSecrets: 3, AppBytes: 30, UserSecrets: 5, UserBytes: 45}
	s := boot(t, rig.New(t), simdisk.New(), limits)
	c := s.alice()
	a, b := c.app("a"), c.app("b")
	for _, name := range []string{"1", "2", "3"} {
		s.must(a.put(name, "v"))
	}
	refused := func(what string, err error) {
		t.Helper()
		wantErr(t, what, err, ipc.Quota)
	}
	// Nothing is done for what is refused: neither disk nor keymintd hear of it.
	before, asked := s.disk.Stats(), 0
	s.mint.setFail(func(uint16, ipc.Stamp) error { asked++; return nil })
	refused("a 4th secret", a.put("4", ""))
	refused("31 bytes", a.put("1", strings.Repeat("v", 26)))
	wantErr(t, "what is not there", a.delete("4"), ipc.NotFound)
	s.mint.setFail(nil)
	if after := s.disk.Stats(); after != before || asked != 0 {
		t.Errorf("refused puts: the disk was at %+v and is at %+v, keymintd was asked %d times", before, after, asked)
	}
	a.wantGet("1", "v")
	s.must(a.put("1", strings.Repeat("v", 24)))
	s.must(a.put("1", strings.Repeat("v", 25)))
	s.must(b.put("1", strings.Repeat("v", 12)))
	refused("46 bytes of the user", b.put("2", "vv"))
	s.must(b.put("2", "v"))
	s.must(a.put("1", "v"))
	refused("a 6th secret of the user", b.put("3", ""))
	s.must(a.delete("3"))
	s.must(b.put("3", ""))
	// The sums are the same after the vault was read again.
	c.lock()
	c = s.again()
	refused("still full", c.app("a").put("3", ""))
	s.must(c.app("b").delete("3"))
	s.must(c.app("a").put("3", ""))
}

func TestListPages(t *testing.T) {
	s := newSystem(t)
	a := s.alice().app("mail")
	var want []string
	for i := range 100 {
		name := fmt.Sprintf("%03d%s", i, strings.Repeat("n", 253))
		want = append(want, name)
		s.must(a.put(name, ""))
	}
	if names, err := a.list(); err != nil || !slices.Equal(names, want) {
		t.Errorf("%d names, %v", len(names), err)
	}
}

// TestGetTouchesNoDisk is the promise that a get costs no I/O.
func TestGetTouchesNoDisk(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	s.must(c.app("mail").put("name", "value"))
	c.lock()
	a := s.again().app("mail")
	a.wantGet("name", "value")
	calls, opened := s.disk.Calls(), s.mint.count(wire.OpOpenRecord)
	for range 20 {
		a.wantGet("name", "value")
	}
	if n := s.disk.Calls() - calls; n != 0 {
		t.Errorf("20 gets made %d calls of the disk", n)
	}
	if n := s.mint.count(wire.OpOpenRecord) - opened; n != 20 {
		t.Errorf("20 gets opened %d records", n)
	}
}

func TestNamesAreBuiltOnce(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	for i := range 10 {
		s.must(a.put(fmt.Sprint(i), "v"))
	}
	s.must(c.app("other").put("x", "v"))
	c.lock()
	c = s.again()
	if n := s.mint.count(wire.OpOpenRecord); n != 0 {
		t.Errorf("the unseal opened %d records of apps", n)
	}
	a = c.app("mail")
	_, _ = a.list()
	_, _ = a.list()
	if n := s.mint.count(wire.OpOpenRecord); n != 10 {
		t.Errorf("two lists of 10 names opened %d records", n)
	}
}

// TestKeysAreMadeByPuts has an app that never stored anything ask for all else.
func TestKeysAreMadeByPuts(t *testing.T) {
	s := newSystem(t)
	c := s.alice()
	a := c.app("mail")
	_, err := a.get("name")
	wantErr(t, "get", err, ipc.NotFound)
	wantErr(t, "delete", a.delete("name"), ipc.NotFound)
	if names, err := a.list(); err != nil || len(names) != 0 {
		t.Errorf("list: %v, %v", names, err)
	}
	if n := s.mint.keyCount(); n != 0 {
		t.Errorf("%d keys were made without a put", n)
	}
	s.must(a.put("name", "value"))
	if n := s.mint.keyCount(); n != 1 {
		t.Errorf("a put made %d keys", n)
	}
	asked := s.mint.count(wire.OpAppKey)
	s.must(a.put("other", "value"))
	a.wantGet("name", "value")
	if n := s.mint.count(wire.OpAppKey) - asked; n != 0 {
		t.Errorf("the key's id was asked for %d times more", n)
	}
}
