package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// Sequential is a Scheduler that runs everything on one goroutine: once it is
// closed, nothing of it can still be on its way to anywhere.
type Sequential interface{ Sequential() }

// ground is a protoactor system and who supervises on it. To make one costs
// more than a whole boot otherwise does, so that those of sequential schedulers
// are used again: no message to an actor can come late there.
type ground struct {
	system *actor.ActorSystem
	engine *Engine // that it is for now
}

var grounds = sync.Pool{New: func() any { return newGround() }}

func newGround() *ground { return &ground{system: actor.NewActorSystem(quiet)} }

func groundFor(e *Engine) *ground {
	g := newGround
	if _, ok := e.sched.(Sequential); ok {
		g = func() *ground { return grounds.Get().(*ground) }
	}
	own := g()
	own.engine = e
	return own
}

// release gives the ground back after its engine has stopped, every actor of
// which is gone.
func (g *ground) release(clean bool) {
	_, again := g.engine.sched.(Sequential)
	g.engine = nil
	if again && clean {
		grounds.Put(g)
		return
	}
	g.system.Shutdown()
}

// HandleFailure makes the ground the supervisor strategy of its actors.
func (g *ground) HandleFailure(_ *actor.ActorSystem, s actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	g.engine.handleFailure(s, child)
}
