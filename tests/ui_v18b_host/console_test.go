package ui_v18b_host

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// console is the system's console.
type console struct {
	mu        sync.Mutex
	text      bytes.Buffer
	trap      string   // a line with this in it makes the next Write panic, once
	restarted []string // lines of services that panicked, once for each time
}

// Write takes one whole line at a time.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.text.Write(p)
	if c.trap != "" && strings.Contains(string(p), c.trap) {
		c.trap = ""
		panic("console: the test asked for it")
	}
	return n, err
}

// failAt makes the service that prints a line with text in it panic, once.
func (c *console) failAt(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trap = text
}

// lines answers what was printed.
func (c *console) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.text.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(c.text.String(), "\n"), "\n")
}

// count answers how often exactly that line was printed.
func (c *console) count(line string) (n int) {
	for _, l := range c.lines() {
		if l == line {
			n++
		}
	}
	return n
}

// bootLines are what every boot prints, in this order.
var bootLines = []string{
	"init: start", "rngd: ready", "statefsd: ready", "policyd: ready",
	"keymintd: ready", "identityd: ready", "keystore: ready",
}

// grammar is everything that a console may show. A name is printable ASCII in
// which whatever could end it is written as \xNN.
var grammar = regexp.MustCompile(strings.NewReplacer(
	"ID", `[a-z][a-z0-9._-]{0,63}`,
	"NUMBER", `[1-9][0-9]{0,19}`,
	"NAME", `(?:[!#-'*+\-./0-9:;<>?-\[\]-~]|\\x[0-9a-f]{2}){1,256}`,
).Replace(`^(?:` + strings.Join([]string{
	`init: start`,
	`(?:rngd|statefsd|policyd|keymintd|identityd|keystore): ready`,
	`identity: (?:user created|rekeyed) \(user=ID\)`,
	`identity: credential (?:set|removed) \(user=ID, kind=(?:password|pin|recovery)\)`,
	`identity: app uninstalled \(user=ID, app=ID\)`,
	`keystore: head FAIL \(user=ID\)`,
	`identity: session (?:start|unseal|lock|end) \(sid=NUMBER\)`,
	`keystore: put \(app=ID, key=NAME\)`,
	`keystore: tail dropped \(user=ID, bytes=NUMBER, kept=state:/identity/ID/vault\.kv\.tail-NUMBER\)`,
}, `|`) + `)$`))

// check fails the test for a line that no service would print, and for one
// about a boot at any other time.
func (c *console) check(t testing.TB) {
	t.Helper()
	lines := c.lines()
	for i, line := range lines {
		if !grammar.MatchString(line) {
			t.Errorf("line %d on the console: %q", i+1, line)
		}
	}
	if !slices.Equal(lines[:min(len(lines), len(bootLines))], bootLines) {
		t.Errorf("the boot printed %q", lines[:min(len(lines), len(bootLines))])
	}
	for _, line := range bootLines {
		starts := 1
		for _, again := range c.restarted {
			if again == line {
				starts++
			}
		}
		if n := c.count(line); n != starts {
			t.Errorf("%q was printed %d times, want %d", line, n, starts)
		}
	}
}
