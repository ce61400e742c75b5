package identityd

import (
	"context"
	"errors"
	"slices"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
)

// Where identityd keeps its files, and the users' folders beside them.
const (
	folder      = "state:/identity/"
	dbName      = "users.db"
	guessesName = "guesses"
	dbPath      = folder + dbName
	guessesPath = folder + guessesName

	readPiece = 7168 // bytes that statefsd reads at once
)

// load reads the database. An absent file is an empty database only where there
// is nothing but the file of guesses, which is made first; otherwise somebody's
// keys would be given up for lost.
func (s *Service) load(ctx context.Context) error {
	file, err := s.readFile(ctx, dbPath, userdb.MaxFile)
	if saidNo(err, ipc.NotFound) {
		found, err := s.firstFile(ctx, folder, guessesPath)
		if err != nil {
			return err
		}
		if found != "" {
			return &wire.Fault{Code: ipc.Damaged, File: dbPath}
		}
		s.db = userdb.DB{}
		return nil
	}
	if err != nil {
		return err
	}
	db, err := userdb.Decode(file)
	var damage *userdb.DamageError
	if errors.As(err, &damage) {
		return &wire.Fault{Code: ipc.Damaged, File: dbPath, Offset: damage.Offset}
	}
	if err != nil {
		return err
	}
	s.db = db
	return nil
}

// readFile returns a file of at most limit bytes; of a longer one more than that.
func (s *Service) readFile(ctx context.Context, path string, limit int) ([]byte, error) {
	var file []byte
	for {
		var reply wire.ReadFileReply
		q := &wire.ReadFileRequest{Path: path, Offset: uint64(len(file)), Length: readPiece}
		if err := s.call(ctx, s.cfg.StateFS, wire.OpReadFile, nil, q, &reply); err != nil {
			return nil, err
		}
		file = append(file, reply.Data...)
		if len(reply.Data) == 0 || uint64(len(file)) >= reply.Size || len(file) > limit {
			return file, nil
		}
	}
}

// firstFile returns the first path below prefix but for those named, empty if
// there is none. The named ones fit a page of the list.
func (s *Service) firstFile(ctx context.Context, prefix string, but ...string) (string, error) {
	var reply wire.ListFilesReply
	err := s.call(ctx, s.cfg.StateFS, wire.OpListFiles, nil, &wire.ListFilesRequest{Prefix: prefix}, &reply)
	if err != nil {
		return "", err
	}
	for _, path := range reply.Paths {
		if !slices.Contains(but, path) {
			return path, nil
		}
	}
	return "", nil
}

// replace makes data durable in the place of what a file holds.
func (s *Service) replace(ctx context.Context, path string, data []byte) error {
	q := &wire.ReplaceFileRequest{Path: path, Data: data}
	return s.call(ctx, s.cfg.StateFS, wire.OpReplaceFile, nil, q, &wire.ReplaceFileReply{})
}

// commit makes a database durable, then visible. The caller holds writing.
func (s *Service) commit(ctx context.Context, next userdb.DB) error {
	file, err := userdb.Encode(next)
	if err != nil {
		return err
	}
	if err := s.replace(ctx, dbPath, file); err != nil {
		s.unsure = true
		return err
	}
	s.unsure, s.db = false, next
	return nil
}

// settle makes sure that the file is the visible database before something is
// destroyed on its word. The caller holds writing.
func (s *Service) settle(ctx context.Context) error {
	if !s.unsure {
		return nil
	}
	return s.commit(ctx, s.db)
}

// sweep removes what is left of users that are not live, and then their
// entries. It goes on after an error, which it returns. The caller holds writing.
func (s *Service) sweep(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	var first error
	for _, u := range s.db.Users() {
		if u.State == userdb.Live {
			continue
		}
		if err := s.erase(ctx, u.ID); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (s *Service) erase(ctx context.Context, user string) error {
	if err := s.removeRoot(ctx, user); err != nil {
		return err
	}
	if err := s.forgetVault(ctx, user); err != nil {
		return err
	}
	return s.commit(ctx, s.db.Without(user))
}

// prune removes wraps of no protector from a user that may have some. have opens
// the user's keys. The caller holds writing.
func (s *Service) prune(ctx context.Context, user string, have *wire.Protector) error {
	if !s.stale[user] {
		return nil
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	u, live := s.db.Live(user)
	if !live {
		return nil
	}
	if err := s.keepProtectors(ctx, u, have); err != nil {
		return err
	}
	delete(s.stale, user)
	return nil
}
