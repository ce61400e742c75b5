package vault

// Op is a put, a delete or a drop that waits to become part of a batch. Its record is
// sealed already, under the sequence that it got when it arrived.
type Op struct {
	Kind     RecordKind
	Key      KeyID
	Name     string
	Sequence uint64
	Usage    uint32 // bytes of name and value of a put
	Sealed   []byte // of a drop empty
}

// Plan decides, op by op in order of arrival, what a batch does to a vault. It
// looks at the vault as if every op admitted before were done, and changes
// nothing until Commit.
type Plan struct {
	index   *Index
	limits  Limits
	changes []change
	bytes   int // of segments, at most
}

// change is one admitted op.
type change struct {
	names  *Names
	name   string
	record Record
	freed  uint32 // usage of what it supersedes
}

// NewPlan begins a batch upon x.
func NewPlan(x *Index, limits Limits) *Plan {
	return &Plan{index: x, limits: limits}
}

// Room says whether the batch can take the op as well: it has a limit of records
// and one of bytes. An empty batch has room for any op.
func (p *Plan) Room(op Op) bool {
	return len(p.changes) < MaxBatchRecords && p.bytes+(Record{Sealed: op.Sealed}).segment() <= MaxBatchBytes
}

// Admit takes the op into the batch, or answers why not: ErrNotFound for a
// delete of a name that isn't there and for a drop of nothing, ErrQuota, or
// ErrTooLarge for a batch that is full. names is the index of the op's app.
func (p *Plan) Admit(names *Names, op Op) error {
	if op.Kind == Drop {
		return p.admitDrop(names, op)
	}
	longest := MaxRecord
	if op.Kind == Put {
		longest = MaxLargeRecord
	}
	if !p.Room(op) || len(op.Sealed) > longest {
		return ErrTooLarge
	}
	c := change{names: names, name: op.Name, record: Record{
		Kind: op.Kind, Key: op.Key, Sequence: op.Sequence, Usage: op.Usage, Sealed: op.Sealed,
	}}
	c.record.Supersedes, c.freed = p.holder(names, op)
	if op.Kind == Delete {
		c.record.Usage = 0
		if c.record.Supersedes == 0 {
			return ErrNotFound
		}
	} else if !p.fits(c) {
		return ErrQuota
	}
	p.changes = append(p.changes, c)
	p.bytes += c.record.segment()
	return nil
}

// admitDrop takes a drop: it ends whatever the app has at this place of the plan.
func (p *Plan) admitDrop(names *Names, op Op) error {
	c := change{names: names, record: Record{Kind: Drop, Key: op.Key, Sequence: op.Sequence}}
	if !p.Room(op) {
		return ErrTooLarge
	}
	app := p.usage(op.Key)
	if app.Secrets == 0 {
		return ErrNotFound
	}
	c.record.Usage, c.freed = uint32(app.Secrets), uint32(app.Bytes)
	p.changes = append(p.changes, c)
	p.bytes += c.record.segment()
	return nil
}

// usage is what the app of that key uses at this place of the plan.
func (p *Plan) usage(key KeyID) Usage {
	app := p.index.Usage(key)
	for _, before := range p.changes {
		if before.record.Key == key {
			app = before.upon(app)
		}
	}
	return app
}

// holder answers the record that holds the op's name at this place of the plan.
func (p *Plan) holder(names *Names, op Op) (sequence uint64, usage uint32) {
	for i := len(p.changes) - 1; i >= 0; i-- {
		c := &p.changes[i]
		if c.record.Key != op.Key || c.name != op.Name && c.record.Kind != Drop {
			continue
		}
		if c.record.Kind != Put {
			return 0, 0
		}
		return c.record.Sequence, c.record.Usage
	}
	sequence, ok := names.Find(op.Name)
	if !ok {
		return 0, 0
	}
	return sequence, p.index.live[sequence].Usage
}

// fits says whether the put keeps the quotas. What does not grow always fits,
// so that an app over a quota that was lowered can still replace its secrets.
func (p *Plan) fits(c change) bool {
	app, user := p.usage(c.record.Key), p.index.Total()
	for _, before := range p.changes {
		user = before.upon(user)
	}
	return fits(app, c.upon(app), p.limits.AppSecrets, p.limits.AppBytes) &&
		fits(user, c.upon(user), p.limits.UserSecrets, p.limits.UserBytes)
}

func fits(before, after Usage, secrets, bytes uint64) bool {
	return (after.Secrets <= secrets || after.Secrets <= before.Secrets) &&
		(after.Bytes <= bytes || after.Bytes <= before.Bytes)
}

// upon answers the usage after the change.
func (c change) upon(u Usage) Usage {
	if c.record.Kind == Drop {
		u.Secrets -= uint64(c.record.Usage)
		u.Bytes -= uint64(c.freed)
	}
	if c.record.Supersedes != 0 {
		u.Secrets--
		u.Bytes -= uint64(c.freed)
	}
	if c.record.Kind == Put {
		u.Secrets++
		u.Bytes += uint64(c.record.Usage)
	}
	return u
}

// Records answers the records of the batch, in order.
func (p *Plan) Records() []Record {
	records := make([]Record, len(p.changes))
	for i, c := range p.changes {
		records[i] = c.record
	}
	return records
}

// Commit makes the batch visible: it is durable now. offset answers where the
// segment with the i-th record is.
func (p *Plan) Commit(offset func(i int) int64) {
	for i, c := range p.changes {
		p.index.add(c.record, offset(i))
		switch c.record.Kind {
		case Put:
			c.names.Set(c.name, c.record.Sequence)
		case Drop:
			c.names.Wipe()
		default:
			c.names.Remove(c.name)
		}
	}
}
