package ui_v18b_host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/statefsd/simdisk"
)

// long is a value as long as one may be, made of a mark.
func long(mark string) string {
	return strings.Repeat(mark, keychain.MaxValue/len(mark)+1)[:keychain.MaxValue]
}

// noneLeft says that no memory object is left in the system.
func (w *world) noneLeft() {
	w.t.Helper()
	if s := w.Kernel.Stats(); s.Memories != 0 || s.MemoryBytes != 0 {
		w.t.Errorf("%d memory objects of %d bytes are left", s.Memories, s.MemoryBytes)
	}
	if err := w.Kernel.Check(); err != nil {
		w.t.Error(err)
	}
}

// TestLongValueIsOnesOwn has two apps and two users with a long value under one
// name. Each has its own; who has none finds none; a locked session has nothing.
func TestLongValueIsOnesOwn(t *testing.T) {
	d := simdisk.New()
	w := start(t, d)
	alice, bob := w.newUser("alice"), w.newUser("bob")
	notes, mail, bobs := alice.app("notes"), alice.app("mail"), bob.app("notes")
	notes.put("long", long("of notes "))
	mail.lacks("long")
	bobs.lacks("long")
	mail.put("long", long("of mail "))
	bobs.put("long", long("of bob "))
	alice.lock()
	notes.denied("long")
	if err := notes.tryPut("long", long("late ")); !errors.Is(err, ipc.Denied) {
		t.Errorf("a long put after the lock: %v", err)
	}
	bobs.holds("long", long("of bob "))
	alice.unseal()
	notes = alice.app("notes")
	notes.holds("long", long("of notes "))
	alice.app("mail").holds("long", long("of mail "))
	w.noneLeft()
	w.end()
	w = start(t, d.Crash())
	notes = w.back("alice").app("notes")
	notes.holds("long", long("of notes "))
	notes.put("long", "short")
	notes.holds("long", "short")
	notes.put("long", long("long again "))
	notes.holds("long", long("long again "))
	notes.delete("long")
	notes.lacks("long")
	w.noneLeft()
}

// TestLongValueOnTheDisk: the disk shows neither the value nor how long it is to
// the byte.
func TestLongValueOnTheDisk(t *testing.T) {
	d := simdisk.New()
	w := start(t, d)
	notes := w.newUser("alice").app("notes")
	sizes := map[int]bool{}
	for _, n := range []int{4097, 5000, 7000} {
		before := len(contents(t, d)["state/identity/alice/vault.kv"])
		notes.put(fmt.Sprint("name", n), strings.Repeat("canary", n/6+1)[:n])
		sizes[len(contents(t, d)["state/identity/alice/vault.kv"])-before] = true
	}
	if len(sizes) != 1 {
		t.Errorf("values of one bucket take different lengths: %v", sizes)
	}
	for path, content := range contents(t, d) {
		if bytes.Contains(content, []byte("canarycanary")) {
			t.Errorf("%s shows the value", path)
		}
	}
}

// TestLongPutSealedInMidCall locks while a long put waits for the disk: its
// caller is told at once, and when the lock is over no object is left.
func TestLongPutSealedInMidCall(t *testing.T) {
	g := &gated{Disk: simdisk.New()}
	w := start(t, g)
	alice := w.newUser("alice")
	notes := alice.app("notes")
	notes.put("long", long("old "))
	sync := g.hold(t, "state/identity/alice/vault.kv")
	put := make(chan error, 1)
	go func() { put <- notes.tryPut("long", long("new ")) }()
	soon(t, "the sync", sync.arrived)
	notes.holds("long", long("old "))
	locked := make(chan error, 1)
	go func() { locked <- w.launcher.Lock(w.ctx(), alice.sid) }()
	want(t, soon(t, "the put's error", put), ipc.Denied)
	sync.open()
	must(t, soon(t, "the lock", locked))
	w.noneLeft()
	alice.unseal()
	if got, err := alice.app("notes").tryGet("long"); err != nil || got != long("old ") && got != long("new ") {
		t.Errorf("afterwards: %.20q, %v", got, err)
	}
}

// TestLongPutAndCrashes has keystored, keymintd and statefsd panic in the middle
// of long puts and gets, and the app exit: no object is left.
func TestLongPutAndCrashes(t *testing.T) {
	for service, line := range map[string]string{
		boot.KeyStoreD: "keystore: ready", boot.KeyMintD: "keymintd: ready", boot.StateFSD: "statefsd: ready",
	} {
		w := fresh(t)
		alice := w.newUser("alice")
		notes := alice.app("notes")
		notes.put("long", long("old "))
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for range 5 {
					_ = notes.tryPut("long", long("new "))
					_, _ = notes.tryGet("long")
				}
			})
		}
		w.console.restarted = append(w.console.restarted, line)
		w.Task(service).Panic()
		writers.Wait()
		w.settled()
		w.noneLeft()
		if n := len(w.panics()); n > 1 {
			t.Errorf("%s: %d panics", service, n)
		}
		if service != boot.KeyMintD {
			if got, err := notes.tryGet("long"); err != nil || got != long("old ") && got != long("new ") {
				t.Errorf("%s: afterwards %.20q, %v", service, got, err)
			}
		}
		w.noneLeft()
	}
}

// settled waits till nothing is queued or being served.
func (w *world) settled() {
	w.t.Helper()
	for until := time.Now().Add(patience); !w.Kernel.Quiet(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			w.t.Fatal("the system does not become quiet")
		}
	}
}

// TestFloodOfObjects has one app take all memory that it gets, and send what it
// has along with requests that want none: another app's long values work all the
// while, and the services' tables do not fill up.
func TestFloodOfObjects(t *testing.T) {
	w := fresh(t)
	alice := w.newUser("alice")
	flooder, notes := alice.app("flooder"), alice.app("notes")
	flooder.put("long", long("flood "))
	slots := w.Task(boot.KeyStoreD).Slots()
	ctx, cancel := context.WithCancel(w.ctx())
	var flood sync.WaitGroup
	for i := range 8 {
		flood.Go(func() {
			for ctx.Err() == nil {
				loan, err := wire.Lend(flooder.Task, nil, ipc.MaxMemory)
				if err != nil {
					if !errors.Is(err, ipc.NoSpace) {
						t.Errorf("the flooder: %v", err)
					}
					time.Sleep(time.Millisecond)
					continue
				}
				op := []uint16{wire.OpGet, wire.OpList, wire.OpDelete, wire.OpPut}[i%4]
				m := ipc.Msg{Slot: flooder.Config.Store, Op: op, Token: &flooder.Config.Token, Move: loan.Object}
				_ = wire.Call(ctx, flooder.Task, m, &wire.GetRequest{Name: "long", Room: keychain.MaxValue}, &wire.GetReply{})
				if i%2 == 0 {
					loan.End() // The others are hoarded till the budget is used up.
				}
			}
		})
	}
	for i := range 20 {
		value := long(fmt.Sprint("value ", i, " "))
		notes.put("long", value)
		notes.holds("long", value)
	}
	if n := w.Kernel.Stats().MemoryBytes; n > ipc.MaxSystemMemory {
		t.Errorf("%d bytes of memory", n)
	}
	cancel()
	flood.Wait()
	flooder.Exit()
	w.settled()
	w.noneLeft()
	if n := w.Task(boot.KeyStoreD).Slots(); n != slots {
		t.Errorf("keystored holds %d capabilities, and held %d", n, slots)
	}
}
