package identityd

import (
	"context"
	"errors"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/guesses"
	"nexus.internal/os/services/identityd/userdb"
)

// Every user has a row.
const _ = uint(guesses.UserRows - MaxUsers)

// throttle slows guessing down.
type throttle struct {
	table   guesses.Table // what is durable, and which rows users were given since
	writing *gate         // held to write the file

	turns [guesses.Rows]*gate    // held for the time of a guess with that row
	since [guesses.Rows]ipc.Time // when the last guess was counted, or the service's start: waits begin then
}

func newThrottle() throttle {
	t := throttle{writing: newGate(1)}
	for row := range t.turns {
		t.turns[row] = newGate(1)
	}
	return t
}

// guess is what a credential is tried as.
type guess struct {
	row    guesses.Row
	exempt bool // of a recovery key, which has too many bits to be guessed
}

// left is how much of the row's wait is to come.
func (t *throttle) left(row guesses.Row, now ipc.Time) time.Duration {
	over := t.since[row].Add(guesses.Wait(t.table.Failures(row)))
	if now >= over {
		return 0
	}
	return time.Duration(over - now)
}

// loadGuesses reads the file of failed guesses, after the user database. Only
// where there is no user an absent one is made: otherwise deleting it would give
// back all guesses.
func (s *Service) loadGuesses(ctx context.Context) error {
	now := s.task.Now()
	for row := range s.guessing.since {
		s.guessing.since[row] = now // A restart must not end a wait, and no clock tells how much is over.
	}
	file, err := s.readFile(ctx, guessesPath, guesses.Size)
	if saidNo(err, ipc.NotFound) {
		if s.db.Len() > 0 {
			return &wire.Fault{Code: ipc.Damaged, File: guessesPath}
		}
		return s.makeGuesses(ctx)
	}
	if err != nil {
		return err
	}
	table, err := guesses.Decode(file)
	var damage *guesses.DamageError
	if errors.As(err, &damage) {
		return &wire.Fault{Code: ipc.Damaged, File: guessesPath, Offset: damage.Offset}
	}
	s.guessing.table = table
	return err
}

func (s *Service) makeGuesses(ctx context.Context) error {
	var key [guesses.KeySize]byte
	if err := s.entropy(ctx, key[:]); err != nil {
		return err
	}
	s.guessing.table = guesses.New(key)
	return s.replace(ctx, guessesPath, guesses.Encode(s.guessing.table))
}

// row is where guesses at that user are counted, of whatever kind they are.
func (s *Service) row(user string) guesses.Row {
	u, live := s.db.Live(user)
	if !live {
		return s.guessing.table.Other(user)
	}
	return s.guessing.table.User(u.Incarnation, func(i guesses.Incarnation) bool {
		for _, other := range s.db.Users() {
			if other.Incarnation == i {
				return true
			}
		}
		return false
	})
}

// turn parks till no other guess with that row is under way, and answers TryLater
// if its wait is not over. A recovery key does not wait. Without an error the caller calls done when its guess
// is over.
func (s *Service) turn(ctx context.Context, g guess) (done func(), err error) {
	turn := s.guessing.turns[g.row]
	if err := turn.enter(ctx, s.task); err != nil {
		return nil, err
	}
	if left := s.guessing.left(g.row, s.task.Now()); left > 0 && !g.exempt {
		turn.leave()
		return nil, &wire.Later{Seconds: uint32((left + time.Second - 1) / time.Second)}
	}
	return turn.leave, nil
}

// try runs Argon2id on a guess that is counted as a failure, durably, before. One
// that is exempt is written as well, with the count as it was.
// What waits has not been counted, and what was counted is not given up with its
// caller: so each failure stands for one run. The caller has the row's turn.
func (s *Service) try(ctx context.Context, g guess, word []byte, p *userdb.Protector) (stretched, error) {
	if err := s.argon.enter(ctx, s.task); err != nil {
		return stretched{}, err
	}
	defer s.argon.leave()
	ctx = s.task.Detached(ctx)
	failures := s.guessing.table.Failures(g.row)
	if !g.exempt {
		failures++
	}
	if err := s.count(ctx, g.row, failures); err != nil {
		return stretched{}, err
	}
	if !g.exempt {
		s.guessing.since[g.row] = s.task.Now()
	}
	return s.run(ctx, word, p.Salt, p.Cost)
}

// count makes what a row counts durable, then visible.
func (s *Service) count(ctx context.Context, row guesses.Row, failures int) error {
	if err := s.guessing.writing.enter(ctx, s.task); err != nil {
		return err
	}
	defer s.guessing.writing.leave()
	next := s.guessing.table
	next.Count(row, failures)
	if err := s.replace(ctx, guessesPath, guesses.Encode(next)); err != nil {
		return err
	}
	s.guessing.table.Count(row, failures) // Rows may have been given to users meanwhile.
	return nil
}
