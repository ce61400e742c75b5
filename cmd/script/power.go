package script

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
)

func bootUp(r *Strand, _ []string) (string, error) {
	if err := r.machine.Boot(); err != nil {
		return "", err
	}
	return fmt.Sprintf("boot %d", r.machine.System().Boot), nil
}

func shutdown(r *Strand, _ []string) (string, error) {
	defer r.forget()
	return "", r.machine.Shutdown()
}

func reboot(r *Strand, _ []string) (string, error) {
	if _, err := shutdown(r, nil); err != nil {
		return "", err
	}
	return bootUp(r, nil)
}

// powerCut cuts the power. In a strand, that ends everything that runs, this
// strand included; the script clears up.
func powerCut(r *Strand, _ []string) (string, error) {
	if _, err := r.running(); err != nil {
		return "", err
	}
	r.machine.Faults().Note(machine.Power)
	r.machine.PowerCut()
	if r.system != nil {
		return "", ErrPowerCut
	}
	return "", r.clearUp()
}

// maxAdvance is how far one line may put the clock forward.
const maxAdvance = 100 * 24 * time.Hour

func duration(word string, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(word)
	if err != nil || d <= 0 || d > most {
		return 0, usage("%q is no time from 1ns to %v, as 500ms or 1h30m", word, most)
	}
	return d, nil
}

func advance(r *Strand, a []string) (string, error) {
	d, err := duration(a[0], maxAdvance)
	if err != nil {
		return "", err
	}
	s, err := r.running()
	if err != nil {
		return "", err
	}
	until := s.Kernel.Now().Add(d)
	s.Advance(d)
	return "", r.AsLauncher(func(ctx context.Context, l *boot.Launcher) error {
		for {
			now := s.Kernel.Now()
			if now >= until {
				return nil
			}
			if err := l.Task().Sleep(ctx, time.Duration(until-now)); err != nil {
				return err
			}
		}
	})
}

// quietTimeout is longer than anything waits for what is lost: a request, and
// then the deadline of another one that it makes.
const quietTimeout = 3 * ipc.DefaultTimeout

// check waits till nothing is queued or being served any more, and recounts.
func check(r *Strand, _ []string) (string, error) {
	s, err := r.running()
	if err != nil {
		return "", err
	}
	quiet, err := r.napUntil(quietTimeout, func() bool { return s.Kernel.Quiet() })
	if err == nil && !quiet {
		err = fmt.Errorf("%w: something is queued or being served", ErrMismatch)
	}
	if err == nil {
		err = r.machine.Check()
	}
	return "", err
}

// service finds a service, and the operation of SERVICE.OPERATION.
func (r *Strand) service(word string) (name string, op uint16, err error) {
	s, err := r.running()
	if err != nil {
		return "", 0, err
	}
	name, operation, limited := strings.Cut(word, ".")
	if !slices.Contains(s.Services(), name) {
		return "", 0, usage("no service is called %q; there are %s", name, strings.Join(s.Services(), ", "))
	}
	if !limited {
		return name, 0, nil
	}
	if op, err := opcode(name, operation); err == nil {
		return name, op, nil
	}
	return "", 0, usage("%s has no operation %q; it has %s", name, operation, strings.Join(wire.OpNames(name), ", "))
}

func crash(r *Strand, a []string) (string, error) {
	name, _, err := r.service(a[0])
	if err != nil {
		return "", err
	}
	s, err := r.running()
	if err != nil {
		return "", err
	}
	t := s.Task(name)
	before := t.Generation()
	r.machine.Faults().Note(machine.Crash)
	t.Panic()
	again, err := r.napUntil(expectTimeout, func() bool { return t.Generation() > before })
	if err == nil && !again {
		err = ipc.Unavailable // It is stopped for good.
	}
	if err != nil {
		return "", err
	}
	return "", r.AsLauncher(func(ctx context.Context, l *boot.Launcher) error {
		return l.Task().AwaitReady(ctx, t)
	})
}

// maxNth bounds how far ahead a fault can be asked for.
const maxNth = 1_000_000

// nth is the optional number of a fault's occasion.
func nth(words []string, at int) (int, error) {
	if len(words) <= at {
		return 1, nil
	}
	return number(words[at], maxNth)
}

// fault asks for a fault of a service; its occasion's number is argument at.
func (r *Strand) fault(rule machine.Rule, a []string, at int) (text string, err error) {
	if rule.Service, rule.Op, err = r.service(a[0]); err != nil {
		return "", err
	}
	if rule.N, err = nth(a, at); err != nil {
		return "", err
	}
	r.machine.Faults().Add(rule)
	return "", nil
}

func faultCrash(r *Strand, a []string) (string, error) {
	return r.fault(machine.Rule{Kind: machine.Crash, Reply: a[1] == "reply"}, a, 2)
}

func faultDrop(r *Strand, a []string) (string, error) {
	return r.fault(machine.Rule{Kind: machine.Drop, Reply: a[1] == "reply"}, a, 2)
}

func faultDelay(r *Strand, a []string) (string, error) {
	d, err := duration(a[1], time.Hour)
	if err != nil {
		return "", err
	}
	return r.fault(machine.Rule{Kind: machine.Delay, Delay: d}, a, 2)
}

func faultExhaust(r *Strand, a []string) (string, error) {
	return r.fault(machine.Rule{Kind: machine.Exhaust}, a, 1)
}

// diskCalls are the calls of the disk that can be made to fail.
var diskCalls = []simdisk.Kind{
	simdisk.Stat, simdisk.Read, simdisk.Append, simdisk.Truncate, simdisk.Sync,
	simdisk.Replace, simdisk.Rename, simdisk.Remove, simdisk.List,
}

func faultDisk(r *Strand, a []string) (string, error) {
	rule := machine.Rule{Kind: machine.Disk, Full: a[1] == "full"}
	if a[0] != "any" {
		if rule.Call = simdisk.Kind(a[0]); !slices.Contains(diskCalls, rule.Call) {
			return "", usage("the disk has no call %q; it has any, %s", a[0], joined(diskCalls))
		}
	}
	var err error
	if rule.N, err = nth(a, 2); err != nil {
		return "", err
	}
	r.machine.Faults().Add(rule)
	return "", nil
}

func joined[T ~string](words []T) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	return strings.Join(list, ", ")
}

func faultPower(r *Strand, a []string) (string, error) {
	n, err := nth(a, 0)
	if err != nil {
		return "", err
	}
	r.machine.Faults().Add(machine.Rule{Kind: machine.Power, N: n})
	return "", nil
}

func faultNone(r *Strand, _ []string) (string, error) {
	r.machine.Faults().Clear()
	return "", nil
}

func fired(r *Strand, a []string) (string, error) {
	kind := machine.Kind(a[0])
	if !slices.Contains(machine.Kinds, kind) {
		return "", usage("no kind of fault is called %q; there are %s", a[0], joined(machine.Kinds))
	}
	count := strconv.Itoa(r.machine.Faults().Fired()[kind])
	if len(a) == 2 && a[1] != count {
		return "", fmt.Errorf("%w: it came %s times", ErrMismatch, count)
	}
	return count, nil
}
