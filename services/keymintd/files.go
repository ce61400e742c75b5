package keymintd

import (
	"context"
	"encoding/hex"
	"errors"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/epochs"
)

// Where things are.
const (
	statePrefix = "state:/"
	saltPath    = "state:/keymint/device.salt"

	// maxRead is what statefsd answers at once, in bytes. Every file of
	// keymintd is shorter.
	maxRead = 7168
	_       = uint(maxRead - max(maxRingFile, rootMost, saltSize, maxKeyHeadFile))
)

func rootPath(user string) string                 { return epochs.User(user) + "root.keys" }
func headPath(user string, epoch uint32) string   { return epochs.Prefix(user, epoch) + "keys.head" }
func ringPrefix(user string, epoch uint32) string { return epochs.Prefix(user, epoch) + "apps/" }

func ringPath(user string, epoch uint32, id [KeyIDSize]byte) string {
	return ringPrefix(user, epoch) + hex.EncodeToString(id[:]) + ".ring"
}

// files is keymintd's way to statefsd. Every method parks.
type files struct {
	task *ipc.Task
	slot ipc.Slot

	// durable has the paths of which a power cut is known to leave what is read.
	// Of others it is not: a write of this boot has failed, or a process was
	// killed in the middle of one.
	durable map[string]bool
}

// read answers a whole file of at most most bytes. The error is ipc.NotFound
// only if there is no such file; a longer one is a damageAt.
func (f *files) read(ctx context.Context, path string, most int) ([]byte, error) {
	var p wire.ReadFileReply
	err := f.call(ctx, wire.OpReadFile, &wire.ReadFileRequest{Path: path, Length: maxRead}, &p)
	if errors.Is(err, ipc.NotFound) {
		return nil, ipc.NotFound
	}
	if err != nil {
		return nil, passing(err)
	}
	if p.Size > uint64(most) {
		return nil, damageAt(most)
	}
	if uint64(len(p.Data)) != p.Size {
		return nil, ipc.Unavailable
	}
	return p.Data, nil
}

// settled is read of a file that is durable then, so that nothing is built on
// what a power cut could take back: no value is put under a key, and no head
// written about a file, that may be gone at the next boot. The caller has the
// file's lock.
func (f *files) settled(ctx context.Context, path string, most int) ([]byte, error) {
	data, err := f.read(ctx, path, most)
	if err != nil || f.durable[path] {
		return data, err
	}
	q := &wire.AppendFileRequest{Path: path, Offset: uint64(len(data)), Sync: true}
	if f.call(ctx, wire.OpAppendFile, q, &wire.AppendFileReply{}) != nil {
		// A write has failed, and the file takes no more: another takes its place.
		return data, f.replace(ctx, path, data)
	}
	f.durable[path] = true
	return data, nil
}

// replace makes the whole file durable. After an error nobody knows which of
// the two versions is there. It has the time it needs, whatever the request
// that wants it, because an unknown outcome costs more than a late one.
func (f *files) replace(ctx context.Context, path string, data []byte) error {
	delete(f.durable, path)
	q := &wire.ReplaceFileRequest{Path: path, Data: data}
	if err := f.call(f.task.Detached(ctx), wire.OpReplaceFile, q, &wire.ReplaceFileReply{}); err != nil {
		return passing(err)
	}
	f.durable[path] = true
	return nil
}

// write is a file that is to be made durable as a whole.
type write struct {
	path string
	data []byte
}

// commit makes files durable, one after the other, until one fails. It needs no
// key, so that nothing keeps it from the second once the first is written.
func (f *files) commit(ctx context.Context, writes []write) error {
	for _, w := range writes {
		if err := f.replace(ctx, w.path, w.data); err != nil {
			return err
		}
	}
	return nil
}

// remove makes sure that there is no such file.
func (f *files) remove(ctx context.Context, path string) error {
	delete(f.durable, path)
	var p wire.RemoveFileReply
	err := f.call(f.task.Detached(ctx), wire.OpRemoveFile, &wire.RemoveFileRequest{Path: path}, &p)
	if errors.Is(err, ipc.NotFound) {
		return nil
	}
	return passing(err)
}

// list answers the next paths below prefix, those after the one given.
func (f *files) list(ctx context.Context, prefix, after string) (paths []string, more bool, err error) {
	var p wire.ListFilesReply
	if err := f.call(ctx, wire.OpListFiles, &wire.ListFilesRequest{Prefix: prefix, After: after}, &p); err != nil {
		return nil, false, passing(err)
	}
	if p.More && len(p.Paths) == 0 {
		return nil, false, ipc.Unavailable
	}
	return p.Paths, p.More, nil
}

// each calls fn with every path below prefix.
func (f *files) each(ctx context.Context, prefix string, fn func(path string) error) error {
	after := ""
	for {
		paths, more, err := f.list(ctx, prefix, after)
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := fn(path); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		after = paths[len(paths)-1]
	}
}

func (f *files) call(ctx context.Context, op uint16, q, p proto.Message) error {
	return wire.Call(ctx, f.task, ipc.Msg{Slot: f.slot, Op: op, Move: ipc.NoSlot}, q, p)
}

// passing answers what a caller may hear of another service's failure. A
// refusal that was meant for keymintd (denied, malformed, sealed) must not look
// like one of the caller's own.
func passing(err error) error {
	for _, code := range []ipc.Code{ipc.IOError, ipc.Damaged, ipc.NoSpace, ipc.LimitReached, ipc.TimedOut, ipc.Canceled} {
		if errors.Is(err, code) {
			return err
		}
	}
	if err != nil {
		return ipc.Unavailable
	}
	return nil
}

// faultIn answers what a request is told about a file that does not hold.
func faultIn(path string, err error) error {
	var at damageAt
	switch {
	case errors.As(err, &at):
		return &wire.Fault{Code: ipc.Damaged, File: path, Offset: int64(at)}
	case errors.Is(err, errOlder):
		return &wire.Fault{Code: ipc.RolledBack, File: path}
	case errors.Is(err, errVersion):
		return ipc.Unsupported
	case errors.Is(err, errWrongKey):
		return ipc.BadSecret
	case errors.Is(err, errNoProtector):
		return ipc.NotFound
	}
	return err
}
