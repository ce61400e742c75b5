package statefsd

import (
	"context"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// TestNothingIsKept looks into the service after requests that wait for each
// other, fail and succeed: there is no lane and no reservation left.
func TestNothingIsKept(t *testing.T) {
	r := rig.NewSeeded(t, 3, nil)
	task := r.Task(ipc.TaskSpec{Name: "statefsd"})
	ep := r.Endpoint(task, ipc.EndpointSpec{Depth: 64, Parallel: 64, Ops: rig.Ops(int(wire.OpListFiles))})
	var s *service
	cfg := Config{Disk: simdisk.New(), Grants: []Grant{{Subject: "owner", Pattern: "state:/*", Access: Write}}}
	r.Host(task, func() ipc.Service {
		s = New(task, cfg).(*service)
		return s
	})
	app := r.Task(ipc.TaskSpec{Name: "owner"})
	slot := r.Connect(app, ep)
	waited := 0
	var wait []chan struct{}
	for i := range 30 {
		done := make(chan struct{})
		wait = append(wait, done)
		app.Go(func(ctx context.Context) {
			defer close(done)
			m := ipc.Msg{Slot: slot, Move: ipc.NoSlot}
			if m.Op = wire.OpReplaceFile; i%3 == 0 {
				m.Op = wire.OpRenameFile
				_ = wire.Call(ctx, app, m, &wire.RenameFileRequest{From: "state:/a", To: "state:/b"}, new(wire.RenameFileReply))
				return
			}
			if err := wire.Call(ctx, app, m, &wire.ReplaceFileRequest{Path: "state:/a"}, new(wire.ReplaceFileReply)); err != nil {
				t.Error(err)
			}
			if l := s.lanes["a"]; l != nil {
				waited = max(waited, len(l.line))
			}
		})
	}
	for _, done := range wait {
		if !r.Sched.Await(done, nil) {
			t.Fatal("requests wait for each other")
		}
	}
	if len(s.lanes) != 0 || s.creating != 0 {
		t.Errorf("%d lanes and %d reservations are left", len(s.lanes), s.creating)
	}
	if waited < 2 {
		t.Error("no request ever waited for another one")
	}
}
