// Command mutants plants mistakes in a copy of the sources, one at a time, and
// says what notices each of them: the exploration by seeds, or else the tests of
// the packages that the mistake's own file names.
//
//	go run ./tests/mutants [--seeds N] [--only REGEXP] [--all] [--keep] [NAME...]
//
// A file NN-name.patch in this folder is one mistake, as a diff from the root of
// the repository. Before its first line of diff stand one sentence that says what
// the mistake is; a line "tests: ./a ./b" that names the packages whose tests
// should notice it, with "-run REGEXP" behind them if only some tests are to run;
// and whatever else there is to say.
//
// First of all the exploration runs on the copy as it is: a check that fails
// there notices nothing. A patch that does not apply ends the run before that,
// so that no mistake goes stale unseen. A mutant that does not build, and an
// exploration that ends in any other way than it should, are errors and notice
// nothing either.
//
// Exit status: 0 if every mistake was noticed; 1 if one was not, or anything
// went wrong; 2 if the command line is wrong; 130 after SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// Exit statuses.
const (
	statusFailed      = 1
	statusUsage       = 2
	statusInterrupted = 130
)

// folder is where the patches are, below the root.
const folder = "tests/mutants"

// errUsage marks an error of the command line.
var errUsage = errors.New("usage")

// config is what the command line says.
type config struct {
	seeds int
	only  *regexp.Regexp
	all   bool
	keep  bool
	names []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run does what the command line says and returns the exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	cfg, err := parseFlags(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	caught, of := 0, 0
	if err == nil {
		caught, of, err = plant(ctx, cfg, out, errs)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(errs, "mutants: interrupted")
		return statusInterrupted
	case err != nil:
		fmt.Fprintln(errs, "mutants:", err)
		if errors.Is(err, errUsage) {
			return statusUsage
		}
		return statusFailed
	case caught < of:
		return statusFailed
	}
	return 0
}

func parseFlags(args []string, out io.Writer) (cfg config, err error) {
	set := flag.NewFlagSet("mutants", flag.ContinueOnError)
	set.SetOutput(io.Discard) // One line says what is wrong, and run prints it.
	only := ""
	set.IntVar(&cfg.seeds, "seeds", 400, "explore this `number` of seeds at most")
	set.StringVar(&only, "only", "", "plant only mistakes whose names match this `regexp`")
	set.BoolVar(&cfg.all, "all", false, "run the tests also where the exploration has noticed the mistake")
	set.BoolVar(&cfg.keep, "keep", false, "keep the temporary folder and say where it is")
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		set.SetOutput(out)
		set.PrintDefaults()
		return cfg, err
	} else if err != nil {
		return cfg, fmt.Errorf("%w: %v", errUsage, err)
	}
	if cfg.seeds < 1 {
		return cfg, fmt.Errorf("%w: --seeds must be at least 1", errUsage)
	}
	if cfg.only, err = regexp.Compile(only); err != nil {
		return cfg, fmt.Errorf("%w: --only: %v", errUsage, err)
	}
	cfg.names = set.Args()
	return cfg, nil
}

// plant tries every chosen mistake and prints a line for each, and then how
// many of them something has noticed, whatever it was that ended the run.
func plant(ctx context.Context, cfg config, out, errs io.Writer) (caught, of int, err error) {
	root, err := findRoot(".")
	if err != nil {
		return 0, 0, err
	}
	all, err := readPatches(filepath.Join(root, folder))
	if err != nil {
		return 0, 0, err
	}
	patches, err := choose(all, cfg)
	if err != nil {
		return 0, 0, err
	}
	f, err := newField(ctx, root)
	if err != nil {
		return 0, 0, err
	}
	defer f.leave(cfg.keep, errs)
	if err := f.checkAll(ctx, patches); err != nil {
		return 0, 0, err
	}
	width := widest(patches)
	if err := f.control(ctx, cfg, width, out); err != nil {
		return 0, 0, err
	}
	for _, p := range patches {
		var v verdict
		if v, err = f.try(ctx, p, cfg); err != nil {
			break
		}
		fmt.Fprintln(out, line(p.name, width, v))
		if v.caught() {
			caught++
		}
	}
	fmt.Fprintf(out, "%d of %d caught\n", caught, len(patches))
	return caught, len(patches), err
}

// control explores the copy as it is.
func (f *field) control(ctx context.Context, cfg config, width int, out io.Writer) error {
	start := time.Now()
	if err := f.build(ctx); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	found, err := f.explore(ctx, cfg.seeds)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if found.Failed {
		return fmt.Errorf("control: without any mistake check %s fails at seed %d: %s", found.Check, found.Seed, found.Text)
	}
	fmt.Fprintf(out, "%-*s   nothing found in %s, %s\n", width, "control", plural(found.Seeds, "seed"), seconds(time.Since(start)))
	return nil
}
