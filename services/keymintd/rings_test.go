package keymintd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// ringFiles answers the paths of a user's rings, relative to state:.
func ringFiles(t *testing.T, d disk.Disk, user string) []string {
	t.Helper()
	var paths []string
	for path := range onDisk(t, d) {
		if strings.HasPrefix(path, "identity/"+user+"/apps/") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// counting counts the replaces of each path, and may make them fail after they
// took effect.
type counting struct {
	disk.Disk
	replaces map[string]int
	after    error
}

func newCounting(d disk.Disk) *counting { return &counting{Disk: d, replaces: make(map[string]int)} }

func (c *counting) Replace(path string, p []byte) error {
	if strings.HasSuffix(path, ".ring") {
		c.replaces[path]++
	}
	if err := c.Disk.Replace(path, p); err != nil {
		return err
	}
	if c.after != nil && strings.HasSuffix(path, ".ring") {
		return c.after
	}
	return nil
}

func TestRingIsNamedByItsKeyID(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		id, err := w.unsealed(ctx, alice).app("demo").key(ctx)
		expect(t, "key", err, nil)
		want := []string{"identity/alice/apps/" + hex.EncodeToString(id) + ".ring"}
		if got := ringFiles(t, d, "alice"); !slices.Equal(got, want) {
			t.Errorf("rings %q, want %q", got, want)
		}
	})
	for path, content := range onDisk(t, d) {
		if strings.Contains(path+content, "demo") {
			t.Errorf("%s shows the app", path)
		}
	}
}

// TestOneRingForConcurrentFirstUses has many requests meet at an app's first
// use: there must be one ring, written once, and the same key for all.
func TestOneRingForConcurrentFirstUses(t *testing.T) {
	eachSeed(t, 60, func(t *testing.T, seed uint64) {
		d := newCounting(simdisk.New())
		w := boot(t, seed, d)
		var first, second *seat
		w.do(func(ctx context.Context) { first, second = w.unsealed(ctx, alice), w.unsealed(ctx, alice) })
		records := make([][]byte, 6)
		var flows []func(ctx context.Context)
		for i := range records {
			s := []*seat{first, second}[i%2]
			a := s.app("demo")
			flows = append(flows, func(ctx context.Context) {
				_, err := a.key(ctx)
				expect(t, "key", err, nil)
				records[i], err = a.seal(ctx, uint64(i+1), "n", "v")
				expect(t, "seal", err, nil)
			})
		}
		w.all(flows...)
		if len(d.replaces) != 1 {
			t.Errorf("%d rings", len(d.replaces))
		}
		for path, n := range d.replaces {
			if n != 1 {
				t.Errorf("%s was written %d times", path, n)
			}
		}
		w.do(func(ctx context.Context) {
			first.lock(ctx)
			second.lock(ctx)
			a := w.unsealed(ctx, alice).app("demo")
			for i, record := range records {
				_, err := a.open(ctx, uint64(i+1), record)
				expect(t, "open", err, nil)
			}
		})
	})
}

// TestConcurrentChangesOfOneRing loses no key and makes none twice.
func TestConcurrentChangesOfOneRing(t *testing.T) {
	eachSeed(t, 60, func(t *testing.T, seed uint64) {
		w := boot(t, seed, simdisk.New())
		var a, b *app
		w.do(func(ctx context.Context) {
			a, b = w.unsealed(ctx, alice).app("demo"), w.unsealed(ctx, alice).app("demo")
		})
		won := 0
		var flows []func(ctx context.Context)
		for i := range 6 {
			own := []*app{a, b}[i%2]
			flows = append(flows, func(ctx context.Context) {
				_, err := own.generate(ctx, fmt.Sprint("k", i))
				expect(t, "generate", err, nil)
				if i < 3 {
					expect(t, "delete", own.delete(ctx, fmt.Sprint("k", i)), nil)
				}
				if _, err := own.generate(ctx, "same"); err == nil {
					won++
				} else {
					expect(t, "the same name", err, ipc.Exists)
				}
			})
		}
		w.all(flows...)
		w.do(func(ctx context.Context) {
			names, err := a.list(ctx, "")
			expect(t, "list", err, nil)
			if strings.Join(names, " ") != "k3 k4 k5 same" || won != 1 {
				t.Errorf("names %q, same was made %d times", names, won)
			}
		})
	})
}

