package transport

import (
	"container/list"
	"fmt"
	"net"
	"sync"
	"time"
)

// gate is a listener for clients that bounds their connections: all of them by most, and
// those that have not introduced themselves yet as [strangers] does.
type gate struct {
	net.Listener
	most      int
	refusals  *refusals
	strangers strangers

	mu   sync.Mutex
	open int
}

func newGate(lis net.Listener, most int, r *refusals) *gate {
	return &gate{Listener: lis, most: most, refusals: r, strangers: strangers{most: maxStrangers}}
}

// Accept implements [net.Listener].
func (g *gate) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.enter() {
			hangUpOnTheDead(raw)
			conn := &gateConn{Conn: raw, gate: g}
			place, gone := g.strangers.come(conn)
			conn.place = place
			if gone != nil {
				_ = gone.Close() // whoever serves it learns of it
				g.refusals.tell("turned away a client, because too many others have not introduced themselves yet", "from", gone.RemoteAddr())
			}
			return conn, nil
		}
		_ = raw.Close()
		g.refusals.tell("turned away a client, because there are too many connections",
			"from", raw.RemoteAddr(), "limit", fmt.Sprintf("%d connections; see who opens them, or spread them over the nodes", g.most))
	}
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.most {
		return false
	}
	g.open++
	return true
}

func (g *gate) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
}

// userTimeout is how long what was sent to a client may stay without an acknowledgement
// of its machine. gRPC sets it, too, where it sees a [net.TCPConn].
const userTimeout = 10 * time.Second

type gateConn struct {
	net.Conn
	gate  *gate
	place *list.Element
	once  sync.Once
}

// SetDeadline without a time is what gRPC says when the handshakes, of TLS and HTTP/2, are
// over: until then there is one.
func (c *gateConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.gate.strangers.leave(c.place)
	}
	return c.Conn.SetDeadline(t)
}

// Close implements [net.Conn].
func (c *gateConn) Close() error {
	c.once.Do(func() {
		c.gate.strangers.leave(c.place)
		c.gate.exit()
	})
	return c.Conn.Close()
}
