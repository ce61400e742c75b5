package ui_v18b_host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// lived leaves a disk on which alice and bob have secrets and keys.
func lived(t *testing.T, d disk.Disk) {
	t.Helper()
	w := start(t, d)
	for _, name := range []string{"alice", "bob"} {
		notes := w.newUser(name).app("notes")
		for _, secret := range []string{"one", "two", "three", "four"} {
			notes.put(secret, strings.Repeat("v", 700))
		}
		_, err := notes.Keychain.Generate(w.ctx(), "key")
		must(t, err)
	}
	w.end()
}

// intact says that a user has what lived left.
func (u *user) intact() {
	u.w.t.Helper()
	notes := u.app("notes")
	notes.lists("four", "one", "three", "two")
	notes.holds("one", strings.Repeat("v", 700))
	_, err := notes.Keychain.Sign(u.w.ctx(), "key", []byte("a message"))
	must(u.w.t, err)
}

// damagedAt says that the error names a place of the file.
func damagedAt(t testing.TB, err error, file string, size int) int64 {
	t.Helper()
	want(t, err, keychain.ErrDamaged.(ipc.Code))
	var f *wire.Fault
	if !errors.As(err, &f) || f.File != file || f.Offset < 0 || f.Offset > int64(size) {
		t.Fatalf("error %v does not name a place in %s", err, file)
	}
	return f.Offset
}

// TestDamagedVault changes a byte in the middle of the file of a real directory.
func TestDamagedVault(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.Open(dir)
	must(t, err)
	lived(t, d)
	must(t, d.Close())
	path := filepath.Join(dir, "state", "identity", "alice", "vault.kv")
	good, err := os.ReadFile(path)
	must(t, err)
	bad := slices.Clone(good)
	bad[len(bad)/2] ^= 1
	must(t, os.WriteFile(path, bad, 0o600))
	before := tree(t, dir)

	d, err = disk.Open(dir)
	must(t, err)
	w := start(t, d)
	alice := w.known("alice")
	alice.login()
	for range 2 {
		err = w.launcher.Unseal(w.ctx(), alice.sid, alice.password)
		at := damagedAt(t, err, "state:/identity/alice/vault.kv", len(good))
		if at == 0 || at > int64(len(bad)/2) {
			t.Errorf("damage at %d of %d is said to be at %d", len(bad)/2, len(bad), at)
		}
	}
	alice.app("notes").sealed("one")
	w.back("bob").intact()
	w.end()
	must(t, d.Close())
	changed := tree(t, dir)
	delete(changed, "boot")
	delete(before, "boot") // The boot count.
	for name, was := range before {
		if changed[name] != was && !strings.Contains(name, "bob") {
			t.Errorf("%s is not what it was", name)
		}
	}
	if len(changed) != len(before) {
		t.Errorf("%d files, there were %d", len(changed), len(before))
	}

	must(t, os.WriteFile(path, good, 0o600))
	d, err = disk.Open(dir)
	must(t, err)
	w = start(t, d)
	w.back("alice").intact()
	w.end()
	must(t, d.Close())
}

// tree reads a directory.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(b)
		return err
	}))
	return all
}

// harm is something done to one file.
type harm struct {
	what string
	do   func(t *testing.T, d *simdisk.Disk, path string)
}

var harms = []harm{
	{"is missing", func(t *testing.T, d *simdisk.Disk, path string) { must(t, d.Remove(path)) }},
	{"is empty", func(t *testing.T, d *simdisk.Disk, path string) { must(t, d.Replace(path, nil)) }},
	{"has another first byte", flip(func(int) int { return 0 })},
	{"has another byte in the middle", flip(func(n int) int { return n / 2 })},
	{"has another last byte", flip(func(n int) int { return n - 1 })},
	{"lacks its first half", func(t *testing.T, d *simdisk.Disk, path string) {
		p := content(t, d, path)
		must(t, d.Replace(path, p[len(p)/2:]))
	}},
	{"is all zeros", func(t *testing.T, d *simdisk.Disk, path string) {
		must(t, d.Replace(path, make([]byte, len(content(t, d, path)))))
	}},
}

