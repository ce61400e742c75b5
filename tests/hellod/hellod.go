// Package hellod counts how often each app of each user says hello: the example of docs/HACKING.md.
package hellod

import (
	"context"
	"errors"
	"fmt"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd"
)

const opHello = 1

// Daemon is what hellod answers and may do. Parallel is 1, so that no hello comes in between the calls of another.
var Daemon = boot.Daemon{
	Name: "hellod", Marks: []string{"hellod:"}, Apps: true,
	Facets: []boot.Facet{{Name: "main", Depth: 16, Parallel: 1, Ops: []ipc.Op{{Code: opHello, Need: boot.AppRights}}}},
	Calls:  []boot.Edge{{Service: boot.StateFSD, Facet: wire.FacetMain}},
	Files:  []statefsd.Grant{{Pattern: "state:/hellod/*", Access: statefsd.Write}},
	New: func(t *ipc.Task, slots []ipc.Slot) ipc.Service {
		s := &service{task: t, files: slots[0]}
		wire.On(&s.Mux, opHello, s.hello)
		return s
	},
}

type service struct {
	wire.Mux // has Serve
	task     *ipc.Task
	files    ipc.Slot
}

func (s *service) Start(context.Context) error {
	s.task.Mark("hellod: ready")
	return nil
}

// hello makes a file one byte longer, durably; which file, the stamp says. A new user of an old name begins with none.
func (s *service) hello(ctx context.Context, r *ipc.Request, _ *HelloRequest) (*HelloReply, error) {
	path := fmt.Sprintf("state:/hellod/%x.%s", r.Stamp.Incarnation, r.Stamp.App)
	m, old, now := ipc.Msg{Slot: s.files, Op: wire.OpReadFile, Move: ipc.NoSlot}, new(wire.ReadFileReply), new(wire.AppendFileReply)
	err := wire.Call(ctx, s.task, m, &wire.ReadFileRequest{Path: path}, old)
	if err == nil || errors.Is(err, ipc.NotFound) {
		m.Op = wire.OpAppendFile
		err = wire.Call(ctx, s.task, m, &wire.AppendFileRequest{Path: path, Offset: old.Size, Data: []byte("."), Sync: true}, now)
	}
	if err != nil {
		return nil, ipc.Unavailable // Why is between statefsd and hellod; an app would take Denied for its own.
	}
	s.task.Mark("hellod: hello", ipc.F("user", r.Stamp.User), ipc.F("app", r.Stamp.App), ipc.F("count", fmt.Sprint(now.Size)))
	return &HelloReply{Count: now.Size}, nil
}

// Verb lets scripts say hello as an app.
var Verb = script.Verb{
	Name: "hello", Args: "USER/APP", Help: "say hello, and show how often the app has",
	Run: func(r *script.Strand, a []string) (string, error) {
		p := new(HelloReply)
		err := r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
			slot, _ := app.Reaches("hellod.main")
			return wire.Call(ctx, app.Task, ipc.Msg{Slot: slot, Op: opHello, Token: &app.Config.Token, Move: ipc.NoSlot}, &HelloRequest{}, p)
		})
		if err != nil {
			return "", err // Without power, the call may still be writing its reply.
		}
		return fmt.Sprint(p.Count), nil
	},
}
