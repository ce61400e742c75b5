package flood

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
)

// freely lets the flood go on at once.
func freely(context.Context) {}

// seed is where a random test begins: NEXUS_SEED, or another one each time.
func seed(tb testing.TB) uint64 {
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("NEXUS_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("NEXUS_SEED: %v", err)
		}
	}
	tb.Logf("NEXUS_SEED=%d", n)
	return n
}

// TestFloodStopsNobody: while one app floods everything that it can reach,
// nobody else meets an error, and memory stays below the bound. What the flood
// asks for can be had again with
//
//	NEXUS_SEED=n go test ./tests/flood -run FloodStopsNobody
//
// but who runs when is the machine's.
func TestFloodStopsNobody(t *testing.T) {
	w := start(t, func(*boot.Config) {})
	memory := watch()
	f := begin(w.flooder, flowsOfEach, seed(t), freely)
	w.wait(w.others(rounds)...)
	peak, bound := memory.stop(), uint64(w.Kernel.MemoryBound())
	t.Logf("peak memory is %.2f of the bound", float64(peak)/float64(bound))
	if peak >= bound {
		t.Errorf("the flood takes %d bytes, the bound is %d", peak, bound)
	}
	w.endFlood(f)
}

// endFlood locks the session of the app that floods, ends the flood, and says
// that it was one: that budgets and queues were full, that others were not
// waited for.
func (w *world) endFlood(f *flood) {
	w.tb.Helper()
	for _, code := range []ipc.Code{ipc.OK, ipc.QueueFull, ipc.NoSpace, ipc.PermissionDenied, ipc.Unsupported, ipc.Malformed, ipc.NotFound} {
		if f.answered(code) == 0 {
			w.tb.Errorf("nothing of the flood was answered with %v", code)
		}
	}
	if w.Kernel.Stats().Undelivered == 0 {
		w.tb.Error("no answer was lost, so that somebody must have read them")
	}
	w.wait(w.as(w.launcher.Task(), func(ctx context.Context) error { return w.launcher.Lock(ctx, w.sids["alice"]) }))
	w.wait(w.as(w.mail.Task, func(ctx context.Context) error {
		if _, err := w.mail.Keychain.Get(ctx, "name0"); !errors.Is(err, ipc.Denied) {
			return fmt.Errorf("a get in a locked session: %w", err)
		}
		return nil
	}))
	w.tb.Logf("the flood: %v", f)
	w.wait(f.stop()...)
}

// watched measures how much more memory is in use than when it began.
type watched struct {
	quiet uint64
	peak  chan uint64
	over  chan struct{}
}

// watch begins to measure. Garbage is collected before each look, because what
// is not in use any more waits for the runtime and not for the system.
func watch() *watched {
	m := &watched{quiet: inUse(), peak: make(chan uint64), over: make(chan struct{})}
	go func() {
		peak := m.quiet
		for {
			peak = max(peak, inUse())
			select {
			case <-m.over:
				m.peak <- peak
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return m
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func (m *watched) stop() uint64 {
	close(m.over)
	return <-m.peak - m.quiet
}

// TestDocumentedMemoryBound: docs/IPC.md has the bound of the system as it
// boots, in bytes. Apps have inboxes of their own, and add to it.
func TestDocumentedMemoryBound(t *testing.T) {
	s, err := boot.Boot(bare())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	text, err := os.ReadFile("../../docs/IPC.md")
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Sprintf("| in all | %d |", s.Kernel.MemoryBound()); !strings.Contains(string(text), line) {
		t.Errorf("docs/IPC.md does not say %q", line)
	}
}
