package modelrun

import (
	"fmt"
	"slices"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/model"
)

// compareState holds everything that can be seen of the kernel against the
// model, and what must be true of each alone.
func (w *World) compareState() error {
	if err := w.kernel.Check(); err != nil {
		return w.disagree("%v", err)
	}
	if err := w.Model.Sound(); err != nil {
		return w.disagree("the model: %v", err)
	}
	if err := w.compareTables(); err != nil {
		return err
	}
	if err := w.compareEndpoints(); err != nil {
		return err
	}
	s, m := w.kernel.Stats(), w.Model.Levels()
	if got := (model.Levels{Tasks: s.Tasks, Endpoints: s.Endpoints, Bytes: s.QueuedBytes, Tokens: s.Tokens}); got != m {
		return w.disagree("the kernel counts %+v, the model %+v", got, m)
	}
	return nil
}

// compareTables holds every slot of every task against the model.
func (w *World) compareTables() error {
	for i, t := range w.tasks {
		got, want := w.kernel.Held(t), w.Model.Table(i)
		same := len(got) == len(want)
		for n := 0; same && n < len(got); n++ {
			g, m := got[n], want[n]
			object := -1
			if m.Endpoint != nil {
				object = m.Endpoint.Number
			}
			same = g.Slot == m.Slot && g.Kind == m.Kind && g.Rights == m.Rights && w.number(g.Endpoint) == object
		}
		if !same {
			var texts []string
			for _, m := range want {
				texts = append(texts, fmt.Sprintf("%d: kind %d rights %d", m.Slot, m.Kind, m.Rights))
			}
			return w.disagree("task %d holds %+v; the model says %v", i, got, texts)
		}
	}
	return nil
}

// number is the model's number of an endpoint, -1 for none.
func (w *World) number(id uint32) int {
	if n, ok := w.numbers[id]; ok {
		return n
	}
	return -1
}

// seenEndpoint is what there is to compare of an endpoint.
type seenEndpoint struct {
	queued, serving string
	room, receivers int
}

func (w *World) compareEndpoints() error {
	got := make(map[int]seenEndpoint)
	for _, e := range w.kernel.View().Endpoints {
		got[w.number(e.ID)] = seenEndpoint{calls(e.Queued), sorted(e.Serving), e.Room, e.Waiting}
	}
	for _, e := range w.Model.Endpoints {
		g, ok := got[e.Number]
		if !ok && !e.Owner.Exited {
			return w.disagree("endpoint %d is not among the kernel's", e.Number)
		}
		room, receivers := w.Model.Waiters(e)
		m := seenEndpoint{messages(e.Queue), sorted(views(e.Serving)), room, receivers}
		if g != m {
			return w.disagree("endpoint %d is %+v; the model says %+v", e.Number, g, m)
		}
	}
	return nil
}

func calls(all []ipc.CallView) (text string) {
	for _, c := range all {
		text += fmt.Sprintf("%s %d %d bytes;", c.From, c.Op, c.Size)
	}
	return text
}

// sorted is calls in an order that does not depend on when each was begun.
func sorted(all []ipc.CallView) string {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b ipc.CallView) int {
		if a.From != b.From {
			if a.From < b.From {
				return -1
			}
			return 1
		}
		return (int(a.Op)-int(b.Op))<<16 + a.Size - b.Size
	})
	return calls(all)
}

func views(all []*model.Message) (out []ipc.CallView) {
	for _, q := range all {
		out = append(out, ipc.CallView{From: model.Name(q.From.Number), Op: q.Type, Size: len(q.Body)})
	}
	return out
}

func messages(all []*model.Message) string { return calls(views(all)) }

// describe is an operation in one line, without what it does not take.
func describe(op model.Op) string {
	text := fmt.Sprintf("%v task %d", op.Kind, op.Task)
	add := func(when bool, format string, args ...any) {
		if when {
			text += fmt.Sprintf(" "+format, args...)
		}
	}
	k := op.Kind
	message := k == model.Call || k == model.Send || k == model.Receive
	add(k >= model.NewEndpoint && k <= model.Revoke || message || k >= model.ReadOnly && k <= model.WriteMemory || k >= model.StartSession && k <= model.RevokeToken && k != model.DeriveToken, "slot %d", op.Slot)
	add(k == model.NewEndpoint || k == model.Derive || k == model.MintToken || k == model.DeriveToken, "to %d", op.To)
	add(k == model.Derive, "rights %d", op.Rights)
	add(k == model.NewEndpoint, "depth %d parallel %d takes %t inbox %t raw %t", op.Depth, op.Parallel, op.Takes, op.Inbox, op.Raw)
	add(k == model.NewTask, "service %t guards %t", op.Service, op.Guards)
	add(k == model.Grant, "kind %d", op.Cap)
	add(k == model.Call || k == model.Send, "type %d token %d", op.Type, op.Token)
	add((k == model.Call || k == model.Send) && op.Move != ipc.NoSlot, "move %d", op.Move)
	memory := k >= model.NewMemory && k <= model.WriteMemory
	add(message || memory || k == model.Answer, "size %d", op.Size)
	add(k == model.ReadMemory || k == model.WriteMemory, "at %d", op.N)
	add(message && op.Sys != 0, "sys %d", op.Sys)
	add(k == model.Send && (op.Flags != 0 || op.Misstate != 0), "flags %d misstate %d", op.Flags, op.Misstate)
	add(k == model.Answer, "n %d code %v", op.N, op.Code)
	add(k >= model.OpenSession && k <= model.MintToken, "session %d", op.Session)
	add(k == model.MintToken || k == model.DeriveToken, "token rights %d", op.TokenRights)
	add(k == model.DeriveToken || k == model.RevokeToken, "token %d", op.Token)
	add(op.Within != 0, "within %d", op.Within)
	return text
}
