package identityd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/guesses"
	"nexus.internal/os/services/policyd"
	"nexus.internal/os/tests/rig"
)

var seedFlag = flag.Uint64("seed", 0, "replay one seed; NEXUS_SEED does the same")

// eachSeed runs fn under n seeds, or under the one that was asked for.
func eachSeed(t *testing.T, n uint64, fn func(t *testing.T, seed uint64)) {
	only := *seedFlag
	if text := os.Getenv("NEXUS_SEED"); only == 0 && text != "" {
		var err error
		if only, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if only != 0 {
		fn(t, only)
		return
	}
	for seed := uint64(1); seed <= n && !t.Failed(); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { fn(t, seed) })
	}
}

const testRules = `[allow]
login = ["session.token"]
any-app = ["keychain.put", "keychain.get"]
"demo.signer" = ["keychain.sign", "keychain.generate", "keychain.wrap", "keychain.seal", "keychain.del", "keychain.list", "keychain.put", "keychain.get"]
`

// cheap keeps Argon2id out of the way of tests that are about other things.
var cheap = Params{MemoryKiB: 8, Passes: 1, Lanes: 1}

// world is a boot of identityd among its neighbours: the real kernel, the real
// policyd, and doubles of the others on one disk that outlives the boot.
type world struct {
	*rig.Rig
	t     *testing.T
	disk  *disk
	log   *policyd.AuditLog
	fs    *doubleFS
	mint  *doubleMint
	store *doubleStore

	svc   *Service // the running instance; tests look into it while it rests
	task  *ipc.Task
	login *ipc.Task
	slot  ipc.Slot // login's, to the login facet
	query ipc.Slot // login's, to the query facet

	loginEndpoint ipc.Slot // init's

	startErr error
}

func newWorld(t *testing.T, seed uint64, d *disk) *world {
	return buildWorld(t, rig.NewSeeded(t, seed, nil), d, cheap)
}

func buildWorld(t *testing.T, r *rig.Rig, d *disk, cost Params) *world {
	w := &world{Rig: r, t: t, disk: d, log: &policyd.AuditLog{}}
	admin := []ipc.Op{
		{Code: wire.OpCreateRoot}, {Code: wire.OpAddProtector}, {Code: wire.OpKeepProtectors},
		{Code: wire.OpRemoveRoot}, {Code: wire.OpUnsealKeys, Need: capability.Seal}, {Code: wire.OpSealKeys}, {Code: opCrash},
	}
	open := []ipc.Op{{Code: wire.OpOpenVault, Need: capability.Get}, {Code: wire.OpForgetVault}}
	rng := w.neighbour(ipc.TaskSpec{Name: "rngd"}, rig.Ops(1), func(*ipc.Task) ipc.Service { return newDoubleRNG() })
	fs := w.neighbour(ipc.TaskSpec{Name: "statefsd"}, rig.Ops(7), func(t *ipc.Task) ipc.Service {
		w.fs = newDoubleFS(t, d)
		return w.fs
	})
	mint := w.neighbour(ipc.TaskSpec{Name: "keymintd", Guards: true}, admin, func(t *ipc.Task) ipc.Service {
		w.mint = newDoubleMint(t, d)
		return w.mint
	})
	policy := w.policy()
	store := w.neighbour(ipc.TaskSpec{Name: "keystored"}, open, func(t *ipc.Task) ipc.Service {
		w.store = newDoubleStore(t, d)
		return w.store
	})
	w.host(Config{
		RNG: rng, StateFS: fs, Policy: policy, KeyMint: mint, KeyStore: store, Argon: cost,
	})
	return w
}

// host starts identityd itself. cfg's slots are init's.
func (w *world) host(cfg Config) {
	r := w.Rig
	w.task = r.Task(ipc.TaskSpec{Name: "identityd", Marks: []string{"identityd:", "identity:"}})
	for _, slot := range []*ipc.Slot{&cfg.RNG, &cfg.StateFS, &cfg.Policy, &cfg.KeyMint, &cfg.KeyStore} {
		*slot = r.Connect(w.task, *slot)
	}
	auth, err := r.Kernel.GrantAuthority(w.task)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.Authority = auth
	main := r.Endpoint(w.task, ipc.EndpointSpec{Depth: 256, Parallel: LoginParallel, Ops: rig.Ops(int(wire.OpRekey))})
	query := r.Endpoint(w.task, ipc.EndpointSpec{Depth: 8, Parallel: 8, Ops: rig.Ops(int(wire.OpRemoveCredential))})
	if err := r.Engine.Host(w.task, func() ipc.Service {
		w.svc = New(w.task, cfg)
		return w.svc
	}); err != nil {
		w.t.Fatal(err)
	}
	r.Do(r.Init, func(ctx context.Context) { w.startErr = r.Init.AwaitReady(ctx, w.task) })
	w.login = r.Task(ipc.TaskSpec{Name: "login"})
	w.slot, w.query, w.loginEndpoint = r.Connect(w.login, main), r.Connect(w.login, query), main
}

// policy hosts the real policyd and returns init's slot for it.
func (w *world) policy() ipc.Slot {
	return w.neighbour(ipc.TaskSpec{Name: "policyd"}, rig.Ops(1), func(task *ipc.Task) ipc.Service {
		rules, _, err := policyd.Parse([]byte(testRules))
		if err != nil {
			w.t.Error(err)
		}
		return policyd.New(task, policyd.Config{
			Rules: rules, EnforcementPoints: []string{"identityd"}, Services: []string{"keystored"}, Log: w.log,
		})
	})
}

