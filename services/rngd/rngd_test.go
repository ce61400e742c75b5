package rngd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/tests/rig"
)

// counting is a source whose bytes are the number of the draw. It notes who
// drew, and fails when told to.
type counting struct {
	callers []string
	fail    error
}

func (c *counting) Read(caller string, p []byte) error {
	c.callers = append(c.callers, caller)
	for i := range p {
		p[i] = byte(len(c.callers))
	}
	return c.fail
}

func serve(t *testing.T, source rngd.Source) (*rig.Rig, *ipc.Task, ipc.Slot) {
	r := rig.NewSeeded(t, 1, nil)
	svc := r.Task(ipc.TaskSpec{Name: "rngd", Marks: []string{"rngd:"}})
	ep := r.Endpoint(svc, ipc.EndpointSpec{Depth: 8, Parallel: 8, Ops: []ipc.Op{{Code: wire.OpEntropy}}})
	r.Host(svc, func() ipc.Service { return rngd.New(svc, source) })
	app := r.Task(ipc.TaskSpec{Name: "keymintd"})
	return r, app, r.Connect(app, ep)
}

func entropy(ctx context.Context, t *ipc.Task, slot ipc.Slot, count uint32) ([]byte, error) {
	var p wire.EntropyReply
	err := wire.Call(ctx, t, ipc.Msg{Slot: slot, Op: wire.OpEntropy, Move: ipc.NoSlot}, &wire.EntropyRequest{Count: count}, &p)
	return p.Data, err
}

func TestEntropy(t *testing.T) {
	source := new(counting)
	r, app, slot := serve(t, source)
	if got := r.Console(); !slices.Equal(got, []string{"rngd: ready"}) {
		t.Fatalf("console: %q", got)
	}
	r.Do(app, func(ctx context.Context) {
		for _, c := range []struct {
			count uint32
			err   error
		}{
			{0, ipc.Malformed}, {1, nil}, {2, nil}, {32, nil},
			{rngd.MaxEntropy - 1, nil}, {rngd.MaxEntropy, nil}, {rngd.MaxEntropy + 1, ipc.TooLarge}, {1<<32 - 1, ipc.TooLarge},
		} {
			drawn := len(source.callers)
			got, err := entropy(ctx, app, slot, c.count)
			if !errors.Is(err, c.err) {
				t.Errorf("%d bytes: %v, want %v", c.count, err, c.err)
			}
			if c.err != nil {
				if len(got) != 0 || len(source.callers) != drawn {
					t.Errorf("%d bytes: drawn for a refused request", c.count)
				}
				continue
			}
			if want := bytes.Repeat([]byte{byte(drawn + 1)}, int(c.count)); !bytes.Equal(got, want) {
				t.Errorf("%d bytes: got %d, not those that were drawn", c.count, len(got))
			}
		}
	})
	want := []string{"rngd", "keymintd", "keymintd", "keymintd", "keymintd", "keymintd"}
	if !slices.Equal(source.callers, want) {
		t.Errorf("callers %q, want %q", source.callers, want)
	}
}

func TestFailingSourceIsAnError(t *testing.T) {
	source := new(counting)
	r, app, slot := serve(t, source)
	source.fail = io.ErrUnexpectedEOF
	r.Do(app, func(ctx context.Context) {
		got, err := entropy(ctx, app, slot, 16)
		if !errors.Is(err, ipc.Unavailable) || len(got) != 0 {
			t.Errorf("got %x, %v", got, err)
		}
	})
}

// TestNotReadyWithoutChance starts the service on a source that fails.
func TestNotReadyWithoutChance(t *testing.T) {
	r := rig.NewSeeded(t, 1, nil)
	svc := r.Task(ipc.TaskSpec{Name: "rngd", Marks: []string{"rngd:"}})
	source := &counting{fail: io.ErrNoProgress}
	if err := r.Engine.Host(svc, func() ipc.Service { return rngd.New(svc, source) }); err != nil {
		t.Fatal(err)
	}
	r.Do(r.Init, func(ctx context.Context) {
		if err := r.Init.AwaitReady(ctx, svc); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("start: %v", err)
		}
	})
	if got := r.Console(); !slices.Equal(got, []string{""}) {
		t.Errorf("console: %q", got)
	}
}

func TestSystem(t *testing.T) {
	a, b := make([]byte, 64), make([]byte, 64)
	if n, err := rngd.System().Read(a); n != len(a) || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	if err := rngd.SystemSource().Read("anybody", b); err != nil {
		t.Fatal(err)
	}
	zero := make([]byte, 64)
	if bytes.Equal(a, b) || bytes.Equal(a, zero) || bytes.Equal(b, zero) {
		t.Fatalf("drew %x and %x", a, b)
	}
}
