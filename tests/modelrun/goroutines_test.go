package modelrun

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"nexus.internal/os/actors"
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/model"
)

// throng is a kernel on goroutines, with tasks that all act at once. Each of their
// operations leaves one event under the kernel's lock: the order of events is
// that of the operations.
type throng struct {
	t       *testing.T
	kernel  *ipc.Kernel
	model   *model.Model
	tasks   []*ipc.Task
	numbers map[uint32]int
	service ipc.TaskID
	events  []ipc.TraceEvent
	acts    [][]act // of each task, in its order
}

// act is an operation of a task, and what it answered.
type act struct {
	number int
	op     model.Op
	got    model.Result
}

type echo struct{}

func (echo) Start(context.Context) error             { return nil }
func (echo) Serve(_ context.Context, r *ipc.Request) { _ = r.Reply(ipc.OK, r.Body) }

const (
	acting = 4 // tasks that act, from number 1
	actsOf = 400
)

// TestAtOnce: four tasks on goroutines send, receive, call, pass capabilities on,
// close and revoke them as fast as they can. The model, given the operations in the
// order of their events, answers the same to each, and ends with the same tables.
func TestAtOnce(t *testing.T) {
	seed := rand.Uint64() // Of the operations; their order is the machine's.
	t.Logf("seed %d", seed)
	c := &throng{t: t, model: &model.Model{Now: 1}, numbers: make(map[uint32]int), acts: make([][]act, 1+acting)}
	sched := actors.NewGoroutines()
	cfg := ipc.Config{Executor: sched, Boot: 1, Tap: func(e ipc.TraceEvent) { c.events = append(c.events, e) }}
	c.kernel = ipc.New(cfg)
	sched.Bind(c.kernel)
	engine := actors.New(sched, nil)
	defer sched.Close()
	defer engine.Stop()
	c.begin(engine)
	var all sync.WaitGroup
	for n := 1; n <= acting; n++ {
		all.Add(1)
		c.tasks[n].Go(func(ctx context.Context) {
			defer all.Done()
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			for i := range actsOf {
				c.acts[n] = append(c.acts[n], c.act(ctx, n, i, rng))
			}
		})
	}
	all.Wait()
	c.replay()
}

// begin makes two inboxes and a service, and gives every task SEND and RECV on
// the inboxes and SEND on the service.
func (c *throng) begin(engine *actors.Engine) {
	for n := range 1 + acting + 1 {
		spec := ipc.TaskSpec{Name: model.Name(n)}
		if n > 0 {
			spec.Parent = c.tasks[0].ID()
		}
		task, err := c.kernel.NewTask(spec)
		c.must(err)
		c.tasks = append(c.tasks, task)
		c.model.Begin(0, model.Op{Kind: model.NewTask, Service: n == 1+acting})
	}
	factory, err := c.kernel.GrantFactory(c.tasks[0])
	c.must(err)
	c.model.Begin(0, model.Op{Kind: model.Grant, Cap: capability.KindEndpointFactory})
	for i, op := range []model.Op{
		{Kind: model.NewEndpoint, Slot: factory, Depth: 3, Inbox: true},
		{Kind: model.NewEndpoint, Slot: factory, Depth: 2, Inbox: true},
		{Kind: model.NewEndpoint, Slot: factory, To: 1 + acting, Depth: 2, Parallel: 1, Takes: true},
	} {
		_, err := c.tasks[0].NewEndpoint(factory, c.tasks[op.To], ipc.EndpointSpec{
			Depth: op.Depth, Parallel: op.Parallel, Takes: op.Takes, Inbox: op.Inbox, Ops: model.Scripts()})
		c.must(err)
		c.numbers[c.events[len(c.events)-1].Endpoint] = i
		c.model.Begin(0, op)
	}
	for n := 1; n <= acting; n++ {
		for i, rights := range []capability.Rights{capability.Send | capability.Recv, capability.Send | capability.Recv, capability.Send} {
			op := model.Op{Kind: model.Derive, Slot: factory - 1 - ipc.Slot(i), To: n, Rights: rights}
			_, err := c.tasks[0].Derive(op.Slot, op.Rights, c.tasks[n])
			c.must(err)
			c.model.Begin(0, op)
		}
	}
	c.service = c.tasks[1+acting].ID()
	c.must(engine.Host(c.tasks[1+acting], func() ipc.Service { return echo{} }))
	c.must(c.tasks[0].AwaitReady(context.Background(), c.tasks[1+acting]))
	c.events = nil
}

