// Command nexus-sim boots the simulated OS on a state directory, drives it with
// scripts, and shows what it is for.
//
// Exit status: 0 if everything went as wanted; 1 if the system or the script
// did not, or time was up; 2 if the command line is wrong; 130 and 143 if
// SIGINT or SIGTERM ended it, after a clean shutdown. A line on standard error
// says why it is not 0.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"nexus.internal/os/cmd/script"
)

// Exit statuses. A signal's is signalStatus and its number.
const (
	statusFailed = 1
	statusUsage  = 2
	signalStatus = 128
)

// errUsage marks an error of the command line.
var errUsage = errors.New("usage")

type command struct {
	name string
	help string
	run  func(args []string, std streams) error
}

// streams are the standard ones.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func commands() []command {
	return []command{
		{"boot", "boot on a state directory and run a script", runBoot},
		{"run", "play a scenario; bin/nexus-sim-insecure does it by seed", runRun},
		{"replay", "play a trace or a failure again, to the same bytes", runReplay},
		{"trace", "draw a trace: for Mermaid, for Perfetto, or as text", runTrace},
		{"explain", "say in words why a request was refused, from a file of --audit", runExplain},
		{"explore", "look for seeds under which a promise is not kept", runExplore},
		{"fsck", "say what is wrong with a state directory; with a credential, all of a user's", runFsck},
		{"adopt", "put what fsck has salvaged in the place of a user's vault", runAdopt},
		{"calibrate", "find out what Argon2id may cost on this machine", runCalibrate},
		{"shell", "a prompt with the verbs of scripts", runShell},
		{"grants", "draw who may call whom, as a Mermaid diagram", runGrants},
		{"demo", "boot, show the keychain, kill the OS in the middle of puts, boot again", runDemo},
		{"verbs", "list the verbs of scripts", runVerbs},
	}
}

func main() {
	startUninterrupted()
	os.Exit(run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// run runs a command and returns the exit status.
func run(args []string, std streams) int {
	err := dispatch(args, std)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(std.err, "nexus-sim:", oneLine(err.Error()))
	var stopped signalError
	switch {
	case errors.Is(err, errUsage):
		return statusUsage
	case errors.As(err, &stopped):
		return signalStatus + int(stopped.Signal)
	}
	return statusFailed
}

func dispatch(args []string, std streams) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: nexus-sim COMMAND; `nexus-sim help` lists them", errUsage)
	}
	name, rest := args[0], args[1:]
	if name == "help" || name == "-h" || name == "-help" || name == "--help" {
		help(std.out)
		return nil
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(rest, std)
		}
	}
	return fmt.Errorf("%w: no command is called %q; `nexus-sim help` lists them", errUsage, name)
}

func help(w io.Writer) {
	fmt.Fprintln(w, "nexus-sim boots the simulated OS. Commands:")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.help)
	}
	fmt.Fprintln(w, "\n`nexus-sim COMMAND -h` lists a command's flags.")
}

func runVerbs(args []string, std streams) error {
	if _, err := parse(newFlags("verbs"), args, std); err != nil {
		return err
	}
	for _, v := range script.Verbs() {
		fmt.Fprintf(std.out, "%s\n    %s\n", v.Usage(), v.Help)
	}
	return nil
}

func newFlags(command string) *flag.FlagSet {
	set := flag.NewFlagSet(command, flag.ContinueOnError)
	set.SetOutput(io.Discard) // One line says what is wrong, and run prints it.
	return set
}

// parse reads a command's flags, beside which it takes no arguments, and
// returns the names of those that were given.
func parse(set *flag.FlagSet, args []string, std streams) (given map[string]bool, err error) {
	rest, err := parseWith(set, args, std)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: %s takes no argument, and %q is one", errUsage, set.Name(), rest[0])
	}
	given = make(map[string]bool)
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return given, err
}

// parseWith reads a command's flags and arguments, in any order.
func parseWith(set *flag.FlagSet, args []string, std streams) (rest []string, err error) {
	for len(args) > 0 {
		if !strings.HasPrefix(args[0], "-") {
			rest, args = append(rest, args[0]), args[1:]
			continue
		}
		err := set.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			fmt.Fprintf(std.out, "nexus-sim %s takes these flags:\n", set.Name())
			set.SetOutput(std.out)
			set.PrintDefaults()
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: %s: %s; `nexus-sim %s -h` lists its flags",
				errUsage, set.Name(), strings.TrimSpace(err.Error()), set.Name())
		}
		args = set.Args()
	}
	return rest, nil
}
