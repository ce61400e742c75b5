package peers

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// echoService is written by hand, so that no code has to be generated for a
// service of one method.
var echoService = grpc.ServiceDesc{
	ServiceName: "peers.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := new(wrapperspb.BytesValue)
			if err := decode(request); err != nil {
				return nil, err
			}
			return wrapperspb.Bytes(request.GetValue()), nil
		},
	}},
}

// openGRPC calls over a unix socket.
func openGRPC(tb testing.TB) caller {
	path := filepath.Join(tb.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&echoService, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	client, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := client.Close(); err != nil {
			tb.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return func(payload []byte) ([]byte, error) {
		reply := new(wrapperspb.BytesValue)
		err := client.Invoke(context.Background(), "/peers.Echo/Echo", wrapperspb.Bytes(payload), reply)
		return reply.GetValue(), err
	}
}
