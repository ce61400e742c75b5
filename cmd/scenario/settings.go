package scenario

import (
	"bytes"
	"fmt"

	"github.com/BurntSushi/toml"

	"nexus.internal/os/services/keystored/vault"
)

// Settings are what a scenario asks of its machine, as its machine.toml has it.
// TOML's integers have 63 bits and a sign; none of these may be negative.
type Settings struct {
	// Seed is the one to play it with, unless another one is given. 0 is none.
	Seed int64 `toml:"seed,omitzero"`
	// Tear lets a power cut leave a part of what was not synced, drawn by the
	// seed; otherwise it leaves nothing.
	Tear bool `toml:"tear,omitempty"`
	// The quotas of vaults; 0 means the shipped one, and none can be larger.
	AppSecrets  int64 `toml:"app-secrets,omitzero"`
	AppBytes    int64 `toml:"app-bytes,omitzero"`
	UserSecrets int64 `toml:"user-secrets,omitzero"`
	UserBytes   int64 `toml:"user-bytes,omitzero"`
}

func parseSettings(text []byte) (s Settings, err error) {
	if err := decode(text, &s); err != nil {
		return s, err
	}
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"seed", s.Seed}, {"app-secrets", s.AppSecrets}, {"app-bytes", s.AppBytes},
		{"user-secrets", s.UserSecrets}, {"user-bytes", s.UserBytes},
	} {
		if field.value < 0 {
			return s, &tomlError{lineOf(text, field.name), fmt.Sprintf("%s is negative", field.name)}
		}
	}
	return s, nil
}

func (s Settings) format() []byte {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(s); err != nil {
		return nil // A struct of numbers can be encoded.
	}
	return b.Bytes()
}

// Quotas are those of the machine's vaults.
func (s Settings) Quotas() vault.Limits {
	return vault.Limits{
		AppSecrets: uint64(s.AppSecrets), AppBytes: uint64(s.AppBytes),
		UserSecrets: uint64(s.UserSecrets), UserBytes: uint64(s.UserBytes),
	}
}