// TestRingIsNeverMadeAnew has a ring that cannot be read, in every way.
func TestRingIsNeverMadeAnew(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	var record []byte
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		record, err = a.seal(ctx, 1, "n", "v")
		expect(t, "seal", err, nil)
	})
	path := ringFiles(t, d, "alice")[0]
	good := onDisk(t, d)[path]
	for name, c := range map[string]struct {
		content string
		fault   bool
		code    ipc.Code
		offset  int64
	}{
		"empty":       {"", false, ipc.Damaged, 0},
		"cut":         {good[:100], false, ipc.Damaged, 57},
		"version":     {"\x02" + good[1:], false, ipc.Damaged, 0},
		"nonce":       {good[:1] + "x" + good[2:], false, ipc.Damaged, 25},
		"sealed part": {flipped(good, 100), false, ipc.Damaged, 57},
		"too long":    {good + strings.Repeat("x", maxRingFile), false, ipc.Damaged, maxRingFile},
		"unreadable":  {good, true, ipc.IOError, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.Clone()
			put(t, d, path, c.content)
			before := onDisk(t, d)
			if c.fault {
				d.SetFault(func(op simdisk.Op) error {
					if op.Kind == simdisk.Read && op.Path == "state/"+path {
						return errDisk
					}
					return nil
				})
			}
			w := boot(t, 1, d)
			w.do(func(ctx context.Context) {
				a := w.unsealed(ctx, alice).app("demo")
				_, err := a.key(ctx)
				expectFault(t, "key", err, c.code, "state:/"+path, c.offset)
				_, err = a.generate(ctx, "k2")
				expectFault(t, "generate", err, c.code, "state:/"+path, c.offset)
				_, err = a.open(ctx, 1, record)
				expectFault(t, "open", err, c.code, "state:/"+path, c.offset)
				_, err = a.list(ctx, "")
				expectFault(t, "list", err, c.code, "state:/"+path, c.offset)
				_, err = w.unsealed(ctx, bob).app("demo").key(ctx)
				expect(t, "another user's key", err, nil)
				d.SetFault(nil)
				now := onDisk(t, d)
				maps.DeleteFunc(now, func(p, _ string) bool { return strings.HasPrefix(p, "identity/bob/") })
				if !maps.Equal(now, before) {
					t.Error("the disk was changed")
				}
				put(t, d, path, good)
				got, err := a.open(ctx, 1, record)
				expect(t, "once it can be read", err, nil)
				if got != "n=v" {
					t.Errorf("opened %q", got)
				}
			})
		})
	}
}

// TestRecordWithoutRing is damage: unreadable is never empty.
func TestRecordWithoutRing(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a := s.app("demo")
		_, err := a.key(ctx)
		expect(t, "key", err, nil)
		record, err := a.seal(ctx, 1, "n", "v")
		expect(t, "seal", err, nil)
		s.lock(ctx)
		path := ringFiles(t, d, "alice")[0]
		if err := d.Remove("state/" + path); err != nil {
			t.Fatal(err)
		}
		a = w.unsealed(ctx, alice).app("demo")
		_, err = a.open(ctx, 1, record)
		expectFault(t, "open", err, ipc.Damaged, "state:/"+path, 0)
		_, err = a.seal(ctx, 2, "n", "v")
		expectFault(t, "seal", err, ipc.Damaged, "state:/"+path, 0)
		if n := len(ringFiles(t, d, "alice")); n != 0 {
			t.Errorf("%d rings were made", n)
		}
	})
}

// TestFailedWriteOfARing lets a write fail, with and without its effect. What
// was not acknowledged may be there or not, but memory and disk must agree, and
// what was acknowledged must stay.
func TestFailedWriteOfARing(t *testing.T) {
	for _, effect := range []bool{false, true} {
		t.Run(fmt.Sprint("effect ", effect), func(t *testing.T) {
			sim := simdisk.New()
			d := newCounting(sim)
			fail := func(on bool) {
				if effect {
					d.after = map[bool]error{true: errDisk}[on]
					return
				}
				sim.SetFault(map[bool]func(simdisk.Op) error{true: func(op simdisk.Op) error {
					if op.Kind == simdisk.Replace {
						return errDisk
					}
					return nil
				}}[on])
			}
			w := boot(t, 1, d)
			w.do(func(ctx context.Context) {
				a := w.unsealed(ctx, alice).app("demo")
				fail(true)
				_, err := a.key(ctx)
				expect(t, "first use", err, ipc.IOError)
				fail(false)
				first, err := a.key(ctx)
				expect(t, "first use again", err, nil)
				kept, err := a.generate(ctx, "kept")
				expect(t, "generate", err, nil)
				record, err := a.seal(ctx, 1, "n", "v")
				expect(t, "seal", err, nil)
				fail(true)
				_, err = a.generate(ctx, "failed")
				expect(t, "generate on a failing disk", err, ipc.IOError)
				expect(t, "delete on a failing disk", a.delete(ctx, "kept"), ipc.IOError)
				fail(false)
				names, err := a.list(ctx, "")
				expect(t, "list", err, nil)
				want := map[bool]string{false: "kept", true: "failed"}[effect]
				if strings.Join(names, " ") != want {
					t.Errorf("names %q, want %q", names, want)
				}
				again, err := a.public(ctx, "kept")
				if !effect && (err != nil || !bytes.Equal(kept, again)) {
					t.Errorf("the kept key: %v", err)
				}
				got, err := a.open(ctx, 1, record)
				expect(t, "open", err, nil)
				second, _ := a.key(ctx)
				if got != "n=v" || !bytes.Equal(first, second) {
					t.Errorf("opened %q", got)
				}
			})
			before := memoryOf(t, w, "demo")
			w = boot(t, 2, sim.Crash())
			w.do(func(ctx context.Context) {
				_, err := w.unsealed(ctx, alice).app("demo").key(ctx)
				expect(t, "key after a crash", err, nil)
			})
			if !bytes.Equal(memoryOf(t, w, "demo"), before) {
				t.Error("memory was not what the disk held")
			}
		})
	}
}

