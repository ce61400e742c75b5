package flood

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/secret"
)

// most is how often one flow of control does its worst before it stops by
// itself, which is more often than there is time for while others work.
const most = 1 << 20

// flood is an app's flows of control, each of which asks for as much as it can.
type flood struct {
	app    *boot.App
	pause  func(ctx context.Context) // after each step
	over   atomic.Bool
	flows  []chan struct{}
	counts [256]atomic.Uint64 // of answers, by code
}

// step does something once. It may use slots that another flow has emptied.
type step func(f *flood, ctx context.Context, r *rand.Rand) error

// sources are all that an app can do to others.
var sources = []struct {
	name string
	step step
}{
	{"garbage", garbage},
	{"garbage, without waiting", garbageNow},
	{"put", put},
	{"get", get},
	{"put a long value", putLong},
	{"get a long value", getLong},
	{"list", list},
	{"keys", keys},
	{"sign", sign},
	{"ask for routes", askRoute},
	{"ask init whatever", askInit},
	{"messages to itself", mutter},
	{"requests whose answers nobody reads", ask},
	{"memory", memory},
	{"slots", slots},
}

// begin starts n flows of control of each source.
func begin(app *boot.App, n int, seed uint64, pause func(ctx context.Context)) *flood {
	f := &flood{app: app, pause: pause}
	for i, s := range sources {
		for k := range n {
			done := make(chan struct{})
			f.flows = append(f.flows, done)
			app.Task.Go(func(ctx context.Context) {
				defer close(done)
				f.flow(ctx, s.step, rand.New(rand.NewPCG(seed, uint64(i*n+k))))
			})
		}
	}
	return f
}

func (f *flood) flow(ctx context.Context, s step, r *rand.Rand) {
	for range most {
		if f.over.Load() {
			return
		}
		err := s(f, ctx, r)
		var code ipc.Code
		errors.As(err, &code)
		f.counts[code].Add(1)
		f.pause(ctx)
	}
}

// stop ends the flood. Its task exits, because flows of control may wait where
// nobody will ever make room.
func (f *flood) stop() []chan struct{} {
	f.over.Store(true)
	f.app.Exit()
	return f.flows
}

// answered counts the answers with a code.
func (f *flood) answered(code ipc.Code) uint64 { return f.counts[code].Load() }

func (f *flood) String() string {
	var text []string
	for code := range f.counts {
		if n := f.counts[code].Load(); n > 0 {
			text = append(text, fmt.Sprintf("%v: %d", ipc.Code(code), n))
		}
	}
	return strings.Join(text, ", ")
}

// junk is as large as it may be.
var junk = make([]byte, ipc.MaxFrame)

// slot is one that it was given, or any.
func (f *flood) slot(r *rand.Rand) ipc.Slot {
	switch r.IntN(4) {
	case 0:
		return f.app.Config.Store
	case 1:
		return f.app.Config.Keys
	case 2:
		return boot.SlotControl
	}
	return ipc.Slot(r.IntN(capability.Slots + 1))
}

func (f *flood) call(ctx context.Context, r *rand.Rand, nonblock bool) error {
	m := ipc.Msg{Slot: f.slot(r), Op: uint16(r.IntN(40)), Token: &f.app.Config.Token, Body: junk, Move: ipc.NoSlot, Nonblock: nonblock}
	_, err := f.app.Task.Call(ctx, m, nil)
	return err
}

func garbage(f *flood, ctx context.Context, r *rand.Rand) error    { return f.call(ctx, r, false) }
func garbageNow(f *flood, ctx context.Context, r *rand.Rand) error { return f.call(ctx, r, true) }

func put(f *flood, ctx context.Context, r *rand.Rand) error {
	return f.app.Keychain.Put(ctx, fmt.Sprint("name", r.IntN(50)), secret.New(4096))
}

func get(f *flood, ctx context.Context, r *rand.Rand) error {
	value, err := f.app.Keychain.Get(ctx, fmt.Sprint("name", r.IntN(50)))
	value.Wipe()
	return err
}

func putLong(f *flood, ctx context.Context, r *rand.Rand) error {
	return f.app.Keychain.Put(ctx, fmt.Sprint("long", r.IntN(3)), secret.New(keychain.MaxValue-r.IntN(2)))
}

func getLong(f *flood, ctx context.Context, r *rand.Rand) error {
	value, err := f.app.Keychain.Get(ctx, fmt.Sprint("long", r.IntN(3)))
	value.Wipe()
	return err
}

