package statefsd

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

func (s *service) read(ctx context.Context, r *ipc.Request, q *wire.ReadFileRequest) (*wire.ReadFileReply, error) {
	rel, err := s.open(r, q.Path, Read)
	if err != nil {
		return nil, err
	}
	if q.Length > MaxRead {
		return nil, ipc.TooLarge
	}
	if q.Offset > math.MaxInt64 {
		return nil, ipc.Malformed
	}
	p := make([]byte, q.Length)
	var size int64
	n := 0
	err = s.use(ctx, rel, func() (err error) {
		if size, err = s.disk.Stat(s.root + rel); err != nil || len(p) == 0 {
			return err
		}
		n, err = s.disk.ReadAt(s.root+rel, p, int64(q.Offset))
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
	if err != nil {
		clear(p)
		return nil, fault(err, q.Path, q.Offset)
	}
	return &wire.ReadFileReply{Data: p[:n], Size: uint64(size)}, nil
}

func (s *service) replace(ctx context.Context, r *ipc.Request, q *wire.ReplaceFileRequest) (*wire.ReplaceFileReply, error) {
	rel, err := s.open(r, q.Path, Write)
	if err != nil {
		return nil, err
	}
	data, err := content(r, q.Data, q.Size)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, func() error {
		return s.disk.Replace(s.root+rel, data)
	}, outcome{rel, true})
	if err != nil {
		return nil, fault(err, q.Path, 0)
	}
	return &wire.ReplaceFileReply{}, nil
}

func (s *service) append(ctx context.Context, r *ipc.Request, q *wire.AppendFileRequest) (*wire.AppendFileReply, error) {
	rel, err := s.open(r, q.Path, Write)
	if err != nil {
		return nil, err
	}
	data, err := content(r, q.Data, q.Size)
	if err != nil {
		return nil, err
	}
	if q.Offset > math.MaxInt64-MaxObject {
		return nil, ipc.Malformed
	}
	if len(data) == 0 && q.Sync {
		return s.sync(ctx, rel, q.Path)
	}
	err = s.change(ctx, func() error {
		err := s.disk.Append(s.root+rel, int64(q.Offset), data)
		if err != nil || !q.Sync {
			return err
		}
		return s.disk.Sync(s.root + rel)
	}, outcome{rel, true})
	if err != nil {
		return nil, fault(err, q.Path, q.Offset)
	}
	return &wire.AppendFileReply{Size: q.Offset + uint64(len(data))}, nil
}

// content answers what a request wants written. What came along is a copy, and
// the object closed, before the request parks.
func content(r *ipc.Request, inline []byte, size uint32) ([]byte, error) {
	if len(inline) > MaxWrite {
		return nil, ipc.TooLarge
	}
	defer r.CloseMoved()
	return wire.Payload(r, inline, size, MaxObject)
}

// sync makes earlier appends durable, whatever the offset says.
func (s *service) sync(ctx context.Context, rel, path string) (*wire.AppendFileReply, error) {
	var size int64
	err := s.use(ctx, rel, func() (err error) {
		if size, err = s.disk.Stat(s.root + rel); err != nil {
			return err
		}
		return s.disk.Sync(s.root + rel)
	})
	if err != nil {
		return nil, fault(err, path, uint64(size))
	}
	return &wire.AppendFileReply{Size: uint64(size)}, nil
}

func (s *service) truncate(ctx context.Context, r *ipc.Request, q *wire.TruncateFileRequest) (*wire.TruncateFileReply, error) {
	rel, err := s.open(r, q.Path, Write)
	if err != nil {
		return nil, err
	}
	if q.Size > math.MaxInt64 {
		return nil, ipc.Malformed
	}
	err = s.use(ctx, rel, func() error {
		return s.disk.Truncate(s.root+rel, int64(q.Size))
	})
	if err != nil {
		return nil, fault(err, q.Path, q.Size)
	}
	return &wire.TruncateFileReply{}, nil
}

func (s *service) rename(ctx context.Context, r *ipc.Request, q *wire.RenameFileRequest) (*wire.RenameFileReply, error) {
	from, err := s.open(r, q.From, Write)
	if err != nil {
		return nil, err
	}
	to, err := s.open(r, q.To, Write)
	if err != nil {
		return nil, err
	}
	if from == to {
		return nil, ipc.InvalidArgument
	}
	err = s.change(ctx, func() error {
		return s.disk.Rename(s.root+from, s.root+to)
	}, outcome{from, false}, outcome{to, true})
	if err != nil {
		return nil, fault(err, q.From, 0)
	}
	return &wire.RenameFileReply{}, nil
}

func (s *service) remove(ctx context.Context, r *ipc.Request, q *wire.RemoveFileRequest) (*wire.RemoveFileReply, error) {
	rel, err := s.open(r, q.Path, Write)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, func() error {
		return s.disk.Remove(s.root + rel)
	}, outcome{rel, false})
	if err != nil {
		return nil, fault(err, q.Path, 0)
	}
	return &wire.RemoveFileReply{}, nil
}

// list answers those paths that the sender may read. A sender for whom nothing
// could start with the prefix is denied, so that an empty answer is never one.
func (s *service) list(ctx context.Context, r *ipc.Request, q *wire.ListFilesRequest) (*wire.ListFilesReply, error) {
	prefix, err := parsePrefix(q.Prefix)
	if err != nil {
		return nil, err
	}
	after := ""
	if q.After != "" {
		if after, err = ParsePath(q.After); err != nil {
			return nil, err
		}
	}
	if !s.rules.allowPrefix(r.Sender.Name, prefix) {
		return nil, ipc.Denied
	}
	paths, err := s.listDisk(ctx, prefix)
	if err != nil {
		return nil, fault(err, q.Prefix, 0)
	}
	p := new(wire.ListFilesReply)
	room := MaxList
	for _, rel := range paths {
		if rel <= after || !s.rules.allow(r.Sender.Name, rel, List) {
			continue
		}
		room -= listed + len(rel)
		if room < 0 {
			p.More = true
			break
		}
		p.Paths = append(p.Paths, Scheme+rel)
	}
	return p, nil
}

// listed is what a path takes in an answer besides the part after "state:/":
// that, a tag and at most two bytes of length.
const listed = len(Scheme) + 3

// listDisk lists files below the root, as paths relative to it.
func (s *service) listDisk(ctx context.Context, prefix string) (paths []string, err error) {
	var result error
	err = s.task.Offload(ctx, func() { paths, result = s.disk.List(s.root + prefix) })
	if err != nil {
		return nil, err
	}
	if result != nil {
		return nil, result
	}
	for i, p := range paths {
		paths[i] = strings.TrimPrefix(p, s.root)
	}
	return paths, nil
}
