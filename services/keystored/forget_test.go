package keystored

import (
	"testing"

	"nexus.internal/os/services/keystored/vault"
)

// TestForgetWipesNames looks at the memory that the names were in.
func TestForgetWipesNames(t *testing.T) {
	s := &service{vaults: map[owner]*userVault{}}
	v := newUserVault(owner{user: "alice"})
	s.vaults[v.owner] = v
	a := &app{id: "mail"}
	v.apps[a.id] = a
	for _, name := range []string{"one", "two"} {
		a.names.Set(name, 1)
	}
	s.forget(v)
	if a.names.Len() != 0 {
		t.Error("names are left")
	}
	if len(s.vaults) != 0 || v.state != gone || v.index.Total() != (vault.Usage{}) {
		t.Error("the vault is left")
	}
}
