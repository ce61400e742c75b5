package keymintd

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

// rootFiles is what the disk says of a user's root key.
type rootFiles struct {
	of     owner
	keys   *rootKeys
	sum    [sha256.Size]byte // of root.keys
	file   []byte            // keys.head, nil if there is none
	head   *keyHead          // after open
	behind bool              // after open: the head is about the generation before
}

// readRoot reads root.keys and keys.head of a user that must have both. The
// caller has the locks of both.
func (s *Service) readRoot(ctx context.Context, of owner) (*rootFiles, error) {
	path := rootPath(of.user)
	file, err := s.mustRead(ctx, path, rootMost)
	if err != nil {
		return nil, err
	}
	f := &rootFiles{of: of, sum: sha256.Sum256(file)}
	if f.keys, err = decodeRootKeys(file, of); err != nil {
		return nil, faultIn(path, err)
	}
	f.file, err = s.files.settled(ctx, f.headPath(), maxKeyHeadFile)
	if errors.Is(err, ipc.NotFound) {
		return f, nil // Where it must be is worth believing only when root.keys was opened.
	}
	return f, faultIn(f.headPath(), err)
}

// mustRead reads a file whose absence is damage. The caller has its lock.
func (s *Service) mustRead(ctx context.Context, path string, most int) ([]byte, error) {
	file, err := s.files.settled(ctx, path, most)
	return file, present(path, err)
}

// present makes damage of the absence of a file.
func present(path string, err error) error {
	if errors.Is(err, ipc.NotFound) {
		err = damageAt(0)
	}
	return faultIn(path, err)
}

// open unwraps the root key, and compares root.keys with keys.head.
func (f *rootFiles) open(p protector, salt []byte) (*secret.Bytes, error) {
	path := rootPath(f.of.user)
	root, err := f.keys.open(f.of, p, salt)
	if err != nil {
		return nil, faultIn(path, err)
	}
	if f.head, err = f.openHead(root); err != nil {
		root.Wipe()
		return nil, faultIn(f.headPath(), err)
	}
	f.behind, err = f.head.checkRoot(f.keys.generation, f.sum)
	if err != nil {
		root.Wipe()
		return nil, older(path, f.headPath(), err)
	}
	return root, nil
}

func (f *rootFiles) openHead(root *secret.Bytes) (*keyHead, error) {
	if f.file == nil {
		return nil, damageAt(0)
	}
	under := headKey(root)
	defer under.Wipe()
	return openKeyHead(under, f.of, f.file)
}

func (f *rootFiles) headPath() string { return headPath(f.of.user, f.keys.epoch) }

// older names the file that is older than the other one: path, or keys.head.
func older(path, head string, err error) error {
	if errors.Is(err, errHeadOlder) {
		path, err = head, errOlder
	}
	return faultIn(path, err)
}

// newHead makes the head of the root.keys that f has.
func (f *rootFiles) newHead(root *secret.Bytes, c *chance) write {
	under := headKey(root)
	defer under.Wipe()
	f.head.generation, f.head.sum = f.keys.generation, f.sum
	return write{f.headPath(), sealKeyHead(under, c, f.of, f.head)}
}

// next makes what was changed the next generation, and answers what is to be
// written: the head after the file that it is about, and before it only if it is
// one behind already, because it must never be two.
func (f *rootFiles) next(root *secret.Bytes, now, then *chance, edit func()) []write {
	var writes []write
	if f.behind {
		writes = append(writes, f.newHead(root, now))
	}
	edit()
	f.keys.seal(root)
	file := f.keys.encode()
	f.sum = sha256.Sum256(file)
	return append(writes, write{rootPath(f.of.user), file}, f.newHead(root, then))
}

