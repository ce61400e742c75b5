package identityd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// disk is what survives a boot: files, and what keymintd's files would hold.
// Several services use it, which on goroutines run at the same time.
type disk struct {
	mu    sync.Mutex
	files map[string][]byte
	roots map[string]*root

	// The change of number cut fails; it happens all the same if after is set.
	// From then on none works, if the power goes with it.
	cut   int
	after bool
	power bool
	dead  bool
	made  int // changes so far
	fail  map[uint16]error
}

// root is a user's root key under its protectors' auth tokens.
type root struct {
	inc   []byte
	wraps map[uint64][]byte
}

func newDisk() *disk {
	return &disk{files: map[string][]byte{}, roots: map[string]*root{}, fail: map[uint16]error{}}
}

// reboot returns the disk as the next boot finds it.
func (d *disk) reboot() *disk {
	next := newDisk()
	maps.Copy(next.files, d.files)
	for user, r := range d.roots {
		next.roots[user] = &root{inc: r.inc, wraps: maps.Clone(r.wraps)}
	}
	return next
}

// file answers a file, and whether it is there.
func (d *disk) file(path string) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data, ok := d.files[path]
	return data, ok
}

// failing answers the error that the test has in store for an operation; once
// takes it out of the store.
func (d *disk) failing(service, op uint16, once bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.fail[at(service, op)]
	if once {
		delete(d.fail, at(service, op))
	}
	return err
}

// change does a durable change, or what the test has in store for it.
func (d *disk) change(service, op uint16, effect func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fail[at(service, op)]; err != nil {
		return err
	}
	if d.dead {
		return ipc.Unavailable
	}
	d.made++
	if d.made != d.cut {
		effect()
		return nil
	}
	d.dead = d.power
	if d.after {
		effect()
	}
	return ipc.IOError
}

// Services, as change numbers them.
const (
	onFS uint16 = iota + 1
	onMint
	onStore
	onGuesses // statefsd, of that file
)

func at(service, op uint16) uint16 { return service<<8 | op }

// opCrash makes keymintd's double panic.
const opCrash uint16 = 63

// doubleRNG gives bytes that never repeat, in other boots neither.
type doubleRNG struct {
	wire.Mux
	drawn uint64
}

var boots uint64

func newDoubleRNG() *doubleRNG {
	boots++
	d := &doubleRNG{drawn: boots << 32}
	wire.On(&d.Mux, wire.OpEntropy, func(_ context.Context, _ *ipc.Request, q *wire.EntropyRequest) (*wire.EntropyReply, error) {
		var out []byte
		for len(out) < int(q.Count) {
			d.drawn++
			sum := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, d.drawn))
			out = append(out, sum[:]...)
		}
		return &wire.EntropyReply{Data: out[:q.Count]}, nil
	})
	return d
}

func (d *doubleRNG) Start(context.Context) error { return nil }

// doubleFS is statefsd over a map. Each request parks for a while.
type doubleFS struct {
	wire.Mux
	task *ipc.Task
	disk *disk

	counted []int // sizes of the files of guesses that were to be written
}

func newDoubleFS(t *ipc.Task, d *disk) *doubleFS {
	f := &doubleFS{task: t, disk: d}
	wire.On(&f.Mux, wire.OpReadFile, f.read)
	wire.On(&f.Mux, wire.OpReplaceFile, f.replace)
	wire.On(&f.Mux, wire.OpListFiles, f.list)
	return f
}

func (f *doubleFS) Start(context.Context) error { return nil }

func (f *doubleFS) read(_ context.Context, _ *ipc.Request, q *wire.ReadFileRequest) (*wire.ReadFileReply, error) {
	if err := f.disk.failing(onFS, wire.OpReadFile, false); err != nil {
		return nil, err
	}
	file, ok := f.disk.file(q.Path)
	if !ok {
		return nil, ipc.NotFound
	}
	from := min(q.Offset, uint64(len(file)))
	to := min(from+uint64(q.Length), uint64(len(file)))
	return &wire.ReadFileReply{Data: bytes.Clone(file[from:to]), Size: uint64(len(file))}, nil
}

