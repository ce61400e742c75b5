package keystored

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/epochs"
	"nexus.internal/os/services/keystored/vault"
)

// state is where a userVault is in its life.
type state uint8

const (
	opening state = iota // being read; wait
	open                 // in use
	closing              // being left; wait
	gone                 // look again
)

// owner is whose vault it is: one incarnation of a user.
type owner struct {
	user        string
	incarnation [16]byte
}

func ownerOf(s *ipc.Stamp) owner { return owner{s.User, s.Incarnation} }

// userVault is one user's vault in memory, shared by the user's sessions.
type userVault struct {
	owner
	epoch    uint32 // of the user's root key
	path     string // known from loading on
	headPath string

	changed ipc.Cond // broadcast when anything below changed
	state   state
	sids    map[uint64]bool // sessions that have it open

	index  *vault.Index
	end    vault.Point // after the last durable segment
	head   []byte      // sealed, describes end
	beyond int         // records beyond the head on disk
	stale  bool        // the head on disk describes less than end
	next   uint64      // sequence of the next record
	apps   map[string]*app

	pending  []*op  // in order of arrival, which is that of their sequences
	writing  bool   // a handler leads
	doubtful bool   // what the file holds is unknown; nothing is appended to it
	patience uint64 // length of the file below which no compaction is tried
}

// damaged names a place in the vault.
func (v *userVault) damaged(offset int64) error {
	return &wire.Fault{Code: ipc.Damaged, File: v.path, Offset: offset}
}

// acquire answers the vault of the request's user, open, and notes that the
// request's session uses it. It opens the vault if nobody has; create allows it
// to make a new one. Of several requests that need it, one opens and the
// others wait.
func (s *service) acquire(ctx context.Context, req *ipc.Request, create bool) (*userVault, error) {
	for {
		v := s.vaults[ownerOf(&req.Stamp)]
		switch {
		case v == nil:
			if err := s.open(ctx, req, create); err != nil {
				return nil, err
			}
		case v.state == open:
			return v, s.join(ctx, req, v)
		default:
			if err := v.changed.Wait(ctx, s.task); err != nil {
				return nil, err
			}
		}
	}
}

// join notes that the request's session uses the vault. A request whose session
// was voided must not: the news of that may have been handled already.
func (s *service) join(ctx context.Context, req *ipc.Request, v *userVault) error {
	if !req.Gone() {
		v.sids[req.Stamp.SID] = true
		return nil
	}
	if len(v.sids) == 0 {
		s.close(ctx, v)
	}
	return ipc.Denied
}

// open reads the vault, or makes it, and lets everybody in who waits.
func (s *service) open(ctx context.Context, req *ipc.Request, create bool) error {
	v := newUserVault(ownerOf(&req.Stamp))
	s.vaults[v.owner] = v
	err := s.load(ctx, req, v, create)
	if err != nil {
		s.forget(v)
		return err
	}
	v.state = open
	v.changed.Broadcast()
	return nil
}

func newUserVault(of owner) *userVault {
	return &userVault{
		owner: of, sids: make(map[uint64]bool), apps: make(map[string]*app), index: vault.NewIndex(),
	}
}

// close leaves the vault when no session uses it any more: handlers that wait
// are sent away, a batch that is being written is waited for, the head goes to
// the disk, and the vault is forgotten.
func (s *service) close(ctx context.Context, v *userVault) {
	ctx = s.task.Detached(ctx)
	v.state = closing
	v.changed.Broadcast()
	for v.writing {
		if v.changed.Wait(ctx, s.task) != nil {
			return // This instance is being stopped, and its memory with it.
		}
	}
	if v.stale {
		if err := s.writeHead(ctx, v); err != nil {
			s.task.Mark("keystore: head FAIL", ipc.F("user", v.user))
		}
	}
	s.forget(v)
}

// of notes which of the user's root keys the vault is sealed below.
func (v *userVault) of(epoch uint32) {
	v.epoch = epoch
	v.path, v.headPath = paths(v.user, epoch)
}

func paths(user string, epoch uint32) (kv, head string) {
	prefix := epochs.Prefix(user, epoch)
	return prefix + "vault.kv", prefix + "vault.head"
}

// forget wipes the names and drops the rest from memory.
func (s *service) forget(v *userVault) {
	for _, a := range v.apps {
		a.names.Wipe()
	}
	v.state = gone
	v.apps, v.pending, v.head, v.index = nil, nil, nil, vault.NewIndex()
	delete(s.vaults, v.owner)
	v.changed.Broadcast()
}