func (s *Service) createRoot(ctx context.Context, _ *ipc.Request, q *wire.CreateRootRequest) (*wire.CreateRootReply, error) {
	of, err := ownerOf(q.User, q.Incarnation)
	if err != nil {
		return nil, err
	}
	p, err := protectorOf(q.Protector)
	if err != nil {
		return nil, err
	}
	if err := s.locks.takeRoot(ctx, of.user); err != nil {
		return nil, err
	}
	defer s.locks.releaseRoot(of.user)
	if err := s.noRoot(ctx, of.user); err != nil {
		return nil, err
	}
	c, err := s.entropy.several(ctx)
	if err != nil {
		return nil, err
	}
	root, err := s.entropy.forKey(ctx)
	if err != nil {
		return nil, err
	}
	defer root.Wipe()
	f := &rootFiles{of: of, keys: &rootKeys{incarnation: of.incarnation}, head: &keyHead{}}
	writes := f.next(root, c[1], c[2], func() { f.keys.add(of, p, s.salt, c[0], root) })
	root.Wipe() // Not later: the writes may take long.
	return &wire.CreateRootReply{}, s.files.commit(ctx, writes)
}

// noRoot returns nil if statefsd says that there is no root.keys, and
// ipc.Exists if there is anything in its place, damaged or not.
func (s *Service) noRoot(ctx context.Context, user string) error {
	_, err := s.files.read(ctx, rootPath(user), rootMost)
	var at damageAt
	switch {
	case errors.Is(err, ipc.NotFound):
		return nil
	case err == nil, errors.As(err, &at):
		return ipc.Exists
	}
	return err
}

func (s *Service) addProtector(ctx context.Context, _ *ipc.Request, q *wire.AddProtectorRequest) (*wire.AddProtectorReply, error) {
	of, err := ownerOf(q.User, q.Incarnation)
	if err != nil {
		return nil, err
	}
	have, err := protectorOf(q.Have)
	if err != nil {
		return nil, err
	}
	add, err := protectorOf(q.Add)
	if err != nil {
		return nil, err
	}
	err = s.changeRoot(ctx, of, have, func(f *rootFiles, root *secret.Bytes, c chances) ([]write, error) {
		if _, ok := f.keys.find(add.id); ok {
			return nil, ipc.Exists
		}
		if len(f.keys.entries) >= MaxProtectors {
			return nil, ipc.LimitReached
		}
		return f.next(root, c[1], c[2], func() { f.keys.add(of, add, s.salt, c[0], root) }), nil
	})
	return &wire.AddProtectorReply{}, err
}

func (s *Service) keepProtectors(ctx context.Context, _ *ipc.Request, q *wire.KeepProtectorsRequest) (*wire.KeepProtectorsReply, error) {
	of, err := ownerOf(q.User, q.Incarnation)
	if err != nil {
		return nil, err
	}
	have, err := protectorOf(q.Have)
	if err != nil {
		return nil, err
	}
	ids := slices.Sorted(slices.Values(q.Ids))
	if len(ids) == 0 || len(ids) > MaxProtectors || ids[0] == 0 || len(slices.Compact(ids)) != len(q.Ids) {
		return nil, ipc.Malformed
	}
	err = s.changeRoot(ctx, of, have, func(f *rootFiles, root *secret.Bytes, c chances) ([]write, error) {
		if !f.keys.has(ids) {
			return nil, ipc.NotFound
		}
		if len(f.keys.entries) == len(ids) {
			return nil, nil
		}
		return f.next(root, c[1], c[2], func() { f.keys.keep(ids) }), nil
	})
	return &wire.KeepProtectorsReply{}, err
}

// changeRoot opens the root key with have, and writes what edit says. The root
// key is gone before the first write.
func (s *Service) changeRoot(ctx context.Context, of owner, have protector, edit func(f *rootFiles, root *secret.Bytes, c chances) ([]write, error)) error {
	if err := s.locks.takeRoot(ctx, of.user); err != nil {
		return err
	}
	defer s.locks.releaseRoot(of.user)
	c, err := s.entropy.several(ctx)
	if err != nil {
		return err
	}
	f, err := s.readRoot(ctx, of)
	if err != nil {
		return err
	}
	root, err := f.open(have, s.salt)
	if err != nil {
		return err
	}
	defer root.Wipe()
	writes, err := edit(f, root, c)
	root.Wipe()
	if err != nil {
		return err
	}
	return s.files.commit(ctx, writes)
}
