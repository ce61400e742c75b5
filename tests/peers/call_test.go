package peers

import (
	"bytes"
	"fmt"
	"testing"
)

// A caller sends payload to one of the receivers, each of which is another
// goroutine or process-like thing, and returns the reply: the same bytes, copied
// on each side.
type caller func(receiver int, payload []byte) ([]byte, error)

// callPeers are compared in BenchmarkCall. open starts that many receivers, and
// stops them in tb.Cleanup; each of the callers is used from one goroutine.
var callPeers = []struct {
	name string
	open func(tb testing.TB, callers, receivers int) []caller
}{
	{"channel", openChannel},
	{"nexus", openNexus},
	{"protoactor-future", openProtoactor},
	{"grpc-unix", openGRPC},
}

// The matrix is that of BenchmarkCheckedCall in ipc. Sizes are the payloads', in
// bytes.
var (
	callCallers   = []int{1, 32}
	callEndpoints = []int{1, 8}
	callSizes     = []int{0, 64, 256, 8192}
)

// callAll makes n calls, shared out among the callers, each of which goes round
// the receivers.
func callAll(callers []caller, receivers, size, n int) error {
	payload := bytes.Repeat([]byte{'x'}, size)
	errs := make(chan error, len(callers))
	for i, call := range callers {
		share := n / len(callers)
		if i < n%len(callers) {
			share++
		}
		go func() {
			for k := range share {
				reply, err := call((i+k)%receivers, payload)
				if err != nil || len(reply) != size {
					errs <- fmt.Errorf("a reply of %d bytes: %w", len(reply), err)
					return
				}
			}
			errs <- nil
		}()
	}
	var failed error
	for range callers {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	return failed
}

// BenchmarkCall measures one call and its reply; with many callers, the time in
// which one is done on average.
func BenchmarkCall(b *testing.B) {
	for _, callers := range callCallers {
		for _, endpoints := range callEndpoints {
			for _, size := range callSizes {
				for _, peer := range callPeers {
					b.Run(fmt.Sprintf("peer=%s/callers=%d/endpoints=%d/size=%d", peer.name, callers, endpoints, size), func(b *testing.B) {
						all := peer.open(b, callers, endpoints)
						b.ReportAllocs()
						b.ResetTimer()
						if err := callAll(all, endpoints, size, b.N); err != nil {
							b.Fatal(err)
						}
					})
				}
			}
		}
	}
}

// TestCallPeers shows that every peer answers every caller with what it has
// sent, whichever receiver it asks.
func TestCallPeers(t *testing.T) {
	for _, peer := range callPeers {
		t.Run(peer.name, func(t *testing.T) {
			const receivers = 2
			for i, call := range peer.open(t, 3, receivers) {
				for receiver := range receivers {
					for _, text := range []string{"", "first", "the second, longer"} {
						payload := text
						if text != "" {
							payload = fmt.Sprint(text, i, receiver)
						}
						reply, err := call(receiver, []byte(payload))
						if err != nil || string(reply) != payload {
							t.Fatalf("caller %d sent %q to %d, got %q, %v", i, payload, receiver, reply, err)
						}
					}
				}
			}
		})
	}
}
