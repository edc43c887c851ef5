package transport_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(attackDir); dir != "" {
		os.Exit(attacker(dir))
	}
	goleak.VerifyTestMain(m)
}

// member is a node on loopback, and a client of it. Its raft address, through
// which peers reach it, is its gRPC address.
type member struct {
	fakenode.Node
	client semav1.SemaClient
	id     string
	addr   string
	conn   *grpc.ClientConn
	server *transport.Server
	kill   func() // at once, with all its connections
}

// serve starts a member. peers, if not nil, makes it pass calls on.
func serve(t testing.TB, id string, peers *transport.Peers) *member {
	t.Helper()
	return serveAwaiting(t, id, peers, nil)
}

// serveAwaiting starts a member whose calls wait for a leader.
func serveAwaiting(t testing.TB, id string, peers *transport.Peers, leaders transport.Leaders) *member {
	t.Helper()
	return serveBackend(t, id, nil, peers, leaders)
}

// serveBackend starts a member with this backend instead of the fake node.
func serveBackend(t testing.TB, id string, backend transport.Backend, peers *transport.Peers, leaders transport.Leaders) *member {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &member{id: id, addr: lis.Addr().String()}
	if backend == nil {
		backend = &m.Node
	}
	m.server = transport.NewServer(transport.ServerConfig{NodeID: id, Backend: backend, Peers: peers, Leaders: leaders})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.server.Serve(lis)
	}()
	m.conn, err = grpc.NewClient("passthrough:///"+m.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), transport.SentOption())
	if err != nil {
		t.Fatal(err)
	}
	m.client = semav1.NewSemaClient(m.conn)
	m.kill = sync.OnceFunc(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		m.server.Stop(now)
		<-done
	})
	t.Cleanup(func() {
		_ = m.conn.Close()
		m.kill()
	})
	return m
}

// passing returns Peers that reach members over TCP.
func passing(t testing.TB) *transport.Peers {
	peers := transport.NewPeers(func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	})
	t.Cleanup(func() { _ = peers.Close() })
	return peers
}

// follows makes m say that somebody else leads, at this raft address.
func (m *member) follows(id, raftAddr string) {
	m.Intercept(func(context.Context, any, func() error) error {
		return &sema.NotLeaderError{Leader: sema.Leader{ID: id, RaftAddr: raftAddr, GRPCAddr: "clients.of." + id + ":1"}}
	})
}

// within returns a context that ends after d.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
