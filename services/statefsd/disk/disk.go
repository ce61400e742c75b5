// Package disk is the only code of the system that touches files.
//
// It keeps files below one directory, named by canonical relative paths, and
// says for every operation what is durable when it has returned. It calls
// nothing but the operating system. It never follows a link out of its
// directory, never shares the directory with another process, and never takes
// another write for a file of which a write or a sync has failed.
//
// Disk is the interface, Dir the implementation on real files; package simdisk
// has the one in memory. One suite of tests runs over both.
package disk

import (
	"errors"
	"strings"
)

// MaxPath is the length limit of a path, in bytes.
const MaxPath = 255

// Disk is a set of files. It is safe for concurrent use.
//
// "Durable" means that it is still so after a power cut. A call that failed
// may or may not have happened, except where the error says otherwise:
// ErrNotExist, ErrOffset, ErrPath, ErrConflict, ErrPoisoned and ErrClosed
// mean that nothing was changed. After a failed write or sync the file can be
// read, but takes no more writes until Replace or Rename puts another one in
// its place or Remove takes it away: what it contains may not be what a power cut would leave.
type Disk interface {
	// Stat answers the file's size in bytes. Like every call that doesn't
	// create a file it answers ErrNotExist where there is none, also where
	// there is something else.
	Stat(path string) (size int64, err error)

	// ReadAt reads like io.ReaderAt: fewer bytes than asked for come with
	// io.EOF (bare) or with another error. It sees what was appended,
	// synced or not.
	ReadAt(path string, p []byte, off int64) (int, error)

	// Append adds p at off, which must be the file's size. With off 0 it
	// creates an absent file and its parent directories. It isn't durable
	// until Sync.
	Append(path string, off int64, p []byte) error

	// Truncate cuts the file to size, durably. It never makes a file longer.
	Truncate(path string, size int64) error

	// Sync makes durable all that was appended so far, and the directory
	// entries that lead to the file. That holds for what an earlier process
	// appended as well.
	Sync(path string) error

	// Replace makes p the file's whole content. After a power cut at any
	// moment there is the old content or the new; the new when it returned.
	Replace(path string, p []byte) error

	// Rename puts from in the place of to, durably, its content included.
	Rename(from, to string) error

	// Remove removes the file, durably. Parent directories that it leaves
	// empty go too. Where there is none, that of which a write failed included,
	// another one may be made afterwards.
	Remove(path string) error

	// List answers the paths of all files that start with prefix, in byte
	// order. The prefix need not end where a part ends.
	List(prefix string) ([]string, error)

	// Close ends the use of the disk. It makes nothing durable.
	Close() error
}

// Stats counts system calls that matter: tests assert them.
type Stats struct {
	Syncs  uint64 // of files and of directories
	Reads  uint64 // of file content
	Writes uint64 // of file content
}

// What can go wrong. Errors of a Disk are *Error and wrap one of these where
// one fits.
var (
	ErrNotExist = errors.New("no such file")
	ErrOffset   = errors.New("the offset is not the file's size")
	ErrPath     = errors.New("not a canonical path")
	ErrConflict = errors.New("a directory or something else is in the place of a file, or a file in that of a directory")
	ErrNoSpace  = errors.New("no space left")
	ErrReadOnly = errors.New("not writable")
	ErrPoisoned = errors.New("an earlier write or sync failed: no more writes")
	ErrInUse    = errors.New("in use by another process")
	ErrNotDir   = errors.New("not a directory")
	ErrClosed   = errors.New("the disk is closed")
	ErrOff      = errors.New("the power is off")
)

// Error says what failed and on which file.
type Error struct {
	Op   string // "append", "sync" and so on
	Path string // of the file; for "open" the directory
	Err  error  // one of the above, or what the operating system said
}

func (e *Error) Error() string { return "disk: " + e.Op + " " + e.Path + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// CheckPath refuses every path but the canonical ones with ErrPath: 1 to
// MaxPath bytes, parts of A-Z a-z 0-9 . _ - joined by single slashes, no part
// empty, "." or "..".
func CheckPath(path string) error {
	if path == "" || len(path) > MaxPath {
		return ErrPath
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || !alphabet(part) {
			return ErrPath
		}
	}
	return nil
}

// CheckPrefix refuses what no canonical path could start with. The empty
// prefix is that of every path.
func CheckPrefix(prefix string) error {
	if len(prefix) > MaxPath {
		return ErrPath
	}
	cut := strings.LastIndexByte(prefix, '/')
	if cut >= 0 && CheckPath(prefix[:cut]) != nil {
		return ErrPath
	}
	if !alphabet(prefix[cut+1:]) {
		return ErrPath
	}
	return nil
}

func alphabet(part string) bool {
	for i := range len(part) {
		c := part[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// parents answers the directories that lead to a path, the nearest first; the
// last one is ".", the disk's top.
func parents(path string) []string {
	var dirs []string
	for {
		cut := strings.LastIndexByte(path, '/')
		if cut < 0 {
			return append(dirs, top)
		}
		path = path[:cut]
		dirs = append(dirs, path)
	}
}

// top is the name of the disk's own directory.
const top = "."

func parent(path string) string {
	cut := strings.LastIndexByte(path, '/')
	if cut < 0 {
		return top
	}
	return path[:cut]
}
