package ipc_test

import (
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// A payload takes at most four times its bytes, or the 64 that belong to the
// request's record: so the queues take at most four times the system's budget.
func TestPayloadBuffersAreNotMuchLarger(t *testing.T) {
	k := rig.New(t).Kernel
	for n := 1; n <= ipc.MaxFrame; n++ {
		if size := k.BufferSize(n); size < n || size > max(64, 4*n) {
			t.Fatalf("a payload of %d bytes takes %d", n, size)
		}
	}
}

// The bound is a sum over endpoints, beside what is the same for every system.
func TestMemoryBound(t *testing.T) {
	r := rig.New(t)
	const fixed = 4*ipc.MaxSystemBytes + 3*ipc.MaxSystemMemory + 64*(64+256+1024+4096+8192)
	if got := r.Kernel.MemoryBound(); got != fixed {
		t.Errorf("without endpoints %d, want %d", got, fixed)
	}
	service := r.Task(ipc.TaskSpec{Name: "service"})
	r.Endpoint(service, ipc.EndpointSpec{Depth: 3, Parallel: 5})
	inbox := r.Endpoint(service, ipc.EndpointSpec{Inbox: true, Depth: 7})
	want := fixed + 3*ipc.RecordBytes + 5*ipc.ServedBytes + 7*ipc.RecordBytes
	if got := r.Kernel.MemoryBound(); got != want {
		t.Errorf("with two endpoints %d, want %d", got, want)
	}
	if err := r.Init.CloseEndpoint(inbox); err != nil {
		t.Fatal(err)
	}
	if got := r.Kernel.MemoryBound(); got != want-7*ipc.RecordBytes {
		t.Errorf("with one endpoint %d, want %d", got, want-7*ipc.RecordBytes)
	}
}
