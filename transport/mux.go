package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema/internal/seldom"
)

// StreamKind says what a connection between nodes is for.
type StreamKind byte

// The kinds of streams. Numbers are on the wire: append only.
const (
	RaftStream StreamKind = 1 // raft's own RPCs
	GRPCStream StreamKind = 2 // sema.v1, from node to node
)

// The first bytes of a connection between nodes: "SEMA", version, kind, cluster
// id. The other side answers with one byte, and the stream begins.
const (
	helloMagic   = "SEMA"
	helloVersion = 1
	helloSize    = len(helloMagic) + 2 + 16
	helloTimeout = 3 * time.Second
	maxHellos    = 1024 // connections that have not introduced themselves yet
)

const (
	helloOK           = 1
	helloOtherCluster = 2
	helloOtherVersion = 3
	helloUnknownKind  = 4
)

// MuxConfig says what a [Mux] shares.
type MuxConfig struct {
	Listener  net.Listener // owned by the Mux from now on
	ClusterID [16]byte     // connections from other clusters are refused
	// Dial connects to another node's port. TCP if nil.
	Dial   func(ctx context.Context, addr string) (net.Conn, error)
	Logger hclog.Logger
}

// Mux shares one port between raft and forwarded calls, so that a node has one
// address for its peers and one to protect. It owns every connection that came
// or went through it and closes them all with itself.
//
// Goroutines: one that accepts, and one for each connection until it has
// introduced itself; Close waits for them.
type Mux struct {
	cfg     MuxConfig
	streams map[StreamKind]chan net.Conn // fixed after NewMux
	closing chan struct{}
	life    context.Context // of connections that are being made
	end     context.CancelFunc
	hellos  chan struct{} // bounds the connections that say hello
	wg      sync.WaitGroup
	refused *seldom.Gate // what is logged of strangers

	mu     sync.Mutex
	conns  map[*muxConn]struct{}
	closed bool
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
		cfg:     cfg,
		streams: map[StreamKind]chan net.Conn{RaftStream: make(chan net.Conn), GRPCStream: make(chan net.Conn)},
		closing: make(chan struct{}),
		hellos:  make(chan struct{}, maxHellos),
		conns:   map[*muxConn]struct{}{},
		refused: seldom.NewGate(10*time.Second, 10),
	}
	m.life, m.end = context.WithCancel(context.Background())
	m.wg.Go(m.accept)
	return m
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

// Dial connects to another node for one kind of stream. An error says if that
// port belongs to another cluster. It ends with the Mux.
func (m *Mux) Dial(ctx context.Context, kind StreamKind, addr string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	raw, err := m.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn, err := m.own(raw)
	if err != nil {
		return nil, err
	}
	if err := m.introduce(ctx, conn, kind); err != nil {
		_ = conn.Close() // the first error is the one that tells
		return nil, fmt.Errorf("node at %s: %w", addr, err)
	}
	return conn, nil
}

func (m *Mux) introduce(ctx context.Context, conn net.Conn, kind StreamKind) error {
	deadline := time.Now().Add(helloTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	hello := append([]byte(helloMagic), helloVersion, byte(kind))
	if _, err := conn.Write(append(hello, m.cfg.ClusterID[:]...)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("no answer to the introduction: %w", err)
	}
	switch answer[0] {
	case helloOK:
		return conn.SetDeadline(time.Time{})
	case helloOtherCluster:
		return errors.New("it belongs to another cluster: check --peers and --cluster-name on both")
	case helloOtherVersion:
		return errors.New("it speaks another version of the protocol between nodes")
	}
	return fmt.Errorf("introduction refused with code %d", answer[0])
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
				if omitted, ok := m.refused.Pass(); ok {
					m.cfg.Logger.Warn("cannot accept connections from other nodes", "error", err, "linesLeftOut", omitted)
				}
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
			m.wg.Go(func() { m.welcome(conn) })
		default:
			_ = conn.Close() // a flood of strangers: the peers try again
		}
	}
}

// welcome hears a connection's introduction, within helloTimeout and without
// allocating, and passes it on.
func (m *Mux) welcome(conn *muxConn) {
	defer func() { <-m.hellos }()
	kind, code, err := m.hear(conn)
	if err != nil || code != helloOK {
		if omitted, ok := m.refused.Pass(); ok {
			m.cfg.Logger.Warn("turned away a connection to the raft port", "from", conn.RemoteAddr(), "code", code, "error", err, "linesLeftOut", omitted)
		}
		_ = conn.Close()
		return
	}
	select {
	case m.streams[kind] <- conn:
	case <-m.closing:
	}
}

func (m *Mux) hear(conn net.Conn) (kind StreamKind, code byte, err error) {
	var hello [helloSize]byte
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return 0, 0, err
	}
	if _, err := io.ReadFull(conn, hello[:]); err != nil {
		return 0, 0, err
	}
	rest := hello[len(helloMagic):]
	kind = StreamKind(rest[1])
	switch {
	case string(hello[:len(helloMagic)]) != helloMagic:
		return 0, 0, errors.New("not a node of Sema")
	case rest[0] != helloVersion:
		code = helloOtherVersion
	case m.streams[kind] == nil:
		code = helloUnknownKind
	case [16]byte(rest[2:]) != m.cfg.ClusterID:
		code = helloOtherCluster
	default:
		code = helloOK
	}
	if _, err := conn.Write([]byte{code}); err != nil {
		return 0, code, err
	}
	return kind, code, conn.SetDeadline(time.Time{})
}

// own makes the Mux close the connection with itself.
func (m *Mux) own(raw net.Conn) (*muxConn, error) {
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
	mux *Mux
}

func (c *muxConn) Close() error {
	c.mux.mu.Lock()
	delete(c.mux.conns, c)
	c.mux.mu.Unlock()
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
