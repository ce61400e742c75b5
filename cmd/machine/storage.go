package machine

import (
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/faultdisk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// Storage is a disk from boot to boot.
type Storage interface {
	// Open readies the disk for a boot; fault is asked before each call.
	Open(fault func(simdisk.Op) error) (disk.Disk, error)
	// TakeAway makes every later call of the open disk fail: the power is cut.
	TakeAway()
	// Lose makes the disk what a power cut has left of it. Nobody uses it.
	Lose()
	// Close ends a boot that ended in an orderly manner.
	Close() error
}

// Dir is a directory as a disk. It cannot lose what the machine's own kernel
// keeps of un-synced writes, so that a power cut is to it what SIGKILL is.
type Dir struct {
	Path string

	dir   *disk.Dir
	taken *faultdisk.Disk
}

// Open implements Storage.
func (d *Dir) Open(fault func(simdisk.Op) error) (disk.Disk, error) {
	dir, err := disk.Open(d.Path)
	if err != nil {
		return nil, err
	}
	d.dir, d.taken = dir, faultdisk.New(dir, fault)
	return d.taken, nil
}

// TakeAway implements Storage.
func (d *Dir) TakeAway() {
	if d.taken != nil {
		d.taken.TakeAway()
	}
}

// Lose implements Storage.
func (d *Dir) Lose() { _ = d.Close() } // What failed to be synced was not acknowledged.

// Close implements Storage.
func (d *Dir) Close() error {
	dir := d.dir
	d.dir, d.taken = nil, nil
	return dir.Close()
}

// Memory is a disk in memory.
type Memory struct {
	// Tear answers how many bytes of a file that were not synced a power cut
	// leaves. Nil means none.
	Tear func(path string, unsynced int) int

	disk *simdisk.Disk
}

// NewMemory makes an empty disk.
func NewMemory(tear func(path string, unsynced int) int) *Memory {
	return &Memory{Tear: tear, disk: simdisk.New()}
}

// Disk is the disk as it is now. It is another one after every boot.
func (m *Memory) Disk() *simdisk.Disk { return m.disk }

// Open implements Storage.
func (m *Memory) Open(fault func(simdisk.Op) error) (disk.Disk, error) {
	m.disk = m.disk.Reopen()
	m.disk.SetFault(fault)
	return m.disk, nil
}

// TakeAway implements Storage.
func (m *Memory) TakeAway() { m.disk.TakeAway() }

// Lose implements Storage.
func (m *Memory) Lose() {
	if m.Tear == nil {
		m.disk = m.disk.Crash()
		return
	}
	m.disk = m.disk.Tear(m.Tear)
}

// Close implements Storage.
func (m *Memory) Close() error { return m.disk.Close() }
