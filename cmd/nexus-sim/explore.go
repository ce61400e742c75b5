package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"nexus.internal/os/cmd/explore"
	"nexus.internal/os/cmd/machine"
)

// exploreFlags are what `nexus-sim explore` takes.
type exploreFlags struct {
	seeds, first uint64
	faults       string
	out          string
	json         bool
	noShrink     bool
	twice        bool
}

func parseExplore(args []string, std streams) (f exploreFlags, kinds []machine.Kind, err error) {
	set := newFlags("explore")
	set.Uint64Var(&f.seeds, "seeds", 1000, "`number` of seeds to explore")
	set.Uint64Var(&f.first, "first", 1, "first `seed`")
	set.StringVar(&f.faults, "faults", "crash,power,disk,delay,drop,exhaust", "`kinds` of fault that may come, or none")
	set.StringVar(&f.out, "out", "", "write the scenario of a failure to this `file` (explore-SEED.txtar)")
	set.BoolVar(&f.json, "json", false, "print the outcome as one JSON object")
	set.BoolVar(&f.noShrink, "no-shrink", false, "do not make the scenario of a failure shorter")
	set.BoolVar(&f.twice, "twice", false, "play every seed twice and compare console, trace and disk")
	if _, err = parse(set, args, std); err != nil {
		return f, nil, err
	}
	for word := range strings.SplitSeq(f.faults, ",") {
		kind := machine.Kind(word)
		if f.faults == "none" {
			break
		}
		if !slices.Contains(machine.Kinds, kind) {
			return f, nil, fmt.Errorf("%w: explore: no kind of fault is called %q; there are %v", errUsage, word, machine.Kinds)
		}
		kinds = append(kinds, kind)
	}
	return f, kinds, nil
}

func runExplore(args []string, std streams) error {
	f, kinds, err := parseExplore(args, std)
	if err != nil {
		return err
	}
	if bySeed == nil {
		return otherBuild(strings.Join(append([]string{"explore"}, quoted(args)...), " "))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	bar := newBar(std.err, f.seeds)
	totals, failed := explore.Run(ctx, explore.Config{
		First: f.first, Count: f.seeds, Faults: kinds, Chance: bySeed, Workers: runtime.NumCPU(), Twice: f.twice,
	}, bar.show)
	bar.end()
	return f.conclude(ctx, std, totals, failed, time.Since(bar.begun))
}

// verdict is the outcome of an exploration for machines.
type verdict struct {
	Seeds    uint64               `json:"seeds"`
	Boots    uint64               `json:"boots"`
	Fired    map[machine.Kind]int `json:"fired"`
	Failed   bool                 `json:"failed"`
	Seed     uint64               `json:"seed,omitempty"`
	Check    string               `json:"check,omitempty"`
	Text     string               `json:"text,omitempty"`
	Scenario string               `json:"scenario,omitempty"`
}

// conclude prints what an exploration came to, and shrinks a failure.
func (f *exploreFlags) conclude(ctx context.Context, std streams, t explore.Totals, failed *explore.Failure, took time.Duration) error {
	v := verdict{Seeds: t.Seeds, Boots: t.Boots, Fired: t.Fired}
	var err error
	if failed != nil {
		v.Failed, v.Seed, v.Check, v.Text = true, failed.Seed, explore.Way(failed.Err), failed.Err.Error()
		v.Scenario, err = f.keep(ctx, failed)
	}
	if f.json {
		err = firstOf(err, json.NewEncoder(std.out).Encode(v))
	} else {
		report(std.out, v, t, took)
	}
	switch {
	case err != nil:
		return err
	case failed != nil:
		return fmt.Errorf("seed %d: %w", failed.Seed, failed.Err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w after %d of %d seeds", signalError{syscall.SIGINT}, t.Seeds, f.seeds)
	}
	return nil
}

// keep writes the scenario of a failure to a file, made shorter if that is
// wanted, and answers the file's name.
func (f *exploreFlags) keep(ctx context.Context, failed *explore.Failure) (string, error) {
	s := failed.Scenario
	if f.noShrink && f.out == "" {
		return "", nil
	}
	if !f.noShrink {
		s = explore.Shrink(ctx, failed, bySeed)
	}
	name := f.out
	if name == "" {
		name = fmt.Sprintf("explore-%d.txtar", failed.Seed)
	}
	s.About = fmt.Sprintf("# Seed %d of an exploration, made shorter. It fails: %s\n", failed.Seed, oneLine(explore.Way(failed.Err)))
	return name, os.WriteFile(name, s.Format(), 0o644)
}

func report(w io.Writer, v verdict, t explore.Totals, took time.Duration) {
	fmt.Fprintf(w, "%d seeds, %d boots, %d steps: %.0f boots a second, %.1f virtual seconds a second\n", t.Seeds, t.Boots, t.Steps,
		float64(t.Boots)/took.Seconds(), time.Duration(t.Virtual).Seconds()/took.Seconds())
	fmt.Fprint(w, "faults that came:")
	for _, k := range machine.Kinds {
		fmt.Fprintf(w, " %s %d", k, t.Fired[k])
	}
	fmt.Fprintln(w)
	if t.Undecided > 0 {
		fmt.Fprintf(w, "histories that were too hard to judge: %d\n", t.Undecided)
	}
	if v.Failed {
		fmt.Fprintf(w, "seed %d fails: %s\n", v.Seed, oneLine(v.Text))
	}
	if v.Scenario != "" {
		fmt.Fprintf(w, "again with: %s run %s\n", quotedArg(os.Args[0]), quotedArg(v.Scenario))
	}
}

// bar shows how far an exploration is, where somebody looks.
type bar struct {
	out   io.Writer
	of    uint64
	begun time.Time
	last  time.Time
	shown bool
	tty   bool
}

// How often the bar is drawn, and how wide it is.
const (
	barEvery = 200 * time.Millisecond
	barWidth = 30
)

func newBar(w io.Writer, of uint64) *bar {
	f, ok := w.(*os.File)
	return &bar{out: w, of: max(1, of), begun: time.Now(), tty: ok && isTerminal(f)}
}

func (b *bar) show(t explore.Totals) {
	if now := time.Now(); b.tty && now.Sub(b.last) >= barEvery {
		b.last, b.shown = now, true
		full := int(t.Seeds * barWidth / b.of)
		fmt.Fprintf(b.out, "\r[%s%s] %d of %d seeds, %.0f boots a second ", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full),
			t.Seeds, b.of, float64(t.Boots)/now.Sub(b.begun).Seconds())
	}
}

func (b *bar) end() {
	if b.shown {
		fmt.Fprintln(b.out)
	}
}
