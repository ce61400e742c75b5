package peers

import "testing"

// openChannel is the yardstick: a pair of unbuffered channels and a goroutine.
func openChannel(tb testing.TB) caller {
	requests, replies := make(chan []byte), make(chan []byte)
	go func() {
		var reply []byte
		for request := range requests {
			reply = append(reply[:0], request...)
			replies <- reply
		}
		close(replies)
	}()
	tb.Cleanup(func() {
		close(requests)
		<-replies
	})
	var sent, got []byte
	return func(payload []byte) ([]byte, error) {
		sent = append(sent[:0], payload...)
		requests <- sent
		got = append(got[:0], <-replies...)
		return got, nil
	}
}
