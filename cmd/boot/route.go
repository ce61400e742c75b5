package boot

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/ipc/wire"
)

// The slots that a task which can ask for routes finds at its start.
const (
	SlotBootstrap ipc.Slot = 0 // RECV: its bootstrap inbox
	SlotControl   ipc.Slot = 1 // SEND: init's control endpoint
	SlotAnswers   ipc.Slot = 2 // RECV: the inbox for init's answers
)

// Depths of the inboxes that such a task has.
const (
	bootstrapDepth = 8
	answersDepth   = 16
	repliesDepth   = 64
)

// router is init as a service: it answers routing requests. Policy decides, and
// the grant table bounds what policy can allow.
type router struct {
	system *System
	policy ipc.Slot

	mu      sync.Mutex // guards clients, and what each of them has
	clients map[ipc.TaskID]*client
}

// client is a task that can ask for routes. Its slots are init's, NoSlot for
// what there is not yet.
type client struct {
	task    *ipc.Task
	answers ipc.Slot // where its answers go
	replies ipc.Slot // its inbox for replies of services, from its first route on
	edges   []Edge   // what it can be given at most
	served  bool     // init is answering it: its slots stay what they are till then
	dropped bool
}

// startRouter lets init serve its control endpoint.
func (s *System) startRouter(ctx context.Context) error {
	policy, err := s.init.Derive(s.facets[Edge{PolicyD, wire.FacetMain}], capability.Send, s.init)
	if err != nil {
		return err
	}
	s.router.policy = policy
	return s.host(ctx, s.init, func() ipc.Service { return s.router })
}

// furnish gives a new task its bootstrap and control endpoints in slots 0 to 2,
// then SEND on the facets of calls. It can ask init for those, and for those of
// routes. After an error the task is to be dropped.
func (s *System) furnish(t *ipc.Task, calls, routes []Edge) (map[Edge]ipc.Slot, error) {
	c := &client{task: t, answers: ipc.NoSlot, replies: ipc.NoSlot, edges: slices.Concat(calls, routes)}
	s.router.mu.Lock()
	s.router.clients[t.ID()] = c
	err := s.control(c)
	s.router.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.connect(t, calls)
}

// control fills slots 0 to 2 of a new task, in this order. The lock is held.
func (s *System) control(c *client) (err error) {
	bootstrap, err := s.inbox(c.task, bootstrapDepth)
	if err != nil {
		return err
	}
	_, err = s.init.Derive(bootstrap, capability.Recv, c.task)
	// Nobody sends there yet; the inbox lives as long as its owner.
	if err = errors.Join(err, s.init.Close(bootstrap)); err != nil {
		return err
	}
	if _, err = s.init.Derive(s.facets[controlEdge], capability.Send, c.task); err != nil {
		return err
	}
	if c.answers, err = s.inbox(c.task, answersDepth); err != nil {
		return err
	}
	_, err = s.init.Derive(c.answers, capability.Recv, c.task)
	return err
}

// controlEdge is init's own facet among those of services.
var controlEdge = Edge{initName, 0}

func (s *System) inbox(owner *ipc.Task, depth int) (ipc.Slot, error) {
	return s.init.NewEndpoint(s.factory, owner, ipc.EndpointSpec{Inbox: true, Depth: depth})
}

// drop ends a task and what init keeps for it.
func (s *System) drop(t *ipc.Task) {
	t.Exit()
	r := s.router
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clients[t.ID()]
	if c == nil {
		return
	}
	delete(r.clients, t.ID())
	if c.dropped = true; !c.served {
		r.forget(c)
	}
}

// forget closes what init has for a client. The lock is held.
func (r *router) forget(c *client) {
	for _, slot := range []ipc.Slot{c.answers, c.replies} {
		if slot != ipc.NoSlot {
			_ = r.system.init.Close(slot) // init holds it: it cannot fail before init itself is gone.
		}
	}
}

// Start has nothing to do.
func (r *router) Start(context.Context) error { return nil }