func list(f *flood, ctx context.Context, _ *rand.Rand) error {
	_, err := f.app.Keychain.List(ctx)
	return err
}

func keys(f *flood, ctx context.Context, r *rand.Rand) error {
	name := fmt.Sprint("key", r.IntN(4))
	if r.IntN(4) == 0 {
		return f.app.Keychain.DeleteKey(ctx, name)
	}
	_, err := f.app.Keychain.Generate(ctx, name)
	return err
}

func sign(f *flood, ctx context.Context, r *rand.Rand) error {
	_, err := f.app.Keychain.Sign(ctx, fmt.Sprint("key", r.IntN(4)), junk[:4096])
	return err
}

func (f *flood) send(ctx context.Context, slot ipc.Slot, op uint16, payload []byte, move ipc.Slot, flags ipc.SysFlags) error {
	m := ipc.Outgoing{
		Slot: slot, Payload: payload, Token: f.app.Config.Token[:], Flags: flags,
		Header: frame.Header{Type: op, Len: uint32(len(payload))},
	}
	if move != ipc.NoSlot {
		m.Header.Flags, m.Header.Src = frame.CapMove, uint32(move)
	}
	return f.app.Task.Send(ctx, m)
}

// askRoute asks for routes by message; it reads no answers.
func askRoute(f *flood, ctx context.Context, r *rand.Rand) error {
	names := []string{"keystored", "keymintd.keys", "keystored.store", "identityd", "nobody"}
	q, err := frame.RouteRequest{Name: names[r.IntN(len(names))], Nonce: r.Uint32()}.Append(nil)
	if err != nil {
		return err
	}
	return f.send(ctx, boot.SlotControl, wire.OpRoute, q, ipc.NoSlot, 0)
}

func askInit(f *flood, ctx context.Context, r *rand.Rand) error {
	return f.send(ctx, boot.SlotControl, wire.OpRoute, junk[:r.IntN(len(junk)+1)], ipc.NoSlot, ipc.SysFlags(r.IntN(2)))
}

// mutter sends to wherever it may, which is its own inboxes once it has asked
// for routes.
func mutter(f *flood, ctx context.Context, r *rand.Rand) error {
	return f.send(ctx, ipc.Slot(r.IntN(capability.Slots)), uint16(r.IntN(ipc.MaxOps)), junk, ipc.NoSlot, ipc.SysFlags(r.IntN(2)))
}

// ask sends requests whose answers go to any capability that it finds.
func ask(f *flood, ctx context.Context, r *rand.Rand) error {
	name := fmt.Sprint("name", r.IntN(50))
	q := binary.LittleEndian.AppendUint64(nil, r.Uint64())
	q = append(append(q, 0x0a, byte(len(name))), name...)
	var move ipc.Slot
	for range 8 {
		var err error
		if move, err = f.app.Task.Clone(ipc.Slot(3 + r.IntN(capability.Slots-3))); err == nil {
			break
		}
	}
	err := f.send(ctx, f.app.Config.Store, wire.OpGet, q, move, ipc.SysFlags(r.IntN(2)))
	if err != nil {
		_ = f.app.Task.Close(move)
	}
	return err
}

// memory makes objects as large as they may be, writes to them and forgets some.
func memory(f *flood, ctx context.Context, r *rand.Rand) error {
	slot, err := f.app.Task.NewMemory(ipc.MaxMemory - r.IntN(2))
	if err != nil {
		return err
	}
	for off := 0; off+len(junk) <= ipc.MaxMemory/2; off += len(junk) {
		if err := f.app.Task.WriteMemory(slot, off, junk); err != nil {
			return err
		}
	}
	if r.IntN(8) == 0 {
		return f.send(ctx, ipc.Slot(r.IntN(capability.Slots)), 0, nil, slot, ipc.SysNonblock)
	}
	return f.app.Task.Close(slot)
}

// slots empties slots that others fill, so that there is always something to do.
func slots(f *flood, ctx context.Context, r *rand.Rand) error {
	slot := ipc.Slot(16 + r.IntN(capability.Slots-16))
	if r.IntN(16) == 0 {
		_, err := f.app.Task.Revoke(slot)
		return err
	}
	err := f.app.Task.Close(slot)
	if sleep := f.app.Task.Sleep(ctx, 100*time.Microsecond); sleep != nil {
		return sleep
	}
	return err
}
