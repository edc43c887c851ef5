package client_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const timeout = 30 * time.Second

// member is a node on loopback. Its Backend is a fake that shares nothing with
// other members: that a retry has the effect of one call is the state machine's
// promise, not the client's.
type member struct {
	fakenode.Node
	addr string
	kill func() // at once, with all its connections
	// names are those of the member that is asked for, look by look; empty: as the fake says.
	names []string
}

// serve starts a member. peers, if not nil, makes it pass calls on.
func serve(t testing.TB, peers *transport.Peers) *member {
	t.Helper()
	return serveAt(t, "127.0.0.1:0", peers)
}

func serveAt(t testing.TB, addr string, peers *transport.Peers) *member {
	t.Helper()
	m := new(member)
	var err error
	if m.addr, m.kill, err = start(addr, transport.ServerConfig{NodeID: "test", Backend: m, Peers: peers}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	return m
}

// start serves on addr until kill is called.
func start(addr string, cfg transport.ServerConfig) (at string, kill func(), err error) {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	server := transport.NewServer(cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(lis)
	}()
	return lis.Addr().String(), sync.OnceFunc(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		server.Stop(now)
		<-done
	}), nil
}

// passing returns Peers for members that pass calls on. Here a node's raft
// address is its gRPC address.
func passing(t testing.TB) *transport.Peers {
	peers := transport.NewPeers(func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	})
	t.Cleanup(func() { _ = peers.Close() })
	return peers
}

// follows makes m a follower of the leader at raftAddr, which tells clients to go
// to grpcAddr.
func (m *member) follows(raftAddr, grpcAddr string) {
	m.Intercept(func(context.Context, any, func() error) error {
		return &sema.NotLeaderError{Leader: sema.Leader{ID: "leader", RaftAddr: raftAddr, GRPCAddr: grpcAddr}}
	})
}

// answers makes m give these answers to the next requests, with no effect; nil
// lets a request pass, and so is it with all that come later.
func (m *member) answers(errs ...error) {
	var mu sync.Mutex
	m.Intercept(func(_ context.Context, _ any, apply func() error) error {
		mu.Lock()
		defer mu.Unlock()
		if len(errs) == 0 {
			return apply()
		}
		err := errs[0]
		errs = errs[1:]
		if err == nil {
			return apply()
		}
		return err
	})
}

// hangs makes m take requests and not answer them. Each is told to asked.
func (m *member) hangs() (asked <-chan any) {
	requests := make(chan any, 1000)
	m.Intercept(func(ctx context.Context, req any, _ func() error) error {
		requests <- req
		<-ctx.Done()
		return ctx.Err()
	})
	return requests
}

// nobody is an address that refuses connections.
func nobody(t testing.TB) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

// blackHole is an address where connections are made and nobody ever speaks.
func blackHole(t testing.TB) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0") // and never accept
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	return lis.Addr().String()
}

// dial returns a client that is in a hurry.
func dial(t testing.TB, endpoints ...string) *client.Client {
	t.Helper()
	return dialWith(t, client.Config{Endpoints: endpoints, BackoffBase: time.Millisecond, BackoffMax: 20 * time.Millisecond})
}

func dialWith(t testing.TB, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// within returns a context that ends after d.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustAcquire(t *testing.T, svc sema.Service, name string) sema.Info {
	t.Helper()
	info, err := svc.Acquire(within(t, 20*time.Second), name, "me", timeout)
	if err != nil || info.Status != sema.Acquired {
		t.Fatalf("acquire %s: %v, %v", name, info.Status, err)
	}
	return info
}

// acquires returns the acquires among a member's requests.
func (m *member) acquires() (all []transport.AcquireRequest) {
	for _, req := range m.Requests() {
		if req, ok := req.(transport.AcquireRequest); ok {
			all = append(all, req)
		}
	}
	return all
}
