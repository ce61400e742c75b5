package keystored_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// mint stands in for keymintd: it binds what it seals to the kernel's stamp as
// keymintd does, and it can be told to fail. Names and values are in clear in
// its records, so that tests can look for them.
type mint struct {
	task *ipc.Task
	mux  wire.Mux

	mu    sync.Mutex
	calls map[uint16]int
	fail  func(op uint16, stamp ipc.Stamp) error
	watch func(q *wire.SealSegmentRequest, stamp ipc.Stamp) error
	slow  string                      // the app whose records take a while to seal
	twist func(*wire.OpenRecordReply) // what is wrong with opened records
	keys  map[string]bool             // ids of data keys that were made
	old   bool                        // an earlier boot made keys, for all that is known
}

func newMint(t *ipc.Task) *mint {
	m := &mint{task: t, calls: map[uint16]int{}, keys: map[string]bool{}}
	wire.On(&m.mux, wire.OpAppKey, m.appKey)
	wire.OnObject(&m.mux, wire.OpSealRecord, m.sealRecord)
	wire.OnObject(&m.mux, wire.OpOpenRecord, m.openRecord)
	wire.OnObject(&m.mux, wire.OpSealSegment, m.sealSegment)
	wire.OnObject(&m.mux, wire.OpOpenSegment, m.openSegment)
	wire.On(&m.mux, wire.OpVaultID, m.vaultID)
	wire.On(&m.mux, wire.OpVaultEpoch, func(context.Context, *ipc.Request, *wire.VaultEpochRequest) (*wire.VaultEpochReply, error) {
		return &wire.VaultEpochReply{}, nil
	})
	return m
}

func (m *mint) Start(context.Context) error { return nil }

func (m *mint) Serve(ctx context.Context, r *ipc.Request) {
	m.mu.Lock()
	m.calls[r.Op]++
	fail := m.fail
	m.mu.Unlock()
	if !r.Stamp.Unsealed {
		wire.Refuse(r, ipc.Sealed)
		return
	}
	if fail != nil {
		if err := fail(r.Op, r.Stamp); err != nil {
			wire.Refuse(r, err)
			return
		}
	}
	m.mux.Serve(ctx, r)
}

// setFail tells what fails from now on; nil for nothing.
func (m *mint) setFail(fail func(op uint16, stamp ipc.Stamp) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

// setWatch tells who looks at segments before they are sealed.
func (m *mint) setWatch(watch func(q *wire.SealSegmentRequest, stamp ipc.Stamp) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watch = watch
}

// setTwist tells what is wrong with opened records from now on.
func (m *mint) setTwist(twist func(*wire.OpenRecordReply)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.twist = twist
}

func (m *mint) count(op uint16) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[op]
}

// proof is 16 bytes that only who has all parts can make.
func proof(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(p))))
		h.Write(p)
	}
	return h.Sum(nil)[:16]
}

func userOf(s ipc.Stamp) []byte { return append([]byte(s.User+"/"), s.Incarnation[:]...) }

func (m *mint) appKey(_ context.Context, r *ipc.Request, q *wire.AppKeyRequest) (*wire.AppKeyReply, error) {
	id := proof([]byte("key"), userOf(r.Stamp), []byte(r.Stamp.App))
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.Create {
		m.keys[string(id)] = true
	}
	return &wire.AppKeyReply{KeyId: id, Exists: m.old || m.keys[string(id)]}, nil
}

// keyCount answers how many data keys there are.
func (m *mint) keyCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys)
}

func recordProof(r *ipc.Request, sequence uint64, kind uint32, body []byte) []byte {
	place := binary.LittleEndian.AppendUint64(nil, sequence)
	return proof([]byte("record"), userOf(r.Stamp), []byte(r.Stamp.App), place, []byte{byte(kind)}, body)
}

