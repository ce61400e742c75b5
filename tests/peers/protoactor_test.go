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
func openProtoactor(tb testing.TB) caller {
	system := actor.NewActorSystemWithConfig(actor.Configure(actor.WithLoggerFactory(
		func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) })))
	echo := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if request, ok := c.Message().(*echoRequest); ok {
			c.Respond(&echoReply{append([]byte(nil), request.payload...)})
		}
	}))
	tb.Cleanup(func() {
		if err := system.Root.StopFuture(echo).Wait(); err != nil {
			tb.Error(err)
		}
		system.Shutdown()
	})
	return func(payload []byte) ([]byte, error) {
		request := &echoRequest{append([]byte(nil), payload...)}
		result, err := system.Root.RequestFuture(echo, request, 10*time.Second).Result()
		if err != nil {
			return nil, err
		}
		reply, ok := result.(*echoReply)
		if !ok {
			return nil, errors.New("a reply of another type")
		}
		return reply.payload, nil
	}
}
