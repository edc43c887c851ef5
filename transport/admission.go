package transport

import (
	"container/list"
	"fmt"
	"net"
	"sync"
	"time"
)

// admission is a listener for clients that bounds their connections: all of them by most, and
// those that have not introduced themselves yet as [strangers] does. Who has: if identities
// are asked for, whoever has made a call with one, else whoever is through the handshakes.
// When all places are taken, the oldest stranger goes for whoever comes.
type admission struct {
	net.Listener
	most       int
	refusals   *refusals
	identities bool
	strangers  strangers

	mu     sync.Mutex
	open   int
	closed bool
}

func newAdmission(lis net.Listener, most int, r *refusals, identities bool) *admission {
	return &admission{Listener: lis, most: most, refusals: r, identities: identities, strangers: strangers{most: maxStrangers}}
}

// Close implements [net.Listener]. Strangers are hung up on: gRPC waits for their handshakes.
func (g *admission) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	err := g.Listener.Close()
	for gone := g.strangers.oldest(); gone != nil; gone = g.strangers.oldest() {
		_ = gone.Close() // whoever serves it learns of it
	}
	return err
}

// Accept implements [net.Listener].
func (g *admission) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.enter() || g.makeRoom() {
			hangUpOnTheDead(raw)
			conn := &admittedConn{Conn: raw, admission: g}
			place, gone := g.strangers.come(conn)
			conn.place = place
			if gone != nil {
				g.turnAway(gone)
			}
			if g.isClosed() {
				_ = conn.Close()
			}
			return conn, nil
		}
		_ = raw.Close()
		g.refusals.tell("turned away a client, because there are too many connections",
			"from", raw.RemoteAddr(), "limit", fmt.Sprintf("%d connections; see who opens them, or spread them over the nodes", g.most))
	}
}

// makeRoom has a stranger give up its place for whoever comes.
func (g *admission) makeRoom() bool {
	gone := g.strangers.oldest()
	if gone == nil {
		return false
	}
	g.turnAway(gone)
	return g.enter()
}

func (g *admission) turnAway(gone net.Conn) {
	_ = gone.Close() // whoever serves it learns of it
	g.refusals.tell("turned away a client, because too many others have not introduced themselves yet", "from", gone.RemoteAddr())
}

func (g *admission) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

func (g *admission) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.most {
		return false
	}
	g.open++
	return true
}

func (g *admission) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
}

type admittedConn struct {
	net.Conn
	admission *admission
	place     *list.Element
	once      sync.Once
}

// SetDeadline without a time is what gRPC says when the handshakes, of TLS and HTTP/2, are
// over: until then there is one.
func (c *admittedConn) SetDeadline(t time.Time) error {
	if t.IsZero() && !c.admission.identities {
		c.known()
	}
	return c.Conn.SetDeadline(t)
}

// known is told that the connection is no stranger's any more.
func (c *admittedConn) known() { c.admission.strangers.leave(c.place) }

// Close implements [net.Conn].
func (c *admittedConn) Close() error {
	c.once.Do(func() {
		c.admission.strangers.leave(c.place)
		c.admission.exit()
	})
	return c.Conn.Close()
}
