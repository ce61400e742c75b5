//go:build insecure_deterministic

package conform

import (
	"fmt"
	"testing"

	"nexus.internal/os/cmd/explore"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/ipc"
)

// ends counts with which events the calls of a run end.
type ends struct {
	first error
	tasks int            // of this boot that have not exited
	open  map[uint64]int // of this boot: calls that were sent, and how often they have ended
	kinds map[ipc.EventKind]int
	boots int // that ended in order
}

func (n *ends) event(e ipc.TraceEvent) {
	switch e.Kind {
	case ipc.TraceTask:
		if e.From == 1 {
			n.boot()
		}
		n.tasks++
	case ipc.TraceExit:
		n.tasks--
		if n.tasks == 0 {
			n.over()
		}
	case ipc.TraceSend:
		n.open[e.Call] = 0
	case ipc.TraceReply, ipc.TraceExpire, ipc.TraceCancel, ipc.TraceReceive:
		if e.Call != 0 {
			n.end(e)
		}
	case ipc.TraceLate:
		n.kinds[e.Kind]++
		if n.open[e.Call] != 1 {
			n.fail("%+v is late, and its call has ended %d times", e, n.open[e.Call])
		}
	}
}

// boot begins anew: what the power cut before has no end.
func (n *ends) boot() { n.open, n.tasks = make(map[uint64]int), 0 }

func (n *ends) end(e ipc.TraceEvent) {
	n.kinds[e.Kind]++
	times, sent := n.open[e.Call]
	if !sent || times != 0 {
		n.fail("%+v ends a call that was sent: %t, and has ended %d times before", e, sent, times)
	}
	n.open[e.Call]++
}

// over is the exit of the last task: nothing is under way any more.
func (n *ends) over() {
	n.boots++
	for call, times := range n.open {
		if times != 1 {
			n.fail("call %d has ended %d times, and nobody is left", call, times)
		}
	}
}

func (n *ends) fail(format string, args ...any) {
	if n.first == nil {
		n.first = fmt.Errorf(format, args...)
	}
}

// TestEveryCallEndsOnce: over whole boots that are made up, with every kind of
// fault, every call that was sent has one end, and late answers come after it.
// Replay one with: go test -tags insecure_deterministic ./tests/conform -run EveryCallEndsOnce -seed N -explore 1
func TestEveryCallEndsOnce(t *testing.T) {
	n := &ends{kinds: make(map[ipc.EventKind]int)}
	for seed := *first; seed < *first+*boots; seed++ {
		s := explore.Workload(seed, machine.Kinds)
		st := scenario.BySeed(seed, s, chance)
		st.Event = n.event
		n.boot()
		if o := s.Play(st.Stage); o.Err != nil {
			t.Fatalf("seed %d: %v", seed, o.Err)
		}
		if n.first != nil {
			t.Fatalf("seed %d: %v", seed, n.first)
		}
	}
	t.Logf("%d boots ended in order; ends: %v", n.boots, n.kinds)
	for _, kind := range []ipc.EventKind{ipc.TraceReply, ipc.TraceExpire, ipc.TraceCancel, ipc.TraceLate} {
		if *boots >= 200 && (n.kinds[kind] == 0 || n.boots == 0) {
			t.Errorf("of %d runs, none has an event of kind %d, or none ended in order", *boots, kind)
		}
	}
}
