// Package flips changes a state directory one byte at a time.
package flips

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/fsck"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/simdisk"
)

var full = flag.Bool("full", false, "boot on every changed byte, and not on some of them")

const password = "correct horse battery"

var cheap = identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}

// stored is what alice's apps have in both states.
var stored = map[string]map[string]string{
	"notes": {"greeting": "hello", "token": strings.Repeat("t", 300)},
	"mail":  {"greeting": "hello from mail"},
}

// system is a boot.
type system struct {
	*boot.System
	launcher *boot.Launcher
	mu       sync.Mutex
	console  strings.Builder
}

func (s *system) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.console.Write(p)
}

func (s *system) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.console.String()
}

func start(d *simdisk.Disk) (*system, error) {
	s := &system{}
	var err error
	if s.System, err = boot.Boot(boot.Config{Disk: d, Console: s, Argon: cheap}); err != nil {
		return nil, err
	}
	s.launcher, err = s.System.Launcher()
	return s, err
}

// unsealed logs alice in.
func (s *system) unsealed(ctx context.Context) (sid uint64, err error) {
	word := boot.Password([]byte(password))
	defer word.Secret.Wipe()
	if sid, err = s.launcher.StartSession(ctx, "alice", word); err != nil {
		return 0, err
	}
	return sid, s.launcher.Unseal(ctx, sid, word)
}

// states are a directory after a rekey and a shutdown, and one after a power cut.
func states(t *testing.T) map[string]*simdisk.Disk {
	t.Helper()
	d := simdisk.New()
	s, err := start(d)
	must(t, err)
	word := boot.Password([]byte(password))
	must(t, s.launcher.CreateUser(t.Context(), "alice", word))
	sid, err := s.unsealed(t.Context())
	must(t, err)
	for app, secrets := range stored {
		a, err := s.launcher.Launch(t.Context(), sid, app, boot.AppRights)
		must(t, err)
		for name, value := range secrets {
			must(t, a.Keychain.Put(t.Context(), name, secret.Copy([]byte(value))))
		}
		_, err = a.Keychain.Generate(t.Context(), "key")
		must(t, err)
	}
	killed := d.Clone().Crash()
	must(t, s.launcher.Rekey(t.Context(), "alice", word))
	must(t, s.launcher.Unseal(t.Context(), sid, word))
	s.Shutdown()
	return map[string]*simdisk.Disk{"clean": d.Reopen(), "killed": killed}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outcome is how a boot on a disk went: an error, or what was read.
func outcome(ctx context.Context, d *simdisk.Disk) (read, said string, err error) {
	s, err := start(d)
	if err != nil {
		return "", "", err
	}
	defer s.Shutdown()
	sid, err := s.unsealed(ctx)
	if err != nil {
		return "", s.said(), err
	}
	var lines []string
	for app := range stored {
		own, err := s.read(ctx, sid, app)
		if err != nil {
			return "", s.said(), err
		}
		lines = append(lines, own...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), s.said(), nil
}

// read reads all that an app has.
func (s *system) read(ctx context.Context, sid uint64, app string) (lines []string, err error) {
	a, err := s.launcher.Launch(ctx, sid, app, boot.AppRights)
	if err != nil {
		return nil, err
	}
	names, err := a.Keychain.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		value, err := a.Keychain.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("%s %s %s", app, name, value.Expose()))
		value.Wipe()
	}
	_, err = a.Keychain.Sign(ctx, "key", nil)
	return lines, err
}

// names says whether an outcome names the file: in the fault, in the words of a
// boot that failed, or in the marker of a tail that was dropped.
func names(file, said string, err error) bool {
	var f *wire.Fault
	if errors.As(err, &f) {
		return "state/"+strings.TrimPrefix(f.File, "state:/") == file
	}
	if err != nil {
		return strings.Contains(err.Error(), strings.TrimPrefix(file, "state/"))
	}
	return strings.Contains(said, "keystore: tail dropped") && strings.HasSuffix(file, "/vault.kv")
}

// files reads a disk as fsck has it.
func files(t *testing.T, d *simdisk.Disk) fsck.Files {
	t.Helper()
	all := make(fsck.Files)
	paths, err := d.List("")
	must(t, err)
	for _, path := range paths {
		size, err := d.Stat(path)
		must(t, err)
		all[path] = make([]byte, size)
		if n, err := d.ReadAt(path, all[path], 0); n != int(size) {
			t.Fatal(err)
		}
	}
	return all
}

// TestEveryByte changes each byte of each file, one at a time. With the credential
// fsck finds it and names the file. A system that boots on it says so, naming the
// file as well, or everything is there: what is not there is never passed over in
// silence.
func TestEveryByte(t *testing.T) {
	for state, d := range states(t) {
		t.Run(state, func(t *testing.T) {
			whole, _, err := outcome(t.Context(), d.Clone())
			must(t, err)
			all := files(t, d)
			if found := fsck.Check(all); len(found) > 0 {
				t.Fatalf("of a good directory: %v", found)
			}
			flips, boots := 0, 0
			for path, data := range all {
				for at := range data {
					changed := slices.Clone(data)
					changed[at] ^= 1 << (at % 8)
					flips++
					all[path] = changed
					found(t, all, path, at)
					if *full || flips%stride == 0 {
						boots++
						silent(t, d, path, changed, at, whole)
					}
				}
				all[path] = data
			}
			t.Logf("%d changes, %d boots", flips, boots)
		})
	}
}

// found says that fsck finds it.
func found(t *testing.T, all fsck.Files, path string, at int) {
	t.Helper()
	word := secret.Copy([]byte(password))
	defer word.Wipe()
	found, _, err := fsck.CheckAll(all, fsck.Credential{User: "alice", Kind: userdb.Password, Word: word})
	if err != nil {
		t.Errorf("%s, byte %d: %v", path, at, err)
	}
	if !slices.ContainsFunc(found, func(f fsck.Finding) bool { return f.File == path && f.Kind != fsck.Note }) {
		t.Errorf("%s, byte %d: fsck finds %v", path, at, found)
	}
}

// silent says that nothing is lost in silence.
func silent(t *testing.T, d *simdisk.Disk, path string, changed []byte, at int, whole string) {
	t.Helper()
	d = d.Clone()
	must(t, d.Replace(path, changed))
	read, said, err := outcome(t.Context(), d)
	if err == nil && read == whole {
		return
	}
	if !names(path, said, err) {
		t.Errorf("%s, byte %d: %v, which does not name it; console %q", path, at, err, said)
	}
}
