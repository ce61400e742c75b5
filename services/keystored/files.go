package keystored

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// fs calls statefsd.
func (s *service) fs(ctx context.Context, op uint16, q, p proto.Message) error {
	return s.fsWith(ctx, op, ipc.NoSlot, q, p)
}

// fsWith calls statefsd with a memory object.
func (s *service) fsWith(ctx context.Context, op uint16, object ipc.Slot, q, p proto.Message) error {
	return wire.Call(ctx, s.task, ipc.Msg{Slot: s.cfg.StateFS, Op: op, Move: object}, q, p)
}

// readFile answers a whole file of at most limit bytes, and whether there is
// one. A longer file is damaged at limit.
func (s *service) readFile(ctx context.Context, path string, limit uint64) (data []byte, found bool, err error) {
	for {
		var p wire.ReadFileReply
		q := &wire.ReadFileRequest{Path: path, Offset: uint64(len(data)), Length: ReadBytes}
		err := s.fs(ctx, wire.OpReadFile, q, &p)
		switch {
		case errors.Is(err, ipc.NotFound) && len(data) == 0:
			return nil, false, nil
		case errors.Is(err, ipc.NotFound):
			return nil, false, ioError(path, uint64(len(data)))
		case err != nil:
			return nil, false, err
		case p.Size > limit:
			return nil, false, &wire.Fault{Code: ipc.Damaged, File: path, Offset: int64(limit)}
		}
		if data == nil {
			data = make([]byte, 0, p.Size)
		}
		data = append(data, p.Data...)
		if uint64(len(data)) >= p.Size {
			return data, true, nil
		}
		if len(p.Data) == 0 {
			return nil, false, ioError(path, uint64(len(data)))
		}
	}
}

func (s *service) replaceFile(ctx context.Context, path string, data []byte) error {
	return s.fs(ctx, wire.OpReplaceFile, &wire.ReplaceFileRequest{Path: path, Data: data}, &wire.ReplaceFileReply{})
}

// appendFile adds the pieces at offset, in order, with one sync at the end.
func (s *service) appendFile(ctx context.Context, path string, offset uint64, pieces [][]byte) error {
	for i, piece := range pieces {
		q := &wire.AppendFileRequest{Path: path, Offset: offset, Sync: i == len(pieces)-1}
		if err := s.appendPiece(ctx, q, piece); err != nil {
			return err
		}
		offset += uint64(len(piece))
	}
	return nil
}

// appendPiece does one append, by frame or by a memory object that statefsd can
// only read.
func (s *service) appendPiece(ctx context.Context, q *wire.AppendFileRequest, piece []byte) error {
	if len(piece) <= vault.MaxSegment {
		q.Data = piece
		return s.fs(ctx, wire.OpAppendFile, q, &wire.AppendFileReply{})
	}
	me, err := s.places.enter(ctx, s.task)
	if err != nil {
		return err
	}
	defer s.places.leave(me)
	loan, err := wire.LendReadOnly(s.task, piece)
	if err != nil {
		return err
	}
	defer loan.End()
	q.Size = uint32(len(piece))
	return s.fsWith(ctx, wire.OpAppendFile, loan.Object, q, &wire.AppendFileReply{})
}

// syncFile makes durable what was appended before, perhaps by a process that
// was killed.
func (s *service) syncFile(ctx context.Context, path string, size uint64) error {
	q := &wire.AppendFileRequest{Path: path, Offset: size, Sync: true}
	return s.fs(ctx, wire.OpAppendFile, q, &wire.AppendFileReply{})
}

func (s *service) truncateFile(ctx context.Context, path string, size uint64) error {
	return s.fs(ctx, wire.OpTruncateFile, &wire.TruncateFileRequest{Path: path, Size: size}, &wire.TruncateFileReply{})
}

func (s *service) renameFile(ctx context.Context, from, to string) error {
	return s.fs(ctx, wire.OpRenameFile, &wire.RenameFileRequest{From: from, To: to}, &wire.RenameFileReply{})
}

// removeFile removes a file that may not be there.
func (s *service) removeFile(ctx context.Context, path string) error {
	err := s.fs(ctx, wire.OpRemoveFile, &wire.RemoveFileRequest{Path: path}, &wire.RemoveFileReply{})
	if errors.Is(err, ipc.NotFound) {
		return nil
	}
	return err
}

// notWritten is what a caller hears of a write that failed: NoSpace if that was
// the reason, and otherwise the place. Either way nobody knows what the file
// holds now.
func notWritten(err error, path string, offset uint64) error {
	if errors.Is(err, ipc.NoSpace) {
		return ipc.NoSpace
	}
	return ioError(path, offset)
}

// ioError names a place where reading or writing failed.
func ioError(path string, offset uint64) error {
	return &wire.Fault{Code: ipc.IOError, File: path, Offset: int64(offset)}
}
