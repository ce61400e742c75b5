package peers

import (
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

type (
	echoRequest struct{ payload []byte }
	echoReply   struct{ payload []byte }
)

// openProtoactor calls with RequestFuture, as protoactor's users do.
func openProtoactor(tb testing.TB, callers, receivers int) []caller {
	system := actor.NewActorSystemWithConfig(actor.Configure(actor.WithLoggerFactory(
		func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) })))
	props := actor.PropsFromFunc(func(c actor.Context) {
		if request, ok := c.Message().(*echoRequest); ok {
			c.Respond(&echoReply{append([]byte(nil), request.payload...)})
		}
	})
	echoes := make([]*actor.PID, receivers)
	for i := range echoes {
		echoes[i] = system.Root.Spawn(props)
	}
	tb.Cleanup(func() {
		for _, echo := range echoes {
			if err := system.Root.StopFuture(echo).Wait(); err != nil {
				tb.Error(err)
			}
		}
		system.Shutdown()
	})
	call := func(receiver int, payload []byte) ([]byte, error) {
		request := &echoRequest{append([]byte(nil), payload...)}
		result, err := system.Root.RequestFuture(echoes[receiver], request, 10*time.Second).Result()
		if err != nil {
			return nil, err
		}
		reply, ok := result.(*echoReply)
		if !ok {
			return nil, errors.New("a reply of another type")
		}
		return reply.payload, nil
	}
	return repeated(call, callers)
}

// repeated is one caller that may be used from many goroutines, as many times.
func repeated(call caller, callers int) []caller {
	all := make([]caller, callers)
	for i := range all {
		all[i] = call
	}
	return all
}
