package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Bounds on what a mutant may take.
const (
	buildTimeout   = 5 * time.Minute
	exploreTimeout = 2 * time.Minute // and as much as follows for each seed
	seedTimeout    = 250 * time.Millisecond
	testTimeout    = 2 * time.Minute // of one package's tests, as they are told themselves
	testGrace      = 2 * time.Minute // to build them
)

// plainGo keeps builds independent of a C compiler.
var plainGo = []string{"CGO_ENABLED=0"}

// try plants one mistake, sees what notices it, and takes it out again. The
// error is of a copy that cannot be used any more.
func (f *field) try(ctx context.Context, p patch, cfg config) (v verdict, err error) {
	start := time.Now()
	if err := f.apply(ctx, p); err != nil {
		return v, err
	}
	v.err = f.look(ctx, p, cfg, &v)
	v.took = time.Since(start)
	if ctx.Err() != nil {
		return v, ctx.Err() // The copy is about to be removed as it is.
	}
	return v, f.apply(ctx, p, "--reverse")
}

// look builds the mutant, explores it, and runs tests if they are wanted.
func (f *field) look(ctx context.Context, p patch, cfg config, v *verdict) error {
	if err := f.build(ctx); err != nil {
		return err
	}
	found, err := f.explore(ctx, cfg.seeds)
	if err != nil {
		return err
	}
	v.seeds = found.Seeds
	if found.Failed {
		v.check = found.Check
		if !cfg.all {
			return nil
		}
	}
	v.tested = p.packages
	for _, pkg := range p.packages {
		name, err := f.test(ctx, pkg, p.only)
		if err != nil {
			return err
		}
		if name != "" {
			v.pkg, v.test = pkg, name
			return nil
		}
	}
	return nil
}

// build makes the binary that explores. Paths stay out of it, so that the next
// run finds in the cache what this one has built elsewhere.
func (f *field) build(ctx context.Context) error {
	r, err := execute(ctx, job{
		dir: f.tree, limit: buildTimeout, env: plainGo, name: "go",
		args: []string{"build", "-tags", "insecure_deterministic", "-trimpath", "-o", f.sim, "./cmd/nexus-sim"},
	})
	if err == nil && r.status != 0 {
		err = r.failure("go build")
	}
	return err
}

// finding is what the exploration says at its end.
type finding struct {
	Seeds  int    `json:"seeds"`
	Failed bool   `json:"failed"`
	Seed   uint64 `json:"seed"`
	Check  string `json:"check"`
	Text   string `json:"text"`
}

func (f *field) explore(ctx context.Context, seeds int) (finding, error) {
	r, err := execute(ctx, job{
		dir: f.dir, limit: exploreTimeout + time.Duration(seeds)*seedTimeout, name: f.sim,
		args: []string{"explore", "--seeds", strconv.Itoa(seeds), "--json", "--no-shrink"},
	})
	if err != nil {
		return finding{}, err
	}
	return explored(r)
}

// explored reads the last line of an exploration, which has to agree with its
// status: a binary that ends in another way has not explored anything.
func explored(r result) (found finding, err error) {
	err = json.Unmarshal(lastLine(r.out), &found)
	if r.status > statusFailed || err != nil {
		return finding{}, r.failure("sim explore")
	}
	if found.Failed != (r.status == statusFailed) || found.Failed && found.Check == "" {
		return finding{}, fmt.Errorf("sim explore: status %d, but: %s", r.status, lastLine(r.out))
	}
	return found, nil
}

// test runs the tests of a package and answers the first one that fails. They
// run without vet, which would say no more than that the mutant is good Go.
func (f *field) test(ctx context.Context, pkg, only string) (failed string, err error) {
	args := []string{"test", "-trimpath", "-vet=off", "-count=1", "-failfast", "-timeout=" + testTimeout.String()}
	if only != "" {
		args = append(args, "-run="+only)
	}
	r, err := execute(ctx, job{
		dir: f.tree, limit: testTimeout + testGrace, env: plainGo, name: "go",
		args: append(args, pkg),
	})
	if err != nil || r.status == 0 {
		return "", err
	}
	return firstFailure(r)
}

var (
	failLine  = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	hangLine  = regexp.MustCompile(`(?m)^panic: test timed out after .*\n\s*running tests:\n\s*(\S+)`)
	panicLine = regexp.MustCompile(`(?m)^(panic|fatal error): `)
)

// errNoVerdict is of tests that did not run: they say nothing of the mistake.
var errNoVerdict = errors.New("tests did not run")

// firstFailure finds out which test failed first. One that did not build, or
// could not be set up, has not failed.
func firstFailure(r result) (string, error) {
	text := append(bytes.Clone(r.out), r.err...)
	if bytes.Contains(text, []byte("[build failed]")) || bytes.Contains(text, []byte("[setup failed]")) {
		return "", fmt.Errorf("%w: %w", errNoVerdict, r.failure("go test"))
	}
	if m := failLine.FindSubmatch(text); m != nil {
		return string(m[1]), nil
	}
	if m := hangLine.FindSubmatch(text); m != nil {
		return string(m[1]) + " hangs", nil
	}
	if panicLine.Match(text) {
		return "panic", nil
	}
	return "", fmt.Errorf("%w: %w", errNoVerdict, r.failure("go test"))
}