// begin finds a client to answer it. Till end, a client that is dropped keeps
// its slots: if another client's inbox took the number of one, the answer would
// go there.
func (r *router) begin(id ipc.TaskID) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clients[id]
	if c != nil {
		c.served = true
	}
	return c
}

func (r *router) end(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.served = false; c.dropped {
		r.forget(c)
	}
}

// Serve answers one routing request: to its caller or the inbox that it named,
// or else to the inbox for answers that the asker has had from its start.
func (r *router) Serve(ctx context.Context, req *ipc.Request) {
	c := r.begin(req.Sender.Task)
	if c == nil {
		wire.Refuse(req, ipc.PermissionDenied)
		return
	}
	defer r.end(c)
	answer := r.route(ctx, req, c).Append(nil)
	if !req.Gone() {
		_ = req.Reply(ipc.OK, answer) // Who left does not need it.
		return
	}
	// A client that does not read its answers loses them, and only its own.
	_ = r.system.init.Send(ctx, ipc.Outgoing{
		Slot: c.answers, Payload: answer, Flags: ipc.SysNonblock,
		Header: frame.Header{Type: wire.OpRoute, Len: uint32(len(answer))},
	})
}

// route decides and gives.
func (r *router) route(ctx context.Context, req *ipc.Request, c *client) frame.RouteAnswer {
	q, err := frame.ParseRouteRequest(req.Body)
	if err != nil {
		return frame.RouteAnswer{Status: frame.RouteMalformed, Nonce: frame.RouteNonce(req.Body)}
	}
	a := frame.RouteAnswer{Nonce: q.Nonce}
	e, ok := resolve(r.system.rows, q.Name)
	switch {
	case !ok:
		a.Status = frame.RouteNotFound
	case !r.allowed(ctx, req.Sender.Name, e, q.Name) || !slices.Contains(c.edges, e):
		a.Status = frame.RouteDenied
	default:
		a = r.give(c, e, a)
	}
	return a
}

// resolve finds the facet that a name stands for: SERVICE.FACET, or SERVICE for
// the one that the service's row says.
func resolve(rows []row, name string) (Edge, bool) {
	service, facet, named := strings.Cut(name, ".")
	r := find(rows, service)
	switch {
	case r == nil:
		return Edge{}, false
	case !named:
		return Edge{service, r.route}, int(r.route) < len(r.facets)
	}
	i := slices.IndexFunc(r.facets, func(f Facet) bool { return f.Name == facet })
	return Edge{service, uint8(i)}, i >= 0
}

// allowed asks policyd. No answer is a no.
func (r *router) allowed(ctx context.Context, subject string, e Edge, target string) bool {
	var p wire.DecideReply
	q := &wire.DecideRequest{Subject: subject, Action: "route." + e.Service, Target: target}
	err := wire.Call(ctx, r.system.init, ipc.Msg{Slot: r.policy, Op: wire.OpDecide, Move: ipc.NoSlot}, q, &p)
	return err == nil && p.Allow
}

// give puts SEND on the facet, and SEND and RECV on the client's inbox for
// replies, into the client's table. If there is no room for both, there is
// neither.
func (r *router) give(c *client, e Edge, a frame.RouteAnswer) frame.RouteAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.system
	denied := frame.RouteAnswer{Status: frame.RouteDenied, Nonce: a.Nonce}
	if c.dropped {
		return denied // It was dropped meanwhile, and nothing is kept for it any more.
	}
	if c.replies == ipc.NoSlot {
		slot, err := s.inbox(c.task, repliesDepth)
		if err != nil {
			return denied
		}
		c.replies = slot
	}
	send, err := s.init.Derive(s.facets[e], capability.Send, c.task)
	if err != nil {
		return denied
	}
	recv, err := s.init.Derive(c.replies, capability.Send|capability.Recv, c.task)
	if err != nil {
		_ = c.task.Close(send) // It was just put there.
		return denied
	}
	a.Send, a.Recv = uint32(send), uint32(recv)
	return a
}
