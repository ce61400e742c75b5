package secret

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Map answers n zero bytes, at least 1, for work that needs more at once than
// the pool has. They are outside the Go heap, not in core dumps, and locked
// where the limits allow it, which is not said. release wipes them and gives
// them back; they must not be used after it. Where memory cannot be mapped they
// are on the Go heap.
func Map(n int) (mem []byte, release func()) {
	mem, _ = mapped(n)
	if mem == nil {
		mem = make([]byte, n)
		return mem, func() { Wipe(mem) }
	}
	return mem, func() {
		Wipe(mem)
		unmap(mem)
	}
}

// Lockable says what would not be so with n bytes of Map's, as Lock does of the
// pool. It tries, which takes as long as clearing them.
func Lockable(n int) error {
	mem, fault := mapped(n)
	if mem != nil {
		unmap(mem)
	}
	return fault
}

func unmap(mem []byte) {
	if unix.Munmap(mem) != nil {
		panic("secret: memory that is not mapped")
	}
}

// mapped maps n bytes. The error says what could not be done with them; without
// memory mem is nil.
func mapped(n int) (mem []byte, fault error) {
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("no memory of their own: %w", err)
	}
	if err := unix.Madvise(mem, unix.MADV_DONTDUMP); err != nil {
		fault = fmt.Errorf("they may be in core dumps: %w", err)
	}
	if err := unix.Mlock(mem); err != nil {
		fault = errors.Join(fault, fmt.Errorf("they may reach swap: %d KiB cannot be locked (%s): %w", n>>10, limit(), err))
	}
	return mem, fault
}

// limit says how much memory the process may lock.
func limit() string {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &r) != nil {
		return "RLIMIT_MEMLOCK is not known"
	}
	return fmt.Sprintf("RLIMIT_MEMLOCK is %d KiB", r.Cur>>10)
}
