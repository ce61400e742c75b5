package identityd

import (
	"unicode/utf8"

	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/recovery"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
)

// Limits of credentials, in bytes.
const (
	MinPassword = 8
	MaxPassword = 128
	MinPIN      = 6
	MaxPIN      = 16
)

// kindOf answers false for a credential that is missing or of no known kind.
func kindOf(c *wire.Credential) (userdb.Kind, bool) {
	switch c.GetKind() {
	case wire.CredentialKind_CREDENTIAL_KIND_PASSWORD:
		return userdb.Password, true
	case wire.CredentialKind_CREDENTIAL_KIND_PIN:
		return userdb.PIN, true
	case wire.CredentialKind_CREDENTIAL_KIND_RECOVERY:
		return userdb.Recovery, true
	}
	return 0, false
}

// chosen says whether a credential is one that a person may set: a recovery key
// is drawn.
func chosen(c *wire.Credential) bool {
	kind, _ := kindOf(c)
	return kind != userdb.Recovery && wellFormed(c)
}

// stretchable is what of a credential is stretched: a recovery key's bytes, and
// of anything else the beginning. Its owner wipes it.
func stretchable(c *wire.Credential) *secret.Bytes {
	word := c.GetSecret()
	if kind, _ := kindOf(c); kind == userdb.Recovery {
		key := secret.New(recovery.Size)
		if recovery.Read((*[recovery.Size]byte)(key.Expose()), word) {
			return key
		}
		key.Wipe()
	}
	return secret.Copy(word[:min(len(word), MaxPassword)])
}

// wellFormed says whether a credential is within its limits. A password is
// opaque: it is not normalised and not trimmed.
func wellFormed(c *wire.Credential) bool {
	word := c.GetSecret()
	switch kind, _ := kindOf(c); kind {
	case userdb.Password:
		return len(word) >= MinPassword && len(word) <= MaxPassword && utf8.Valid(word)
	case userdb.PIN:
		return len(word) >= MinPIN && len(word) <= MaxPIN && digits(word)
	case userdb.Recovery:
		var key [recovery.Size]byte
		defer clear(key[:])
		return recovery.Read(&key, word)
	}
	return false
}

func digits(word []byte) bool {
	for _, b := range word {
		if b < '0' || b > '9' {
			return false
		}
	}
	return true
}