func (m *mint) sealRecord(ctx context.Context, r *ipc.Request, q *wire.SealRecordRequest) (*wire.SealRecordReply, error) {
	if !m.old && m.keyCount() == 0 {
		return nil, ipc.Damaged // A record before any key.
	}
	if r.Stamp.App == m.slow {
		if err := m.task.Sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
	value, err := wire.Payload(r, q.Value, q.Size, vault.ValueBytes)
	if err != nil {
		return nil, err
	}
	body := binary.LittleEndian.AppendUint32([]byte{byte(len(q.Name)), byte(len(q.Name) >> 8)}, uint32(len(value)))
	body = append(body, q.Name...)
	body = append(body, value...)
	if q.Size > 0 { // As keymintd pads: such a record never fits a small one's segment.
		body = append(body, make([]byte, max(0, 8192-len(body)))...)
	}
	inline, size, err := wire.Deliver(r, append(recordProof(r, q.Sequence, q.Kind, body), body...), q.Size > 0)
	return &wire.SealRecordReply{Record: inline, Size: size}, err
}

func (m *mint) openRecord(_ context.Context, r *ipc.Request, q *wire.OpenRecordRequest) (*wire.OpenRecordReply, error) {
	record, err := wire.Payload(r, q.Record, q.Size, vault.MaxLargeRecord)
	if err != nil || len(record) < 22 {
		return nil, ipc.Damaged
	}
	body := record[16:]
	if string(recordProof(r, q.Sequence, q.Kind, body)) != string(record[:16]) {
		return nil, ipc.Damaged
	}
	name := body[6 : 6+int(body[0])+int(body[1])<<8]
	value := body[6+len(name):][:binary.LittleEndian.Uint32(body[2:])]
	p := &wire.OpenRecordReply{Name: string(name), Value: append([]byte(nil), value...)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.twist != nil {
		m.twist(p)
	}
	p.Value, p.Size, err = wire.Deliver(r, p.Value, q.Size > 0)
	return p, err
}

// vaultID answers another id for each vault of the boot.
func (m *mint) vaultID(_ context.Context, r *ipc.Request, _ *wire.VaultIDRequest) (*wire.VaultIDReply, error) {
	n := binary.LittleEndian.AppendUint64(nil, uint64(m.count(wire.OpVaultID)))
	return &wire.VaultIDReply{Id: append(proof([]byte("vault"), userOf(r.Stamp), n), make([]byte, 16)...)}, nil
}

func (m *mint) sealSegment(_ context.Context, r *ipc.Request, q *wire.SealSegmentRequest) (*wire.SealSegmentReply, error) {
	m.mu.Lock()
	watch := m.watch
	m.mu.Unlock()
	if watch != nil {
		if err := watch(q, r.Stamp); err != nil {
			return nil, err
		}
	}
	body, err := wire.Payload(r, q.Body, q.Size, vault.MaxLargeBody)
	if err != nil {
		return nil, err
	}
	sealed := append(make([]byte, 24), body...)
	sealed = append(sealed, proof([]byte("segment"), userOf(r.Stamp), q.Header, body)...)
	inline, size, err := wire.Deliver(r, sealed, q.Size > 0)
	return &wire.SealSegmentReply{Sealed: inline, Size: size}, err
}

func (m *mint) openSegment(_ context.Context, r *ipc.Request, q *wire.OpenSegmentRequest) (*wire.OpenSegmentReply, error) {
	sealed, err := wire.Payload(r, q.Sealed, q.Size, vault.MaxLargeBody+vault.SealOverhead)
	if err != nil || len(sealed) < 40 {
		return nil, ipc.Damaged
	}
	body := sealed[24 : len(sealed)-16]
	want := append(make([]byte, 24), body...)
	want = append(want, proof([]byte("segment"), userOf(r.Stamp), q.Header, body)...)
	if string(want) != string(sealed) {
		return nil, ipc.Damaged
	}
	inline, size, err := wire.Deliver(r, append([]byte(nil), body...), q.Size > 0)
	return &wire.OpenSegmentReply{Body: inline, Size: size}, err
}
