package disk_test

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"nexus.internal/os/services/statefsd/disk"
)

func TestCheckPath(t *testing.T) {
	for _, p := range []string{
		"a", "A", "0", "-", "_", ".a", "..a", "a.", "a..", "...", "a/b", "state/identity/alice/vault.kv",
		strings.Repeat("a", disk.MaxPath-1), strings.Repeat("a", disk.MaxPath), strings.Repeat("a/", 127) + "a",
	} {
		if err := disk.CheckPath(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, p := range []string{
		"", "/", ".", "..", "/a", "a/", "a//b", "a/./b", "a/../b", "./a", "../a", "a/..", "a/.",
		"a b", "a\nb", "a\x00", "a\\b", "a:b", "~new-1", "a/~new-1", "ä", "\xff", "a*", "a+b", "a%2fb",
		strings.Repeat("a", disk.MaxPath+1), strings.Repeat("a/", 127) + "aa",
	} {
		if err := disk.CheckPath(p); !errors.Is(err, disk.ErrPath) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// FuzzCheckPath holds CheckPath against other people's idea of a clean path,
// and CheckPrefix against CheckPath.
func FuzzCheckPath(f *testing.F) {
	for _, p := range []string{"a", "a/b", "../a", "a/./b", "a//b", "", ".", "a/", "é", strings.Repeat("a", 256)} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		reference := fs.ValidPath(p) && p != "." && path.Clean(p) == p && len(p) <= disk.MaxPath
		for _, r := range p {
			reference = reference && strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/", r)
		}
		if got := disk.CheckPath(p) == nil; got != reference {
			t.Fatalf("CheckPath(%q) accepts: %v, reference: %v", p, got, reference)
		}
		// A prefix is what some continuation makes a path.
		could := p == "" || disk.CheckPath(p) == nil || disk.CheckPath(p+"a") == nil
		if got := disk.CheckPrefix(p) == nil; got != could {
			t.Fatalf("CheckPrefix(%q) accepts: %v, reference: %v", p, got, could)
		}
	})
}