// memoryOf answers what the only account holds of an app.
func memoryOf(t *testing.T, w *world, app string) []byte {
	t.Helper()
	for _, acct := range w.svc.accounts {
		if r := acct.rings[app]; r != nil {
			return bytes.Clone(r.encode().Expose())
		}
	}
	t.Fatal("no such ring in memory")
	return nil
}

func TestSigningKeys(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		a, other := s.app("demo"), s.app("other")
		_, err := a.public(ctx, "k")
		expect(t, "public of an app without keys", err, ipc.NotFound)
		_, err = a.sign(ctx, "k", nil)
		expect(t, "sign of an app without keys", err, ipc.NotFound)
		expect(t, "delete of an app without keys", a.delete(ctx, "k"), ipc.NotFound)
		_, err = a.wrap(ctx, "k")
		expect(t, "wrap of an app without keys", err, ipc.NotFound)
		names, err := a.list(ctx, "")
		expect(t, "list of an app without keys", err, nil)
		if len(names) != 0 {
			t.Errorf("names %q", names)
		}
		public, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		_, err = a.generate(ctx, "k")
		expect(t, "generate again", err, ipc.Exists)
		for _, message := range [][]byte{nil, []byte("m"), bytes.Repeat([]byte("m"), MaxMessage)} {
			signature, err := a.sign(ctx, "k", message)
			expect(t, "sign", err, nil)
			if !ed25519.Verify(public, message, signature) {
				t.Error("a signature does not verify")
			}
		}
		_, err = other.sign(ctx, "k", nil)
		expect(t, "sign as another app", err, ipc.NotFound)
		theirs, err := other.generate(ctx, "k")
		expect(t, "generate as another app", err, nil)
		if bytes.Equal(public, theirs) {
			t.Error("two apps have one key")
		}
		expect(t, "delete", a.delete(ctx, "k"), nil)
		expect(t, "delete again", a.delete(ctx, "k"), ipc.NotFound)
		again, err := a.generate(ctx, "k")
		expect(t, "generate after delete", err, nil)
		if bytes.Equal(public, again) {
			t.Error("a deleted key came back")
		}
	})
}

func TestListAfter(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		for _, name := range []string{"c", "a", "B", "bb"} {
			_, err := a.generate(ctx, name)
			expect(t, "generate", err, nil)
		}
		for after, want := range map[string]string{"": "B a bb c", "B": "a bb c", "b": "bb c", "c": "", "!": "B a bb c"} {
			names, err := a.list(ctx, after)
			expect(t, "list", err, nil)
			if strings.Join(names, " ") != want {
				t.Errorf("after %q: %q, want %q", after, names, want)
			}
		}
		_, err := a.list(ctx, "a b")
		expect(t, "list after no name", err, ipc.Malformed)
	})
}

