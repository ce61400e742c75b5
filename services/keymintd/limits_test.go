package keymintd

import (
	"context"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

func TestLimitsOfRecords(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.key(ctx)
		expect(t, "key", err, nil)
		for _, c := range []struct {
			name, value int
			want        error
		}{
			{0, 1, ipc.Malformed}, {1, 0, nil}, {MaxName - 1, 1, nil}, {MaxName, 1, nil}, {MaxName + 1, 1, ipc.TooLarge},
			{1, MaxValue - 1, nil}, {1, MaxValue, nil}, {1, MaxValue + 1, ipc.TooLarge},
			{MaxName - 1, MaxValue - 1, nil}, {MaxName, MaxValue, nil}, {MaxName + 1, MaxValue + 1, ipc.TooLarge},
		} {
			name, value := strings.Repeat("n", c.name), strings.Repeat("v", c.value)
			record, err := a.seal(ctx, 1, name, value)
			expect(t, fmt.Sprintf("a name of %d and a value of %d", c.name, c.value), err, c.want)
			if c.want == nil {
				got, err := a.open(ctx, 1, record)
				expect(t, "open", err, nil)
				if got != name+"="+value || len(record) > MaxRecord {
					t.Errorf("a name of %d and a value of %d came back otherwise", c.name, c.value)
				}
			}
		}
		for _, name := range []string{"a b", "a\nb", "\x1b[0m", "a\x00", "é"} {
			_, err := a.seal(ctx, 1, name, "v")
			expect(t, fmt.Sprintf("name %q", name), err, ipc.Malformed)
		}
		for _, c := range []struct {
			sequence uint64
			kind     uint32
			want     error
		}{
			{0, 1, ipc.Malformed}, {1, 0, ipc.Malformed}, {1, 1, nil}, {1, 254, nil}, {1, 255, nil}, {1, 256, ipc.Malformed},
			{^uint64(0), 1, nil}, {1, 257, ipc.Malformed},
		} {
			q := &wire.SealRecordRequest{Sequence: c.sequence, Kind: c.kind, Name: "n"}
			err := a.onVault(ctx, wire.OpSealRecord, q, &wire.SealRecordReply{})
			expect(t, fmt.Sprintf("sequence %d, kind %d", c.sequence, c.kind), err, c.want)
		}
		for _, n := range []int{0, 1, MaxRecord, MaxRecord + 1} {
			_, err := a.open(ctx, 1, []byte(strings.Repeat("\x01", n)))
			expect(t, fmt.Sprintf("a record of %d bytes", n), err, ipc.Damaged)
		}
	})
}

func TestLimitsOfSegments(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		for _, c := range []struct {
			header, body int
			want         error
		}{
			{0, 1, ipc.Malformed}, {1, 0, ipc.Malformed}, {1, 1, nil},
			{MaxHeader - 1, 1, nil}, {MaxHeader, 1, nil}, {MaxHeader + 1, 1, ipc.TooLarge},
			{1, MaxBody - 1, nil}, {MaxHeader, MaxBody, nil}, {1, MaxBody + 1, ipc.TooLarge},
		} {
			header, body := strings.Repeat("h", c.header), strings.Repeat("b", c.body)
			sealed, err := a.sealSegment(ctx, header, body)
			expect(t, fmt.Sprintf("a header of %d and a body of %d", c.header, c.body), err, c.want)
			if c.want == nil {
				got, err := a.openSegment(ctx, header, sealed)
				expect(t, "open", err, nil)
				if got != body || len(sealed) != c.body+Overhead {
					t.Errorf("a header of %d and a body of %d came back otherwise", c.header, c.body)
				}
			}
		}
		for _, n := range []int{0, Overhead - 1, Overhead, Overhead + 1, Overhead + MaxBody, Overhead + MaxBody + 1} {
			_, err := a.openSegment(ctx, "h", make([]byte, n))
			expect(t, fmt.Sprintf("a segment of %d bytes", n), err, ipc.Damaged)
		}
	})
}

func TestLimitsOfSigning(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		for i := range MaxSigningKeys + 1 {
			want := error(nil)
			if i == MaxSigningKeys {
				want = ipc.LimitReached
			}
			_, err := a.generate(ctx, fmt.Sprintf("%02d%s", i, strings.Repeat("n", MaxKeyName-2)))
			expect(t, fmt.Sprint("key ", i+1), err, want)
		}
		names, err := a.list(ctx, "")
		expect(t, "list", err, nil)
		if len(names) != MaxSigningKeys {
			t.Errorf("%d names", len(names))
		}
		blob, err := a.wrap(ctx, names[0])
		expect(t, "wrap", err, nil)
		_, err = a.unwrap(ctx, "one-more", blob)
		expect(t, "unwrap beyond the limit", err, ipc.LimitReached)
		blob, err = a.detach(ctx, names[0])
		expect(t, "detach", err, nil)
		for n, want := range map[int]error{0: ipc.Malformed, 1: nil, MaxKeyName + 1: ipc.TooLarge} {
			_, err = a.unwrap(ctx, strings.Repeat("x", n), blob)
			expect(t, fmt.Sprintf("a name of %d bytes", n), err, want)
		}
		for n, want := range map[int]error{MaxMessage - 1: nil, MaxMessage: nil, MaxMessage + 1: ipc.TooLarge} {
			_, err := a.sign(ctx, "x", make([]byte, n))
			expect(t, fmt.Sprintf("a message of %d bytes", n), err, want)
		}
	})
}

