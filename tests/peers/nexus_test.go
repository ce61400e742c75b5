package peers

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/tests/rig"
)

// echo is a service that answers with what it is sent.
type echo struct{}

func (echo) Start(context.Context) error             { return nil }
func (echo) Serve(_ context.Context, r *ipc.Request) { _ = r.Reply(ipc.OK, r.Body) }

// openNexus is a checked call of our kernel: every caller is an app with a token
// of its own, every receiver a service.
func openNexus(tb testing.TB, callers, receivers int) []caller {
	r := rig.New(tb)
	endpoints := make([]ipc.Slot, receivers)
	for i := range endpoints {
		service := r.Task(ipc.TaskSpec{Name: fmt.Sprint("echo", i)})
		endpoints[i] = r.Endpoint(service, ipc.EndpointSpec{Depth: 64, Parallel: 64, Ops: []ipc.Op{{Code: 1, Need: capability.Get}}})
		r.Host(service, func() ipc.Service { return echo{} })
	}
	ident := r.Task(ipc.TaskSpec{Name: "identityd"})
	authority, err := r.Kernel.GrantAuthority(ident)
	check(tb, err)
	sid, err := ident.StartSession(authority, "alice", [16]byte{1})
	check(tb, err)
	all := make([]caller, callers)
	for i := range all {
		app := r.Task(ipc.TaskSpec{Name: "app"})
		token, err := ident.MintToken(authority, ipc.TokenSpec{SID: sid, App: "notes", Holder: app.ID(), Rights: capability.Get})
		check(tb, err)
		slots := make([]ipc.Slot, receivers)
		for k, endpoint := range endpoints {
			slots[k] = r.Connect(app, endpoint)
		}
		all[i] = nexusCaller(app, slots, &token)
	}
	return all
}

// nexusCaller calls as one app. 32 frames are more than the byte budget of one
// receiver: who is told NoSpace tries again.
func nexusCaller(app *ipc.Task, slots []ipc.Slot, token *capability.Token) caller {
	out := make([]byte, 0, ipc.MaxFrame)
	return func(receiver int, payload []byte) ([]byte, error) {
		m := ipc.Msg{Slot: slots[receiver], Op: 1, Token: token, Body: payload, Move: ipc.NoSlot}
		for {
			reply, err := app.Call(context.Background(), m, out)
			if err != ipc.NoSpace {
				return reply.Body, err
			}
			runtime.Gosched()
		}
	}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// password logs the benchmarks' one user in; Argon2id is not what is measured.
var (
	password = boot.Password([]byte("a password for benchmarks"))
	cheap    = identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}
)

// openApp boots the whole system on a real directory and starts an app.
func openApp(tb testing.TB, dir string, create bool) (app *boot.App, stop func()) {
	d, err := disk.Open(dir)
	check(tb, err)
	s, err := boot.Boot(boot.Config{Disk: d, Argon: cheap})
	check(tb, err)
	l, err := s.Launcher()
	check(tb, err)
	ctx := context.Background()
	if create {
		check(tb, l.CreateUser(ctx, "alice", password))
	}
	sid, err := l.StartSession(ctx, "alice", password)
	check(tb, err)
	check(tb, l.Unseal(ctx, sid, password))
	app, err = l.Launch(ctx, sid, "notes", boot.AppRights)
	check(tb, err)
	return app, func() {
		s.Shutdown()
		check(tb, d.Close())
	}
}

// openKeychain puts through the client library, the router, keystored, keymintd
// and statefsd. Names are used again after putNames puts, as the quota asks.
func openKeychain(tb testing.TB) store {
	const putNames = 200
	dir, err := os.MkdirTemp("", "keychain")
	check(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	app, stop := openApp(tb, dir, true)
	stopped := false
	tb.Cleanup(func() {
		if !stopped {
			stop()
		}
	})
	var puts atomic.Int64
	return store{
		put: func(record []byte) error {
			return app.Keychain.Put(context.Background(), fmt.Sprint("name", puts.Add(1)%putNames), secret.Copy(record))
		},
		count: func() (int, error) {
			stop()
			stopped = true
			again, stopAgain := openApp(tb, dir, false)
			defer stopAgain()
			names, err := again.Keychain.List(context.Background())
			return len(names), err
		},
	}
}

// BenchmarkGet measures a whole get of 256 bytes: client, router, keystored,
// keymintd's opening of the record, and back.
func BenchmarkGet(b *testing.B) {
	b.Run("peer=channel", func(b *testing.B) {
		call := openChannel(b, 1, 1)[0]
		payload := make([]byte, 256)
		for b.Loop() {
			if _, err := call(0, payload); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("peer=keychain", func(b *testing.B) {
		app, stop := openApp(b, b.TempDir(), true)
		defer stop()
		ctx := context.Background()
		check(b, app.Keychain.Put(ctx, "name", secret.New(256)))
		b.ReportAllocs()
		for b.Loop() {
			value, err := app.Keychain.Get(ctx, "name")
			if err != nil || value.Len() != 256 {
				b.Fatalf("%d bytes, %v", value.Len(), err)
			}
		}
	})
}