func TestBlobs(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	w.do(func(ctx context.Context) {
		s, sb := w.unsealed(ctx, alice), w.unsealed(ctx, bob)
		a, other, foreign := s.app("demo"), s.app("other"), sb.app("demo")
		public, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		blob, err := a.wrap(ctx, "k")
		expect(t, "wrap", err, nil)
		_, err = a.wrap(ctx, "nothing")
		expect(t, "wrap of nothing", err, ipc.NotFound)
		if len(blob) != BlobSize {
			t.Errorf("a blob of %d bytes", len(blob))
		}
		_, err = a.unwrap(ctx, "k", blob)
		expect(t, "unwrap over a key", err, ipc.Exists)
		for name, stranger := range map[string]*app{"another app": other, "another user": foreign} {
			_, err := stranger.unwrap(ctx, "k", blob)
			expect(t, "unwrap without a ring as "+name, err, ipc.Denied)
			_, err = stranger.generate(ctx, "mine")
			expect(t, "generate", err, nil)
			_, err = stranger.unwrap(ctx, "k", blob)
			expect(t, "unwrap as "+name, err, ipc.Denied)
		}
		for i := range blob {
			bad := bytes.Clone(blob)
			bad[i] ^= 0x10
			want := ipc.Denied
			if i == 0 {
				want = ipc.Malformed
			}
			_, err := a.unwrap(ctx, "new", bad)
			expect(t, fmt.Sprint("a blob changed at ", i), err, want)
		}
		for _, bad := range [][]byte{nil, blob[:BlobSize-1], append(bytes.Clone(blob), 0)} {
			_, err := a.unwrap(ctx, "new", bad)
			expect(t, "a blob of another length", err, ipc.Malformed)
		}
		_, err = a.unwrap(ctx, "new", blob)
		expect(t, "unwrap beside the key itself", err, ipc.Exists)
		_, err = a.detach(ctx, "nothing")
		expect(t, "detach of nothing", err, ipc.NotFound)
		_, err = a.detach(ctx, "k")
		expect(t, "detach", err, nil)
		_, err = a.sign(ctx, "k", []byte("m"))
		expect(t, "sign with what is detached", err, ipc.NotFound)
		got, err := a.unwrap(ctx, "back", blob)
		expect(t, "unwrap", err, nil)
		if !bytes.Equal(got, public) {
			t.Error("another key came back")
		}
		signature, err := a.sign(ctx, "back", []byte("m"))
		expect(t, "sign", err, nil)
		if !ed25519.Verify(public, []byte("m"), signature) {
			t.Error("the key that came back signs otherwise")
		}
		last, err := a.detach(ctx, "back")
		expect(t, "detach again", err, nil)
		_, err = a.generate(ctx, "k") // Another key, whose number is its own.
		expect(t, "generate again", err, nil)
		_, err = a.unwrap(ctx, "back", last)
		expect(t, "unwrap again", err, nil)
		expect(t, "delete", a.delete(ctx, "back"), nil)
		for i := range 2 {
			for what, old := range map[string][]byte{"wrapped": blob, "detached": last} {
				_, err = a.unwrap(ctx, "back", old)
				expect(t, fmt.Sprint("a deleted key, ", what, ", try ", i), err, ipc.Denied)
			}
			s.lock(ctx)
			s = w.unsealed(ctx, alice) // The disk knows it too.
			a = s.app("demo")
		}
		_, err = a.sign(ctx, "k", []byte("m"))
		expect(t, "sign with the other key", err, nil)
	})
}

// TestConstantChance runs the service on chance that never changes.
func TestConstantChance(t *testing.T) {
	w := bootWith(t, rig.NewSeeded(t, 1, nil), simdisk.New(), &testChance{constant: true}, Limits{})
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.key(ctx)
		expect(t, "key", err, nil)
		nonces := make(map[string]bool)
		for i := range 200 {
			record, err := a.seal(ctx, 1, "n", fmt.Sprint(i))
			expect(t, "seal", err, nil)
			segment, err := a.sealSegment(ctx, "h", fmt.Sprint(i))
			expect(t, "segment", err, nil)
			nonces[string(record[1:1+nonceSize])] = true
			nonces[string(segment[:nonceSize])] = true
		}
		if len(nonces) != 400 {
			t.Errorf("%d nonces for 400 plaintexts", len(nonces))
		}
	})
}

// TestChanceIsUsedOnce looks at what rngd was asked for: keys by themselves,
// nonces in blocks.
func TestChanceIsUsedOnce(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.generate(ctx, "k")
		expect(t, "generate", err, nil)
		for i := range uint64(50) {
			block := w.svc.entropy.left
			_, err := a.seal(ctx, i+1, "n", "v")
			expect(t, "seal", err, nil)
			if len(block) > 0 && !zero(block[:nonceSize]) {
				t.Error("a used piece is still there")
			}
		}
	})
	keys, blocks := 0, 0
	for _, n := range w.chance.asked[1:] {
		switch n {
		case KeySize:
			keys++
		case blockSize:
			blocks++
		default:
			t.Errorf("rngd was asked for %d bytes", n)
		}
	}
	// The salt, the root key, a data key and a seed.
	if want := (3 + 50 + blockSize/nonceSize - 1) / (blockSize / nonceSize); keys != 4 || blocks != want {
		t.Errorf("rngd was asked for %d keys and %d blocks", keys, blocks)
	}
}
