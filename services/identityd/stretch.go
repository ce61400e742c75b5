package identityd

import (
	"crypto/sha256"
	"crypto/subtle"

	"nexus.internal/os/services/identityd/argon2id"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
)

// Sizes of what a secret is stretched to, in bytes.
const (
	stretchSize = argon2id.Size
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
	out := secret.New(stretchSize)
	defer out.Wipe()
	argon2id.Key((*[stretchSize]byte)(out.Expose()), word, salt[:], cost.Passes, cost.MemoryKiB, cost.Lanes)
	made := stretched{auth: secret.Copy(out.Expose()[stretchSize-AuthSize:])}
	secret.Do(func() { made.verifier = sha256.Sum256(out.Expose()[:stretchSize-AuthSize]) })
	return made
}

// matches compares verifiers in constant time.
func (o *stretched) matches(p *userdb.Protector) bool {
	return subtle.ConstantTimeCompare(o.verifier[:], p.Verifier[:]) == 1
}