func (f *doubleFS) replace(ctx context.Context, _ *ipc.Request, q *wire.ReplaceFileRequest) (*wire.ReplaceFileReply, error) {
	if err := f.task.Sleep(ctx, time.Millisecond); err != nil {
		return nil, err
	}
	data, service := bytes.Clone(q.Data), onFS
	if q.Path == guessesPath {
		service = onGuesses
		f.counted = append(f.counted, len(data))
	}
	return &wire.ReplaceFileReply{}, f.disk.change(service, wire.OpReplaceFile, func() { f.disk.files[q.Path] = data })
}

func (f *doubleFS) list(_ context.Context, _ *ipc.Request, q *wire.ListFilesRequest) (*wire.ListFilesReply, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	p := &wire.ListFilesReply{}
	for path := range f.disk.files {
		if strings.HasPrefix(path, q.Prefix) && path > q.After {
			p.Paths = append(p.Paths, path)
		}
	}
	slices.Sort(p.Paths)
	return p, nil
}

// doubleMint is keymintd's admin facet without cryptography.
type doubleMint struct {
	wire.Mux
	task *ipc.Task
	disk *disk
	open map[uint64]string // user by sid
	over map[uint64]uint32 // newest epoch by sid that is over
	slow time.Duration     // how long an unseal parks
}

func newDoubleMint(t *ipc.Task, d *disk) *doubleMint {
	m := &doubleMint{task: t, disk: d, open: map[uint64]string{}, over: map[uint64]uint32{}, slow: time.Millisecond}
	wire.On(&m.Mux, wire.OpCreateRoot, m.createRoot)
	wire.On(&m.Mux, wire.OpAddProtector, m.addProtector)
	wire.On(&m.Mux, wire.OpKeepProtectors, m.keepProtectors)
	wire.On(&m.Mux, wire.OpRemoveRoot, m.removeRoot)
	wire.On(&m.Mux, wire.OpUnsealKeys, m.unsealKeys)
	wire.On(&m.Mux, wire.OpSealKeys, m.sealKeys)
	return m
}

func (m *doubleMint) Start(context.Context) error { return nil }

func (m *doubleMint) Serve(ctx context.Context, r *ipc.Request) {
	if r.Op == opCrash {
		panic("asked to")
	}
	m.Mux.Serve(ctx, r)
}

func (m *doubleMint) Event(_ context.Context, ev ipc.Event) {
	m.over[ev.SID] = ev.Epoch
	delete(m.open, ev.SID)
}

func rootFile(user string) string  { return folder + user + "/root.keys" }
func vaultFile(user string) string { return folder + user + "/vault.kv" }

func (m *doubleMint) createRoot(_ context.Context, _ *ipc.Request, q *wire.CreateRootRequest) (*wire.CreateRootReply, error) {
	if m.disk.roots[q.User] != nil {
		return nil, ipc.Exists
	}
	made := &root{inc: bytes.Clone(q.Incarnation), wraps: map[uint64][]byte{q.Protector.Id: bytes.Clone(q.Protector.Auth)}}
	return &wire.CreateRootReply{}, m.disk.change(onMint, wire.OpCreateRoot, func() {
		m.disk.roots[q.User] = made
		m.disk.files[rootFile(q.User)] = []byte("root")
	})
}

// find returns a user's root key if the incarnation is its own.
func (m *doubleMint) find(user string, inc []byte) (*root, error) {
	r := m.disk.roots[user]
	if r == nil || !bytes.Equal(r.inc, inc) {
		return nil, ipc.NotFound
	}
	return r, nil
}

func (m *doubleMint) addProtector(_ context.Context, _ *ipc.Request, q *wire.AddProtectorRequest) (*wire.AddProtectorReply, error) {
	r, err := m.find(q.User, q.Incarnation)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(r.wraps[q.Have.Id], q.Have.Auth) {
		return nil, ipc.BadSecret
	}
	if r.wraps[q.Add.Id] != nil {
		return nil, ipc.Exists
	}
	auth := bytes.Clone(q.Add.Auth)
	return &wire.AddProtectorReply{}, m.disk.change(onMint, wire.OpAddProtector, func() { r.wraps[q.Add.Id] = auth })
}

