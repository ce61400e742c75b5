package rollback

import (
	"errors"
	"io"
	"maps"
	"strings"
	"testing"

	"nexus.internal/os/actors"
	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// files is a disk while the power is off: each file's path and content.
type files map[string]string

// Files of alice.
const (
	dir      = "state/identity/alice/"
	rootFile = dir + "root.keys"
	keysHead = dir + "keys.head"
	kvFile   = dir + "vault.kv"
	kvHead   = dir + "vault.head"
	apps     = dir + "apps/"
)

const (
	makeUser = "create-user alice password longword\n"
	unlock   = "unlock alice password longword\n"
	fresh    = "boot\n" + makeUser + unlock
	again    = "boot\n" + unlock
)

// with is f after somebody has put files in the place of others; "" removes one.
func (f files) with(put files) files {
	all := maps.Clone(f)
	for path, content := range put {
		if all[path] = content; content == "" {
			delete(all, path)
		}
	}
	return all
}

// life is a machine whose disk begins as before.
type life struct {
	before files
	tear   func(path string, unsynced int) int // what a power cut leaves; nil means nothing
	chance rngd.Source                         // nil means the system's
	watch  func(path string, written []byte)   // hears of every write to the disk
}

// run plays a script till its end, or till the first line that fails, whose
// error it answers. Then the machine is switched off.
func (l life) run(t *testing.T, text string) (files, error) {
	t.Helper()
	memory := machine.NewMemory(l.tear)
	for path, content := range l.before {
		if err := memory.Disk().Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if l.chance == nil {
		l.chance = rngd.SystemSource()
	}
	cfg := boot.Config{Argon: identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}}
	cfg.Chance = func(uint64) rngd.Source { return l.chance }
	console := script.NewConsole(func(string) {})
	cfg.Console = console
	m := machine.New(machine.Config{
		Boot:      cfg,
		Storage:   &watched{memory, l.watch},
		Scheduler: func(n int) actors.Scheduler { return seeded.New(uint64(n)) },
	})
	err := script.NewRunner(m, console, func(script.Result) {}).RunFrom("script", 0, strings.NewReader(text))
	if off := m.Shutdown(); off != nil && !errors.Is(off, machine.ErrOff) && err == nil {
		err = off
	}
	return content(t, memory.Disk()), err
}

// must is run of a script that does not fail.
func (l life) must(t *testing.T, text string) files {
	t.Helper()
	after, err := l.run(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func content(t *testing.T, d *simdisk.Disk) files {
	t.Helper()
	d = d.Reopen()
	paths, err := d.List("")
	if err != nil {
		t.Fatal(err)
	}
	all := make(files)
	for _, path := range paths {
		size, err := d.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, size)
		if _, err := d.ReadAt(path, p, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		all[path] = string(p)
	}
	return all
}

// watched is a disk in memory of which somebody hears what is written.
type watched struct {
	*machine.Memory
	watch func(path string, written []byte)
}

// Open implements machine.Storage.
func (w *watched) Open(fault func(simdisk.Op) error) (disk.Disk, error) {
	d, err := w.Memory.Open(fault)
	if err != nil || w.watch == nil {
		return d, err
	}
	return &watchedDisk{d, w.watch}, nil
}

type watchedDisk struct {
	disk.Disk
	watch func(path string, written []byte)
}

func (d *watchedDisk) Append(path string, off int64, p []byte) error {
	d.watch(path, p)
	return d.Disk.Append(path, off, p)
}

func (d *watchedDisk) Replace(path string, p []byte) error {
	d.watch(path, p)
	return d.Disk.Replace(path, p)
}

// verdict is what the system says of a disk: nothing, or a code and the file
// that it names.
type verdict struct {
	code ipc.Code
	file string
}

var good = verdict{}

func verdictOf(err error) verdict {
	var place *wire.Fault
	var code ipc.Code
	switch {
	case err == nil:
		return good
	case errors.As(err, &place):
		return verdict{place.Code, "state/" + strings.TrimPrefix(place.File, "state:/")}
	case errors.As(err, &code):
		return verdict{code, ""}
	}
	return verdict{ipc.Unavailable, err.Error()}
}

func rolledBack(file string) verdict { return verdict{ipc.RolledBack, file} }
func damaged(file string) verdict    { return verdict{ipc.Damaged, file} }

// says fails the test unless the system says that of the disk when it reads it.
func says(t *testing.T, name string, f files, read string, want verdict) files {
	t.Helper()
	after, err := life{before: f}.run(t, read)
	if got := verdictOf(err); got != want {
		t.Errorf("%s: %v (%v), want %v", name, got, err, want)
	}
	return after
}
