package modelrun

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/model"
)

// ErrDisagree says that kernel and model do not say the same.
var ErrDisagree = errors.New("kernel and model disagree")

// Limits of a world, so that a walk stays small.
const (
	maxTasks    = 24
	maxSessions = 8
	maxTokens   = 64
)

// World is a kernel and its model. Task 0 is there from the beginning and holds
// the endpoint factory and the session authority.
type World struct {
	Model   *model.Model
	Factory ipc.Slot // task 0's
	Auth    ipc.Slot // task 0's
	kernel  *ipc.Kernel
	exec    *seeded.Executor
	tasks   []*ipc.Task
	hosts   map[int]*host
	numbers map[uint32]int // of endpoints, by the kernel's
	facets  map[int][]int  // the numbers of each service's endpoints
	planned map[int]bool   // services that are about to get their endpoint
	made    []uint32       // endpoints that were made, by the kernel's numbers
	sids    []uint64
	tokens  []capability.Token
	started int                  // operations
	results map[int]model.Result // of operations that have ended since the last step
	spoiled error                // a buffer that the kernel should have left alone
	order   []turn
	history []model.Op
	last    model.Result // of an operation that has ended
	quiet   bool         // what is done was compared before, as the beginning of another walk
	left    int          // sessions of earlier worlds on this kernel that were never ended
}

// turn is something that happened in the kernel, in its order: an operation that
// began, a request that a handler got, or one that a handler went on to answer.
type turn struct {
	op        int // -1 if it is none
	delivered *model.Delivery
	endpoint  int // to which it was delivered
	answers   int // the number of the Answer, -1 if it is none
}

// New makes a world whose order is drawn from seed.
func New(seed uint64) *World {
	w := &World{exec: seeded.New(seed)}
	cfg := ipc.Config{Executor: w.exec, Boot: 1, Tap: w.tap}
	copy(cfg.TokenKey[:], "a key for tests, not from rngd..")
	w.kernel = ipc.New(cfg)
	w.exec.Bind(w.kernel)
	if err := w.Reset(); err != nil {
		panic("modelrun: a world cannot begin: " + err.Error())
	}
	return w
}

// Reset begins a new world on the same kernel, after the end of the old one.
func (w *World) Reset() error {
	w.Model = &model.Model{Now: uint64(w.kernel.Now())}
	w.tasks, w.sids, w.tokens, w.made = nil, nil, nil, nil
	w.hosts, w.numbers = make(map[int]*host), make(map[uint32]int)
	w.facets, w.planned = make(map[int][]int), make(map[int]bool)
	w.results = make(map[int]model.Result)
	w.started, w.order, w.history = 0, nil, nil
	if err := w.Do(model.Op{Kind: model.NewTask}); err != nil {
		return err
	}
	if err := w.Do(model.Op{Kind: model.Grant, Cap: capability.KindEndpointFactory}); err != nil {
		return err
	}
	w.Factory = capability.Slots - 1
	w.Auth = capability.Slots - 2
	return w.Do(model.Op{Kind: model.Grant, Cap: capability.KindSessionAuthority})
}

// Close ends every task, the last one first, and says whether anything is left.
func (w *World) Close() error {
	for i := range w.tasks {
		if err := w.Do(model.Op{Kind: model.Exit, Task: len(w.tasks) - 1 - i}); err != nil {
			return err
		}
	}
	s := w.kernel.Stats()
	if s.Tasks != 0 || s.Endpoints != 0 || s.QueuedBytes != 0 || s.Tokens != 0 || s.Sessions != w.orphans() {
		return w.disagree("something is left of it: %+v", s)
	}
	return nil
}

// orphans counts sessions that nobody has ended: whoever closes the authority
// leaves them behind, for this boot.
func (w *World) orphans() int {
	for _, s := range w.Model.Sessions {
		if !s.Ended {
			w.left++
		}
	}
	return w.left
}

func (w *World) tap(e ipc.TraceEvent) {
	if e.Kind == ipc.TraceEndpoint {
		w.made = append(w.made, e.Endpoint)
	}
}

// History lists what was done, one operation a line.
func (w *World) History() string {
	var b strings.Builder
	for n, op := range w.history {
		fmt.Fprintf(&b, "%d: %s\n", n, describe(op))
	}
	return b.String()
}

