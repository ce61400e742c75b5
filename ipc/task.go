package ipc

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"nexus.internal/os/capability"
)

// Slot is an index into a task's capability table.
type Slot = capability.Slot

// NoSlot stands for "no capability".
const NoSlot = capability.NoSlot

// TaskID names a task. It is never used again within a boot.
type TaskID uint64

// Task is what a program is to the kernel: an identity, a table of
// capabilities, and, for a service, the endpoints it serves.
type Task struct {
	kernel *Kernel
	id     TaskID
	name   string
	ident  uint64 // FNV-1a-64 of the name
	parent TaskID
	table  capability.Table
	marks  []string
	guards bool // its crash seals every session
	exited bool

	// What follows belongs to tasks that serve.
	runner     Runner
	lender     Lender // the runner, if others may run the task
	factory    func() Service
	service    Service
	facets     []*endpoint
	inboxes    []*endpoint
	turn       int // the facet whose turn it is
	resumes    workQueue
	events     []Event
	active     []*Work // started and not finished
	idle       []*Work
	generation uint32
	starting   bool // a start is due
	ready      bool
	startErr   error
	sabotaged  bool // a panic was asked for
	awaiting   []*fiber

	queuedBytes int        // at all endpoints it owns
	aside       sync.Mutex // of a flow of control that lets others run
	sentBytes   int        // in queues anywhere, of what it sent, and what was sent because of that
	owned       int        // endpoints it owns
	memoryBytes int        // of the memory objects that it made and that are left
}

// TaskSpec describes a task to be made.
type TaskSpec struct {
	Name   string
	Parent TaskID
	// Marks lists the beginnings of the marker lines that the task may print.
	// An app has none, so that no app can print another's proof.
	Marks []string
	// Guards is set for the task that holds session keys: when it crashes the
	// kernel seals every session.
	Guards bool
}

// NewTask makes a task with an empty table. It returns InvalidArgument for a
// bad name and NoSpace beyond MaxTasks.
func (k *Kernel) NewTask(spec TaskSpec) (*Task, error) {
	if len(spec.Name) == 0 || len(spec.Name) > MaxTaskName {
		return nil, InvalidArgument
	}
	k.lock()
	defer k.unlock()
	if len(k.tasks) >= MaxTasks {
		return nil, NoSpace
	}
	k.lastTask++
	t := &Task{
		kernel: k, id: k.lastTask, name: spec.Name, ident: ServiceID(spec.Name),
		parent: spec.Parent, marks: spec.Marks, guards: spec.Guards,
	}
	k.tasks[t.id] = t
	k.ring.add(TraceEvent{Time: k.now, From: t.id, Name: t.name, Kind: TraceTask})
	return t, nil
}

// ServiceID is the FNV-1a-64 of a service's name, which the target OS stamps
// on messages. It can be made to collide, so it is never used as a namespace.
func ServiceID(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return h
}

// Name returns the task's name.
func (t *Task) Name() string { return t.name }

// ID returns the task's number.
func (t *Task) ID() TaskID { return t.id }

// Now is kernel time.
func (t *Task) Now() Time { return t.kernel.exec.Now() }

// Generation counts the starts of a service.
func (t *Task) Generation() uint32 {
	t.kernel.lock()
	defer t.kernel.unlock()
	return t.generation
}

// Go starts a flow of control of the task. fn's context is what its kernel
// calls take. fn must not lock itself to a thread of the machine: it may run a
// service's coroutines while it waits for them, and those run on any thread.
func (t *Task) Go(fn func(ctx context.Context)) {
	t.kernel.exec.Go(func(p Parker) {
		fn(&fiber{task: t, origin: app, parker: p})
	})
}

// GrantFactory gives a task the right to make endpoints, which it cannot pass
// on. Boot does this for init alone. It is the kernel's and not a task's method,
// because whoever has a task at hand may be the task itself.
func (k *Kernel) GrantFactory(t *Task) (Slot, error) {
	return k.grant(t, capability.Cap{Kind: capability.KindEndpointFactory, Rights: capability.Manage})
}

// GrantAuthority makes a task the one that starts, opens, seals and ends
// sessions, which it cannot pass on. Boot does this for identityd alone.
func (k *Kernel) GrantAuthority(t *Task) (Slot, error) {
	return k.grant(t, capability.Cap{Kind: capability.KindSessionAuthority, Rights: capability.Manage})
}

func (k *Kernel) grant(t *Task, c capability.Cap) (Slot, error) {
	k.lock()
	defer k.unlock()
	if t.exited {
		return NoSlot, Unavailable // Who is gone holds nothing.
	}
	slot, err := t.table.Insert(c)
	return slot, slotError(err)
}

// Clone copies a capability inside the task's own table.
func (t *Task) Clone(slot Slot) (Slot, error) {
	t.kernel.lock()
	defer t.done()
	s, err := t.table.Clone(slot)
	t.syscall(SyscallClone, slot, nil, slotCode(err))
	return s, slotError(err)
}

