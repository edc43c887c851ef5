package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/internal/seldom"
	"github.com/semanode/sema/internal/session"
	"github.com/semanode/sema/transport"
)

// Node is one running member of a cluster. It implements [sema.Service]: on the
// leader its calls are decided by the log, elsewhere they return
// [sema.NotLeaderError]. See the package documentation for its goroutines.
type Node struct {
	cfg     Config
	log     hclog.Logger
	session *session.Session

	record   record        // what the disk was made for
	members  membership    // as committed
	changing chan struct{} // holds one token: somebody changes the membership

	machine  *fsm.Machine
	disk     host.Disk
	store    *store
	mux      *transport.Mux
	trans    *raftTransport
	ownLog   *parallelLog
	raft     *raft.Raft
	peers    *transport.Peers
	addrs    addressBook
	watcher  *watcher
	progress progress
	office   atomic.Pointer[office] // nil: not leading
	saving   atomic.Bool            // a backup is being taken

	access       *access.Control  // nil: everybody may do everything
	local        *transport.Local // for Client
	peerServer   *transport.Server
	doorServer   *transport.DoorServer
	clientServer *transport.Server // nil without GRPCAddr
	grpcLis      net.Listener      // nil without GRPCAddr
	grpcAddr     string            // as told to clients

	meters     *meters
	registered bool // with cfg.Metrics
	overload   overload
	tracer     tracer
	slowLines  *seldom.Gate

	cancel context.CancelFunc // ends the node's own goroutines
	wg     sync.WaitGroup     // counts them

	claimedOnce sync.Once // it was said that another cluster claims this node

	begin     sync.Once
	ending    chan struct{} // closed when the end begins
	abrupt    sync.Once
	hurry     chan struct{} // closed when the end need not be graceful: Kill, or a fault
	abortOnce sync.Once
	aborted   chan struct{} // closed when raft is no longer waited for
	done      chan struct{} // closed at the end
	closeErr  error         // set before done is closed

	endMu sync.Mutex // guards cause
	cause error      // the first fault
}

var (
	_ sema.Waiter = (*Node)(nil)
	_ sema.Forker = (*Node)(nil)
)

// Open starts a node and returns when it runs; it need not have found a leader
// yet, see [Node.WaitLeader]. ctx bounds the opening only. On an error nothing
// is left behind but, possibly, a data directory that was claimed.
//
// Errors that match [sema.ErrInvalid] are faults of the configuration; all
// others say what about the address, the directory or the disk is in the way.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	exposed := cfg.exposed()
	cfg = cfg.withDefaults()
	n := &Node{
		cfg:      cfg,
		log:      cfg.Logger,
		machine:  fsm.New(),
		watcher:  newWatcher(),
		changing: make(chan struct{}, 1),
		ending:   make(chan struct{}),
		hurry:    make(chan struct{}),
		aborted:  make(chan struct{}),
		done:     make(chan struct{}),
		meters:   new(meters),

		slowLines: seldom.NewGate(10*time.Second, 2),
	}
	if cfg.Metrics != nil {
		n.meters = newMeters()
	}
	n.tracer.init(cfg.TracerProvider)
	n.machine.Know(n.level())
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.releaseAll())
	}
	for _, port := range exposed {
		n.log.Warn("listening without TLS: whoever reaches the port can "+port.may, port.field, port.addr)
	}
	return n, nil
}

// open acquires what the node needs, in an order in which everything acquired
// so far can be given back.
func (n *Node) open(ctx context.Context) error {
	if err := n.openAccess(); err != nil {
		return err
	}
	founding, err := n.openDisk()
	if err != nil {
		return err
	}
	if err := n.listen(ctx, founding); err != nil {
		return err
	}
	if founding.ClusterID == "" {
		if founding, err = n.findCluster(ctx, founding); err != nil {
			return fmt.Errorf("no cluster to join: %w", err)
		}
	}
	n.belong(founding)
	if err := n.openLog(founding); err != nil {
		return err
	}
	st := &store{disk: n.disk, clock: n.cfg.Host.Clock, limit: n.cfg.WatchdogTimeout, fail: n.fail, opened: make(chan struct{}),
		slowly: n.tellSlow, logWrites: n.meters.logWrites, termWrites: n.meters.termWrites}
	n.store = st
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := n.startRaft(st, founding); err != nil {
		return err
	}
	close(st.opened)
	n.session = session.New(n.Backend(), session.NewClientID())
	if err := n.register(); err != nil {
		return err
	}
	n.start()
	return nil
}