func flip(where func(size int) int) func(*testing.T, *simdisk.Disk, string) {
	return func(t *testing.T, d *simdisk.Disk, path string) {
		p := content(t, d, path)
		p[where(len(p))] ^= 0x40
		must(t, d.Replace(path, p))
	}
}

// TestDamagedUserFiles harms each file that only alice's unseal needs.
func TestDamagedUserFiles(t *testing.T) {
	d := simdisk.New()
	lived(t, d)
	for _, name := range []string{"vault.kv", "vault.head", "root.keys"} {
		for _, h := range harms {
			t.Run(name+" "+h.what, func(t *testing.T) {
				d := d.Clone()
				path := "state/identity/alice/" + name
				size := len(content(t, d, path))
				h.do(t, d, path)
				before := contents(t, d)
				w := start(t, d)
				bob := w.back("bob")
				bob.intact()
				alice := w.known("alice")
				alice.login()
				damagedAt(t, w.launcher.Unseal(w.ctx(), alice.sid, alice.password), "state:/identity/alice/"+name, size)
				alice.app("notes").sealed("one")
				w.end()
				same(t, d, before, bootFile)
			})
		}
	}
}

// bootFile changes with every boot.
const bootFile = "boot"

// TestDamagedRing harms the file with an app's keys: nothing of that app opens,
// and the file stays as it is. The other user is not concerned.
func TestDamagedRing(t *testing.T) {
	d := simdisk.New()
	lived(t, d)
	paths, err := d.List("state/identity/alice/apps/")
	must(t, err)
	if len(paths) != 1 {
		t.Fatalf("rings %q", paths)
	}
	for _, h := range harms {
		t.Run(h.what, func(t *testing.T) {
			d := d.Clone()
			size := len(content(t, d, paths[0]))
			h.do(t, d, paths[0])
			before := contents(t, d)
			w := start(t, d)
			w.back("bob").intact()
			alice := w.known("alice")
			alice.login()
			alice.unseal()
			notes := alice.app("notes")
			_, err = notes.tryGet("one")
			damagedAt(t, err, "state:/"+strings.TrimPrefix(paths[0], "state/"), size)
			want(t, notes.tryPut("one", "w"), ipc.Damaged)
			w.end()
			same(t, d, before, bootFile)
		})
	}
}

// TestDamagedSystemFiles harms what every boot needs: the boot fails, and leaves
// everything as it is.
func TestDamagedSystemFiles(t *testing.T) {
	d := simdisk.New()
	lived(t, d)
	for _, path := range []string{bootFile, "state/keymint/device.salt", "state/identity/users.db"} {
		for _, h := range harms {
			t.Run(path+" "+h.what, func(t *testing.T) {
				d := d.Clone()
				h.do(t, d, path)
				err := refusesToBoot(t, d)
				if file := strings.TrimPrefix(path, "state/"); !strings.Contains(err.Error(), file) {
					t.Errorf("%q does not name %s", err, file)
				}
			})
		}
	}
}

// refusesToBoot says that the disk does not boot and is not changed by that.
func refusesToBoot(t *testing.T, d *simdisk.Disk) error {
	t.Helper()
	before, console := contents(t, d), &console{}
	s, err := boot.Boot(boot.Config{Disk: d, Console: console, Argon: cheap})
	if err == nil {
		s.Shutdown()
		t.Fatal("it boots")
	}
	same(t, d, before)
	if slices.Contains(console.lines(), "keystore: ready") {
		t.Errorf("it printed %q", console.lines())
	}
	return err
}

