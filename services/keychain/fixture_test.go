package keychain_test

import (
	"context"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/tests/rig"
)

// server stands in the place of keystored or keymintd. It notes what it was
// asked, and answers what the test says.
type server struct {
	task   *ipc.Task
	mu     sync.Mutex
	asked  []asked
	answer func(op uint16, body []byte) (ipc.Code, []byte)
	silent bool // never answers
}

type asked struct {
	op    uint16
	body  string
	stamp ipc.Stamp
}

func (s *server) Start(context.Context) error { return nil }

func (s *server) Serve(ctx context.Context, r *ipc.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, asked{r.Op, string(r.Body), r.Stamp})
	silent, answer := s.silent, s.answer
	s.mu.Unlock()
	for silent && !r.Gone() {
		var never ipc.Cond
		if never.Wait(ctx, s.task) != nil {
			return
		}
	}
	code, body := ipc.OK, []byte(nil)
	if answer != nil {
		code, body = answer(r.Op, r.Body)
	}
	_ = r.Reply(code, body) // The caller may be gone.
}

// will says how the server answers from now on.
func (s *server) will(answer func(op uint16, body []byte) (ipc.Code, []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.silent = answer, false
}

func (s *server) fallSilent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = true
}

// take answers what was asked since it was called last.
func (s *server) take() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.asked
	s.asked = nil
	return all
}

// bench is a client, and the servers that it calls.
type bench struct {
	t           *testing.T
	rig         *rig.Rig
	store, keys *server
	app         *ipc.Task
	client      *keychain.Client
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return build(t, rig.New(t))
}

// build makes a session of alice's, and a client of her app notes.
func build(t *testing.T, r *rig.Rig) *bench {
	t.Helper()
	b := &bench{t: t, rig: r}
	var storeEP, keysEP ipc.Slot
	b.store, storeEP = b.serve("keystored", wire.OpPut, wire.OpList)
	b.keys, keysEP = b.serve("keymintd", wire.OpGenerateKey, wire.OpUnwrapKey)
	identity := r.Task(ipc.TaskSpec{Name: "identityd"})
	auth, err := r.Kernel.GrantAuthority(identity)
	must(t, err)
	sid, err := identity.StartSession(auth, "alice", [16]byte{1})
	must(t, err)
	must(t, identity.OpenSession(auth, sid))
	b.app = r.Task(ipc.TaskSpec{Name: "app"})
	cfg := keychain.Config{Store: r.Connect(b.app, storeEP), Keys: r.Connect(b.app, keysEP)}
	cfg.Token, err = identity.MintToken(auth, ipc.TokenSpec{SID: sid, App: "notes", Holder: b.app.ID(), Rights: capability.AllTokenRights})
	must(t, err)
	b.client = keychain.New(b.app, cfg)
	return b
}

func (b *bench) serve(name string, first, last uint16) (*server, ipc.Slot) {
	s := &server{task: b.rig.Task(ipc.TaskSpec{Name: name})}
	var ops []ipc.Op
	for op := first; op <= last; op++ {
		ops = append(ops, ipc.Op{Code: op, Need: capability.AllTokenRights})
	}
	ep := b.rig.Endpoint(s.task, ipc.EndpointSpec{Depth: 64, Parallel: 64, Takes: true, Ops: ops})
	b.rig.Host(s.task, func() ipc.Service { return s })
	return s, ep
}

// calls counts what reached the kernel, refused or not.
func (b *bench) calls() uint64 {
	s := b.rig.Kernel.Stats()
	return s.Calls + s.Refused
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	must(t, err)
	return b
}

// reply makes a server answer with that message.
func reply(t testing.TB, m proto.Message) func(uint16, []byte) (ipc.Code, []byte) {
	body := encode(t, m)
	return func(uint16, []byte) (ipc.Code, []byte) { return ipc.OK, body }
}

// refuse makes a server answer with that code.
func refuse(code ipc.Code) func(uint16, []byte) (ipc.Code, []byte) {
	return func(uint16, []byte) (ipc.Code, []byte) { return code, nil }
}
