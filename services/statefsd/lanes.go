package statefsd

import (
	"context"
	"slices"

	"nexus.internal/os/ipc"
)

// lanes let requests on one path go one after the other, in the order in which
// they came, and all others side by side. A request on two paths stands in two
// lanes from the start, so that no two of them can wait for each other.
type lanes map[string]*lane

type lane struct {
	line []*turn // the first one has the path
	cond ipc.Cond
}

// turn is one request's place.
type turn struct{ paths []string }

// enter waits for the request's turn on paths that differ. leave must follow.
func (l lanes) enter(ctx context.Context, t *ipc.Task, paths ...string) (*turn, error) {
	me := &turn{paths: paths}
	for _, p := range me.paths {
		if l[p] == nil {
			l[p] = new(lane)
		}
		l[p].line = append(l[p].line, me)
	}
	for _, p := range me.paths {
		for l[p].line[0] != me {
			if err := l[p].cond.Wait(ctx, t); err != nil {
				l.leave(me)
				return nil, err
			}
		}
	}
	return me, nil
}

// leave lets the next ones go, or gives up a place in the middle.
func (l lanes) leave(me *turn) {
	for _, p := range me.paths {
		q := l[p]
		at := slices.Index(q.line, me)
		q.line = slices.Delete(q.line, at, at+1)
		if len(q.line) == 0 {
			delete(l, p)
		}
		q.cond.Broadcast()
	}
}