// TestUnreadableFiles has the disk fail to read a file that is there: nothing
// is made in its place, and when it can be read again everything is as it was.
func TestUnreadableFiles(t *testing.T) {
	d := simdisk.New()
	lived(t, d)
	for _, path := range []string{bootFile, "state/keymint/device.salt", "state/identity/users.db"} {
		d.SetFault(func(op simdisk.Op) error {
			if op.Kind == simdisk.Read && op.Path == path {
				return errors.New("the sector cannot be read")
			}
			return nil
		})
		hash := d.Hash()
		s, err := boot.Boot(boot.Config{Disk: d, Argon: cheap})
		if err == nil {
			s.Shutdown()
			t.Errorf("it boots without %s", path)
		}
		d.SetFault(nil)
		if d.Hash() != hash {
			t.Errorf("%s could not be read, and something was written", path)
		}
	}
	w := start(t, d)
	w.back("alice").intact()
	w.back("bob").intact()
}

// TestNoSaltIsNeverFirstBoot takes the salt away where there is nothing else,
// or little else, of what keymintd uses.
func TestNoSaltIsNeverFirstBoot(t *testing.T) {
	for what, keep := range map[string]func(path string) bool{
		"all else":                 func(string) bool { return true },
		"the user database":        func(path string) bool { return path == "state/identity/users.db" },
		"a vault":                  func(path string) bool { return strings.HasSuffix(path, "vault.kv") },
		"root keys":                func(path string) bool { return strings.HasSuffix(path, "root.keys") },
		"an app's keys":            func(path string) bool { return strings.HasSuffix(path, ".ring") },
		"a file of nobody's":       func(path string) bool { return path == "state/lost-and-found" },
		"a file in nobody's place": func(path string) bool { return path == "state/some/where/deep/file" },
	} {
		t.Run(what, func(t *testing.T) {
			d := simdisk.New()
			lived(t, d)
			must(t, d.Replace("state/lost-and-found", []byte("?")))
			must(t, d.Replace("state/some/where/deep/file", []byte("?")))
			for path := range contents(t, d) {
				if path == "state/keymint/device.salt" || path != bootFile && !keep(path) {
					must(t, d.Remove(path))
				}
			}
			refusesToBoot(t, d)
		})
	}
}

// TestDiskFailsOnce has each disk access of a boot, login and unseal fail in
// turn. Whatever that leads to, nothing is lost and the next boot works.
func TestDiskFailsOnce(t *testing.T) {
	d := simdisk.New()
	lived(t, d)
	for n := uint64(1); ; n++ {
		c := d.Clone()
		c.SetFault(simdisk.FailAt(n, errors.New("not this time")))
		if s, err := boot.Boot(boot.Config{Disk: c, Argon: cheap}); err == nil {
			alice := (&world{t: t}).known("alice")
			l, err := s.Launcher()
			must(t, err)
			if sid, err := l.StartSession(t.Context(), "alice", alice.password); err == nil {
				_ = l.Unseal(t.Context(), sid, alice.password)
			}
			s.Shutdown()
		}
		done := c.Calls() < n
		c.SetFault(nil)
		w := start(t, c.Reopen())
		w.back("alice").intact()
		w.back("bob").intact()
		w.end()
		if done {
			return
		}
	}
}

// TestLostRing removes the file with an app's keys: whatever the app asks for
// names that file, and no other one takes its place.
func TestLostRing(t *testing.T) {
	d := simdisk.New()
	lived(t, d)
	rings, err := d.List("state/identity/alice/apps/")
	must(t, err)
	if len(rings) != 1 {
		t.Fatalf("alice has rings %v", rings)
	}
	must(t, d.Remove(rings[0]))
	w := start(t, d)
	defer w.end()
	alice := w.back("alice")
	notes := alice.app("notes")
	for name, try := range map[string]func() error{
		"get":    func() error { _, err := notes.tryGet("one"); return err },
		"put":    func() error { return notes.tryPut("five", "value") },
		"delete": func() error { return notes.Keychain.Delete(w.ctx(), "one") },
		"list":   func() error { _, err := notes.Keychain.List(w.ctx()); return err },
	} {
		damagedAt(t, try(), "state:/"+strings.TrimPrefix(rings[0], "state/"), 0)
		if left, err := d.List("state/identity/alice/apps/"); err != nil || len(left) != 0 {
			t.Errorf("%s: rings %v, %v", name, left, err)
		}
	}
	w.back("bob").intact()
	alice.app("other").put("name", "value")
}
