package peers

import (
	"context"
	"fmt"
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

// openGRPC calls over unix sockets, one for each receiver.
func openGRPC(tb testing.TB, callers, receivers int) []caller {
	clients := make([]*grpc.ClientConn, receivers)
	for i := range clients {
		clients[i] = serveGRPC(tb, filepath.Join(tb.TempDir(), fmt.Sprint("s", i)))
	}
	return repeated(func(receiver int, payload []byte) ([]byte, error) {
		reply := new(wrapperspb.BytesValue)
		err := clients[receiver].Invoke(context.Background(), "/peers.Echo/Echo", wrapperspb.Bytes(payload), reply)
		return reply.GetValue(), err
	}, callers)
}

func serveGRPC(tb testing.TB, path string) *grpc.ClientConn {
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
	return client
}
