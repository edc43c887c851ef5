package transport

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// StreamKind says what a connection between nodes is for.
type StreamKind byte

// The kinds of streams. Numbers are on the wire: append only.
const (
	RaftStream StreamKind = 1 // raft's own RPCs
	GRPCStream StreamKind = 2 // sema.v1, from node to node
	// GuestStream is sema.v1.Door, for nodes that are not members yet: those that do
	// not know the cluster's id too.
	GuestStream StreamKind = 3
)

// MuxConfig says what a [Mux] shares.
type MuxConfig struct {
	Listener net.Listener // owned by the Mux from now on
	// TLS, if set, is asked before every handshake, so that renewed certificates and
	// authorities are used. What counts of its answer are certificates and RootCAs: who
	// is on the other side of a connection, in either direction, must show a certificate of
	// those authorities that [CheckNode] accepts. Safe for use by many goroutines.
	TLS func() *tls.Config
	// Dial connects to another node's port. TCP if nil.
	Dial   func(ctx context.Context, addr string) (net.Conn, error)
	Logger hclog.Logger
	// Claimed, if set, is called when nodes of another cluster have this node for a member
	// of theirs, by the name that it has in its own. It must not block.
	Claimed func()
}

// Mux shares one port between raft and forwarded calls, so that a node has one
// address for its peers and one to protect. It owns every connection that came
// or went through it and closes them all with itself.
//
// It serves guests from the beginning, other nodes of its cluster when it knows its
// cluster ([Mux.Found]), and raft when the node is a member of it ([Mux.Admit]).
//
// Goroutines: one that accepts, and one for each connection until it has
// introduced itself; Close waits for them.
type Mux struct {
	cfg       MuxConfig
	streams   map[StreamKind]chan net.Conn // fixed after NewMux
	closing   chan struct{}
	life      context.Context // of connections that are being made
	end       context.CancelFunc
	strangers strangers
	guests    strangers     // those who were let in as guests, of whom there are few at a time
	hellos    chan struct{} // bounds the goroutines that hear them
	refusals  *refusals
	wg        sync.WaitGroup

	mu      sync.Mutex
	cluster [16]byte // zero: not known yet
	member  string   // as which this node is a member; "": it is not, as far as it knows
	conns   map[*muxConn]struct{}
	closed  bool
}

// NewMux starts to accept connections.
func NewMux(cfg MuxConfig) *Mux {
	if cfg.Dial == nil {
		var dialer net.Dialer
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) }
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	m := &Mux{
		cfg:       cfg,
		streams:   map[StreamKind]chan net.Conn{RaftStream: make(chan net.Conn), GRPCStream: make(chan net.Conn), GuestStream: make(chan net.Conn)},
		closing:   make(chan struct{}),
		strangers: strangers{most: maxStrangers},
		guests:    strangers{most: maxGuests},
		hellos:    make(chan struct{}, maxHellos),
		refusals:  newRefusals(cfg.Logger),
		conns:     map[*muxConn]struct{}{},
	}
	m.life, m.end = context.WithCancel(context.Background())
	m.wg.Go(m.accept)
	return m
}

// Found says which cluster this is. Connections of others are refused, but for guests.
func (m *Mux) Found(cluster [16]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cluster = cluster
}

// Admit lets raft's streams pass, in both directions, and says as which member of the
// cluster: streams for another one are refused. So nobody who got the address of a
// member, or its place with an empty disk, votes in its stead.
func (m *Mux) Admit(member string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.member = member
}

func (m *Mux) self() (cluster [16]byte, member string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cluster, m.member
}

// Close closes the listener and every connection, and waits. It is idempotent.
func (m *Mux) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	conns := m.conns
	m.conns = nil
	close(m.closing)
	m.mu.Unlock()
	m.end()
	err := m.cfg.Listener.Close()
	for c := range conns {
		_ = c.Conn.Close() // whoever uses it learns of it
	}
	m.wg.Wait()
	return err
}

