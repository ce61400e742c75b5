package identityd

import (
	"crypto/sha256"
	"crypto/subtle"

	"golang.org/x/crypto/argon2"

	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
)

// Sizes of what a secret is stretched to, in bytes.
const (
	stretchSize = 64
	AuthSize    = 32
)

// stretched is what Argon2id made of a secret.
type stretched struct {
	verifier [userdb.VerifierSize]byte
	auth     *secret.Bytes // AuthSize bytes; the owner wipes them
}

// stretch runs Argon2id. It is pure and slow, so it runs on a worker. Half of
// the output is hashed into what is stored, the other half opens the keys: who
// reads the database has to run Argon2id once per guess, and a right guess of
// the verifier's half would not give the other.
func stretch(word []byte, salt *[userdb.SaltSize]byte, cost Params) stretched {
	out := argon2.IDKey(word, salt[:], cost.Passes, cost.MemoryKiB, cost.Lanes, stretchSize)
	defer secret.Wipe(out)
	return stretched{
		verifier: sha256.Sum256(out[:stretchSize-AuthSize]),
		auth:     secret.Copy(out[stretchSize-AuthSize:]),
	}
}

// matches compares verifiers in constant time.
func (o *stretched) matches(p *userdb.Protector) bool {
	return subtle.ConstantTimeCompare(o.verifier[:], p.Verifier[:]) == 1
}