// disagree says in its first line what is wrong, and then what was done before.
func (w *World) disagree(format string, args ...any) error {
	return fmt.Errorf("%w: %s\nafter\n%s", ErrDisagree, fmt.Sprintf(format, args...), w.History())
}

// Do does operations that begin at the same time, lets everything happen that
// follows, then a nanosecond pass, and compares. Operations that name what does
// not exist are made to fit first.
func (w *World) Do(ops ...model.Op) error {
	first := w.started
	for i := range ops {
		w.fit(&ops[i])
		w.history = append(w.history, ops[i])
		w.started++
		w.launch(w.started-1, ops[i])
	}
	clear(w.planned)
	w.exec.Settle()
	if err := w.replay(first, ops); err != nil {
		return err
	}
	pass := uint64(1)
	for _, op := range ops {
		if op.Kind == model.Pass {
			pass += op.Within
		}
	}
	w.exec.Pass(time.Duration(pass))
	s := w.Model.Tick(w.Model.Now + pass)
	if err := w.compareDone("time passed", s.Done); err != nil {
		return err
	}
	if err := w.compareDeliveries(s.Delivered); err != nil {
		return err
	}
	w.order = w.order[:0]
	w.retire()
	if w.quiet {
		return nil
	}
	return w.compareState()
}

// Last is the answer of the operation that was the last one to end.
func (w *World) Last() model.Result { return w.last }

// retire ends the coroutines of services that have exited.
func (w *World) retire() {
	for n, h := range w.hosts {
		if w.Model.Tasks[n].Exited && h.task.Retire() {
			delete(w.hosts, n)
		}
	}
}

// replay has the model do what the kernel did, in the kernel's order.
func (w *World) replay(first int, ops []model.Op) error {
	blocked := make(map[int]bool)
	var done []model.Done
	begun := 0
	for _, t := range w.order {
		var s model.Step
		switch {
		case t.op >= 0:
			begun++
			s = w.Model.Begin(t.op, ops[t.op-first])
			if blocked[t.op] = s.Blocked; !s.Blocked {
				done = append(done, model.Done{Op: t.op, Result: s.Result})
			}
		case t.answers >= 0:
			s = w.Model.Answered(t.answers)
		default:
			s = w.Model.Turn(t.endpoint)
			want := *t.delivered
			if len(s.Delivered) != 1 || s.Delivered[0] != want {
				return w.disagree("a handler got %+v; the model says %+v", want, s.Delivered)
			}
			s.Delivered = nil
		}
		done = append(done, s.Done...)
	}
	if begun != len(ops) {
		return w.disagree("%d of %d operations began", begun, len(ops))
	}
	s := w.Model.Settle()
	if len(s.Delivered) > 0 {
		return w.disagree("the model delivers %+v, and the kernel does not", s.Delivered)
	}
	w.order = w.order[:0]
	return w.compareDone("the operation", append(done, s.Done...))
}

// compareDone holds what has ended against what the model says has.
func (w *World) compareDone(what string, done []model.Done) error {
	for _, d := range done {
		got, ok := w.results[d.Op]
		if !ok {
			return w.disagree("%s: %d goes on; the model says %v", what, d.Op, d.Result)
		}
		w.last = got
		if got != d.Result {
			return w.disagree("%s: %d ended with %v; the model says %v", what, d.Op, got, d.Result)
		}
		delete(w.results, d.Op)
	}
	for op, r := range w.results {
		return w.disagree("%s: %d ended with %v; the model says that it goes on", what, op, r)
	}
	if w.spoiled != nil {
		return w.disagree("%v", w.spoiled)
	}
	return nil
}

// compareDeliveries holds what handlers got while time passed against the model.
func (w *World) compareDeliveries(want []model.Delivery) error {
	i := 0
	for _, t := range w.order {
		if t.delivered == nil {
			continue
		}
		if i >= len(want) || *t.delivered != want[i] {
			return w.disagree("time passed: a handler got %+v; the model says %+v", *t.delivered, want)
		}
		i++
	}
	if i != len(want) {
		return w.disagree("time passed: the model delivers %+v", want)
	}
	return nil
}
