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
	// Inbox makes it an endpoint without operations: whatever is sent there
	// is received by who has RECV. It is no facet of its owner.
	Inbox bool
	// Raw says that requests which come by Send have no envelope: payload and
	// answer are bare bytes, and an error of the kernel answers nothing.
	Raw bool
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
	inbox    bool
	raw      bool
	closed   bool

	first, last *call
	queued      int // requests
	bytes       int
	serving     int
	room        []*fiber // senders that wait, first come first served
	receivers   []*fiber // of an inbox: receivers that wait, first come first served
	senders     int      // live capabilities with SEND, those in flight included
	hadSender   bool
}

// NewEndpoint makes an endpoint through the factory in slot, owned by the task
// itself or by a direct child. The caller gets a capability with every right in
// its highest free slot; the owner serves the endpoint as its next facet, if it
// is no inbox.
func (t *Task) NewEndpoint(factory Slot, owner *Task, spec EndpointSpec) (Slot, error) {
	k := t.kernel
	k.lock()
	defer k.unlock()
	c, err := t.table.Lookup(factory)
	if err != nil || c.Kind != capability.KindEndpointFactory || owner == nil || owner != t && owner.parent != t.id {
		t.deny(SyscallNewEndpoint, factory, PermissionDenied, 0)
		return NoSlot, PermissionDenied
	}
	if owner.exited {
		return NoSlot, NoSuchEndpoint
	}
	if len(k.endpoints) >= MaxEndpoints || owner.owned >= MaxOwnerEndpoints || !spec.Inbox && len(owner.facets) >= MaxFacets {
		return NoSlot, NoSpace
	}
	ep := &endpoint{
		owner: owner, facet: uint8(len(owner.facets)),
		depth: max(1, min(spec.Depth, MaxDepth)), parallel: max(1, min(spec.Parallel, MaxParallel)),
		takes: spec.Takes, inbox: spec.Inbox, raw: spec.Raw,
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
	ep.hadSender = false // Who makes an inbox is no sender yet, whatever its capability says.
	k.lastEP++
	ep.id = k.lastEP
	k.endpoints[ep.id] = ep
	owner.owned++
	e := TraceEvent{Time: k.now, From: t.id, To: owner.id, Endpoint: ep.id, Op: uint16(ep.facet), Slot: slot, Kind: TraceEndpoint}
	if ep.inbox {
		owner.inboxes = append(owner.inboxes, ep)
		e.Name = inboxName
	} else {
		owner.facets = append(owner.facets, ep)
	}
	k.ring.add(e)
	return slot, nil
}

// inboxName is the Name of a TraceEndpoint event that is about an inbox.
const inboxName = "inbox"

// CloseEndpoint closes the endpoint in slot for everyone. It needs Manage.
func (t *Task) CloseEndpoint(slot Slot) error {
	k := t.kernel
	k.lock()
	defer t.done()
	ep, code := t.managed(slot)
	if code == OK {
		k.closeEndpoint(ep)
	}
	t.syscall(SyscallCloseEndpoint, slot, ep, code)
	return code.err()
}

// managed finds the endpoint behind a slot that has Manage.
func (t *Task) managed(slot Slot) (*endpoint, Code) {
	c, err := t.table.Lookup(slot)
	if err != nil {
		return nil, slotCode(err)
	}
	ep, ok := c.Object.(*endpoint)
	if !ok || c.Rights&capability.Manage == 0 {
		return nil, PermissionDenied
	}
	return ep, OK
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
	for len(ep.receivers) > 0 {
		f := ep.receivers[0]
		ep.receivers = ep.receivers[1:]
		k.ready(f, NoSuchEndpoint)
	}
	delete(k.endpoints, ep.id)
	ep.owner.owned--
}

// admits says whether n more bytes of a payer fit the queue: QueueFull for its
// depth, NoSpace for a byte budget. The budgets that are shared give a payer at
// most as much as they leave free, so that one that takes all it can leaves the
// others half, and two leave a third (A. K. Choudhury, E. L. Hahne, "Dynamic
// queue length thresholds", IEEE/ACM Transactions on Networking 6(2), 1998).
func (ep *endpoint) admits(payer *Task, n int) Code {
	own := payer.sentBytes + n
	switch {
	case ep.queued >= ep.depth:
		return QueueFull
	case ep.bytes+n > ep.depth*MaxFrame,
		own > MaxOwnerBytes-ep.owner.queuedBytes-n,
		own > MaxSystemBytes-ep.owner.kernel.queued-n:
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
	ep.account(c, 1)
}

func (ep *endpoint) pop() *call {
	c := ep.first
	ep.first = c.next
	if ep.first == nil {
		ep.last = nil
	}
	c.next = nil
	ep.account(c, -1)
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
			ep.account(c, -1)
			return
		}
	}
}

// account adds a request to the books, or with -1 takes it out of them.
func (ep *endpoint) account(c *call, requests int) {
	bytes := requests * len(c.body)
	ep.queued += requests
	ep.bytes += bytes
	ep.owner.queuedBytes += bytes
	ep.owner.kernel.queued += bytes
	c.payer.sentBytes += bytes
}

// Made counts a capability to the endpoint.
func (ep *endpoint) Made(c capability.Cap) {
	if c.Rights&capability.Send != 0 {
		ep.senders++
		ep.hadSender = true
	}
}

// Died counts one less. When the last sender goes, those who asked to know it
// are told at the end of this kernel call: by then it is clear whether they have
// lost their own capability too.
func (ep *endpoint) Died(c capability.Cap) {
	if c.Rights&capability.Send == 0 {
		return
	}
	ep.senders--
	if ep.deserted() && len(ep.receivers) > 0 {
		k := ep.owner.kernel
		k.emptied = append(k.emptied, ep)
	}
}

// tellDeserted tells those who wait with SysEOF where the last sender has gone.
func (k *Kernel) tellDeserted() {
	for _, ep := range k.emptied {
		waiting := ep.receivers
		ep.receivers = nil
		for _, f := range waiting {
			if f.recv.flags&SysEOF != 0 && ep.deserted() {
				k.ready(f, PeerClosed)
			} else {
				ep.receivers = append(ep.receivers, f)
			}
		}
	}
	k.emptied = k.emptied[:0]
}

// deserted says whether nobody can send to it any more and somebody could.
func (ep *endpoint) deserted() bool { return ep.hadSender && ep.senders == 0 }
