// Package scan looks for bytes in the memory of another process, as root or a
// debugger would. It asks the kernel only, and changes nothing.
package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Width is how many bytes of a pattern are looked for at each of its ends: a
// vector register holds no more, so that half a key is found too. A pattern has
// at least that many.
const Width = 16

// mostRead is how much is read at a time, in bytes.
const mostRead = 16 << 20

// Hit is a place where an end of a pattern was found.
type Hit struct {
	Name    string // of the pattern
	Address uint64
	Region  string // its line in /proc/PID/maps
}

func (h Hit) String() string { return fmt.Sprintf("%s at %x in %s", h.Name, h.Address, h.Region) }

// looks is how often a process is looked at that unmaps memory meanwhile.
const looks = 8

// Process looks for patterns in all readable memory of a process, which must be
// one's own child or run under the same user. It looks again if the process has
// unmapped some of it meanwhile. An error means that some was not looked at.
func Process(pid int, patterns map[string][]byte) (hits []Hit, err error) {
	for range looks {
		if hits, err = look(pid, patterns); !errors.Is(err, syscall.EIO) {
			break
		}
	}
	return hits, err
}

func look(pid int, patterns map[string][]byte) (hits []Hit, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	defer func() { _ = mem.Close() }()
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "[v") { // [vvar], [vdso] and [vsyscall] are the kernel's.
			continue
		}
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &rights); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		if rights[0] != 'r' {
			continue
		}
		found, err := region(mem, from, to, patterns)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		for i := range found {
			found[i].Region = strings.TrimSpace(line)
		}
		hits = append(hits, found...)
	}
	return hits, nil
}

// region reads piece after piece, each with the end of the one before.
func region(mem io.ReaderAt, from, to int64, patterns map[string][]byte) (hits []Hit, err error) {
	b := make([]byte, min(to-from, mostRead))
	for ; from < to; from += mostRead - Width + 1 {
		n, err := mem.ReadAt(b[:min(to-from, int64(len(b)))], from)
		if err != nil {
			return nil, err
		}
		for name, p := range patterns {
			hits = append(hits, within(b[:n], uint64(from), name, p[:Width])...)
			if len(p) > Width {
				hits = append(hits, within(b[:n], uint64(from), name, p[len(p)-Width:])...)
			}
		}
	}
	return hits, nil
}

func within(b []byte, from uint64, name string, part []byte) (hits []Hit) {
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], part)
		if i < 0 {
			return hits
		}
		at += i
		hits = append(hits, Hit{Name: name, Address: from + uint64(at)})
	}
}

// Count is how often each pattern was found.
func Count(hits []Hit) map[string]int {
	n := make(map[string]int)
	for _, h := range hits {
		n[h.Name]++
	}
	return n
}