// neighbour hosts a double and returns init's slot for it.
func (w *world) neighbour(spec ipc.TaskSpec, ops []ipc.Op, factory func(*ipc.Task) ipc.Service) ipc.Slot {
	task := w.Task(spec)
	ep := w.Endpoint(task, ipc.EndpointSpec{Depth: 256, Parallel: 256, Ops: ops})
	w.Host(task, func() ipc.Service { return factory(task) })
	return ep
}

// ask calls identityd's login facet.
func (w *world) ask(ctx context.Context, op uint16, q, p proto.Message) error {
	return wire.Call(ctx, w.login, ipc.Msg{Slot: w.slot, Op: op, Move: ipc.NoSlot}, q, p)
}

func password(text string) *wire.Credential {
	return &wire.Credential{Kind: wire.CredentialKind_CREDENTIAL_KIND_PASSWORD, Secret: []byte(text)}
}

func pin(text string) *wire.Credential {
	return &wire.Credential{Kind: wire.CredentialKind_CREDENTIAL_KIND_PIN, Secret: []byte(text)}
}

func (w *world) create(ctx context.Context, user string, c *wire.Credential) error {
	return w.ask(ctx, wire.OpCreateUser, &wire.CreateUserRequest{User: user, Credential: c}, &wire.CreateUserReply{})
}

func (w *world) remove(ctx context.Context, user string, c *wire.Credential) error {
	return w.ask(ctx, wire.OpRemoveUser, &wire.RemoveUserRequest{User: user, Credential: c}, &wire.RemoveUserReply{})
}

func (w *world) set(ctx context.Context, user string, have, set *wire.Credential) error {
	q := &wire.SetCredentialRequest{User: user, Have: have, Set: set}
	return w.ask(ctx, wire.OpSetCredential, q, &wire.SetCredentialReply{})
}

func (w *world) recovery(ctx context.Context, user string, have *wire.Credential) (*wire.Credential, error) {
	var p wire.CreateRecoveryReply
	err := w.ask(ctx, wire.OpCreateRecovery, &wire.CreateRecoveryRequest{User: user, Have: have}, &p)
	return paper(string(p.Text)), err
}

// paper is a recovery key as somebody types it.
func paper(text string) *wire.Credential {
	return &wire.Credential{Kind: wire.CredentialKind_CREDENTIAL_KIND_RECOVERY, Secret: []byte(text)}
}

func (w *world) removeCredential(ctx context.Context, user string, have *wire.Credential, kind wire.CredentialKind, anyway bool) error {
	q := &wire.RemoveCredentialRequest{User: user, Have: have, Kind: kind, Anyway: anyway}
	return w.ask(ctx, wire.OpRemoveCredential, q, &wire.RemoveCredentialReply{})
}

func (w *world) users(ctx context.Context) []string {
	var p wire.ListUsersReply
	if err := w.ask(ctx, wire.OpListUsers, &wire.ListUsersRequest{}, &p); err != nil {
		w.t.Error(err)
	}
	return p.Users
}

func (w *world) start(ctx context.Context, user string, c *wire.Credential) (uint64, error) {
	var p wire.StartSessionReply
	err := w.ask(ctx, wire.OpStartSession, &wire.StartSessionRequest{User: user, Credential: c}, &p)
	return p.Sid, err
}

func (w *world) unseal(ctx context.Context, sid uint64, c *wire.Credential) error {
	return w.ask(ctx, wire.OpUnsealSession, &wire.UnsealSessionRequest{Sid: sid, Credential: c}, &wire.UnsealSessionReply{})
}

func (w *world) lock(ctx context.Context, sid uint64) error {
	return w.ask(ctx, wire.OpLockSession, &wire.LockSessionRequest{Sid: sid}, &wire.LockSessionReply{})
}

func (w *world) end(ctx context.Context, sid uint64) error {
	return w.ask(ctx, wire.OpEndSession, &wire.EndSessionRequest{Sid: sid}, &wire.EndSessionReply{})
}

func (w *world) active(ctx context.Context, sid uint64) *wire.ActiveSessionReply {
	p := &wire.ActiveSessionReply{}
	q := &wire.ActiveSessionRequest{Sid: sid}
	if err := wire.Call(ctx, w.login, ipc.Msg{Slot: w.query, Op: wire.OpActiveSession, Move: ipc.NoSlot}, q, p); err != nil {
		w.t.Error(err)
	}
	return p
}

// rest lets the longest wait after wrong guesses pass.
func (w *world) rest(ctx context.Context) {
	expect(w.t, "sleep", w.login.Sleep(ctx, guesses.Longest), nil)
}

// do runs fn as the session manager.
func (w *world) do(fn func(ctx context.Context)) {
	w.t.Helper()
	w.Do(w.login, fn)
}

// all runs several flows of the session manager at once and waits for them.
func (w *world) all(fns ...func(ctx context.Context)) {
	w.t.Helper()
	var done []chan struct{}
	for _, fn := range fns {
		over := make(chan struct{})
		done = append(done, over)
		w.login.Go(func(ctx context.Context) {
			defer close(over)
			fn(ctx)
		})
	}
	for _, over := range done {
		if !w.Sched.Await(over, nil) {
			w.t.Fatal("somebody waits forever")
		}
	}
}

// markers returns the console's lines that begin with "identity".
func (w *world) markers() []string {
	return slices.DeleteFunc(w.Console(), func(l string) bool { return !strings.HasPrefix(l, "identity") })
}

// expect fails the test if err is not want.
func expect(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
