package epochs_test

import (
	"math"
	"testing"

	"nexus.internal/os/services/epochs"
)

func TestSplit(t *testing.T) {
	for _, x := range []struct {
		path  string
		epoch uint32
		name  string
		ok    bool
	}{
		{"state:/identity/alice/vault.kv", 0, "vault.kv", true},
		{"state:/identity/alice/apps/00.ring", 0, "apps/00.ring", true},
		{"state:/identity/alice/epoch-1/vault.kv", 1, "vault.kv", true},
		{"state:/identity/alice/epoch-4294967295/apps/00.ring", math.MaxUint32, "apps/00.ring", true},
		{"state:/identity/alice/epoch-4294967296/vault.kv", 0, "epoch-4294967296/vault.kv", true},
		{"state:/identity/alice/epoch-0/vault.kv", 0, "epoch-0/vault.kv", true},
		{"state:/identity/alice/epoch-01/vault.kv", 0, "epoch-01/vault.kv", true},
		{"state:/identity/alice/epoch-1", 0, "epoch-1", true},
		{"state:/identity/alice/epoch-/vault.kv", 0, "epoch-/vault.kv", true},
		{"state:/identity/alice/epoch--1/vault.kv", 0, "epoch--1/vault.kv", true},
		{"state:/identity/alicea/vault.kv", 0, "", false},
		{"state:/identity/bob/vault.kv", 0, "", false},
	} {
		epoch, name, ok := epochs.Split("alice", x.path)
		if epoch != x.epoch || name != x.name || ok != x.ok {
			t.Errorf("%s: %d, %q, %v", x.path, epoch, name, ok)
		}
	}
	for _, epoch := range []uint32{0, 1, 9, 10, math.MaxUint32} {
		if got, name, ok := epochs.Split("u", epochs.Prefix("u", epoch)+"keys.head"); got != epoch || name != "keys.head" || !ok {
			t.Errorf("epoch %d is read as %d, %q", epoch, got, name)
		}
	}
}
