package ipc_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// TestInspectNeedsTheCapability: without it every question has one and the same
// answer, whatever there is: no slot, no record, no boot can be told apart.
func TestInspectNeedsTheCapability(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, see := w.app("app"), w.inspector()
	c.do(func(ctx context.Context) {
		_, _ = c.send(ctx, ipc.Msg{Op: opGet}) // So that k1-1 exists.
	})
	closed, err := w.Kernel.GrantInspector(c.task)
	if err != nil {
		t.Fatal(err)
	}
	clone, err := c.task.Clone(closed)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(task *ipc.Task, slot ipc.Slot, id ipc.AuditID, n int) [3]error {
		v, err1 := task.Inspect(slot)
		d, err2 := task.Explain(slot, id)
		all, err3 := task.Denials(slot, id, n)
		if err1 != nil && !reflect.DeepEqual(v, ipc.View{}) || err2 != nil && d != (ipc.Denial{}) || err3 != nil && all != nil {
			t.Error("an answer came with an error")
		}
		return [3]error{err1, err2, err3}
	}
	if got := ask(c.task, closed, ipc.AuditID{Boot: 1, Serial: 1}, 1); got != [3]error{} {
		t.Errorf("with the capability: %v", got)
	}
	if _, err := c.task.Revoke(closed); err != nil {
		t.Fatal(err)
	}
	if err := c.task.Close(closed); err != nil {
		t.Fatal(err)
	}
	no := [3]error{ipc.PermissionDenied, ipc.PermissionDenied, ipc.PermissionDenied}
	for _, slot := range []ipc.Slot{closed, clone, c.slot, 200, capability.Slots - 1, capability.Slots, ipc.NoSlot, see.slot} {
		for _, id := range []ipc.AuditID{{Boot: 1, Serial: 1}, {Boot: 1, Serial: 2}, {Boot: 2, Serial: 1}, {}} {
			for _, n := range []int{-1, 0, 1} {
				if got := ask(c.task, slot, id, n); got != no {
					t.Errorf("slot %d, %v, %d: %v", slot, id, n, got)
				}
			}
		}
	}
	for _, x := range []struct {
		id   ipc.AuditID
		n    int
		want [3]error
	}{
		{ipc.AuditID{Boot: 1, Serial: 1}, 0, [3]error{}},
		{ipc.AuditID{Boot: 1, Serial: 1 << 40}, 1, [3]error{nil, ipc.NotFound, nil}},
		{ipc.AuditID{Boot: 2, Serial: 1}, 1, [3]error{nil, ipc.NotFound, ipc.NotFound}},
		{ipc.AuditID{}, 1, [3]error{nil, ipc.NotFound, nil}},
		{ipc.AuditID{Boot: 1, Serial: 1}, -1, [3]error{nil, nil, ipc.InvalidArgument}},
	} {
		if got := ask(see.task, see.slot, x.id, x.n); got != x.want {
			t.Errorf("the inspector asks for %v, %d: %v", x.id, x.n, got)
		}
	}
}

// TestInspectorIsFixed: who looks cannot let anybody else look.
func TestInspectorIsFixed(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	slot, err := w.Kernel.GrantInspector(w.Init)
	if err != nil {
		t.Fatal(err)
	}
	child := w.app("child")
	for rights := range capability.AllRights + 1 {
		if got, err := w.Init.Derive(slot, rights, child.task); !errors.Is(err, ipc.PermissionDenied) {
			t.Errorf("derived with %v: slot %d, %v", rights, got, err)
		}
	}
	to := w.Connect(w.Init, w.ep)
	w.Do(w.Init, func(ctx context.Context) {
		_, err := w.Init.Call(ctx, ipc.Msg{Slot: to, Op: opEcho, Move: slot}, nil)
		want(t, "moved", "", err, ipc.PermissionDenied)
	})
	if _, err := w.Init.Inspect(slot); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestInspect: every task's slots are there, each with what it holds.
func TestInspect(t *testing.T) {
	w := newWorld(t, rig.NewSeeded(t, 1, nil), plan{})
	c, see := w.app("app"), w.inspector()
	vmo, err := c.task.NewMemory(12345)
	if err != nil {
		t.Fatal(err)
	}
	v, err := see.task.Inspect(see.slot)
	if err != nil {
		t.Fatal(err)
	}
	if again := w.Kernel.View(); !reflect.DeepEqual(v, again) {
		t.Errorf("the inspector sees %+v, and there is %+v", v, again)
	}
	byName := make(map[string]ipc.TaskView)
	for i, task := range v.Tasks {
		if i > 0 && task.ID <= v.Tasks[i-1].ID {
			t.Errorf("task %d is after %d", task.ID, v.Tasks[i-1].ID)
		}
		byName[task.Name] = task
	}
	all := capability.AllRights
	for name, want := range map[string]ipc.TaskView{
		"desk": {ID: w.svc.ID()},
		"app": {ID: c.task.ID(), Slots: []ipc.SlotView{
			{Slot: c.slot, Kind: capability.KindEndpoint, Rights: capability.Send, Endpoint: 1, Owner: "desk"},
			{Slot: vmo, Kind: capability.KindVMO, Rights: capability.Map, Size: 12345},
		}},
		"init": {ID: w.Init.ID(), Slots: []ipc.SlotView{
			{Slot: w.ep, Kind: capability.KindEndpoint, Rights: all, Endpoint: 1, Owner: "desk"},
			{Slot: w.ep + 1, Kind: capability.KindEndpointFactory, Rights: capability.Manage},
		}},
		"identityd": {ID: w.ident.ID(), Slots: []ipc.SlotView{{Slot: w.auth, Kind: capability.KindSessionAuthority, Rights: capability.Manage}}},
		"inspector": {ID: see.task.ID(), Slots: []ipc.SlotView{{Slot: see.slot, Kind: capability.KindInspector, Rights: capability.Manage}}},
	} {
		want.Name = name
		if !reflect.DeepEqual(byName[name], want) {
			t.Errorf("%s is %+v, want %+v", name, byName[name], want)
		}
	}
	if len(v.Tasks) != 5 {
		t.Errorf("there are %d tasks", len(v.Tasks))
	}
}
