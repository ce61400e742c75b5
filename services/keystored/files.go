package keystored

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// fs calls statefsd.
func (s *service) fs(ctx context.Context, op uint16, q, p proto.Message) error {
	return wire.Call(ctx, s.task, ipc.Msg{Slot: s.cfg.StateFS, Op: op, Move: ipc.NoSlot}, q, p)
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
		q := &wire.AppendFileRequest{Path: path, Offset: offset, Data: piece, Sync: i == len(pieces)-1}
		if err := s.fs(ctx, wire.OpAppendFile, q, &wire.AppendFileReply{}); err != nil {
			return err
		}
		offset += uint64(len(piece))
	}
	return nil
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
