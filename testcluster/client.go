package testcluster

import (
	"context"
	"net"

	"google.golang.org/grpc"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/testcluster/internal/gate"
	"github.com/semanode/sema/testcluster/internal/memnet"
)

// Client is the real client, on a machine of its own, which can be cut off and
// paused like a node's.
type Client struct {
	*client.Client
	// Name is that of its machine, for Partition and the like: c1, c2 and so on.
	Name string

	gate  gate.Gate
	net   *memnet.Host
	calls *calls
}

func (cl *Client) dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return cl.net.Dial(ctx, addr) }),
		grpc.WithUnaryInterceptor(cl.calls.unary),
		grpc.WithStreamInterceptor(cl.calls.stream),
	}
}
