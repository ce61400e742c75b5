package ipc

import "nexus.internal/os/capability"

// Op is one operation that an endpoint answers.
type Op struct {
	Code uint16
	// Need holds token rights: a request must carry a token that has at least
	// one of them. 0 means that the operation takes no token.
	Need capability.TokenRights
}

// EndpointSpec describes an endpoint to be made.
type EndpointSpec struct {
	// Depth is how many requests may wait, clamped to 1..MaxDepth.
	Depth int
	// Parallel is how many of its requests may be served at once, those that
	// are parked included, clamped to 1..MaxParallel.
	Parallel int
	// Takes lets requests bring a capability along, which is the service's to
	// close. Without it they are refused: a service that expects none would
	// let its table fill up.
	Takes bool
	// Ops are the operations; any other opcode is refused with Unsupported.
	Ops []Op
}

type opRule struct {
	known bool
	need  capability.TokenRights
}

// endpoint is a bounded queue of requests with one owner.
type endpoint struct {
	id       uint32
	owner    *Task
	facet    uint8
	depth    int
	parallel int
	ops      [MaxOps]opRule
	takes    bool
	closed   bool

	first, last *call
	queued      int // requests
	bytes       int
	serving     int
	room        []*fiber // senders that wait, first come first served
}

// NewEndpoint makes an endpoint through the factory in slot, owned by the task
// itself or by a direct child. The caller gets a capability with every right in
// its highest free slot; the owner serves the endpoint as its next facet.
func (t *Task) NewEndpoint(factory Slot, owner *Task, spec EndpointSpec) (Slot, error) {
	k := t.kernel
	k.lock()
	defer k.unlock()
	c, err := t.table.Lookup(factory)
	if err != nil || c.Kind != capability.KindEndpointFactory || owner != t && owner.parent != t.id {
		return NoSlot, PermissionDenied
	}
	if owner.exited {
		return NoSlot, NoSuchEndpoint
	}
	if len(k.endpoints) >= MaxEndpoints || owner.owned >= MaxOwnerEndpoints || len(owner.facets) >= MaxFacets {
		return NoSlot, NoSpace
	}
	ep := &endpoint{
		owner: owner, facet: uint8(len(owner.facets)),
		depth: max(1, min(spec.Depth, MaxDepth)), parallel: max(1, min(spec.Parallel, MaxParallel)),
		takes: spec.Takes,
	}
	for _, op := range spec.Ops {
		if op.Code >= MaxOps || op.Need&^capability.AllTokenRights != 0 {
			return NoSlot, InvalidArgument
		}
		ep.ops[op.Code] = opRule{known: true, need: op.Need}
	}
	slot, err := t.table.Insert(capability.Cap{Kind: capability.KindEndpoint, Rights: capability.AllRights, Object: ep})
	if err != nil {
		return NoSlot, slotError(err)
	}
	k.lastEP++
	ep.id = k.lastEP
	k.endpoints[ep.id] = ep
	owner.facets = append(owner.facets, ep)
	owner.owned++
	k.ring.add(TraceEvent{Time: k.now, From: t.id, To: owner.id, Endpoint: ep.id, Op: uint16(ep.facet), Kind: TraceEndpoint})
	return slot, nil
}

// CloseEndpoint closes the endpoint in slot for everyone. It needs Manage.
func (t *Task) CloseEndpoint(slot Slot) error {
	k := t.kernel
	k.lock()
	defer k.unlock()
	c, err := t.table.Lookup(slot)
	if err != nil {
		return slotError(err)
	}
	ep, ok := c.Object.(*endpoint)
	if !ok || c.Rights&capability.Manage == 0 {
		return PermissionDenied
	}
	k.closeEndpoint(ep)
	return nil
}

// closeEndpoint tells everybody who waits at it. Requests that are already
// being served may still be answered.
func (k *Kernel) closeEndpoint(ep *endpoint) {
	if ep.closed {
		return
	}
	ep.closed = true
	for ep.first != nil {
		k.reject(ep.pop(), NoSuchEndpoint)
	}
	for len(ep.room) > 0 {
		f := ep.room[0]
		ep.room = ep.room[1:]
		k.ready(f, NoSuchEndpoint)
	}
	delete(k.endpoints, ep.id)
	ep.owner.owned--
}

// admits says whether n more bytes fit the queue: QueueFull for its depth,
// NoSpace for a byte budget.
func (ep *endpoint) admits(n int) Code {
	k := ep.owner.kernel
	switch {
	case ep.queued >= ep.depth:
		return QueueFull
	case ep.bytes+n > ep.depth*MaxFrame,
		ep.owner.queuedBytes+n > MaxOwnerBytes,
		k.queued+n > MaxSystemBytes:
		return NoSpace
	}
	return OK
}

func (ep *endpoint) push(c *call) {
	c.next = nil
	if ep.last != nil {
		ep.last.next = c
	} else {
		ep.first = c
	}
	ep.last = c
	ep.account(1, len(c.body))
}

func (ep *endpoint) pop() *call {
	c := ep.first
	ep.first = c.next
	if ep.first == nil {
		ep.last = nil
	}
	c.next = nil
	ep.account(-1, -len(c.body))
	return c
}

// unqueue takes a request out of the middle of the queue.
func (ep *endpoint) unqueue(c *call) {
	if ep.first == c {
		ep.pop()
		return
	}
	for p := ep.first; p != nil; p = p.next {
		if p.next == c {
			p.next = c.next
			if ep.last == c {
				ep.last = p
			}
			c.next = nil
			ep.account(-1, -len(c.body))
			return
		}
	}
}

func (ep *endpoint) account(requests, bytes int) {
	ep.queued += requests
	ep.bytes += bytes
	ep.owner.queuedBytes += bytes
	ep.owner.kernel.queued += bytes
}
