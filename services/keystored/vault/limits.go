package vault

// Limits on what apps store. Usage of a secret is the bytes of its name plus
// the bytes of its value.
const (
	NameBytes  = 256  // bytes of one name
	ValueBytes = 4096 // bytes of one value

	AppSecrets  = 256       // secrets per app
	AppBytes    = 256 << 10 // bytes of usage per app
	UserSecrets = 1024      // secrets per user, all apps together
	UserBytes   = 1 << 20   // bytes of usage per user, all apps together
)

// Sizes of the format.
const (
	HeaderSize   = 72   // bytes of a segment's header
	SealOverhead = 40   // bytes that sealing adds: nonce 24, tag 16
	MaxBody      = 7168 // bytes of a segment's body before sealing; leaves 912 of an IPC frame
	MaxSegment   = HeaderSize + SealOverhead + MaxBody

	recordHeader = 39                     // bytes of a record before its ciphertext
	MaxRecord    = MaxBody - recordHeader // bytes of a record's ciphertext
	maxUsage     = NameBytes + ValueBytes // bytes of usage of one secret
)

// Sizes of files and batches.
const (
	MaxBatchRecords = 64                           // records that one sync makes durable
	MaxBatchBytes   = MaxBatchRecords * MaxSegment // bytes that one sync makes durable, but for a compaction
	HeadEvery       = 64                           // records beyond the head on disk
	CompactAbove    = 64 << 10                     // bytes of a file below which nothing is compacted
	MaxVault        = 8 << 20                      // bytes of a vault file
)

// How the limits relate: a batch fits beyond one head, a full vault fits its
// file twice even with every record padded to the next power of two, and every
// accepted secret fits a record with room for sealing.
const (
	_ = uint(HeadEvery - MaxBatchRecords)
	_ = uint(MaxVault - 2*(2*UserBytes+UserSecrets*256) - MaxBatchBytes)
	_ = uint(MaxRecord - maxUsage - 1024)
)

// Limits are the quotas of a vault. A zero field, or one that is larger than
// the constant above, means the constant: what fits the quotas fits the file.
type Limits struct {
	AppSecrets  uint64 // secrets per app
	AppBytes    uint64 // bytes of usage per app
	UserSecrets uint64 // secrets per user
	UserBytes   uint64 // bytes of usage per user
}

// WithDefaults answers the limits as they hold.
func (l Limits) WithDefaults() Limits {
	for _, f := range []struct {
		field *uint64
		value uint64
	}{
		{&l.AppSecrets, AppSecrets},
		{&l.AppBytes, AppBytes},
		{&l.UserSecrets, UserSecrets},
		{&l.UserBytes, UserBytes},
	} {
		if *f.field == 0 || *f.field > f.value {
			*f.field = f.value
		}
	}
	return l
}
