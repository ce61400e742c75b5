package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// Operations of the desk, the service that most tests call.
const (
	opEcho    uint16 = iota + 1
	opGet            // echo, with Get
	opPut            // echo, with Put
	opEither         // echo, with Put or Get
	opHold           // answers once opOpen was called
	opHoldGet        // the same, with Get
	opOpen           // lets those go that hold
	opTask           // what the test says
	opTaskGet        // what the test says, with Get
	opPanic          // panics
	opUnknown        // not among the desk's operations
)

var deskOps = []ipc.Op{
	{Code: opEcho}, {Code: opGet, Need: capability.Get}, {Code: opPut, Need: capability.Put},
	{Code: opEither, Need: capability.Put | capability.Get}, {Code: opHold}, {Code: opHoldGet, Need: capability.Get},
	{Code: opOpen}, {Code: opTask}, {Code: opTaskGet, Need: capability.Get}, {Code: opPanic},
}

// plan says how a world's desk is made.
type plan struct {
	depth, parallel int
	guards          bool
	task            func(ctx context.Context, d *desk, r *ipc.Request) // opTask, opTaskGet
	news            func(ctx context.Context, d *desk, ev ipc.Event)   // wants events
}

// desk is one instance of the service.
type desk struct {
	w      *world
	task   *ipc.Task
	opened bool
	gate   ipc.Cond
}

func (d *desk) Start(context.Context) error {
	d.w.starts++
	return nil
}

func (d *desk) Serve(ctx context.Context, r *ipc.Request) {
	d.w.served = append(d.w.served, label(r))
	switch r.Op {
	case opHold, opHoldGet:
		for !d.opened {
			if d.gate.Wait(ctx, d.task) != nil {
				return
			}
		}
	case opOpen:
		d.opened = true
		d.gate.Broadcast()
	case opTask, opTaskGet:
		d.w.plan.task(ctx, d, r)
		return
	case opPanic:
		panic("a value that nobody may see")
	}
	_ = r.Reply(ipc.OK, r.Body)
}

// label is what a request is called in a world's list of what was served.
func label(r *ipc.Request) string {
	if r.Op == opOpen && len(r.Body) == 0 {
		return "open"
	}
	return string(r.Body)
}

// listener is a desk that wants events.
type listener struct{ *desk }

func (l listener) Event(ctx context.Context, ev ipc.Event) { l.w.plan.news(ctx, l.desk, ev) }

// world is a system with a desk, a holder of the session authority, and apps.
type world struct {
	*rig.Rig
	t      *testing.T
	plan   plan
	svc    *ipc.Task
	ep     ipc.Slot // init's
	ident  *ipc.Task
	auth   ipc.Slot
	sid    uint64
	served []string // bodies, in the order of service; the desk's own
	starts int
}

func newWorld(t *testing.T, r *rig.Rig, p plan) *world {
	t.Helper()
	w := &world{Rig: r, t: t, plan: p}
	w.svc = r.Task(ipc.TaskSpec{Name: "desk", Guards: p.guards, Marks: []string{"desk:"}})
	w.ep = r.Endpoint(w.svc, ipc.EndpointSpec{Depth: p.depth, Parallel: p.parallel, Ops: deskOps, Takes: true})
	r.Host(w.svc, func() ipc.Service {
		d := &desk{w: w, task: w.svc}
		if p.news != nil {
			return listener{d}
		}
		return d
	})
	w.ident = r.Task(ipc.TaskSpec{Name: "identityd"})
	auth, err := r.Kernel.GrantAuthority(w.ident)
	if err != nil {
		t.Fatal(err)
	}
	w.auth = auth
	w.sid = w.session("alice")
	return w
}

func (w *world) session(user string) uint64 {
	w.t.Helper()
	sid, err := w.ident.StartSession(w.auth, user, [16]byte{1})
	if err != nil {
		w.t.Fatal(err)
	}
	return sid
}

func (w *world) seal(sid uint64) {
	w.t.Helper()
	if err := w.ident.SealSession(w.auth, sid); err != nil {
		w.t.Error(err)
	}
}

