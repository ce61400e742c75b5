package keymintd

import (
	"context"
	"strings"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
)

// account is the keys of one user (of one incarnation), shared by the user's
// unsealed sessions so that all of them see the same rings.
type account struct {
	owner
	epoch    uint32 // of the root key
	rootKeys subkeys
	rings    map[string]*ring // by app, as far as loaded
	sessions int              // that are unsealed
	wiped    bool
}

func newAccount(of owner, root *secret.Bytes, epoch uint32) *account {
	return &account{owner: of, epoch: epoch, rootKeys: deriveSubkeys(root), rings: make(map[string]*ring)}
}

// subkeys is what the root key is for.
type subkeys struct {
	rings *secret.Bytes // wraps rings
	names *secret.Bytes // names their files
	head  *secret.Bytes // wraps keys.head
	chain *sealer       // seals the vault's segments
}

func deriveSubkeys(root *secret.Bytes) subkeys {
	chain := derive(root, "nexus root v1 chain")
	defer chain.Wipe()
	return subkeys{
		rings: derive(root, "nexus root v1 rings"),
		names: derive(root, "nexus root v1 names"),
		head:  headKey(root),
		chain: newSealer(chain, "nexus segment v1"),
	}
}

func (a *account) wipe() {
	a.wiped = true
	a.rootKeys.rings.Wipe()
	a.rootKeys.names.Wipe()
	a.rootKeys.head.Wipe()
	a.rootKeys.chain.wipe()
	for app, r := range a.rings {
		r.wipe()
		delete(a.rings, app)
	}
}

func (a *account) headPath() string { return headPath(a.user, a.epoch) }

func (a *account) ringPath(id [KeyIDSize]byte) string { return ringPath(a.user, a.epoch, id) }

// drop forgets a ring of which nobody knows whether it is what the disk holds.
func (a *account) drop(app string) {
	if r := a.rings[app]; r != nil {
		r.wipe()
		delete(a.rings, app)
	}
}

// session is one unsealed session: in this epoch it may use its user's keys.
type session struct {
	sid    uint64
	epoch  uint32
	acct   *account
	sealed bool // set once; a parked request looks here when it goes on

	rekeying *rekeying // while the user is about to get another root key
}

// install gives the stamped session the keys below root. It must not be called
// for a session whose epoch is over.
func (s *Service) install(st *ipc.Stamp, root *secret.Bytes, epoch uint32) {
	if old := s.sessions[st.SID]; old != nil {
		if old.epoch == st.Epoch {
			return
		}
		s.seal(old)
	}
	of := owner{user: st.User, incarnation: st.Incarnation}
	acct := s.accounts[of]
	if acct == nil {
		acct = newAccount(of, root, epoch)
		s.accounts[of] = acct
	}
	acct.sessions++
	s.sessions[st.SID] = &session{sid: st.SID, epoch: st.Epoch, acct: acct}
}

// seal takes a session's keys away, and wipes them with the user's last
// session. Whoever waits for a lock is told to look again.
func (s *Service) seal(sess *session) {
	sess.sealed = true
	delete(s.sessions, sess.sid)
	sess.rekeying.wipe()
	sess.acct.sessions--
	if sess.acct.sessions == 0 {
		delete(s.accounts, sess.acct.owner)
		sess.acct.wipe()
	}
	s.locks.freed.Broadcast()
}

// Forget wipes the keys of everybody. Sessions and accounts stay where they
// are, for handlers that run out; what they find there is gone.
func (s *Service) Forget() {
	for _, sess := range s.sessions {
		sess.sealed = true
		sess.rekeying.wipe()
	}
	for _, acct := range s.accounts {
		acct.wipe()
	}
	clear(s.entropy.left)
}

// access is a request that its session's keys may serve.
type access struct {
	*session
	req *ipc.Request
	app string // as stamped
}

// unsealed finds the keys of the stamped session, or returns ipc.Sealed.
func (s *Service) unsealed(r *ipc.Request) (access, error) {
	sess := s.sessions[r.Stamp.SID]
	if !r.Stamp.Unsealed || sess == nil || sess.epoch != r.Stamp.Epoch {
		return access{}, ipc.Sealed
	}
	return access{session: sess, req: r, app: r.Stamp.App}, nil
}

// over says why a request that had to wait need not go on.
func (a access) over() error {
	if a.sealed {
		return ipc.Sealed
	}
	if a.req.Gone() {
		return ipc.TimedOut
	}
	return nil
}

// locks let one request at a time change a file, whatever sessions and
// accounts come and go meanwhile. The keys are "user" for root.keys,
// "user/app" for a ring, and "user/" for keys.head; who needs two takes that of
// keys.head last.
type locks struct {
	task    *ipc.Task
	held    map[string]bool
	waiting map[string]int // requests that want a ring, its holder included
	freed   ipc.Cond
}

// take parks till the lock is free. If over, which may be nil, returns an error
// after a wait, take returns that and no lock.
func (l *locks) take(ctx context.Context, key string, over func() error) error {
	for l.held[key] {
		if err := l.freed.Wait(ctx, l.task); err != nil {
			return err
		}
		if over == nil {
			continue
		}
		if err := over(); err != nil {
			return err
		}
	}
	l.held[key] = true
	return nil
}

// takeRoot takes the locks of a user's root.keys and keys.head.
func (l *locks) takeRoot(ctx context.Context, user string) error {
	if err := l.take(ctx, user, nil); err != nil {
		return err
	}
	if err := l.take(ctx, headLock(user), nil); err != nil {
		l.release(user)
		return err
	}
	return nil
}

// releaseRoot gives back what takeRoot took.
func (l *locks) releaseRoot(user string) {
	l.release(headLock(user))
	l.release(user)
}

func headLock(user string) string { return user + "/" }

// takeRing takes the lock of a ring, unless so many requests wait for it that
// one app would keep others from being served.
func (l *locks) takeRing(ctx context.Context, a access) (key string, err error) {
	key = a.acct.user + "/" + a.app
	if l.waiting[key] >= MaxWaiting {
		return "", ipc.Unavailable
	}
	l.waiting[key]++
	if err := l.take(ctx, key, a.over); err != nil {
		l.leave(key)
		return "", err
	}
	return key, nil
}

// releaseRing gives back what takeRing took.
func (l *locks) releaseRing(key string) {
	l.leave(key)
	l.release(key)
}

func (l *locks) leave(key string) {
	if l.waiting[key]--; l.waiting[key] == 0 {
		delete(l.waiting, key)
	}
}

func (l *locks) release(key string) {
	delete(l.held, key)
	l.freed.Broadcast()
}

// quiet parks till no lock of the user's rings is held.
func (l *locks) quiet(ctx context.Context, user string) error {
	for l.anyBelow(user + "/") {
		if err := l.freed.Wait(ctx, l.task); err != nil {
			return err
		}
	}
	return nil
}

func (l *locks) anyBelow(prefix string) bool {
	for key := range l.held {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}
