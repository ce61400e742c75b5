package peers

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// openFile makes an empty file to append to, and counts by its size.
func openFile(tb testing.TB) (*os.File, func() (int, error)) {
	file, err := os.OpenFile(filepath.Join(tb.TempDir(), "log"), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := file.Close(); err != nil {
			tb.Error(err)
		}
	})
	return file, func() (int, error) {
		info, err := os.Stat(file.Name())
		if err != nil {
			return 0, err
		}
		return int(info.Size() / putSize), nil
	}
}

// openAppend is the yardstick: every put is a write and an fdatasync.
func openAppend(tb testing.TB) store {
	file, count := openFile(tb)
	return store{count: count, put: func(record []byte) error {
		if _, err := file.Write(record); err != nil {
			return err
		}
		return syscall.Fdatasync(int(file.Fd()))
	}}
}

// openSharedAppend lets the puts that are waiting share one write and one
// fdatasync: the most that one file can give to many writers.
func openSharedAppend(tb testing.TB) store {
	file, count := openFile(tb)
	type batch struct {
		records []byte
		done    chan struct{}
		err     error
	}
	var (
		queue sync.Mutex // guards next
		disk  sync.Mutex // held by the one who writes
		next  = &batch{done: make(chan struct{})}
	)
	flush := func() {
		disk.Lock()
		defer disk.Unlock()
		queue.Lock()
		mine := next
		next = &batch{done: make(chan struct{})}
		queue.Unlock()
		if _, mine.err = file.Write(mine.records); mine.err == nil {
			mine.err = syscall.Fdatasync(int(file.Fd()))
		}
		close(mine.done)
	}
	return store{count: count, put: func(record []byte) error {
		queue.Lock()
		mine := next
		first := len(mine.records) == 0
		mine.records = append(mine.records, record...)
		queue.Unlock()
		if first {
			flush()
		}
		<-mine.done
		return mine.err
	}}
}
