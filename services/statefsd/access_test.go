package statefsd_test

import (
	"context"
	"slices"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

var grants = []statefsd.Grant{
	{Subject: "keystored", Pattern: "state:/identity/*/vault.kv*", Access: statefsd.Write},
	{Subject: "identityd", Pattern: "state:/identity/users", Access: statefsd.Write},
	{Subject: "auditor", Pattern: "state:/identity/*", Access: statefsd.Read},
	{Subject: "auditor", Pattern: "state:/identity/a*e/*", Access: statefsd.Read},
}

func TestAccess(t *testing.T) {
	d := simdisk.New()
	for _, p := range []string{"identity/users", "identity/alice/vault.kv", "identity/alice/keys", "identity/bob/vault.kv", "identity/bob/vault.kv.1"} {
		if err := d.Replace("state/"+p, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(rig.NewSeeded(t, 1, nil), statefsd.Config{Disk: d, Grants: grants})
	for _, c := range []struct {
		subject, path string
		read, write   bool
	}{
		{"keystored", "state:/identity/alice/vault.kv", true, true},
		{"keystored", "state:/identity/alice/vault.kv.tail", true, true},
		{"keystored", "state:/identity/nobody/vault.kv", true, true},
		{"keystored", "state:/identity/alice/keys", false, false},
		{"keystored", "state:/identity/alice/xvault.kv", false, false},
		{"keystored", "state:/identity/alice/deep/vault.kv", false, false},
		{"keystored", "state:/identity/vault.kv", false, false},
		{"keystored", "state:/identity/alice/vault.kv/x", false, false},
		{"keystored", "state:/identity/users", false, false},
		{"identityd", "state:/identity/users", true, true},
		{"identityd", "state:/identity/users2", false, false},
		{"identityd", "state:/identity/alice/vault.kv", false, false},
		{"auditor", "state:/identity/users", true, false},
		{"auditor", "state:/identity/alice/keys", true, false},
		{"auditor", "state:/identity/bob/vault.kv", false, false},
		{"stranger", "state:/identity/users", false, false},
		{"keystored2", "state:/identity/alice/vault.kv", false, false},
		{"Keystored", "state:/identity/alice/vault.kv", false, false},
	} {
		cl := s.client(c.subject)
		s.Do(cl.task, func(ctx context.Context) { access(t, ctx, d, cl, c.path, c.read, c.write) })
	}
}

// access tries every operation on a path that exists or doesn't: what isn't
// granted is Denied and never reaches the disk.
func access(t *testing.T, ctx context.Context, d *simdisk.Disk, c client, path string, read, write bool) {
	t.Helper()
	before := d.Calls()
	_, _, err := c.read(ctx, path, 0, 1)
	check := func(op string, granted bool, err error) {
		t.Helper()
		if denied := err == error(ipc.Denied); denied == granted {
			t.Errorf("%s %s of %s: %v, granted %v", c.task.Name(), op, path, err, granted)
		}
		if !granted && d.Calls() != before {
			t.Errorf("%s %s of %s reached the disk", c.task.Name(), op, path)
		}
		before = d.Calls()
	}
	check("read", read, err)
	_, err = c.append(ctx, path, 1<<40, "x", false)
	check("append", write, err)
	_, err = c.append(ctx, path, 0, "", true)
	check("sync", write, err)
	check("truncate", write, c.truncate(ctx, path, 1<<40))
	if !write {
		check("replace", write, c.replace(ctx, path, ""))
		check("remove", write, c.remove(ctx, path))
	}
	check("rename away", false, c.rename(ctx, path, "state:/identity/other"))
	check("rename here", false, c.rename(ctx, "state:/identity/other", path))
}

func TestListShowsWhatMayBeRead(t *testing.T) {
	d := simdisk.New()
	files := []string{"identity/alice/keys", "identity/alice/vault.kv", "identity/bob/vault.kv", "identity/bob/vault.kv.1", "identity/users", "other"}
	for _, p := range files {
		if err := d.Replace("state/"+p, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(rig.NewSeeded(t, 1, nil), statefsd.Config{Disk: d, Grants: grants})
	vaults := []string{"state:/identity/alice/vault.kv", "state:/identity/bob/vault.kv", "state:/identity/bob/vault.kv.1"}
	for _, c := range []struct {
		subject, prefix string
		want            []string
		err             error
	}{
		{"keystored", "state:/", vaults, nil},
		{"keystored", "state:/identity", vaults, nil},
		{"keystored", "state:/identity/", vaults, nil},
		{"keystored", "state:/identity/b", vaults[1:], nil},
		{"keystored", "state:/identity/bob/vault.kv.", vaults[2:], nil},
		{"keystored", "state:/identity/alice/va", vaults[:1], nil},
		{"keystored", "state:/identity/carol/", nil, nil},
		{"keystored", "state:/identity/alice/k", nil, ipc.Denied},
		{"keystored", "state:/other", nil, ipc.Denied},
		{"keystored", "state:/identity/alice/vault.kv/", nil, ipc.Denied},
		{"identityd", "state:/", []string{"state:/identity/users"}, nil},
		{"identityd", "state:/identity/alice/", nil, ipc.Denied},
		{"auditor", "state:/identity/", []string{"state:/identity/alice/keys", "state:/identity/alice/vault.kv", "state:/identity/users"}, nil},
		{"auditor", "state:/identity/bob/", nil, ipc.Denied},
		{"stranger", "state:/", nil, ipc.Denied},
	} {
		cl := s.client(c.subject)
		s.Do(cl.task, func(ctx context.Context) {
			before := d.Calls()
			got, more, err := cl.list(ctx, c.prefix, "")
			if !slices.Equal(got, c.want) || more {
				t.Errorf("%s lists %s: %q, want %q", c.subject, c.prefix, got, c.want)
			}
			wantErr(t, err, c.err)
			if c.err != nil && d.Calls() != before {
				t.Errorf("%s lists %s: the disk was asked", c.subject, c.prefix)
			}
		})
	}
}
