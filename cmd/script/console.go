package script

import (
	"bytes"
	"strings"
	"sync"
)

// Kept is how many of the newest marker lines a console keeps, at least.
const Kept = 1 << 14

// Console takes the marker lines of a system, so that they can be expected and
// forbidden, and hands each on to a sink. It is safe for concurrent use.
type Console struct {
	sink func(line string)

	mu      sync.Mutex
	lines   []string // the newest ones
	dropped int      // older ones
	partial []byte
	watches []watch
}

type watch struct {
	text string
	seen chan string
}

// NewConsole makes a console. sink may be nil; it is called for each line.
func NewConsole(sink func(line string)) *Console { return &Console{sink: sink} }

// Write takes console output as the kernel writes it.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partial = append(c.partial, p...)
	for {
		line, rest, whole := bytes.Cut(c.partial, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		c.add(string(line))
		c.partial = append(c.partial[:0], rest...)
	}
}

func (c *Console) add(line string) {
	if len(c.lines) == 2*Kept {
		c.dropped += Kept
		c.lines = append(c.lines[:0], c.lines[Kept:]...)
	}
	c.lines = append(c.lines, line)
	if c.sink != nil {
		c.sink(line)
	}
	for _, w := range c.watches {
		if strings.Contains(line, w.text) {
			select {
			case w.seen <- line:
			default: // It was seen before.
			}
		}
	}
}

// Watch returns a channel that will hold the first line from now on that
// contains text.
func (c *Console) Watch(text string) <-chan string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := make(chan string, 1)
	c.watches = append(c.watches, watch{text, seen})
	return seen
}

// Find returns the index of the first line from position on that contains text,
// of those that are kept.
func (c *Console) Find(text string, from int) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := max(from-c.dropped, 0); i < len(c.lines); i++ {
		if strings.Contains(c.lines[i], text) {
			return c.dropped + i, true
		}
	}
	return 0, false
}

// Last returns the newest line; ok is false if there is none.
func (c *Console) Last() (line string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lines) == 0 {
		return "", false
	}
	return c.lines[len(c.lines)-1], true
}
