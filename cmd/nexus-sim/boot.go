package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/policyd"
	"nexus.internal/os/services/rngd"
)

// markerTimeout is how long a marker is waited for unless --timeout says
// otherwise.
const markerTimeout = 30 * time.Second

// bootFlags are what `nexus-sim boot` takes.
type bootFlags struct {
	state   string
	script  string // "-" for standard input, "" for none
	until   string
	policy  string
	audit   string
	argon   identityd.Params
	timeout time.Duration
	json    bool
}

func parseBoot(args []string, std streams) (f bootFlags, err error) {
	set := newFlags("boot")
	set.StringVar(&f.state, "state", "", "state `directory`, made if it does not exist (required)")
	set.StringVar(&f.script, "script", "-", "script `file`, - for standard input; with --until-marker there is none unless it is given")
	set.StringVar(&f.until, "until-marker", "", "shut down, with success, at the first marker that contains `text`")
	set.DurationVar(&f.timeout, "timeout", 0, "give up after this `time`, as 500ms or 1m; 0 is never, or 30s with --until-marker")
	set.StringVar(&f.policy, "policy", "", "policy `file` in TOML instead of the shipped one")
	set.StringVar(&f.audit, "audit", "", auditHelp)
	argon := set.String("argon", "", argonHelp)
	set.BoolVar(&f.json, "json", false, "print one JSON object a line")
	given, err := parse(set, args, std)
	if err == nil {
		f.argon, err = parseArgon(*argon)
	}
	switch {
	case err != nil:
		return f, err
	case f.state == "":
		return f, fmt.Errorf("%w: boot needs --state DIR", errUsage)
	case f.timeout < 0:
		return f, fmt.Errorf("%w: boot: --timeout is negative", errUsage)
	case f.script == "":
		return f, fmt.Errorf("%w: boot: --script is empty", errUsage)
	case given["until-marker"] && f.until == "":
		return f, fmt.Errorf("%w: boot: --until-marker is empty", errUsage)
	}
	if f.until != "" && !given["script"] {
		f.script = ""
	}
	if f.until != "" && f.timeout == 0 {
		f.timeout = markerTimeout
	}
	return f, nil
}

func runBoot(args []string, std streams) error {
	f, err := parseBoot(args, std)
	if err != nil {
		return err
	}
	p := &printer{out: std.out, json: f.json, state: f.state}
	return p.ended(bootAndRun(f, p, std))
}

// bootAndRun boots, runs the script if there is one, and shuts down.
func bootAndRun(f bootFlags, p *printer, std streams) error {
	warnMode(p, std.err)
	warnMemory(std.err)
	console := script.NewConsole(p.marker)
	cfg := shipped()
	cfg.Argon = f.argon
	cfg.Console, cfg.Report, cfg.Crash = console, p.note, p.crash
	var err error
	if f.policy != "" {
		if cfg.Policy, err = readPolicy(f.policy); err != nil {
			return err
		}
	}
	text, err := openScript(f.script, std)
	if err != nil {
		return err
	}
	records, err := openAudit(f.audit)
	if err != nil {
		return err
	}
	records.listen(&cfg)
	w := &watch{flags: f, console: console, script: text, results: p.result, patience: stopTimeout}
	return records.close(w.run(cfg))
}

// shipped is what every boot on a real disk begins with: credentials cost at
// least what shipped ones do.
func shipped() boot.Config { return boot.Config{Floor: identityd.Floor()} }

// readPolicy reads a policy and looks whether it is one, before anything is
// made for a boot that must fail.
func readPolicy(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	_, _, err = policyd.Parse(text)
	var bad *policyd.ParseError
	if errors.As(err, &bad) {
		return nil, fmt.Errorf("%s:%d: %s", name, bad.Line, bad.Reason)
	}
	return text, err
}

// openScript returns the script's text, nil if there is none. The process ends
// with the script, so that nobody closes it.
func openScript(name string, std streams) (io.Reader, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		if f, ok := std.in.(*os.File); ok && isTerminal(f) {
			fmt.Fprintln(std.err, "nexus-sim: reading verbs, one a line; `nexus-sim verbs` lists them, Ctrl-D ends")
		}
		return std.in, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return nil, fmt.Errorf("%s: not a script", name)
	}
	return f, nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// warnMode says aloud, on the console too, when this binary's chance is none.
func warnMode(p *printer, w io.Writer) {
	if rngd.Mode != "system" {
		text := "INSECURE: built with " + rngd.Mode + ": everybody can compute every key; for tests only"
		fmt.Fprintln(w, "nexus-sim:", text)
		p.note(text)
	}
}
