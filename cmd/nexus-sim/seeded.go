package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/cmd/trace"
)

// runSeeded plays by a seed, in virtual time, on a disk in memory.
func runSeeded(f runFlags, s *scenario.Scenario, seed uint64, p *printer, std streams) error {
	if f.state != "" {
		return fmt.Errorf("%w: run: --state is for runs without a seed; by seed, the disk is in memory", errUsage)
	}
	warnMode(p, std.err)
	p.note(fmt.Sprintf("seed %d", seed))
	line := trace.NewTimeline(s.DrawsFrom(trace.TimelineFrom))
	st := scenario.BySeed(seed, s, bySeed)
	machine := st.Machine
	st.Stage = p.stage(line, f.timeline != "")
	st.Machine = machine
	records, err := openAudit(f.audit)
	if err != nil {
		return err
	}
	records.listen(&st.Machine.Boot)
	begin := time.Now()
	text, err := recorded(s, st, seed, f.timeout)
	err = records.close(err)
	if f.trace != "" && text != nil {
		err = errors.Join(err, os.WriteFile(f.trace, text, 0o644))
	}
	if text != nil {
		p.note(fmt.Sprintf("disk sha256 %x", st.DiskHash()))
		speed(std, st, time.Since(begin))
	}
	return errors.Join(err, writeTimeline(f.timeline, line))
}

// speed says on standard error how fast virtual time went; standard output is
// the same every time.
func speed(std streams, st *scenario.Seeded, took time.Duration) {
	virtual := time.Duration(st.VirtualTime())
	fmt.Fprintf(std.err, "nexus-sim: %d steps, %v of virtual time in %v\n", st.Steps(), virtual.Round(time.Microsecond), took.Round(time.Millisecond))
}
