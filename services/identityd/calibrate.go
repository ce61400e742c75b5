package identityd

import (
	"time"

	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
)

// MaxMemoryKiB is the most memory that Argon2id may be given.
const MaxMemoryKiB = userdb.MaxMemoryKiB

// Calibrate finds the most that one run of Argon2id may cost, from Floor on: at
// first twice the memory again and again, because memory is what a farm has least
// of, as long as it is at most memoryKiB and a run takes at most target; then more
// passes. run makes one run and says how long it took; Calibrate itself has no
// clock. Where the floor takes longer than target, the floor is the answer.
func Calibrate(target time.Duration, memoryKiB uint32, run func(Params) time.Duration) Params {
	p := Floor()
	took := run(p)
	for {
		more := p
		more.MemoryKiB *= 2
		if more.MemoryKiB > memoryKiB || 2*took > target || more.Validate() != nil {
			break
		}
		p, took = more, run(more)
	}
	for {
		more := p
		more.Passes++
		if took+took/time.Duration(p.Passes) > target || more.Validate() != nil {
			return p
		}
		p, took = more, run(more)
	}
}

// Spend makes one run of Argon2id, as for a credential, and forgets what it made.
func Spend(p Params) {
	s := stretch([]byte("calibrate"), new([userdb.SaltSize]byte), p)
	secret.Wipe(s.verifier[:])
	s.auth.Wipe()
}
