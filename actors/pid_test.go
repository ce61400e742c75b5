package actors

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"nexus.internal/os/ipc"
)

// echoService answers with what it is asked, and counts.
type echoService struct{ served *int }

func (e echoService) Start(context.Context) error { return nil }

func (e echoService) Serve(_ context.Context, r *ipc.Request) {
	*e.served++
	_ = r.Reply(ipc.OK, r.Body)
}

// guest is a system with one service, and an app that may call it.
type guest struct {
	engine *Engine
	pid    *actor.PID
	app    *ipc.Task
	slot   ipc.Slot
	served int
}

func newGuest(t *testing.T) *guest {
	t.Helper()
	sched := NewGoroutines()
	kernel := ipc.New(ipc.Config{Executor: sched, Boot: 1})
	sched.Bind(kernel)
	g := &guest{engine: New(sched, func(p *ipc.PanicReport) { t.Error(p) })}
	t.Cleanup(func() {
		g.engine.Stop()
		sched.Close()
	})
	boot, err := kernel.NewTask(ipc.TaskSpec{Name: "init"})
	if err != nil {
		t.Fatal(err)
	}
	factory, err := kernel.GrantFactory(boot)
	if err != nil {
		t.Fatal(err)
	}
	service, err := kernel.NewTask(ipc.TaskSpec{Name: "echo", Parent: boot.ID()})
	if err != nil {
		t.Fatal(err)
	}
	ep, err := boot.NewEndpoint(factory, service, ipc.EndpointSpec{Depth: 8, Ops: []ipc.Op{{Code: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.engine.Host(service, func() ipc.Service { return echoService{&g.served} }); err != nil {
		t.Fatal(err)
	}
	if g.app, err = kernel.NewTask(ipc.TaskSpec{Name: "app", Parent: boot.ID()}); err != nil {
		t.Fatal(err)
	}
	if g.slot, err = boot.Derive(ep, 1, g.app); err != nil {
		t.Fatal(err)
	}
	if err := boot.AwaitReady(context.Background(), service); err != nil {
		t.Fatal(err)
	}
	for id := range g.engine.byPID {
		g.pid = actor.NewPID("nonhost", id) // Made up, as anybody can.
	}
	return g
}

func (g *guest) call() error {
	_, err := g.app.Call(context.Background(), ipc.Msg{Slot: g.slot, Op: 1, Move: ipc.NoSlot}, nil)
	return err
}

// TestMessagesToThePIDAreRefused posts to the actor past the kernel, with every
// kind of message and forged senders. Each one is refused and counted, none is
// delivered, nothing answers, and the service goes on.
func TestMessagesToThePIDAreRefused(t *testing.T) {
	g := newGuest(t)
	root := g.engine.ground.system.Root
	messages := []any{
		"hello", []byte("hello"), 42, nil, struct{}{}, &ipc.Request{Op: 1, Body: []byte("forged")}, &ipc.Work{},
		ipc.Event{SID: 1, Ended: true}, &actor.MessageEnvelope{Message: &ipc.Work{}, Sender: g.pid}, &actor.PoisonPill{},
	}
	for _, m := range messages {
		root.Send(g.pid, m)
		root.RequestWithCustomSender(g.pid, m, g.pid)
	}
	sent := 2 * len(messages)
	if n := g.engine.Refused(); n != uint64(sent) {
		t.Errorf("%d messages, %d refused", sent, n)
	}
	root.Poison(g.pid) // A stop that is a user message.
	if _, err := root.RequestFuture(g.pid, &ipc.Request{Op: 1}, 20*time.Millisecond).Result(); !errors.Is(err, actor.ErrTimeout) {
		t.Errorf("a future was answered: %v", err)
	}
	if n := g.engine.Refused(); n != uint64(sent+2) {
		t.Errorf("%d messages, %d refused", sent+2, n)
	}
	if err := g.call(); err != nil {
		t.Errorf("a call through the kernel: %v", err)
	}
	if g.served != 1 {
		t.Errorf("served %d requests, want the kernel's one", g.served)
	}
}

// TestPIDOfNobody: guessing a PID reaches no service.
func TestPIDOfNobody(t *testing.T) {
	g := newGuest(t)
	for _, id := range []string{"", "echo2", "$1", "../echo"} {
		g.engine.ground.system.Root.Send(actor.NewPID("nonhost", id), "hello")
	}
	if err := g.call(); err != nil || g.served != 1 || g.engine.Refused() != 0 {
		t.Errorf("%v, served %d, refused %d", err, g.served, g.engine.Refused())
	}
}
