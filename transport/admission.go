package transport

import (
	"container/list"
	"fmt"
	"net"
	"sync"
	"time"
)

// admission is a listener for clients that bounds their connections: all of them by most, and
// those that have not introduced themselves yet as [strangers] does.
type admission struct {
	net.Listener
	most      int
	refusals  *refusals
	strangers strangers

	mu   sync.Mutex
	open int
}

func newAdmission(lis net.Listener, most int, r *refusals) *admission {
	return &admission{Listener: lis, most: most, refusals: r, strangers: strangers{most: maxStrangers}}
}

// Accept implements [net.Listener].
func (g *admission) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.enter() {
			hangUpOnTheDead(raw)
			conn := &admittedConn{Conn: raw, admission: g}
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

// userTimeout is how long what was sent to a client may stay without an acknowledgement
// of its machine. gRPC sets it, too, where it sees a [net.TCPConn].
const userTimeout = 10 * time.Second

type admittedConn struct {
	net.Conn
	admission *admission
	place     *list.Element
	once      sync.Once
}

// SetDeadline without a time is what gRPC says when the handshakes, of TLS and HTTP/2, are
// over: until then there is one.
func (c *admittedConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.admission.strangers.leave(c.place)
	}
	return c.Conn.SetDeadline(t)
}

// Close implements [net.Conn].
func (c *admittedConn) Close() error {
	c.once.Do(func() {
		c.admission.strangers.leave(c.place)
		c.admission.exit()
	})
	return c.Conn.Close()
}
