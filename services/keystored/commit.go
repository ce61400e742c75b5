package keystored

import (
	"context"
	"errors"
	"slices"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/keystored/vault"
)

// op is a put or a delete on its way into a batch.
type op struct {
	vault.Op
	app     *app
	req     *ipc.Request // being served as long as the op is pending
	verdict error        // of the plan that took it; nobody hears it before the batch is durable
	done    bool
	err     error
}

// change does a put or a delete. It returns once the change is durable and
// visible, or failed.
func (s *service) change(ctx context.Context, req *ipc.Request, kind vault.RecordKind, name string, value []byte) error {
	v, a, err := s.enter(ctx, req)
	if err != nil {
		return err
	}
	if err := s.hopeless(v, a, newOp(v, a, kind, name, value)); err != nil {
		return err
	}
	if err := s.firstKey(ctx, req, v, a, kind, name, value); err != nil {
		return err
	}
	o := &op{app: a, req: req, Op: newOp(v, a, kind, name, value)}
	v.next++
	v.pending = append(v.pending, o)
	sealed, err := s.sealRecord(ctx, req, o, value)
	if err == nil && len(sealed) == 0 {
		err = ipc.Unavailable
	}
	if err != nil {
		v.drop(o)
		return err
	}
	o.Sealed = sealed
	return s.settle(ctx, v, o)
}

// hopeless says why a change cannot be, whether those that are under way come to
// something or to nothing. Then no work is done for it: no key is made, and
// nothing sealed. The plan of its batch has the last word.
func (s *service) hopeless(v *userVault, a *app, o vault.Op) error {
	err := vault.NewPlan(v.index, s.cfg.Limits).Admit(&a.names, o)
	if err == nil || len(v.pending) == 0 {
		return code(err)
	}
	after := vault.NewPlan(v.index, s.cfg.Limits)
	for _, p := range v.pending {
		_ = after.Admit(&p.app.names, p.Op) // What is refused changes nothing.
	}
	if later := after.Admit(&a.names, o); later == nil || errors.Is(later, vault.ErrTooLarge) {
		return nil
	}
	return code(err)
}

func newOp(v *userVault, a *app, kind vault.RecordKind, name string, value []byte) vault.Op {
	o := vault.Op{Kind: kind, Key: a.key, Name: name, Sequence: v.next}
	if kind == vault.Put {
		o.Usage = uint32(len(name) + len(value))
	}
	return o
}

// firstKey makes the data key of an app that has stored nothing yet, unless the
// change cannot be: then nothing at all is to happen. Of several requests that
// need the key, one makes it and the others wait.
func (s *service) firstKey(ctx context.Context, req *ipc.Request, v *userVault, a *app, kind vault.RecordKind, name string, value []byte) error {
	for !a.keyed {
		if a.keying {
			if err := v.changed.Wait(ctx, s.task); err != nil {
				return err
			}
		} else if err := s.makeKey(ctx, req, v, a, newOp(v, a, kind, name, value)); err != nil {
			return err
		}
		if v.state != open {
			return ipc.Denied
		}
	}
	return nil
}

func (s *service) makeKey(ctx context.Context, req *ipc.Request, v *userVault, a *app, first vault.Op) error {
	if err := s.hopeless(v, a, first); err != nil {
		return err
	}
	a.keying = true
	err := s.appKey(ctx, req, a, true)
	a.keying = false
	v.changed.Broadcast()
	return err
}

// settle waits for the op to be done, and leads whenever nobody else does.
func (s *service) settle(ctx context.Context, v *userVault, o *op) error {
	for !o.done {
		switch {
		case v.state != open:
			v.drop(o)
			return ipc.Denied
		case !v.writing && v.mayLead(o):
			s.lead(ctx, v, o)
		default:
			if err := v.changed.Wait(ctx, s.task); err != nil {
				return err
			}
		}
	}
	return o.err
}

// mayLead says whether the op is in the sealed front of the queue.
func (v *userVault) mayLead(o *op) bool {
	for _, p := range v.pending {
		if p.Sealed == nil {
			return false
		}
		if p == o {
			return true
		}
	}
	return false
}

// drop takes an op out of the queue. Those behind it may be its new front.
func (v *userVault) drop(o *op) {
	if i := slices.Index(v.pending, o); i >= 0 {
		v.pending = slices.Delete(v.pending, i, i+1)
	}
	v.changed.Broadcast()
}