// Dial connects to another node for one kind of stream; to that member, unless it is
// "". An error says if that port belongs to another cluster. It ends with the Mux.
func (m *Mux) Dial(ctx context.Context, kind StreamKind, addr, member string) (net.Conn, error) {
	cluster, self := m.self()
	if kind == RaftStream && self == "" {
		return nil, errors.New("this node is no member of the cluster yet")
	}
	if len(member) > maxMember {
		return nil, fmt.Errorf("the member %q has too long a name", member)
	}
	hello := append([]byte(helloMagic), helloVersion, byte(kind))
	hello = append(append(hello, cluster[:]...), byte(len(member)))
	hello = append(hello, member...)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	raw, err := m.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	own, err := m.own(raw)
	if err != nil {
		return nil, err
	}
	conn, err := m.introduce(ctx, own, hello)
	if err != nil {
		_ = own.Close() // the first error is the one that tells
		return nil, fmt.Errorf("node at %s: %w", addr, err)
	}
	return conn, nil
}

// Listener returns the listener for one kind of stream. It ends with the Mux if
// it is not closed before.
func (m *Mux) Listener(kind StreamKind) net.Listener {
	return &muxListener{mux: m, conns: m.streams[kind], closed: make(chan struct{})}
}

// Addr returns the address of the shared port.
func (m *Mux) Addr() net.Addr { return m.cfg.Listener.Addr() }

func (m *Mux) accept() {
	for backoff := 5 * time.Millisecond; ; {
		raw, err := m.cfg.Listener.Accept()
		if err != nil {
			select {
			case <-m.closing:
				return
			case <-time.After(backoff): // such as too many open files: it may pass
				m.refusals.tell("cannot accept connections from other nodes", "error", err)
				backoff = min(2*backoff, time.Second)
				continue
			}
		}
		backoff = 5 * time.Millisecond
		conn, err := m.own(raw)
		if err != nil {
			return // closing
		}
		select {
		case m.hellos <- struct{}{}:
			place, gone := m.strangers.come(conn)
			if gone != nil {
				_ = gone.Close() // who hears it logs why
			}
			m.wg.Go(func() { m.welcome(conn, place) })
		default:
			_ = conn.Close() // a flood: the peers try again
		}
	}
}

// welcome hears a connection's introduction, within helloTimeout, and passes it on.
// Nothing that a stranger says makes it allocate before the TLS handshake, or without TLS
// the introduction, has succeeded.
func (m *Mux) welcome(own *muxConn, place *list.Element) {
	defer func() { <-m.hellos }()
	conn, kind, err := m.meet(own)
	m.strangers.leave(place)
	if err != nil {
		_ = own.Close()
		select {
		case <-m.closing:
		default:
			m.refusals.tell("turned away a connection to the raft port", "from", own.RemoteAddr(), "reason", err)
		}
		return
	}
	if kind == GuestStream {
		place, gone := m.guests.come(own)
		if own.guest.Store(place); gone != nil {
			_ = gone.Close() // whoever serves it learns of it
		}
	}
	select {
	case m.streams[kind] <- conn:
	case <-m.closing:
	case <-time.After(helloTimeout): // nobody takes such streams yet: it will ask again
		_ = conn.Close()
	}
}

// own makes the Mux close the connection with itself.
func (m *Mux) own(raw net.Conn) (*muxConn, error) {
	hangUpOnTheDead(raw)
	conn := &muxConn{Conn: raw, mux: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	m.conns[conn] = struct{}{}
	return conn, nil
}

type muxConn struct {
	net.Conn
	mux   *Mux
	guest atomic.Pointer[list.Element] // its place among the guests
}

func (c *muxConn) Close() error {
	c.mux.mu.Lock()
	delete(c.mux.conns, c)
	c.mux.mu.Unlock()
	if place := c.guest.Load(); place != nil {
		c.mux.guests.leave(place)
	}
	return c.Conn.Close()
}

type muxListener struct {
	mux    *Mux
	conns  <-chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *muxListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.mux.closing:
		return nil, net.ErrClosed
	}
}

// Close makes Accept return. The port stays open for the other kinds.
func (l *muxListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *muxListener) Addr() net.Addr { return l.mux.Addr() }
