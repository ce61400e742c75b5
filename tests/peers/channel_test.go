package peers

import (
	"sync"
	"testing"
)

// channelRequest is a payload, and where its reply goes. The receiver copies the
// payload to room, which is the caller's, so that the reply is not the request.
type channelRequest struct {
	payload, room []byte
	reply         chan []byte
}

// openChannel is the yardstick: unbuffered channels, a goroutine that receives
// from each, and a channel for the replies of each caller.
func openChannel(tb testing.TB, callers, receivers int) []caller {
	requests := make([]chan channelRequest, receivers)
	var running sync.WaitGroup
	for i := range requests {
		requests[i] = make(chan channelRequest)
		running.Go(func() {
			for r := range requests[i] {
				r.reply <- append(r.room[:0], r.payload...)
			}
		})
	}
	tb.Cleanup(func() {
		for _, r := range requests {
			close(r)
		}
		running.Wait()
	})
	all := make([]caller, callers)
	for i := range all {
		var sent, room, got []byte
		reply := make(chan []byte)
		all[i] = func(receiver int, payload []byte) ([]byte, error) {
			sent = append(sent[:0], payload...)
			requests[receiver] <- channelRequest{sent, room, reply}
			room = <-reply
			got = append(got[:0], room...)
			return got, nil
		}
	}
	return all
}