// lead writes one batch. The calls have deadlines of their own and not that of
// the leader's request, because the batch is others' as well.
func (s *service) lead(ctx context.Context, v *userVault, leader *op) {
	v.writing = true
	ctx = s.task.Detached(ctx)
	if err := s.makeRoom(ctx, leader.req, v); err != nil {
		v.drop(leader)
		finish([]*op{leader}, err)
	} else if s.write(ctx, v, leader) && v.worn() {
		s.tidy(ctx, leader.req, v)
	}
	v.writing = false
	v.changed.Broadcast()
}

// makeRoom compacts where the file must not or cannot take another batch.
func (s *service) makeRoom(ctx context.Context, req *ipc.Request, v *userVault) error {
	if v.doubtful || v.full() {
		if err := s.compact(ctx, req, v); err != nil {
			return err
		}
	}
	if v.full() {
		return ipc.LimitReached
	}
	return nil
}

// full says whether the largest batch would not fit the file.
func (v *userVault) full() bool { return v.end.Length+vault.MaxBatchBytes > vault.MaxVault }

// write takes the front of the queue and writes it. It reports whether a batch
// became durable. Nobody hears a verdict before that: what one op may do
// depends on those before it.
func (s *service) write(ctx context.Context, v *userVault, leader *op) bool {
	plan, taken := s.take(v)
	records := plan.Records()
	if len(records) == 0 {
		finish(taken, nil)
		return false
	}
	b := vault.NewBatch(v.end)
	groups, head, err := s.sealBatch(ctx, leader.req, b, records)
	if err != nil {
		// The leader's authority failed, not the others': they try again.
		v.pending = append(taken, v.pending...)
		v.drop(leader)
		finish([]*op{leader}, err)
		return false
	}
	if err := s.persist(ctx, v, b, len(records)); err != nil {
		finish(taken, err)
		return false
	}
	plan.Commit(offsets(b, groups))
	v.end, v.head, v.stale = b.End(), head, true
	v.beyond += len(records)
	finish(taken, nil)
	s.markPuts(taken)
	v.changed.Broadcast()
	return true
}

// sealBatch seals the records and the head that goes with them.
func (s *service) sealBatch(ctx context.Context, req *ipc.Request, b *vault.Batch, records []vault.Record) ([][]vault.Record, []byte, error) {
	groups, err := s.seal(ctx, req, present, b, records)
	if err != nil {
		return nil, nil, err
	}
	head, err := s.sealHead(ctx, req, present, b.End())
	return groups, head, err
}

// take moves the sealed front of the queue into a plan, and notes each op's
// verdict. An op whose caller has left, or lost its session, is not done.
func (s *service) take(v *userVault) (*vault.Plan, []*op) {
	plan := vault.NewPlan(v.index, s.cfg.Limits)
	n := 0
	for ; n < len(v.pending) && n < vault.MaxBatchRecords && v.pending[n].Sealed != nil; n++ {
		o := v.pending[n]
		if !plan.Room(o.Op) {
			break // It is the first of the next batch.
		}
		if o.verdict = ipc.Denied; !o.req.Gone() {
			o.verdict = code(plan.Admit(&o.app.names, o.Op))
		}
	}
	taken := slices.Clone(v.pending[:n])
	v.pending = slices.Delete(v.pending, 0, n)
	return plan, taken
}

// finish ends the ops: with err, or else each with its own verdict.
func finish(ops []*op, err error) {
	for _, o := range ops {
		o.done = true
		if o.err = err; err == nil {
			o.err = o.verdict
		}
	}
}

// markPuts prints the proof of each put that is durable and visible.
func (s *service) markPuts(ops []*op) {
	for _, o := range ops {
		if o.err == nil && o.Kind == vault.Put {
			s.task.Mark("keystore: put", ipc.F("app", o.app.id), ipc.F("key", o.Name))
		}
	}
}

// persist makes a batch durable: first the head, if too much would be beyond
// it, then the segments with one sync. After a failed append or sync nobody
// knows what the file holds.
func (s *service) persist(ctx context.Context, v *userVault, b *vault.Batch, records int) error {
	if v.beyond+records > vault.HeadEvery {
		if err := s.writeHead(ctx, v); err != nil {
			return notWritten(err, v.headPath, 0)
		}
	}
	if err := s.appendFile(ctx, v.path, v.end.Length, b.Segments()); err != nil {
		v.doubtful = true
		return notWritten(err, v.path, v.end.Length)
	}
	return nil
}

// offsets answers where the segment with the i-th record of the batch is.
func offsets(b *vault.Batch, groups [][]vault.Record) func(i int) int64 {
	var all []int64
	for i, group := range groups {
		for range group {
			all = append(all, b.Offset(i))
		}
	}
	return func(i int) int64 { return all[i] }
}
