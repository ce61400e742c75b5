package main

import (
	"errors"
	"fmt"
	"os"

	"nexus.internal/os/cmd/audit"
	"nexus.internal/os/cmd/boot"
)

const auditHelp = "add a line to this `file` for each refused request and each decision of policy, as it happens"

// auditFile is where a run's audit records go; nil is nowhere. Records are
// added to a file that there is, because an id is never another record's on the
// same state directory, and each is in the file before anything else happens:
// a kernel that is killed leaves all of them.
type auditFile struct {
	file *os.File
	*audit.Writer
}

func openAudit(name string) (*auditFile, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &auditFile{f, audit.NewWriter(f)}, nil
}

// listen has the boot tell of its records.
func (a *auditFile) listen(cfg *boot.Config) {
	if a != nil {
		cfg.Denied, cfg.Audit = a.Denied, a.Decided
	}
}

// close adds to a run's error what went wrong with its records.
func (a *auditFile) close(run error) error {
	if a == nil {
		return run
	}
	return errors.Join(run, a.Err(), a.file.Close())
}

func runExplain(args []string, std streams) error {
	set := newFlags("explain")
	name := set.String("audit", "", "`file` that --audit of another command wrote (required)")
	ids, err := parseWith(set, args, std)
	switch {
	case err != nil:
		return err
	case len(ids) != 1:
		return fmt.Errorf("%w: explain needs one AUDIT-ID, as k1-1 or p1-1", errUsage)
	case !audit.IsID(ids[0]):
		return fmt.Errorf("%w: explain: %q is no id of a record, as k1-1 or p1-1", errUsage, ids[0])
	case *name == "":
		return fmt.Errorf("%w: explain needs --audit FILE", errUsage)
	}
	f, err := os.Open(*name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // It was only read.
	r, err := audit.Find(f, ids[0])
	if err != nil {
		return fmt.Errorf("%s: %s: %w", *name, ids[0], err)
	}
	fmt.Fprintln(std.out, oneLine(fmt.Sprintf("%s It was %d ns after the boot.", r.Words(), r.Time)))
	return nil
}
