package flood

import (
	"context"
	"testing"
	"time"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
)

// BenchmarkUnderFlood shows what a flood does to the others, each operation
// quiet and under the flood: a get of another user's app, the lock of a
// session, and an unseal with the lock that follows ("seal").
func BenchmarkUnderFlood(b *testing.B) {
	for _, op := range []struct {
		name string
		run  func(*testing.B, *world)
	}{{"get", benchmarkGet}, {"lock", benchmarkLock}, {"seal", benchmarkSeal}} {
		for _, flooded := range []string{"off", "on"} {
			b.Run("op="+op.name+"/flood="+flooded, func(b *testing.B) {
				w := start(b, func(*boot.Config) {})
				if flooded == "on" {
					f := begin(w.flooder, flowsOfEach, 1, freely)
					for f.answered(ipc.NoSpace) == 0 || f.answered(ipc.QueueFull) == 0 {
						time.Sleep(time.Millisecond) // It has only begun.
					}
					defer func() { w.wait(f.stop()...) }()
				}
				op.run(b, w)
				b.StopTimer()
			})
		}
	}
}

func benchmarkGet(b *testing.B, w *world) {
	w.wait(w.as(w.bob.Task, func(ctx context.Context) error {
		if err := w.bob.Keychain.Put(ctx, "name", secret.New(256)); err != nil {
			return err
		}
		b.ResetTimer()
		for range b.N {
			value, err := w.bob.Keychain.Get(ctx, "name")
			if err != nil {
				return err
			}
			value.Wipe()
		}
		return nil
	}))
}

func benchmarkLock(b *testing.B, w *world) { w.locks(b, b.StopTimer, b.StartTimer) }

func benchmarkSeal(b *testing.B, w *world) { w.locks(b, func() {}, func() {}) }

// locks unseals and locks carol's session, with before and after around the
// unseal.
func (w *world) locks(b *testing.B, before, after func()) {
	w.wait(w.as(w.launcher.Task(), func(ctx context.Context) error {
		sid, word := w.sids["carol"], password("carol")
		if err := w.launcher.Lock(ctx, sid); err != nil {
			return err
		}
		b.ResetTimer()
		for range b.N {
			before()
			if err := w.launcher.Unseal(ctx, sid, word); err != nil {
				return err
			}
			after()
			if err := w.launcher.Lock(ctx, sid); err != nil {
				return err
			}
		}
		return nil
	}))
}
