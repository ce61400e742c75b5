package keymintd

import "nexus.internal/os/capability"

// Limits of what is stored and asked for.
const (
	MaxProtectors  = 4    // protectors of one user
	MaxApps        = 128  // apps of one user that have keys
	MaxSigningKeys = 32   // signing keys of one app
	MaxUserKeys    = 512  // signing keys of one user
	MaxKeyName     = 64   // bytes of a signing key's name
	MaxMessage     = 4096 // bytes of a message to sign
	MaxName        = 256  // bytes of a name in a record
	MaxValue       = 4096 // bytes of a value in a record that travels in a frame
	MaxHeader      = 256  // bytes of a segment's header
	MaxBody        = 7168 // bytes of a segment's body that travels in a frame
	MaxData        = 4096 // bytes that are sealed for an app at once
	MaxAssociated  = 1024 // bytes of associated data
	MaxWaiting     = 16   // requests at once that read, make or change one ring

	MaxLongValue = 64 << 10 // bytes of a value in a record, in a memory object
	MaxLongBody  = 65 << 10 // bytes of a segment's body, in a memory object
)

// Sizes of what is sealed, in bytes.
const (
	KeySize     = 32 // of every key, seed, salt and auth token
	KeyIDSize   = 16 // of an app's opaque key id
	Overhead    = nonceSize + tagSize
	MaxRecord   = 1 + Overhead + maxRecordPlain
	MaxLong     = 1 + Overhead + maxLongPlain // of a long record
	BlobSize    = blobHeader + wrapOverhead + KeySize
	Incarnation = 16

	maxRecordPlain = recordHeader + MaxName + MaxValue
	maxLongPlain   = longHeader + MaxName + MaxLongValue
)

// MaxName must be what the canonical form of names allows.
const (
	_ = uint(MaxName - capability.MaxName)
	_ = uint(capability.MaxName - MaxName)
)

// Limits are the counts that boot may make smaller. A zero field, or one that
// is larger than the constant, means the constant.
type Limits struct {
	SigningKeys     int // of one app
	UserSigningKeys int // of one user
	Apps            int // of one user
}

func (l Limits) withDefaults() Limits {
	return Limits{
		SigningKeys:     bounded(l.SigningKeys, MaxSigningKeys),
		UserSigningKeys: bounded(l.UserSigningKeys, MaxUserKeys),
		Apps:            bounded(l.Apps, MaxApps),
	}
}

func bounded(n, most int) int {
	if n <= 0 || n > most {
		return most
	}
	return n
}
