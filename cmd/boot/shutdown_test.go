package boot_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd/simdisk"
)

// TestShutdownWakesSleepers: a flow of control of an app that sleeps for long
// does not keep the system from ending.
func TestShutdownWakesSleepers(t *testing.T) {
	s, err := boot.Boot(boot.Config{Disk: simdisk.New()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Launcher()
	if err != nil {
		t.Fatal(err)
	}
	woken := make(chan error, 1)
	l.Task().Go(func(ctx context.Context) { woken <- l.Task().Sleep(ctx, 1000*time.Hour) })
	down := make(chan struct{})
	go func() {
		defer close(down)
		s.Shutdown()
	}()
	select {
	case <-down:
	case <-time.After(30 * time.Second):
		t.Fatal("the shutdown waits for a sleeper")
	}
	if err := <-woken; !errors.Is(err, ipc.Unavailable) {
		t.Errorf("the sleeper got %v", err)
	}
}
