package keystored

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/keystored/vault"
)

// worn says whether a compaction is due.
func (v *userVault) worn() bool {
	return v.index.Worn(v.end.Length) && v.end.Length >= v.patience
}

// tidy compacts a worn file. A failure is nobody's: the ops of the batch are
// durable, and the next try comes when the file has grown by as much again.
func (s *service) tidy(ctx context.Context, req *ipc.Request, v *userVault) {
	if s.compact(ctx, req, v) != nil {
		v.patience = v.end.Length + vault.CompactAbove
	}
}

// compact writes the live records to a new file, from memory, and puts it in
// the place of the vault. Its caller leads. Until the rename, a failure leaves
// everything as it was.
func (s *service) compact(ctx context.Context, req *ipc.Request, v *userVault) error {
	b := vault.NewFile(v.end)
	groups, err := s.seal(ctx, req, present, b, v.index.Snapshot(v.end.Vault))
	if err != nil {
		return err
	}
	head, err := s.sealHead(ctx, req, present, b.End())
	if err != nil {
		return err
	}
	fresh := v.path + ".new"
	err = s.removeFile(ctx, fresh)
	if err == nil {
		err = s.appendFile(ctx, fresh, 0, b.Segments())
	}
	if err != nil {
		return notWritten(err, fresh, 0)
	}
	if err := s.renameFile(ctx, fresh, v.path); err != nil {
		v.doubtful = true
		return notWritten(err, v.path, 0)
	}
	for i, group := range groups {
		v.index.Moved(group, b.Offset(i))
	}
	v.end, v.head, v.stale, v.doubtful, v.patience = b.End(), head, true, false, 0
	// The compaction is done; a head that stays behind is written before the
	// batch that would go too far beyond it, or when the vault is closed.
	_ = s.writeHead(ctx, v)
	return nil
}