// listen takes the node's ports.
func (n *Node) listen(ctx context.Context, founding foundingRecord) error {
	network := n.cfg.Host.Network
	lis, err := network.Listen(ctx, n.cfg.RaftAddr)
	if err != nil {
		return fmt.Errorf("raft address: %w", err)
	}
	n.mux = transport.NewMux(transport.MuxConfig{Listener: lis, TLS: n.cfg.PeerTLS, Dial: network.Dial, Logger: n.log, Claimed: n.claimed})
	peers, err := ParsePeers(founding.Peers)
	if err != nil {
		return err
	}
	self := advertised(lis.Addr().String())
	for _, p := range peers {
		if p.ID == n.cfg.ID && !founding.Joined {
			self = advertised(p.Addr)
		}
	}
	if n.cfg.RaftAdvertise != "" {
		self = advertised(n.cfg.RaftAdvertise)
	} else if _, told, _ := net.SplitHostPort(string(self)); !strings.HasSuffix(n.cfg.RaftAddr, ":0") && !strings.HasSuffix(lis.Addr().String(), ":"+told) {
		n.log.Warn("others reach this node at another port than it listens on; if it has moved, say so with raft-advertise", "told", string(self), "listening", lis.Addr().String())
	}
	if host, _, _ := net.SplitHostPort(string(self)); founding.Joined && net.ParseIP(host).IsUnspecified() {
		return invalid("raft-advertise", "", "HOST:PORT at which other nodes reach this one, as raft-addr names no host")
	}
	n.trans = newRaftTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                  raftStream{n.mux.Listener(transport.RaftStream), n.mux, self},
		MaxPool:                 3,
		Timeout:                 10 * time.Second,
		Logger:                  n.log.Named("raft"),
		MsgpackUseNewTimeFormat: true,
	}), max(2*n.cfg.ElectionTimeout, time.Second), n.fail)
	n.peers = transport.NewPeers(func(ctx context.Context, addr string) (net.Conn, error) {
		return n.mux.Dial(ctx, transport.GRPCStream, addr, "")
	})
	if n.cfg.GRPCAddr == "" {
		return nil
	}
	if n.grpcLis, err = network.Listen(ctx, n.cfg.GRPCAddr); err != nil {
		return fmt.Errorf("grpc address: %w", err)
	}
	n.grpcAddr = advertisedGRPC(n.cfg.GRPCAdvertise, n.grpcLis.Addr())
	return nil
}

// belong makes the node one of this cluster.
func (n *Node) belong(founding foundingRecord) {
	n.record.set(founding)
	if id, known := founding.cluster(); known {
		n.mux.Found(id)
	}
}

// clusterID is the cluster's id in hexadecimal, "" while it is being founded.
func (n *Node) clusterID() string {
	id, known := n.record.get().cluster()
	if !known {
		return ""
	}
	return hex.EncodeToString(id[:])
}

// advertisedGRPC is what clients are told: nothing, rather than an address that
// means "here" wherever it is read.
func advertisedGRPC(configured string, bound net.Addr) string {
	if configured != "" {
		return configured
	}
	if tcp, ok := bound.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return ""
	}
	return bound.String()
}

