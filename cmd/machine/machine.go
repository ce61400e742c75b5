// Package machine is the simulated machine that the OS boots on: a disk, a
// power switch, and faults that can be asked for. It can be switched on and off
// as often as one likes, and its power can be cut at any moment: then nothing
// of the system reaches disk or console any more, no shutdown code counts, and
// what was not synced is gone.
//
// The same machine runs on goroutines with a directory as its disk, and by seed
// with a disk in memory; it does not know the difference. It calls boot and the
// disks, and nothing else touches them while it is on.
package machine

import (
	"errors"
	"fmt"
	"sync"

	"nexus.internal/os/actors"
	"nexus.internal/os/cmd/boot"
)

// Ways in which the power switch is of no use.
var (
	ErrOn  = errors.New("the machine is on")
	ErrOff = errors.New("the machine is off")
)

// Config says what a machine is made of.
type Config struct {
	// Boot is what each boot gets. Its Disk, Scheduler, Cut and Injector are
	// the machine's to fill in; Console, Crash, Tap, Audit and Denied hear
	// nothing from the moment of a power cut on.
	Boot boot.Config
	// Storage is the disk. Required.
	Storage Storage
	// Scheduler makes what runs the n-th boot of this machine, from 1. Nil
	// means goroutines and the real clock.
	Scheduler func(n int) actors.Scheduler
}

// Machine is one machine. Boot, Shutdown and Recover are for one caller at a
// time, who is no flow of control of the system; PowerCut is for everybody.
type Machine struct {
	cfg    Config
	faults Faults
	boots  int
	slots  map[string]int // capabilities of each service when it was ready

	mu     sync.Mutex // guards what follows
	system *boot.System
	on     *power // of the current boot
}

// power is one boot's supply: everything that the system does to the outside
// goes through it.
type power struct {
	mu  sync.Mutex
	cut chan struct{} // closed by a power cut
	off bool
}

// New makes a machine that is off.
func New(cfg Config) *Machine {
	m := &Machine{cfg: cfg}
	m.faults.cut = m.PowerCut
	return m
}

// Faults are what can go wrong on purpose.
func (m *Machine) Faults() *Faults { return &m.faults }

// System is the running system, nil if the machine is off.
func (m *Machine) System() *boot.System {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.system
}

// Boots counts the boots that were begun.
func (m *Machine) Boots() int { return m.boots }

// Boot switches the machine on. It returns ErrOn if it is, boot.ErrPowerCut if
// the power goes meanwhile, and what boot.Boot returns.
func (m *Machine) Boot() error {
	if m.System() != nil {
		return ErrOn
	}
	p := &power{cut: make(chan struct{})}
	m.mu.Lock()
	m.on = p
	m.mu.Unlock()
	m.boots++
	disk, err := m.cfg.Storage.Open(m.faults.disk)
	if err != nil {
		return err
	}
	cfg := p.gate(m.cfg.Boot)
	cfg.Disk, cfg.Injector = disk, &m.faults
	if m.cfg.Scheduler != nil {
		cfg.Scheduler = m.cfg.Scheduler(m.boots)
	}
	s, err := boot.Boot(cfg)
	if err != nil && p.isCut() {
		err = boot.ErrPowerCut // Whatever it met first.
	}
	if err != nil {
		return errors.Join(err, m.release(p))
	}
	m.slots = make(map[string]int)
	for _, name := range s.Services() {
		m.slots[name] = s.Task(name).Slots()
	}
	m.mu.Lock()
	m.system = s
	m.mu.Unlock()
	return nil
}

// ErrLost says that a service has more or fewer capabilities than it began with.
var ErrLost = errors.New("machine: capabilities were lost or found")

// Check recounts the kernel's books of a machine that is on and of which nobody
// wants anything: then each service holds what it was handed, and no more. A
// service that was stopped for good holds nothing.
func (m *Machine) Check() error {
	s := m.System()
	if s == nil {
		return ErrOff
	}
	for _, name := range s.Services() {
		if n := s.Task(name).Slots(); n != m.slots[name] && n != 0 {
			return fmt.Errorf("%w: %s has %d, and had %d", ErrLost, name, n, m.slots[name])
		}
	}
	return s.Kernel.Check()
}

// release gives the disk back after a boot that is over.
func (m *Machine) release(p *power) error {
	if p.isCut() {
		m.cfg.Storage.Lose()
		return nil
	}
	return m.cfg.Storage.Close()
}

// Shutdown switches the machine off in an orderly manner. It returns ErrOff if
// it is off, and does Recover's work after a power cut.
func (m *Machine) Shutdown() error {
	m.mu.Lock()
	s, p := m.system, m.on
	m.system = nil
	m.mu.Unlock()
	if s == nil {
		return ErrOff
	}
	s.Shutdown()
	return m.release(p)
}

// PowerCut cuts the power, at this moment and in whatever is going on. Who is
// no flow of control of the system calls Shutdown afterwards, to be rid of what
// is left of it. Without power it does nothing.
func (m *Machine) PowerCut() {
	m.mu.Lock()
	p := m.on
	m.mu.Unlock()
	if p != nil {
		p.fail(m.cfg.Storage)
	}
}

// Cut says whether the power was cut since the last boot.
func (m *Machine) Cut() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.on != nil && m.on.isCut()
}

func (p *power) fail(s Storage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.off {
		p.off = true
		s.TakeAway()
		close(p.cut)
	}
}

func (p *power) isCut() bool {
	select {
	case <-p.cut:
		return true
	default:
		return false
	}
}

// gate lets what the system says through as long as there is power.
func (p *power) gate(cfg boot.Config) boot.Config {
	cfg.Cut = p.cut
	if w := cfg.Console; w != nil {
		cfg.Console = writer(func(line []byte) (n int, err error) {
			n = len(line)
			p.during(func() { n, err = w.Write(line) })
			return n, err
		})
	}
	cfg.Tap, cfg.Crash = gated(p, cfg.Tap), gated(p, cfg.Crash)
	cfg.Audit, cfg.Denied = gated(p, cfg.Audit), gated(p, cfg.Denied)
	return cfg
}

// gated is fn as long as there is power; nil stays nil.
func gated[T any](p *power, fn func(T)) func(T) {
	if fn == nil {
		return nil
	}
	return func(what T) { p.during(func() { fn(what) }) }
}

// during does something if there is power, before it can be cut.
func (p *power) during(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.off {
		fn()
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