func (c *throng) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// act draws an operation that does not wait for others, but for a call's answer,
// and does it.
func (c *throng) act(ctx context.Context, task, i int, rng *rand.Rand) act {
	op := model.Op{Task: task, Slot: ipc.Slot(rng.IntN(6)), Move: ipc.NoSlot, Token: -1}
	op.Kind = []model.Kind{model.Send, model.Send, model.Send, model.Receive, model.Receive, model.Receive, model.Clone, model.Clone, model.Clone,
		model.Derive, model.Derive, model.Close, model.Revoke, model.Call}[rng.IntN(14)]
	switch op.Kind {
	case model.Send, model.Call:
		op.Type, op.Size = model.Echo, rng.IntN(32)
		if op.Kind == model.Send {
			op.Size %= 8 // Too short for the service: when an answer arrives in an inbox, the model would not know.
		}
		op.Sys = uint8(ipc.SysNonblock)
		if rng.IntN(4) == 0 {
			op.Move = ipc.Slot(3 + rng.IntN(8))
		}
	case model.Receive:
		op.Size, op.Sys = 16+rng.IntN(32), uint8(ipc.SysNonblock)|uint8(rng.IntN(4))<<1
	case model.Derive:
		op.To, op.Rights = task, capability.Rights(1+rng.IntN(3))
	case model.Close, model.Revoke:
		op.Slot = ipc.Slot(3 + rng.IntN(8)) // What it began with it keeps.
	}
	n := task*actsOf + i
	w := &World{kernel: c.kernel, tasks: c.tasks, numbers: c.numbers, Model: c.model}
	a := act{number: n, op: op, got: w.perform(ctx, n, op, 0)}
	if w.spoiled != nil {
		c.t.Error(w.spoiled)
	}
	return a
}

// actor is the task whose operation an event is; 0 if it is a consequence.
func (c *throng) actor(e ipc.TraceEvent) int {
	id := e.From
	switch {
	case e.Kind == ipc.TraceReceive:
		id = e.To
	case e.Kind == ipc.TraceSend && e.From != c.service, e.Kind == ipc.TraceSyscall, e.Kind == ipc.TraceRefuse && e.Call == 0:
	default:
		return 0
	}
	for n := 1; n <= acting; n++ {
		if c.tasks[n].ID() == id {
			return n
		}
	}
	return 0
}

// replay has the model do everything again, and compares.
func (c *throng) replay() {
	next := make([]int, 1+acting)
	want := make(map[int]model.Result)
	collect := func(s model.Step) {
		for _, d := range s.Done {
			want[d.Op] = d.Result
		}
	}
	for _, e := range c.events {
		if e.Kind == ipc.TraceDeliver {
			collect(c.model.Turn(c.numbers[e.Endpoint]))
		}
		n := c.actor(e)
		if n == 0 {
			continue
		}
		if next[n] == len(c.acts[n]) {
			c.t.Fatalf("task %d has an event too many: %+v", n, e)
		}
		a := c.acts[n][next[n]]
		next[n]++
		s := c.model.Begin(a.number, a.op)
		collect(s)
		if !s.Blocked {
			want[a.number] = s.Result
		}
		c.must(c.model.Sound())
	}
	collect(c.model.Settle()) // Requests that were refused at delivery: that leaves no event but their answer.
	succeeded := 0
	for n := 1; n <= acting; n++ {
		if next[n] != actsOf {
			c.t.Fatalf("task %d did %d operations, of which %d have an event", n, actsOf, next[n])
		}
		for _, a := range c.acts[n] {
			if want[a.number] != a.got {
				c.t.Fatalf("%s: %v; the model says %v", describe(a.op), a.got, want[a.number])
			}
			if a.got.Code == ipc.OK {
				succeeded++
			}
		}
	}
	if succeeded < actsOf/2 {
		c.t.Errorf("only %d of %d operations succeeded", succeeded, acting*actsOf)
	}
	w := &World{kernel: c.kernel, tasks: c.tasks, numbers: c.numbers, Model: c.model}
	c.must(c.kernel.Check())
	c.must(w.compareTables())
}
