package machine

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"nexus.internal/os/actors"
	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// build makes a machine by seed, and what its console says.
func build(storage Storage) (*Machine, *bytes.Buffer) {
	console := new(bytes.Buffer)
	return New(Config{
		Boot:      boot.Config{Console: console, Argon: identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}},
		Storage:   storage,
		Scheduler: func(n int) actors.Scheduler { return seeded.New(uint64(n)) },
	}), console
}

// createUser makes a user, which writes several files.
func createUser(m *Machine, name string) (err error) {
	l, err := m.System().Launcher()
	if err != nil {
		return err
	}
	if !m.System().Run(l.Task(), func(ctx context.Context) {
		err = l.CreateUser(ctx, name, boot.Password([]byte("a password")))
	}) {
		return boot.ErrPowerCut
	}
	return err
}

func TestSwitch(t *testing.T) {
	for name, storage := range map[string]Storage{"memory": NewMemory(nil), "directory": &Dir{Path: t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			m, _ := build(storage)
			if err := m.Shutdown(); !errors.Is(err, ErrOff) {
				t.Errorf("off: %v", err)
			}
			if err := m.Check(); !errors.Is(err, ErrOff) {
				t.Errorf("off: %v", err)
			}
			m.PowerCut() // Without power it does nothing.
			for n := range uint64(3) {
				must(t, m.Boot())
				if err := m.Boot(); !errors.Is(err, ErrOn) {
					t.Errorf("on: %v", err)
				}
				if got := m.System().Boot; got != n+1 || m.Cut() {
					t.Errorf("boot %d, want %d", got, n+1)
				}
				must(t, m.Check())
				must(t, m.Shutdown())
			}
			if m.Boots() != 3 || m.System() != nil {
				t.Errorf("%d boots", m.Boots())
			}
		})
	}
}

// After a power cut nothing of the system reaches disk or console, whatever it
// still does; and the disk is what was durable.
func TestPowerCut(t *testing.T) {
	storage := NewMemory(nil)
	m, console := build(storage)
	must(t, m.Boot())
	must(t, createUser(m, "alice"))
	before, said := storage.Disk().Hash(), console.String()
	m.PowerCut()
	if !m.Cut() {
		t.Error("the power is not cut")
	}
	if err := createUser(m, "bob"); !errors.Is(err, boot.ErrPowerCut) {
		t.Errorf("without power: %v", err)
	}
	must(t, m.Shutdown())
	if storage.Disk().Hash() != before || console.String() != said {
		t.Error("something reached disk or console after the power cut")
	}
	must(t, m.Boot())
	if err := createUser(m, "alice"); !errors.Is(err, ipc.Exists) {
		t.Errorf("the user is not there any more: %v", err)
	}
	must(t, m.Shutdown())
}

// The power goes at the n-th change of the disk, for all n of a first boot and
// a new user, the boot itself included. The machine boots again from what is
// left, each time.
func TestPowerCutAtEveryChange(t *testing.T) {
	for n := 1; ; n++ {
		m, _ := build(NewMemory(func(_ string, unsynced int) int { return unsynced / 2 }))
		m.Faults().Add(Rule{Kind: Power, N: n})
		err := m.Boot()
		if err == nil {
			err = createUser(m, "alice")
		} else if !errors.Is(err, boot.ErrPowerCut) {
			t.Fatalf("change %d: %v", n, err)
		}
		_ = m.Shutdown() // It may be off.
		if err == nil {
			if n < 5 {
				t.Errorf("only %d changes of the disk", n)
			}
			return
		}
		if m.Faults().Fired()[Power] != 1 {
			t.Fatalf("change %d: %v, and the fault did not come", n, err)
		}
		if err := m.Boot(); err != nil {
			t.Fatalf("after change %d: %v", n, err)
		}
		if err := createUser(m, "alice"); err != nil && !errors.Is(err, ipc.Exists) {
			t.Fatalf("after change %d: %v", n, err)
		}
		must(t, m.Shutdown())
	}
}

// A fault comes at its occasion, once, and is counted.
func TestFaults(t *testing.T) {
	var f Faults
	f.Add(Rule{Kind: Drop, Service: "a", N: 2})
	f.Add(Rule{Kind: Crash, Service: "a", Op: 7, Reply: true, N: 1})
	f.Add(Rule{Kind: Delay, Service: "b", N: 1, Delay: time.Second})
	f.Add(Rule{Kind: Disk, Call: simdisk.Sync, N: 1, Full: true})
	at := func(p ipc.Point, to string, op uint16) ipc.Fault {
		fault, _ := f.Inject(ipc.Passage{Point: p, To: to, Op: op})
		return fault
	}
	for i, c := range []struct{ got, want ipc.Fault }{
		{at(ipc.AtReply, "a", 1), ipc.FaultNone}, // another operation
		{at(ipc.AtSend, "a", 1), ipc.FaultNone},  // the first of two
		{at(ipc.AtSend, "c", 1), ipc.FaultNone},  // another service
		{at(ipc.AtSend, "a", 2), ipc.FaultDrop},
		{at(ipc.AtSend, "a", 3), ipc.FaultNone}, // it came
		{at(ipc.AtReply, "a", 7), ipc.FaultCrash},
		{at(ipc.AtSend, "b", 7), ipc.FaultDelay},
	} {
		if c.got != c.want {
			t.Errorf("occasion %d: fault %d, want %d", i, c.got, c.want)
		}
	}
	if err := f.disk(simdisk.Op{Kind: simdisk.Append}); err != nil {
		t.Errorf("another call fails: %v", err)
	}
	if err := f.disk(simdisk.Op{Kind: simdisk.Sync}); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("the call does not fail: %v", err)
	}
	f.Add(Rule{Kind: Disk, N: 1})
	f.Clear()
	if err := f.disk(simdisk.Op{Kind: simdisk.Sync}); err != nil {
		t.Errorf("a fault that was taken back: %v", err)
	}
	got := f.Fired()
	if got[Drop] != 1 || got[Crash] != 1 || got[Delay] != 1 || got[Disk] != 1 || got[Power] != 0 {
		t.Errorf("counted are %v", got)
	}
}
