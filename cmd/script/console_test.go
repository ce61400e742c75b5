package script

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
)

func TestConsoleCutsLines(t *testing.T) {
	var got []string
	c := NewConsole(func(line string) { got = append(got, line) })
	if last, ok := c.Last(); ok {
		t.Errorf("an empty console has the line %q", last)
	}
	for _, p := range []string{"init: ", "start\nrngd:", " ready\n\nhalf"} {
		if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := []string{"init: start", "rngd: ready", ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if at, ok := c.Find("ready", 0); !ok || at != 1 {
		t.Errorf("found at %d, %v", at, ok)
	}
	for _, absent := range []struct {
		text string
		from int
	}{{"ready", 2}, {"half", 0}, {"start", 99}} {
		if at, ok := c.Find(absent.text, absent.from); ok {
			t.Errorf("%q from %d on: found at %d", absent.text, absent.from, at)
		}
	}
}

func TestWatch(t *testing.T) {
	c := NewConsole(nil)
	fmt.Fprintln(c, "a: before")
	seen := c.Watch("a:")
	select {
	case line := <-seen:
		t.Errorf("saw %q, which came before", line)
	default:
	}
	fmt.Fprintln(c, "b: other")
	fmt.Fprintln(c, "a: first")
	fmt.Fprintln(c, "a: second")
	if line := <-seen; line != "a: first" {
		t.Errorf("saw %q", line)
	}
}

// A console keeps the newest Kept lines, and never more than twice as many.
func TestKeptLines(t *testing.T) {
	c := NewConsole(nil)
	for i := range 4 * Kept {
		fmt.Fprintf(c, "line %d.\n", i)
		n := i + 1
		if n%Kept > 1 && n%Kept < Kept-1 {
			continue
		}
		oldest := max(n-Kept, 0)
		if at, ok := c.Find("line "+strconv.Itoa(oldest)+".", 0); !ok || at != oldest {
			t.Fatalf("after %d lines: line %d found at %d, %v", n, oldest, at, ok)
		}
		if len(c.lines) > 2*Kept {
			t.Fatalf("after %d lines %d are kept", n, len(c.lines))
		}
	}
	if at, ok := c.Find("line 0.", 0); ok {
		t.Errorf("the first line is still there, at %d", at)
	}
}
