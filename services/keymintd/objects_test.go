package keymintd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
)

// lent calls the vault facet with a memory object and answers the first bytes
// of it afterwards, as many as the reply says.
func (a *app) lent(ctx context.Context, op uint16, data []byte, room int, q, p proto.Message, size func() uint32) ([]byte, error) {
	loan, err := wire.Lend(a.w.boss, data, room)
	if err != nil {
		return nil, err
	}
	defer loan.End()
	m := ipc.Msg{Slot: a.w.vault, Op: op, Token: a.token, Move: loan.Object}
	if err := wire.Call(ctx, a.w.boss, m, q, p); err != nil {
		return nil, err
	}
	return loan.Read(size())
}

func (a *app) sealLong(ctx context.Context, name string, value []byte, room int) ([]byte, error) {
	var p wire.SealRecordReply
	q := &wire.SealRecordRequest{Sequence: 1, Kind: 1, Name: name, Size: uint32(len(value))}
	return a.lent(ctx, wire.OpSealRecord, value, room, q, &p, func() uint32 { return p.Size })
}

func (a *app) openLong(ctx context.Context, record []byte) (string, []byte, error) {
	var p wire.OpenRecordReply
	q := &wire.OpenRecordRequest{Sequence: 1, Kind: 1, Size: uint32(len(record))}
	value, err := a.lent(ctx, wire.OpOpenRecord, record, 0, q, &p, func() uint32 { return p.Size })
	return p.Name, value, err
}

func (a *app) segmentLong(ctx context.Context, seal bool, data []byte, room int) ([]byte, error) {
	if seal {
		var p wire.SealSegmentReply
		q := &wire.SealSegmentRequest{Header: []byte("h"), Size: uint32(len(data))}
		return a.lent(ctx, wire.OpSealSegment, data, room, q, &p, func() uint32 { return p.Size })
	}
	var p wire.OpenSegmentReply
	q := &wire.OpenSegmentRequest{Header: []byte("h"), Size: uint32(len(data))}
	return a.lent(ctx, wire.OpOpenSegment, data, room, q, &p, func() uint32 { return p.Size })
}

// TestObjects: what exceeds a frame comes and goes in memory objects, up to the
// limits, and none of them is left, in nobody's table.
func TestObjects(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.key(ctx)
		expect(t, "key", err, nil)
		for n, want := range map[int]error{1: nil, MaxValue: nil, MaxValue + 1: nil, MaxLongValue - 1: nil, MaxLongValue: nil, MaxLongValue + 1: ipc.TooLarge} {
			name, value := strings.Repeat("n", MaxName), bytes.Repeat([]byte("v"), n)
			record, err := a.sealLong(ctx, name, value, MaxLong)
			expect(t, fmt.Sprintf("seal %d bytes", n), err, want)
			if want != nil {
				continue
			}
			gotName, gotValue, err := a.openLong(ctx, record)
			if err != nil || gotName != name || !bytes.Equal(gotValue, value) {
				t.Errorf("%d bytes came back as %d, %v", n, len(gotValue), err)
			}
			record[len(record)-1] ^= 1
			_, _, err = a.openLong(ctx, record)
			expect(t, "open what was changed", err, ipc.Damaged)
		}
		for n, want := range map[int]error{1: nil, MaxLongBody: nil, MaxLongBody + 1: ipc.TooLarge} {
			body := bytes.Repeat([]byte("b"), n)
			sealed, err := a.segmentLong(ctx, true, body, n+Overhead)
			expect(t, fmt.Sprintf("seal a segment of %d bytes", n), err, want)
			if want == nil {
				got, err := a.segmentLong(ctx, false, sealed, 0)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("a segment of %d bytes came back as %d, %v", n, len(got), err)
				}
			}
		}
		for _, n := range []int{MaxLong + 1, ipc.MaxMemory} {
			_, _, err = a.openLong(ctx, make([]byte, n))
			expect(t, "open what was never sealed", err, ipc.Damaged)
			_, err = a.segmentLong(ctx, false, make([]byte, max(n, Overhead+MaxLongBody+1)), 0)
			expect(t, "open what was never sealed", err, ipc.Damaged)
		}
	})
	w.noneLeft()
}

// TestBadObjects: an object that is missing, too small for what is said of it or
// for the answer, or beside other bytes, is the request's error.
func TestBadObjects(t *testing.T) {
	w := boot(t, 1, simdisk.New())
	w.do(func(ctx context.Context) {
		a := w.unsealed(ctx, alice).app("demo")
		_, err := a.key(ctx)
		expect(t, "key", err, nil)
		q := &wire.SealRecordRequest{Sequence: 1, Kind: 1, Name: "n", Size: 5000}
		expect(t, "no object", a.onVault(ctx, wire.OpSealRecord, q, &wire.SealRecordReply{}), ipc.Malformed)
		_, err = a.lent(ctx, wire.OpSealRecord, make([]byte, 4999), MaxLong, q, &wire.SealRecordReply{}, func() uint32 { return 0 })
		expect(t, "an object with room", err, nil)
		_, err = a.lent(ctx, wire.OpSealRecord, make([]byte, 4999), 0, q, &wire.SealRecordReply{}, func() uint32 { return 0 })
		expect(t, "an object that is too short", err, ipc.Malformed)
		_, err = a.sealLong(ctx, "n", make([]byte, 5000), 0)
		expect(t, "no room for the answer", err, ipc.InvalidArgument)
		q.Value = []byte("v")
		_, err = a.lent(ctx, wire.OpSealRecord, make([]byte, 5000), MaxLong, q, &wire.SealRecordReply{}, func() uint32 { return 0 })
		expect(t, "two values", err, ipc.Malformed)
		loan, err := wire.LendReadOnly(w.boss, make([]byte, MaxLong))
		expect(t, "lend", err, nil)
		q.Value = nil
		m := ipc.Msg{Slot: w.vault, Op: wire.OpSealRecord, Token: a.token, Move: loan.Object}
		expect(t, "a read-only one", wire.Call(ctx, w.boss, m, q, &wire.SealRecordReply{}), ipc.PermissionDenied)
		loan.End()
		// Where nothing is expected it is closed.
		loan, err = wire.Lend(w.boss, []byte("x"), 0)
		expect(t, "lend", err, nil)
		m = ipc.Msg{Slot: w.vault, Op: wire.OpAppKey, Token: a.token, Move: loan.Object}
		expect(t, "one too many", wire.Call(ctx, w.boss, m, &wire.AppKeyRequest{}, &wire.AppKeyReply{}), nil)
		loan.End()
	})
	w.noneLeft()
}

// noneLeft checks that no memory object is left and the kernel's books are right.
func (w *world) noneLeft() {
	w.t.Helper()
	if s := w.Kernel.Stats(); s.Memories != 0 || s.MemoryBytes != 0 {
		w.t.Errorf("%d memory objects of %d bytes are left", s.Memories, s.MemoryBytes)
	}
	if err := w.Kernel.Check(); errors.Is(err, ipc.ErrInconsistent) {
		w.t.Error(err)
	}
}
