package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// Peers keeps one gRPC connection to each other node, over the nodes' own ports.
// Connections are made when first used. Safe for use by many goroutines.
type Peers struct {
	dial func(ctx context.Context, addr string) (net.Conn, error)

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn // by raft address; bounded by the membership
	closed bool
}

// NewPeers returns Peers that reach a node with dial.
func NewPeers(dial func(ctx context.Context, addr string) (net.Conn, error)) *Peers {
	return &Peers{dial: dial, conns: map[string]*grpc.ClientConn{}}
}

// Client returns a client of the node at this raft address. It does not wait
// for a connection.
func (p *Peers) Client(addr string) (semav1.SemaClient, error) {
	conn, err := p.conn(addr)
	if err != nil {
		return nil, err
	}
	return semav1.NewSemaClient(conn), nil
}

// Backup is Client for backups.
func (p *Peers) Backup(addr string) (semav1.BackupClient, error) {
	conn, err := p.conn(addr)
	if err != nil {
		return nil, err
	}
	return semav1.NewBackupClient(conn), nil
}

func (p *Peers) conn(addr string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, sema.ErrClosed
	}
	conn := p.conns[addr]
	if conn == nil {
		var err error
		conn, err = grpc.NewClient("passthrough:///"+addr,
			grpc.WithContextDialer(p.dial),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(ReconnectParams),
			// A node that vanished without a word is noticed within 15 s.
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
			grpc.WithStaticStreamWindowSize(1<<20),
			grpc.WithStaticConnWindowSize(1<<20),
			SentOption())
		if err != nil {
			return nil, err
		}
		p.conns[addr] = conn
	}
	return conn, nil
}

// Close closes all connections. It is idempotent.
func (p *Peers) Close() error {
	p.mu.Lock()
	conns := p.conns
	p.conns, p.closed = nil, true
	p.mu.Unlock()
	var errs []error
	for _, conn := range conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// ReconnectParams is how gRPC connections of Sema come back: within a second,
// because a node that restarts is needed at once. gRPC's own default waits for
// up to two minutes.
var ReconnectParams = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 2 * time.Second,
}
