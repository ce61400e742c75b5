package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// verdict is what noticed a mistake, if anything did.
type verdict struct {
	seeds  int      // that were explored
	check  string   // that failed in the exploration
	tested []string // packages, if tests were wanted
	pkg    string   // whose test failed
	test   string   // that failed
	err    error    // nothing can be said
	took   time.Duration
}

func (v verdict) caught() bool { return v.err == nil && (v.check != "" || v.test != "") }

func (v verdict) String() string {
	if v.err != nil {
		return "ERROR: " + strings.ReplaceAll(v.err.Error(), "\n", "; ")
	}
	var by []string
	if v.check != "" {
		by = append(by, fmt.Sprintf("exploration (%s) after %s", v.check, plural(v.seeds, "seed")))
	}
	if v.test != "" {
		by = append(by, fmt.Sprintf("tests %s (%s)", v.pkg, v.test))
	}
	if len(by) > 0 {
		return "caught by " + strings.Join(by, " and by ") + ", " + seconds(v.took)
	}
	tests := "no tests"
	if len(v.tested) > 0 {
		tests = "tests of " + strings.Join(v.tested, " ")
	}
	return fmt.Sprintf("NOT CAUGHT after %s and %s, %s", plural(v.seeds, "seed"), tests, seconds(v.took))
}

// line is what is printed of one mistake.
func line(name string, width int, v verdict) string {
	return fmt.Sprintf("%-*s   %v", width, name, v)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", math.Ceil(d.Seconds())) }
