//go:build race

package rollback

// Under the race detector, which is slow, the power goes once: the second cut
// adds states of the disk and no new code.
const cutTwice = false
