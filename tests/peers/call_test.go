package peers

import (
	"bytes"
	"fmt"
	"testing"
)

// A caller sends payload to a receiver in another goroutine or process-like
// thing and returns the reply: the same bytes, copied on each side.
type caller func(payload []byte) ([]byte, error)

// callPeers are compared in BenchmarkCall. open starts the peer and stops it
// in tb.Cleanup; its caller is used from one goroutine.
var callPeers = []struct {
	name string
	open func(tb testing.TB) caller
}{
	{"channel", openChannel},
	{"nexus", openNexus},
	{"protoactor-future", openProtoactor},
	{"grpc-unix", openGRPC},
}

// callSizes are the payloads' sizes in bytes.
var callSizes = []int{64, 256}

// BenchmarkCall measures one call and its reply.
func BenchmarkCall(b *testing.B) {
	for _, peer := range callPeers {
		for _, size := range callSizes {
			b.Run(fmt.Sprintf("peer=%s/size=%d", peer.name, size), func(b *testing.B) {
				call := peer.open(b)
				payload := bytes.Repeat([]byte{'x'}, size)
				b.ReportAllocs()
				for b.Loop() {
					reply, err := call(payload)
					if err != nil || len(reply) != size {
						b.Fatalf("reply of %d bytes, %v", len(reply), err)
					}
				}
			})
		}
	}
}

// TestCallPeers shows that every peer answers with what it was sent.
func TestCallPeers(t *testing.T) {
	for _, peer := range callPeers {
		t.Run(peer.name, func(t *testing.T) {
			call := peer.open(t)
			for _, payload := range []string{"first", "the second, longer"} {
				reply, err := call([]byte(payload))
				if err != nil || string(reply) != payload {
					t.Fatalf("sent %q, got %q, %v", payload, reply, err)
				}
			}
		})
	}
}
