package vault

// Limits on what apps store. Usage of a secret is the bytes of its name plus
// the bytes of its value.
const (
	NameBytes   = 256      // bytes of one name
	ValueBytes  = 64 << 10 // bytes of one value
	InlineBytes = 4096     // bytes of the longest value that still travels in a frame

	AppSecrets  = 256       // secrets per app
	AppBytes    = 256 << 10 // bytes of usage per app
	UserSecrets = 1024      // secrets per user, all apps together
	UserBytes   = 1 << 20   // bytes of usage per user, all apps together
)

// Sizes of the format.
const (
	HeaderSize   = 72   // bytes of a segment's header
	SealOverhead = 40   // bytes that sealing adds: nonce 24, tag 16
	MaxBody      = 7168 // bytes of a body of records that share a segment; leaves 912 of an IPC frame
	MaxSegment   = HeaderSize + SealOverhead + MaxBody

	recordHeader = 39                      // bytes of a record before its ciphertext
	MaxRecord    = MaxBody - recordHeader  // bytes of a record's ciphertext
	maxUsage     = NameBytes + InlineBytes // bytes of usage of one secret in such a record
)

// Sizes of a large record, which is alone in its segment.
const (
	MaxLargeBody    = 65 << 10 // bytes of its body before sealing
	MaxLargeSegment = HeaderSize + SealOverhead + MaxLargeBody

	largeHeader    = recordHeader + 2           // bytes before its ciphertext
	MaxLargeRecord = MaxLargeBody - largeHeader // bytes of its ciphertext
	maxLargeUsage  = NameBytes + ValueBytes     // bytes of usage of its secret
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
// file twice even with every record padded to the next power of two, the largest
// record fits a batch, and every accepted secret fits a record with room for
// sealing. Of secrets over InlineBytes, each with a segment of its own, the quota
// allows mostLarge.
const (
	mostLarge = UserBytes / InlineBytes

	_ = uint(HeadEvery - MaxBatchRecords)
	_ = uint(MaxVault - 2*(2*UserBytes+UserSecrets*256+mostLarge*2048) - MaxBatchBytes)
	_ = uint(MaxBatchBytes - MaxLargeSegment)
	_ = uint(MaxRecord - maxUsage - 1024)
	_ = uint(MaxLargeRecord - maxLargeUsage - 256)
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
