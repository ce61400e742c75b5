package statefsd_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd"
	"nexus.internal/os/services/statefsd/simdisk"
)

// lent makes a call with a memory object that can only be read.
func (c client) lent(ctx context.Context, op uint16, data string, q, p proto.Message) error {
	loan, err := wire.LendReadOnly(c.task, []byte(data))
	if err != nil {
		return err
	}
	defer loan.End()
	return wire.Call(ctx, c.task, ipc.Msg{Slot: c.slot, Op: op, Move: loan.Object}, q, p)
}

// TestObjects writes what does not fit a frame, and tries each limit at one
// below, at it, and above.
func TestObjects(t *testing.T) {
	run(t, simdisk.New(), func(ctx context.Context, c client) {
		for _, n := range []int{1, statefsd.MaxWrite + 1, statefsd.MaxObject - 1, statefsd.MaxObject} {
			data := strings.Repeat("x", n)
			wantErr(t, c.lent(ctx, wire.OpReplaceFile, data, &wire.ReplaceFileRequest{Path: "state:/f", Size: uint32(n)}, &wire.ReplaceFileReply{}), nil)
			var p wire.AppendFileReply
			q := &wire.AppendFileRequest{Path: "state:/f", Offset: uint64(n), Size: uint32(n), Sync: true}
			wantErr(t, c.lent(ctx, wire.OpAppendFile, data, q, &p), nil)
			_, size, err := c.read(ctx, "state:/f", 0, 1)
			if err != nil || size != uint64(2*n) || p.Size != size {
				t.Errorf("%d bytes twice: the file has %d, the append says %d, %v", n, size, p.Size, err)
			}
		}
		q := &wire.ReplaceFileRequest{Path: "state:/f", Size: statefsd.MaxObject + 1}
		wantErr(t, c.lent(ctx, wire.OpReplaceFile, "x", q, &wire.ReplaceFileReply{}), ipc.TooLarge)
		q.Size = 2
		wantErr(t, c.lent(ctx, wire.OpReplaceFile, "x", q, &wire.ReplaceFileReply{}), ipc.Malformed)
		wantErr(t, c.call(ctx, wire.OpReplaceFile, q, &wire.ReplaceFileReply{}), ipc.Malformed)
		wantErr(t, c.lent(ctx, wire.OpRemoveFile, "x", &wire.RemoveFileRequest{Path: "state:/none"}, &wire.RemoveFileReply{}), ipc.NotFound)
		q = &wire.ReplaceFileRequest{Path: "state:/..", Size: 1}
		wantErr(t, c.lent(ctx, wire.OpReplaceFile, "x", q, &wire.ReplaceFileReply{}), ipc.Malformed)
		_, size, err := c.read(ctx, "state:/f", 0, 1)
		if err != nil || size != 2*statefsd.MaxObject {
			t.Errorf("the file has %d bytes, %v", size, err)
		}
	})
}
