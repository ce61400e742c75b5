package ipc_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/actors"
	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// breaks are the kernel's events at which a child process has its kernel panic:
// each one is recorded under the lock, on another way into the kernel.
var breaks = map[string]ipc.EventKind{
	"call": ipc.TraceSend, "reply": ipc.TraceReply, "delivery": ipc.TraceDeliver, "end of work": ipc.TraceCrash,
	"system call": ipc.TraceSyscall, "marker": ipc.TraceMark, "receive": ipc.TraceReceive, "deadline": ipc.TraceExpire,
	"offload": ipc.TraceOffload, "exit": ipc.TraceExit, "session": ipc.TraceSession,
}

// secret is what the kernel panics with: nobody may see it.
const secret = "a value that nobody may see"

// brokenEnv names the way for the child, and seededEnv asks for a run by seed.
const (
	brokenEnv = "NEXUS_TEST_BREAK"
	seededEnv = "NEXUS_TEST_SEEDED"
)

// TestBrokenKernel: whatever the way into the kernel, a panic under its lock
// ends the process, with the place and without what it panicked with, although
// handlers have deferred system calls and their panics are recovered from.
func TestBrokenKernel(t *testing.T) {
	if way := os.Getenv(brokenEnv); way != "" {
		breakKernel(t, breaks[way])
		t.Fatal("the process goes on")
	}
	for way := range breaks {
		for _, mode := range []string{"", "yes"} {
			t.Run(way+mode, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestBrokenKernel$")
				child.Env = append(os.Environ(), brokenEnv+"="+way, seededEnv+"="+mode)
				out, err := child.CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 2 {
					t.Fatalf("the child ended with %v:\n%s", err, out)
				}
				for _, text := range []string{"panic: ipc: the kernel panicked while it held its lock: a panic with a string", "ipc_test.breakKernel.func", "ipc.(*ring).add (trace.go:"} {
					if !bytes.Contains(out, []byte(text)) {
						t.Errorf("%q is not in\n%s", text, out)
					}
				}
				if bytes.Contains(out, []byte(secret)) {
					t.Errorf("the value is in\n%s", out)
				}
			})
		}
	}
}

// breakKernel has a kernel panic at the first event of the kind, once it is up.
func breakKernel(t *testing.T, kind ipc.EventKind) {
	var sched actors.Scheduler = actors.NewGoroutines()
	if os.Getenv(seededEnv) != "" {
		sched = seeded.New(1)
	}
	up := false
	k := ipc.New(ipc.Config{Executor: sched, Boot: 1, Tap: func(e ipc.TraceEvent) {
		if up && e.Kind == kind {
			panic(secret)
		}
	}})
	sched.Bind(k)
	engine := actors.New(sched, nil)
	svc, err := k.NewTask(ipc.TaskSpec{Name: "desk", Marks: []string{"desk:"}})
	if err != nil {
		t.Fatal(err)
	}
	factory, err := k.GrantFactory(svc)
	if err != nil {
		t.Fatal(err)
	}
	desk, err := svc.NewEndpoint(factory, svc, ipc.EndpointSpec{Ops: rig.Ops(1)})
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := svc.NewEndpoint(factory, svc, ipc.EndpointSpec{Inbox: true})
	if err != nil {
		t.Fatal(err)
	}
	auth, err := k.GrantAuthority(svc)
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Host(svc, func() ipc.Service { return &everything{svc, auth, inbox} }); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	svc.Go(func(ctx context.Context) {
		defer close(done)
		if err := svc.AwaitReady(ctx, svc); err != nil {
			t.Error(err)
		}
		up = true
		_, _ = svc.Call(ctx, ipc.Msg{Slot: desk, Op: 1, Move: ipc.NoSlot}, nil)
		engine.Stop()
	})
	sched.Await(done, nil)
}

// everything is a service whose handler does something of every kind, with
// system calls that it has deferred, and panics.
type everything struct {
	task        *ipc.Task
	auth, inbox ipc.Slot
}

func (s *everything) Start(context.Context) error { return nil }

func (s *everything) Serve(ctx context.Context, r *ipc.Request) {
	defer func() {
		_, _ = s.task.Clone(s.inbox)
		_ = s.task.Slots()
	}()
	if _, err := s.task.Clone(s.inbox); err != nil {
		panic(err)
	}
	if _, err := s.task.StartSession(s.auth, "alice", [16]byte{}); err != nil {
		panic(err)
	}
	_, _ = s.task.Receive(ctx, s.inbox, nil, ipc.SysNonblock, 0)
	_, _ = s.task.Receive(ctx, s.inbox, nil, 0, s.task.Now().Add(time.Microsecond))
	_ = s.task.Offload(ctx, func() {})
	s.task.Mark("desk: here")
	_ = r.Reply(ipc.OK, nil)
	panic(secret)
}

// TestServicePanics: a panic of a service's own code is its own affair, also
// with system calls that it has deferred, and while others hold the lock.
func TestServicePanics(t *testing.T) {
	inBothModes(t, func(t *testing.T, r *rig.Rig) {
		svc := r.Task(ipc.TaskSpec{Name: "all", Marks: []string{"desk:"}})
		ep := r.Endpoint(svc, ipc.EndpointSpec{Ops: rig.Ops(1)})
		slot, err := r.Init.Derive(r.Endpoint(svc, ipc.EndpointSpec{Inbox: true}), capability.Recv, svc)
		if err != nil {
			t.Fatal(err)
		}
		auth, err := r.Kernel.GrantAuthority(svc)
		if err != nil {
			t.Fatal(err)
		}
		r.Host(svc, func() ipc.Service { return &everything{svc, auth, slot} })
		client := r.Task(ipc.TaskSpec{Name: "app"})
		desk := r.Connect(client, ep)
		for n := range 3 {
			r.Do(client, func(ctx context.Context) {
				_, err := client.Call(ctx, ipc.Msg{Slot: desk, Op: 1, Move: ipc.NoSlot}, nil)
				want(t, "the answer before the panic", "", err, nil)
				for len(r.Crashes()) <= n {
					_ = client.Sleep(ctx, time.Millisecond)
				}
			})
			if got := r.Crashes(); len(got) != n+1 || !strings.Contains(got[n].Frames, "(*everything).Serve") {
				t.Errorf("after %d calls, crashes are %v", n+1, got)
			}
		}
	})
}