func TestLimitOfApps(t *testing.T) {
	const limit = 120 // More than one listing holds.
	w := bootWith(t, rig.NewSeeded(t, 1, nil), simdisk.New(), &testChance{}, Limits{Apps: limit})
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		for i := range limit + 1 {
			want := error(nil)
			if i == limit {
				want = ipc.LimitReached
			}
			_, err := s.app(fmt.Sprint("demo", i)).key(ctx)
			expect(t, fmt.Sprint("app ", i+1), err, want)
		}
		_, err := s.app("demo0").generate(ctx, "k")
		expect(t, "an app that is there", err, nil)
		_, err = w.unsealed(ctx, bob).app("demo").key(ctx)
		expect(t, "an app of another user", err, nil)
	})
}

// TestLimitOfAppsAtOnce has more apps than there may be meet at their first use.
func TestLimitOfAppsAtOnce(t *testing.T) {
	eachSeed(t, 50, func(t *testing.T, seed uint64) {
		d := simdisk.New()
		w := bootWith(t, rig.NewSeeded(t, seed, nil), d, &testChance{}, Limits{Apps: 3})
		var s *seat
		w.do(func(ctx context.Context) { s = w.unsealed(ctx, alice) })
		var flows []func(ctx context.Context)
		made := 0
		for i := range 6 {
			a := s.app(fmt.Sprint("demo", i))
			flows = append(flows, func(ctx context.Context) {
				if _, err := a.key(ctx); err == nil {
					made++
				} else {
					expect(t, "key", err, ipc.LimitReached)
				}
			})
		}
		w.all(flows...)
		if n := len(ringFiles(t, d, "alice")); made != 3 || n != 3 {
			t.Errorf("%d apps were answered, %d rings made", made, n)
		}
	})
}

// TestFloodOfOneRing has one app's requests pile up behind its ring: beyond the
// limit they are turned away, and other apps are served meanwhile.
func TestFloodOfOneRing(t *testing.T) {
	for _, c := range []struct{ flood, refused int }{{MaxWaiting - 1, 0}, {MaxWaiting, 0}, {MaxWaiting + 1, 1}, {40, 40 - MaxWaiting}} {
		w := boot(t, 1, simdisk.New())
		var s *seat
		w.do(func(ctx context.Context) { s = w.unsealed(ctx, alice) })
		w.svc.locks.held["alice/demo"] = true // As if its disk were stuck.
		a, other := s.app("demo"), s.app("other")
		refused := 0
		var flows []func(ctx context.Context)
		for i := range c.flood {
			flows = append(flows, func(ctx context.Context) {
				if _, err := a.generate(ctx, fmt.Sprint("k", i)); err != nil {
					expect(t, "one of the flood", err, ipc.Unavailable)
					refused++
				}
			})
		}
		w.all(append(flows, func(ctx context.Context) {
			w.pause(ctx, 100)
			if refused != c.refused {
				t.Errorf("%d of %d are refused, want %d", refused, c.flood, c.refused)
			}
			_, err := other.generate(ctx, "k")
			expect(t, "another app", err, nil)
			w.svc.locks.release("alice/demo")
		})...)
		if refused != c.refused || len(w.svc.locks.waiting) != 0 || len(w.svc.locks.held) != 0 {
			t.Errorf("%d are refused, %d wait, %d locks are held", refused, len(w.svc.locks.waiting), len(w.svc.locks.held))
		}
	}
}

// TestGoneCallersDoNotWait has callers give up while their requests wait: the
// ring must not be changed for them.
func TestGoneCallersDoNotWait(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	var s *seat
	w.do(func(ctx context.Context) { s = w.unsealed(ctx, alice) })
	w.svc.locks.held["alice/demo"] = true
	a := s.app("demo")
	w.do(func(ctx context.Context) {
		short, cancel := w.boss.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := a.generate(short, "k")
		expect(t, "generate behind a stuck ring", err, ipc.TimedOut)
		w.svc.locks.release("alice/demo")
		w.pause(ctx, 20)
		if len(w.svc.locks.waiting) != 0 || len(w.svc.locks.held) != 0 {
			t.Error("somebody still waits")
		}
		names, err := a.list(ctx, "")
		expect(t, "list", err, nil)
		if len(names) != 0 {
			t.Errorf("keys %q were made for nobody", names)
		}
	})
}

// TestGarbage sends random and cut frames to every operation: a typed error,
// and the service goes on.
func TestGarbage(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	rnd := newRandom(t)
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		_, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		for range 3000 {
			m := ipc.Msg{Body: garbage(rnd), Token: a.token, Move: ipc.NoSlot, Op: uint16(rnd.Intn(64))}
			m.Slot = []ipc.Slot{w.admin, w.vault, w.keys}[rnd.Intn(3)]
			if m.Slot == w.admin {
				m.Token = nil
			}
			_, err := w.boss.Call(ctx, m, nil)
			var code ipc.Code
			if err != nil && !asCode(err, &code) {
				t.Fatalf("op %d answered %v", m.Op, err)
			}
			if code == ipc.Unavailable {
				t.Fatalf("op %d with %x crashed", m.Op, m.Body)
			}
		}
		_, err = a.sign(ctx, "k", nil)
		expect(t, "sign after garbage", err, nil)
	})
	if len(w.Crashes()) != 0 {
		t.Errorf("crashed: %v", w.Crashes()[0])
	}
}

func asCode(err error, code *ipc.Code) bool {
	c, ok := err.(ipc.Code)
	*code = c
	return ok
}

// garbage is bytes that often look like the beginning of a message.
func garbage(rnd *rand.Rand) []byte {
	b := make([]byte, rnd.Intn(80))
	rnd.Read(b)
	for i := 0; i+1 < len(b); i += 1 + rnd.Intn(20) {
		b[i] = byte(1+rnd.Intn(4))<<3 | 2*byte(rnd.Intn(2))
		b[i+1] = byte(rnd.Intn(24))
	}
	return b
}
