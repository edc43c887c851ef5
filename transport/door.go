package transport

import (
	"container/list"
	"fmt"
	"net"
	"sync"
	"time"
)

// door is a listener for clients that bounds their connections: all of them by most, and
// those that have not introduced themselves yet as [strangers] does.
type door struct {
	net.Listener
	most      int
	refusals  *refusals
	strangers strangers

	mu   sync.Mutex
	open int
}

func newDoor(lis net.Listener, most int, r *refusals) *door {
	return &door{Listener: lis, most: most, refusals: r, strangers: strangers{most: maxStrangers}}
}

// Accept implements [net.Listener].
func (d *door) Accept() (net.Conn, error) {
	for {
		raw, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if d.enter() {
			hangUpOnTheDead(raw)
			conn := &doorConn{Conn: raw, door: d}
			place, gone := d.strangers.come(conn)
			conn.place = place
			if gone != nil {
				_ = gone.Close() // whoever serves it learns of it
				d.refusals.tell("turned away a client, because too many others have not introduced themselves yet", "from", gone.RemoteAddr())
			}
			return conn, nil
		}
		_ = raw.Close()
		d.refusals.tell("turned away a client, because there are too many connections",
			"from", raw.RemoteAddr(), "limit", fmt.Sprintf("%d connections; see who opens them, or spread them over the nodes", d.most))
	}
}

func (d *door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.most {
		return false
	}
	d.open++
	return true
}

func (d *door) exit() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
}

// userTimeout is how long what was sent to a client may stay without an acknowledgement
// of its machine. gRPC sets it, too, where it sees a [net.TCPConn].
const userTimeout = 10 * time.Second

type doorConn struct {
	net.Conn
	door  *door
	place *list.Element
	once  sync.Once
}

// SetDeadline without a time is what gRPC says when the handshakes, of TLS and HTTP/2, are
// over: until then there is one.
func (c *doorConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.door.strangers.leave(c.place)
	}
	return c.Conn.SetDeadline(t)
}

// Close implements [net.Conn].
func (c *doorConn) Close() error {
	c.once.Do(func() {
		c.door.strangers.leave(c.place)
		c.door.exit()
	})
	return c.Conn.Close()
}