// start starts the node's own goroutines, see the package documentation.
func (n *Node) start() {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.local = transport.NewLocal(transport.ServerConfig{NodeID: n.cfg.ID, Backend: n.Backend(), Leaders: n.watcher, Peers: n.peers, Calls: n.meters.within, Tracer: n.tracer.Tracer})
	n.peerServer = transport.NewServer(transport.ServerConfig{NodeID: n.cfg.ID, Backend: n.Backend(), Leaders: n.watcher, FromNodes: true, Calls: n.meters.peers, Tracer: n.tracer.Tracer})
	n.wg.Go(func() { n.serve(n.peerServer, n.mux.Listener(transport.GRPCStream)) })
	if n.grpcLis != nil {
		n.clientServer = transport.NewServer(transport.ServerConfig{NodeID: n.cfg.ID, Backend: n.Backend(), Leaders: n.watcher, Peers: n.peers,
			Calls: n.meters.clients, Tracer: n.tracer.Tracer, TLS: n.cfg.TLS, MaxConns: n.cfg.MaxConns, FromClients: true, Logger: n.log, Access: n.access, InsecureTokens: n.cfg.InsecureTokens})
		n.wg.Go(func() { n.serve(n.clientServer, n.grpcLis) })
	}
	n.doorServer = transport.NewDoorServer(n)
	n.wg.Go(func() { n.serve(n.doorServer, n.mux.Listener(transport.GuestStream)) })
	n.wg.Go(func() { n.enter(ctx) })
	n.wg.Go(func() { n.lead(ctx) })
	n.wg.Go(func() { n.watchLeader(ctx) })
	n.wg.Go(func() { n.askLeader(ctx) })
	n.wg.Go(func() { n.watchMachine(ctx) })
	n.wg.Go(func() { n.watchPeers(ctx) })
	if n.meters.on && n.cfg.Host.OpenDisk == nil {
		n.wg.Go(func() { n.watchSize(ctx) })
	}
	go n.supervise() // waited for through n.done
}

// serve answers until the server is stopped or the node ends.
func (n *Node) serve(s interface{ Serve(net.Listener) error }, lis net.Listener) {
	if err := s.Serve(lis); err != nil && !errors.Is(err, net.ErrClosed) {
		n.fail(fmt.Errorf("serving on %s: %w", lis.Addr(), err))
	}
}

// watchMachine ends the node when the state machine cannot go on.
func (n *Node) watchMachine(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-n.machine.Failed():
		n.fail(n.machine.Err())
	}
}

func (n *Node) setServing(serving bool) {
	if n.clientServer != nil {
		n.clientServer.SetServing(serving)
	}
}

// ID returns the node's id.
func (n *Node) ID() string { return n.cfg.ID }

// RaftAddr returns the address at which the node listens for other nodes.
func (n *Node) RaftAddr() string { return n.mux.Addr().String() }

// GRPCAddr returns the address at which clients reach the node, or "" if it
// serves none or was not told what they see.
func (n *Node) GRPCAddr() string { return n.grpcAddr }

// Acquire implements [sema.Service].
func (n *Node) Acquire(ctx context.Context, name, owner string, timeout time.Duration) (sema.Info, error) {
	return n.session.Acquire(ctx, name, owner, timeout)
}

// AcquireWait implements [sema.Waiter].
func (n *Node) AcquireWait(ctx context.Context, name, owner string, timeout time.Duration, told func(sema.Place)) (sema.Info, error) {
	return n.session.AcquireWait(ctx, name, owner, timeout, told)
}

// Client returns a new client of the cluster in this process: the same as one over
// the network, locks and all, but that it needs no port of the node and no
// connection to it. On a node that does not lead, its calls go to the leader,
// and they survive a change of leader. It ends with the node; closing it ends its
// locks' keepalive.
func (n *Node) Client() *client.Client { return client.NewLocal(n.local, n.log.Named("client")) }

// Touch implements [sema.Service].
func (n *Node) Touch(ctx context.Context, name string) (sema.Info, error) {
	return n.session.Touch(ctx, name)
}

// Release implements [sema.Service].
func (n *Node) Release(ctx context.Context, name string) error { return n.session.Release(ctx, name) }

// Get implements [sema.Service].
func (n *Node) Get(ctx context.Context, name string) (sema.Info, error) {
	return n.session.Get(ctx, name)
}

// Fork implements [sema.Forker]: the same node, with holds of its own.
func (n *Node) Fork() sema.Service { return n.session.Fork() }