func (w *world) mint(holder *ipc.Task, spec ipc.TokenSpec) capability.Token {
	w.t.Helper()
	if spec.SID == 0 {
		spec.SID = w.sid
	}
	if spec.App == "" {
		spec.App = "notes"
	}
	if spec.Rights == 0 {
		spec.Rights = capability.Get
	}
	spec.Holder = holder.ID()
	token, err := w.ident.MintToken(w.auth, spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// client is an app that is connected with the desk and has a token with Get.
type client struct {
	w     *world
	task  *ipc.Task
	slot  ipc.Slot
	token capability.Token
}

func (w *world) app(name string) *client {
	w.t.Helper()
	task := w.Task(ipc.TaskSpec{Name: name})
	c := &client{w: w, task: task, slot: w.Connect(task, w.ep)}
	c.token = w.mint(task, ipc.TokenSpec{})
	return c
}

// call calls with the client's token.
func (c *client) call(ctx context.Context, op uint16, body string) (string, error) {
	return c.send(ctx, ipc.Msg{Op: op, Token: &c.token, Body: []byte(body)})
}

// send calls with the message that the test says. Slot 0 stands for the desk
// and no capability moves, unless the message says so.
func (c *client) send(ctx context.Context, m ipc.Msg) (string, error) {
	if m.Slot == 0 {
		m.Slot = c.slot
	}
	if m.Move == 0 {
		m.Move = ipc.NoSlot
	}
	got, err := c.task.Call(ctx, m, nil)
	return string(got.Body), err
}

// start runs fn as a flow of control of the client; the channel closes at its end.
func (c *client) start(fn func(ctx context.Context)) <-chan struct{} {
	done := make(chan struct{})
	c.task.Go(func(ctx context.Context) {
		defer close(done)
		fn(ctx)
	})
	return done
}

// do runs fn as a flow of control of the client and waits for it.
func (c *client) do(fn func(ctx context.Context)) {
	c.w.t.Helper()
	c.w.await(c.start(fn))
}

// await waits for flows of control.
func (w *world) await(all ...<-chan struct{}) {
	w.t.Helper()
	for _, done := range all {
		if !w.Sched.Await(done, nil) {
			w.t.Fatal("nobody can run and somebody waits")
		}
	}
}

// settle parks till nobody else can run: in a seeded run, time moves only then.
func settle(ctx context.Context, t *ipc.Task) { _ = t.Sleep(ctx, time.Nanosecond) }

// outcome is how a call ended.
type outcome struct {
	body string
	err  error
	at   ipc.Time
	over bool
}

// begin starts a call whose outcome is there when the channel is closed.
func (c *client) begin(m ipc.Msg) (*outcome, <-chan struct{}) {
	o := new(outcome)
	return o, c.start(func(ctx context.Context) {
		o.body, o.err = c.send(ctx, m)
		o.at, o.over = c.task.Now(), true
	})
}

// want checks an error and the emptiness of the body that came with it.
func want(t *testing.T, what string, body string, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) || wanted != nil && body != "" {
		t.Errorf("%s: %q, %v; want %v", what, body, err, wanted)
	}
}

// inBothModes runs a test on goroutines and by seed.
func inBothModes(t *testing.T, test func(t *testing.T, r *rig.Rig)) {
	t.Run("goroutines", func(t *testing.T) { test(t, rig.New(t)) })
	seeds(t, 3, func(t *testing.T, seed uint64) { test(t, rig.NewSeeded(t, seed, nil)) })
}

// seeds runs a test under n seeds, or under NEXUS_SEED alone.
func seeds(t *testing.T, n int, test func(t *testing.T, seed uint64)) {
	t.Helper()
	first := rand.Uint64()
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, n = seed, 1
	}
	for i := range n {
		seed := first + uint64(i)
		if !t.Run(fmt.Sprintf("NEXUS_SEED=%d", seed), func(t *testing.T) { test(t, seed) }) {
			return
		}
	}
}

// trace collects events for tests that look at the kernel's record.
type trace struct{ events []ipc.TraceEvent }

func (tr *trace) tap(e ipc.TraceEvent) { tr.events = append(tr.events, e) }

// last returns the newest event of a kind.
func (tr *trace) last(kind ipc.EventKind) ipc.TraceEvent {
	for _, e := range slices.Backward(tr.events) {
		if e.Kind == kind {
			return e
		}
	}
	return ipc.TraceEvent{}
}
