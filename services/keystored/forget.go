package keystored

import (
	"context"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/epochs"
)

// forgetVault removes the vault of a user that identityd is removing; the
// user's sessions are over. It may be asked again after a crash.
func (s *service) forgetVault(ctx context.Context, _ *ipc.Request, q *wire.ForgetVaultRequest) (*wire.ForgetVaultReply, error) {
	if capability.CheckUser(q.User) != nil {
		return nil, ipc.Malformed
	}
	if err := s.leave(ctx, q.User); err != nil {
		return nil, err
	}
	return &wire.ForgetVaultReply{}, s.removeVaults(ctx, q.User, func(uint32) bool { return true })
}

// removeVaults removes the vaults of some epochs of the user's, and what was kept
// of them aside.
func (s *service) removeVaults(ctx context.Context, user string, of func(epoch uint32) bool) error {
	paths, err := s.listFiles(ctx, epochs.User(user))
	if err != nil {
		return err
	}
	for _, path := range paths {
		epoch, name, _ := epochs.Split(user, path)
		if !of(epoch) || !strings.HasPrefix(name, "vault.") {
			continue
		}
		if err := s.removeFile(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// leave closes what is in memory of the user, of any incarnation.
func (s *service) leave(ctx context.Context, user string) error {
	for {
		v := s.find(user)
		switch {
		case v == nil:
			return nil
		case v.state == open:
			s.close(ctx, v)
		default:
			if err := v.changed.Wait(ctx, s.task); err != nil {
				return err
			}
		}
	}
}

// find answers the vault in memory with the least incarnation of that user.
func (s *service) find(user string) *userVault {
	var found *userVault
	for _, v := range s.vaults {
		if v.user == user && (found == nil || string(v.incarnation[:]) < string(found.incarnation[:])) {
			found = v
		}
	}
	return found
}

// listFiles answers the paths that start with prefix.
func (s *service) listFiles(ctx context.Context, prefix string) ([]string, error) {
	var paths []string
	for after := ""; ; {
		var p wire.ListFilesReply
		if err := s.fs(ctx, wire.OpListFiles, &wire.ListFilesRequest{Prefix: prefix, After: after}, &p); err != nil {
			return nil, err
		}
		paths = append(paths, p.Paths...)
		if !p.More || len(p.Paths) == 0 {
			return paths, nil
		}
		after = p.Paths[len(p.Paths)-1]
	}
}