// Derive makes a capability with the given rights, all of which the one in slot
// must have, in the lowest free slot of the task to: the task itself, or its
// direct child.
func (t *Task) Derive(slot Slot, rights capability.Rights, to *Task) (Slot, error) {
	t.kernel.lock()
	defer t.done()
	s, err := NoSlot, capability.ErrRights
	if to != nil && (to == t || to.parent == t.id) && !to.exited && !t.exited {
		s, err = t.table.Derive(slot, rights, &to.table)
	}
	t.syscall(SyscallDerive, slot, nil, slotCode(err))
	t.deny(SyscallDerive, slot, slotCode(err), rights)
	return s, slotError(err)
}

// Close drops the task's own capability. Whoever of the task waits through it
// is told.
func (t *Task) Close(slot Slot) error {
	t.kernel.lock()
	defer t.done()
	err := t.table.Close(slot)
	t.kernel.recheckPorts()
	t.syscall(SyscallClose, slot, nil, slotCode(err))
	return slotError(err)
}

// Revoke kills everything derived from the capability in slot, wherever it is,
// before it returns; those who wait through one of them are told. Requests that
// are queued or being served went through a live capability when they were sent
// and are not affected.
func (t *Task) Revoke(slot Slot) (int, error) {
	t.kernel.lock()
	defer t.done()
	n, err := t.table.Revoke(slot)
	t.kernel.recheckPorts()
	t.syscall(SyscallRevoke, slot, nil, slotCode(err))
	return n, slotError(err)
}

// Slots returns how many capabilities the task holds.
func (t *Task) Slots() int {
	t.kernel.lock()
	defer t.kernel.unlock()
	return t.table.Used()
}

// slotError turns an error of a table into the target OS's.
func slotError(err error) error { return slotCode(err).err() }

func slotCode(err error) Code {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, capability.ErrFull):
		return NoSpace
	case errors.Is(err, capability.ErrBadSlot):
		return InvalidArgument
	}
	return PermissionDenied
}

// Exit ends a task: its endpoints close, whoever waits for it is told, its
// capabilities and tokens die, and its own flows of control get Unavailable.
// It is called when nothing of the task runs: by its host or by boot.
func (t *Task) Exit() {
	k := t.kernel
	k.lock()
	defer k.unlock()
	if t.exited {
		return
	}
	t.exited, t.ready, t.starting = true, false, false
	for _, ep := range t.facets {
		k.closeEndpoint(ep)
	}
	for _, ep := range t.inboxes {
		k.closeEndpoint(ep)
	}
	k.failActive(t)
	k.failOwn(t)
	if t.holds(capability.KindSessionAuthority) {
		k.voidAll(true)
	} else if t.guards {
		k.voidAll(false)
	}
	k.dropTokensOf(t)
	k.unsubscribe(t)
	t.table.Clear()
	t.startErr = Unavailable
	for len(t.awaiting) > 0 {
		f := t.awaiting[0]
		t.awaiting = t.awaiting[1:]
		k.ready(f, Unavailable)
	}
	delete(k.tasks, t.id)
	k.ring.add(TraceEvent{Time: k.now, From: t.id, Kind: TraceExit})
}

// Halt ends every task that is left, in the order of their making: whoever
// waits is told. It is the last thing that happens in a kernel.
func (k *Kernel) Halt() {
	for _, t := range k.all() {
		t.Exit()
	}
}

// all lists the tasks in the order of their making.
func (k *Kernel) all() []*Task {
	k.lock()
	defer k.unlock()
	tasks := make([]*Task, 0, len(k.tasks))
	for _, id := range slices.Sorted(maps.Keys(k.tasks)) {
		tasks = append(tasks, k.tasks[id])
	}
	return tasks
}

// failOwn tells the flows of control that an exiting task has parked. Each may
// let others in or have them refused: the list is another one afterwards.
func (k *Kernel) failOwn(t *Task) {
	for f := k.timers; f != nil; {
		if f.task == t {
			k.abort(f, Unavailable)
			f = k.timers
		} else {
			f = f.timerNext
		}
	}
}

func (t *Task) holds(kind capability.Kind) bool {
	found := false
	t.table.Each(func(_ Slot, c capability.Cap) { found = found || c.Kind == kind })
	return found
}

// AwaitReady parks t till the service task s has started, and returns the error
// of its start.
func (t *Task) AwaitReady(ctx context.Context, s *Task) error {
	f, deadline, err := t.enter(ctx)
	if err != nil {
		return err
	}
	k := t.kernel
	defer k.guard()
	for !s.ready && s.startErr == nil {
		f.waiting, f.list = waitReady, &s.awaiting
		s.awaiting = append(s.awaiting, f)
		k.setTimer(f, deadline)
		if code := k.park(ctx, f); code != OK {
			k.left(f)
			return code
		}
		k.lock()
	}
	err = s.startErr
	k.leave(f)
	return err
}

// Uptime is how long ago the system booted.
func (k *Kernel) Uptime() time.Duration { return time.Duration(k.exec.Now()) }
