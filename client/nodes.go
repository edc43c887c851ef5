package client

import (
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

const (
	// avoidFor is how long an address is left alone that could not be reached.
	avoidFor = 10 * time.Second
	// maxHinted bounds the connections to addresses that are no endpoints.
	maxHinted = 8
)

// node is one address with its connection.
type node struct {
	addr       string
	conn       *grpc.ClientConn // nil if the node is this process
	client     semav1.SemaClient
	stream     *transport.Stream // nil: every call is one of its own
	probe      probe
	avoidUntil time.Time // guarded by nodes.mu
}

func (n *node) connected() bool { return n.conn == nil || n.conn.GetState() == connectivity.Ready }

// close ends the calls under way.
func (n *node) close() error {
	err := n.conn.Close() // so that the stream is not waited for
	if n.stream != nil {
		n.stream.Close()
	}
	return err
}

// usable reports whether n may be asked, unless there is nobody else. nodes.mu is
// held.
func (n *node) usable(now time.Time) bool { return !n.avoidUntil.After(now) || n.connected() }

// nodes knows the addresses of the cluster and which of them to ask.
type nodes struct {
	options []grpc.DialOption
	token   *tokenCredentials // nil: none
	unary   bool              // no exchanges
	local   bool              // the only node is this process, which passes calls on itself

	mu        sync.Mutex
	closed    bool
	endpoints []*node // as configured
	hinted    []*node // leaders that were heard of, the oldest first
	turn      int     // of the endpoints: whose it is while home is nil
	home      *node   // who is asked: answered last, or was named as the leader. May be nil
	better    *node   // the leader according to home; asked once it is connected. May be nil
}

// newNodes prepares a connection to each endpoint. None is made yet.
func newNodes(cfg Config) (*nodes, error) {
	creds := cfg.Credentials
	switch {
	case cfg.TLS != nil:
		creds = credentials.NewTLS(cfg.TLS)
	case creds == nil:
		creds = insecure.NewCredentials()
	}
	ns := &nodes{unary: cfg.Unary, token: newTokenCredentials(cfg), options: []grpc.DialOption{
		grpc.WithStaticStreamWindowSize(1 << 20), grpc.WithStaticConnWindowSize(1 << 20),
		grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(transport.ReconnectParams),
		transport.SentOption(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(transport.MaxMessageBytes)),
		// A host that vanished without a word is noticed within 15 s, also
		// between calls.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
	}}
	ns.options = append(ns.options, cfg.DialOptions...)
	for _, addr := range cfg.Endpoints {
		n, err := ns.newNode(addr)
		if err != nil {
			return nil, errors.Join(err, ns.close())
		}
		ns.endpoints = append(ns.endpoints, n)
	}
	return ns, nil
}

// localNodes is the one node that is this process.
func localNodes(svc semav1.SemaClient) *nodes {
	return &nodes{local: true, endpoints: []*node{{addr: "this node", client: svc}}}
}

func (ns *nodes) newNode(addr string) (*node, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, append(ns.options[:len(ns.options):len(ns.options)], ns.token.option(addr))...)
	if err != nil {
		return nil, err
	}
	n := &node{addr: addr, conn: conn, client: semav1.NewSemaClient(conn)}
	if !ns.unary {
		n.stream = transport.NewStream(conn)
	}
	return n, nil
}

// pick returns the node to ask next. It is none of spent, those that failed the
// same call, before all endpoints are: then a new round begins.
func (ns *nodes) pick(spent []*node) (n *node, newRound bool, err error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.closed {
		return nil, false, sema.ErrClosed
	}
	if ns.better != nil && ns.better.connected() {
		ns.home, ns.better = ns.better, nil
	}
	if ns.home != nil && !slices.Contains(spent, ns.home) {
		return ns.home, false, nil
	}
	now := time.Now()
	for i := range ns.endpoints {
		switch e := ns.endpoints[(ns.turn+i)%len(ns.endpoints)]; {
		case slices.Contains(spent, e):
		case e.usable(now):
			return e, false, nil
		case n == nil:
			n = e // a poor chance is better than none
		}
	}
	if n != nil {
		return n, false, nil
	}
	return ns.endpoints[ns.turn], true, nil
}

// answered notes that n is alive, and that leader, unless empty, is the address
// to which it passed the call on.
func (ns *nodes) answered(n *node, leader string) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n.avoidUntil = time.Time{}
	if ns.home == nil {
		ns.home = n
	}
	if leader == "" {
		ns.better = nil
	} else if l := ns.find(leader); l != nil && l != ns.home {
		ns.better = l
		l.conn.Connect()
	}
}

// failed moves on from n. An unreachable node is avoided for a while.
func (ns *nodes) failed(n *node, unreachable bool) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.leave(n)
	if unreachable {
		n.avoidUntil = time.Now().Add(avoidFor)
	}
}

// redirected moves on from n to the leader that it named, and reports whether
// that one is worth asking at once.
func (ns *nodes) redirected(n *node, leader string) bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.leave(n)
	l := ns.find(leader)
	if l == nil || l == n {
		return false
	}
	if !l.usable(time.Now()) {
		l.conn.Connect() // and be asked as soon as that succeeds
		return false
	}
	ns.home = l
	return true
}

// leave sees to it that n is not asked next. ns.mu is held.
func (ns *nodes) leave(n *node) {
	if ns.home == n {
		ns.home = nil
	}
	if ns.better == n {
		ns.better = nil
	}
	if i := slices.Index(ns.endpoints, n); i >= 0 {
		ns.turn = (i + 1) % len(ns.endpoints)
	}
}

// find returns the node at this address, a new one if need be. It returns nil
// if the address is none: it comes from the network. ns.mu is held.
func (ns *nodes) find(addr string) *node {
	for _, n := range ns.endpoints {
		if n.addr == addr {
			return n
		}
	}
	for _, n := range ns.hinted {
		if n.addr == addr {
			return n
		}
	}
	if ns.closed || ns.local || !validAddr(addr) {
		return nil
	}
	if len(ns.hinted) == maxHinted {
		ns.dropHinted()
	}
	n, err := ns.newNode(addr)
	if err != nil {
		return nil
	}
	ns.hinted = append(ns.hinted, n)
	return n
}

// dropHinted closes the connection that was heard of first and is not in use.
// ns.mu is held.
func (ns *nodes) dropHinted() {
	for i, n := range ns.hinted {
		if n != ns.home && n != ns.better {
			ns.hinted = slices.Delete(ns.hinted, i, i+1)
			_ = n.close() // a call on it is tried elsewhere
			return
		}
	}
}

// close closes all connections, which ends the calls on them. It is idempotent.
func (ns *nodes) close() error {
	ns.mu.Lock()
	all := slices.Concat(ns.endpoints, ns.hinted)
	ns.endpoints, ns.hinted, ns.closed = nil, nil, true
	ns.mu.Unlock()
	var errs []error
	for _, n := range all {
		if n.conn != nil {
			errs = append(errs, n.close())
		}
	}
	return errors.Join(errs...)
}
