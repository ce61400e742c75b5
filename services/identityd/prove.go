package identityd

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
)

// proof is what a right credential gives. Its owner wipes it.
type proof struct {
	user      string
	inc       [userdb.IncarnationSize]byte
	protector uint64
	kind      userdb.Kind
	auth      *secret.Bytes
}

func (p *proof) wipe() { p.auth.Wipe() }

// prove answers BadSecret for everything but a right credential of a live user,
// after one durable write and one run of Argon2id in every case: where there is
// no verifier to compare with, one that nothing matches stands in for it. Where
// there were too many wrong ones it answers TryLater, and does none of this.
//
// What is asked for and what it is compared with are of the same moment, before
// anything parks, so that a guess at a user is never counted as one at nobody.
func (s *Service) prove(ctx context.Context, user string, c *wire.Credential) (*proof, error) {
	u, p, known := s.protectorFor(user, c)
	kind, _ := kindOf(c)
	g := guess{row: s.row(user), exempt: kind == userdb.Recovery}
	done, err := s.turn(ctx, g)
	if err != nil {
		return nil, err
	}
	defer done()
	word := stretchable(c)
	defer word.Wipe()
	possible := known && wellFormed(c)
	out, err := s.try(ctx, g, word.Expose(), &p)
	if err != nil {
		return nil, err
	}
	proved := &proof{user: u.ID, inc: u.Incarnation, protector: p.ID, kind: p.Kind, auth: out.auth}
	if matches := out.matches(&p); !matches || !possible || !s.stands(proved) {
		proved.wipe()
		return nil, ipc.BadSecret
	}
	if err := s.count(s.task.Detached(ctx), g.row, 0); err != nil {
		proved.wipe()
		return nil, err
	}
	if !s.stands(proved) { // The write parked.
		proved.wipe()
		return nil, ipc.BadSecret
	}
	return proved, nil
}

// proven admits a request, and proves its credential. The caller calls done when
// the request is over, which wipes the proof.
func (s *Service) proven(ctx context.Context, user string, c *wire.Credential) (p *proof, done func(), err error) {
	leave, err := s.admit()
	if err != nil {
		return nil, nil, err
	}
	if p, err = s.prove(ctx, user, c); err != nil {
		leave()
		return nil, nil, err
	}
	return p, func() { p.wipe(); leave() }, nil
}

// protectorFor returns what to compare a credential with.
func (s *Service) protectorFor(user string, c *wire.Credential) (userdb.User, userdb.Protector, bool) {
	u, live := s.db.Live(user)
	kind, _ := kindOf(c)
	if p, ok := u.Protector(kind); ok && live {
		return u, p, true
	}
	return userdb.User{}, userdb.Protector{Cost: s.cfg.Argon}, false
}

// stands says whether what was proved is still so: the user is live, is the
// same incarnation, and has the credential still.
func (s *Service) stands(p *proof) bool {
	u, live := s.db.Live(p.user)
	if !live || u.Incarnation != p.inc {
		return false
	}
	now, ok := u.Protector(p.kind)
	return ok && now.ID == p.protector
}

// stretch runs Argon2id on a worker when it is this request's turn. word must
// not change before it returns.
func (s *Service) stretch(ctx context.Context, word []byte, salt [userdb.SaltSize]byte, cost Params) (stretched, error) {
	if err := s.argon.enter(ctx, s.task); err != nil {
		return stretched{}, err
	}
	defer s.argon.leave()
	return s.run(ctx, word, salt, cost)
}

// run is stretch for who is through the gate.
func (s *Service) run(ctx context.Context, word []byte, salt [userdb.SaltSize]byte, cost Params) (stretched, error) {
	if err := cost.Validate(); err != nil {
		return stretched{}, ipc.Unavailable
	}
	s.runs++
	var out stretched
	if err := s.task.Offload(ctx, func() { out = stretch(word, &salt, cost) }); err != nil {
		out.auth.Wipe()
		return stretched{}, err
	}
	return out, nil
}
