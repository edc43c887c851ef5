package memnet

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is one end of a connection. What it owns is its two turns and deadlines; what
// is under way is in two streams, each written at one end and read at the other.
type conn struct {
	host  *Host
	peer  *conn
	local Addr
	in    *stream // what the peer sends

	once   sync.Once
	closed chan struct{} // by this end
	lost   atomic.Bool   // the machine knows nothing of it any more

	reading, writing            turn
	readDeadline, writeDeadline deadline
}

// newConn returns the dialling end.
func newConn(from, to *Host, addr net.Addr) *conn {
	end := func(h, other *Host, local Addr) *conn {
		return &conn{host: h, local: local, in: newStream(other, h), closed: make(chan struct{}),
			reading: make(turn, 1), writing: make(turn, 1)}
	}
	a, b := end(from, to, from.freeAddr()), end(to, from, Addr(addr.String()))
	a.peer, b.peer = b, a
	return a
}

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if err != nil && err != io.EOF {
		err = c.err("read", err)
	}
	return n, err
}

func (c *conn) read(p []byte) (int, error) {
	if !c.reading.begin(c.closed) {
		return 0, net.ErrClosed
	}
	defer c.reading.end()
	for {
		c.host.gate.Pass(c.closed)
		if err := c.usable(&c.readDeadline); err != nil || len(p) == 0 {
			return 0, err
		}
		n, due, err := c.in.take(p)
		if err == syscall.ECONNRESET {
			c.breakBoth(err)
		}
		if n > 0 || err != nil {
			return n, err
		}
		c.readDeadline.wait(c.in.readable, due)
	}
}

// Write implements [net.Conn].
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.write(p)
	if err != nil {
		err = c.err("write", err)
	}
	return n, err
}

func (c *conn) write(p []byte) (written int, err error) {
	if !c.writing.begin(c.closed) {
		return 0, net.ErrClosed
	}
	defer c.writing.end()
	for {
		c.host.gate.Pass(c.closed)
		if err := c.usable(&c.writeDeadline); err != nil {
			return written, err
		}
		n, due, err := c.peer.in.put(p[written:])
		if written += n; err != nil || written == len(p) {
			return written, err
		}
		c.writeDeadline.wait(c.peer.in.writable, due)
	}
}

// usable returns why this end cannot be used now.
func (c *conn) usable(d *deadline) error {
	switch {
	case c.isClosed():
		return net.ErrClosed
	case c.lost.Load():
		return syscall.ECONNRESET
	}
	return d.passed()
}

func (c *conn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func (c *conn) err(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.peer.local, Err: err}
}

// Close implements [net.Conn]. The peer reads what was sent before, and then the
// end, when the link lets it. From a machine that is down it hears nothing.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		heard := c.peer.in.finish()
		c.in.abandon(heard) // the peer need not wait for room
		c.forgetIfOver()
	})
	return nil
}

// drop ends the connection at this end, whose machine knows nothing of it any more.
// The other hears so as soon as the link lets it.
func (c *conn) drop() {
	c.lost.Store(true)
	c.peer.in.reset()
	c.in.abandon(time.Time{})
	c.forgetIfOver()
}

// breakBoth ends the connection at both ends at once.
func (c *conn) breakBoth(err error) {
	c.in.fail(err)
	c.peer.in.fail(err)
	c.forget()
}

// forgetIfOver forgets the connection when both ends are gone. Each end is marked as
// gone before it looks at the other, so one of the two sees it.
func (c *conn) forgetIfOver() {
	gone := func(c *conn) bool { return c.isClosed() || c.lost.Load() }
	if gone(c) && gone(c.peer) {
		c.forget()
	}
}

func (c *conn) forget() {
	n := c.host.net
	n.mu.Lock()
	delete(n.conns, c)
	delete(n.conns, c.peer)
	n.mu.Unlock()
}

// LocalAddr implements [net.Conn].
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *conn) RemoteAddr() net.Addr { return c.peer.local }

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t) // cannot fail
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.readDeadline.set(t) {
		signal(c.in.readable)
	}
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.writeDeadline.set(t) {
		signal(c.peer.in.writable)
	}
	return nil
}