func (m *doubleMint) keepProtectors(_ context.Context, _ *ipc.Request, q *wire.KeepProtectorsRequest) (*wire.KeepProtectorsReply, error) {
	r, err := m.find(q.User, q.Incarnation)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(r.wraps[q.Have.Id], q.Have.Auth) {
		return nil, ipc.BadSecret
	}
	for _, id := range q.Ids {
		if r.wraps[id] == nil {
			return nil, ipc.NotFound
		}
	}
	return &wire.KeepProtectorsReply{}, m.disk.change(onMint, wire.OpKeepProtectors, func() {
		maps.DeleteFunc(r.wraps, func(id uint64, _ []byte) bool { return !slices.Contains(q.Ids, id) })
	})
}

func (m *doubleMint) removeRoot(_ context.Context, _ *ipc.Request, q *wire.RemoveRootRequest) (*wire.RemoveRootReply, error) {
	if m.disk.roots[q.User] == nil {
		return nil, ipc.NotFound
	}
	return &wire.RemoveRootReply{}, m.disk.change(onMint, wire.OpRemoveRoot, func() {
		delete(m.disk.roots, q.User)
		delete(m.disk.files, rootFile(q.User))
	})
}

func (m *doubleMint) unsealKeys(ctx context.Context, r *ipc.Request, q *wire.UnsealKeysRequest) (*wire.UnsealKeysReply, error) {
	if err := m.task.Sleep(ctx, m.slow); err != nil {
		return nil, err
	}
	found, err := m.find(r.Stamp.User, r.Stamp.Incarnation[:])
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(found.wraps[q.Protector.Id], q.Protector.Auth) {
		return nil, ipc.BadSecret
	}
	if r.Stamp.Epoch <= m.over[r.Stamp.SID] {
		return nil, ipc.Denied
	}
	m.open[r.Stamp.SID] = r.Stamp.User
	return &wire.UnsealKeysReply{}, nil
}

func (m *doubleMint) sealKeys(ctx context.Context, _ *ipc.Request, q *wire.SealKeysRequest) (*wire.SealKeysReply, error) {
	if err := m.task.Sleep(ctx, time.Millisecond/2); err != nil {
		return nil, err
	}
	if err := m.disk.failing(onMint, wire.OpSealKeys, false); err != nil {
		return nil, err
	}
	delete(m.open, q.Sid)
	return &wire.SealKeysReply{}, nil
}

// doubleStore is keystored's open facet.
type doubleStore struct {
	wire.Mux
	task   *ipc.Task
	disk   *disk
	opened []string // "user create" of each opening
	onOpen func(sid uint64)
}

func newDoubleStore(t *ipc.Task, d *disk) *doubleStore {
	s := &doubleStore{task: t, disk: d}
	wire.On(&s.Mux, wire.OpOpenVault, s.openVault)
	wire.On(&s.Mux, wire.OpForgetVault, s.forgetVault)
	return s
}

func (s *doubleStore) Start(context.Context) error { return nil }

func (s *doubleStore) openVault(ctx context.Context, r *ipc.Request, q *wire.OpenVaultRequest) (*wire.OpenVaultReply, error) {
	if s.onOpen != nil {
		s.onOpen(r.Stamp.SID)
	}
	if err := s.task.Sleep(ctx, time.Millisecond); err != nil {
		return nil, err
	}
	if err := s.disk.failing(onStore, wire.OpOpenVault, true); err != nil {
		return nil, err
	}
	user := r.Stamp.User
	file, found := s.disk.file(vaultFile(user))
	switch {
	case !r.Stamp.Unsealed:
		return nil, ipc.Sealed
	case bytes.Equal(file, []byte("damaged")), !found && !q.Create:
		return nil, &wire.Fault{Code: ipc.Damaged, File: vaultFile(user), Offset: 42}
	}
	if q.Create {
		user += " create"
	}
	s.opened = append(s.opened, user)
	if found {
		return &wire.OpenVaultReply{}, nil
	}
	return &wire.OpenVaultReply{}, s.disk.change(onStore, wire.OpOpenVault, func() {
		s.disk.files[vaultFile(r.Stamp.User)] = []byte("vault")
	})
}

func (s *doubleStore) forgetVault(_ context.Context, _ *ipc.Request, q *wire.ForgetVaultRequest) (*wire.ForgetVaultReply, error) {
	if file, _ := s.disk.file(vaultFile(q.User)); file == nil {
		return nil, ipc.NotFound
	}
	return &wire.ForgetVaultReply{}, s.disk.change(onStore, wire.OpForgetVault, func() {
		delete(s.disk.files, vaultFile(q.User))
	})
}
