package memnet

import (
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes may be under way in one direction of a connection.
const window = 256 << 10

// conn is one end of a connection.
type conn struct {
	host   *Host
	peer   *conn
	local  Addr
	in     *stream // what the peer sends
	once   sync.Once
	closed chan struct{} // by this end

	readDeadline, writeDeadline deadline
}

// newConn returns the dialling end.
func newConn(from, to *Host, addr net.Addr) *conn {
	from.mu.Lock()
	from.nextPort++
	local := Addr(net.JoinHostPort(from.name, strconv.Itoa(from.nextPort)))
	from.mu.Unlock()
	a := &conn{host: from, local: local, in: newStream(to, from), closed: make(chan struct{})}
	b := &conn{host: to, local: Addr(addr.String()), in: newStream(from, to), closed: make(chan struct{})}
	a.peer, b.peer = b, a
	return a
}

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) {
	for {
		c.host.gate.Pass(c.closed)
		if c.isClosed() {
			return 0, c.err("read", net.ErrClosed)
		}
		n, due, err := c.in.take(p)
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		if err == io.EOF {
			return 0, io.EOF
		}
		if err != nil {
			return 0, c.err("read", err)
		}
		if err := wait(c.in.readable, &c.readDeadline, due, c.closed); err != nil {
			return 0, c.err("read", err)
		}
	}
}

// Write implements [net.Conn].
func (c *conn) Write(p []byte) (int, error) {
	written := 0
	out := c.peer.in
	for {
		c.host.gate.Pass(c.closed)
		if c.isClosed() {
			return written, c.err("write", net.ErrClosed)
		}
		n, err := out.put(p[written:])
		if err != nil {
			c.in.fail(syscall.ECONNRESET) // whoever reads learns of it too
			return written, c.err("write", err)
		}
		if written += n; written == len(p) {
			return written, nil
		}
		if err := wait(out.writable, &c.writeDeadline, time.Time{}, c.closed); err != nil {
			return written, c.err("write", err)
		}
	}
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
// end, if the link lets it. From a machine that is down it hears nothing.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		if c.host.down.Load() {
			return // until Up resets it
		}
		c.peer.in.finish()
		c.in.abandon() // the peer need not wait for room
		if c.peer.isClosed() {
			c.forget()
		}
	})
	return nil
}

// breakBoth ends the connection at both ends at once.
func (c *conn) breakBoth(err error) {
	c.in.fail(err)
	c.peer.in.fail(err)
	c.forget()
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
		c.in.poke()
	}
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.writeDeadline.set(t) {
		c.peer.in.poke()
	}
	return nil
}

// deadline is when waiting ends; zero for never.
type deadline struct {
	mu sync.Mutex
	at time.Time
}

// set reports whether the deadline is sooner than before: later ones are found
// when the sooner one would have rung.
func (d *deadline) set(t time.Time) (sooner bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sooner = !t.IsZero() && (d.at.IsZero() || t.Before(d.at))
	d.at = t
	return sooner
}

func (d *deadline) get() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

// stream is one direction of a connection: what is under way.
type stream struct {
	from, to           *Host
	readable, writable chan struct{} // each holds one token: look again

	mu                  sync.Mutex
	pieces              []piece
	size                int       // bytes in pieces
	last                time.Time // when the newest piece arrives: order is kept
	finished, abandoned bool      // by the sender; by the receiver
	broken              error
}

type piece struct {
	data []byte
	due  time.Time
}

func newStream(from, to *Host) *stream {
	return &stream{from: from, to: to, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

// poke makes both who read and who write look again.
func (s *stream) poke() {
	signal(s.readable)
	signal(s.writable)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put sends as much of p as there is room for.
func (s *stream) put(p []byte) (int, error) {
	v := s.from.net.verdict(s.from.name, s.to.name)
	unheard := v.blocked || s.to.down.Load() || s.from.net.blocked(s.to.name, s.from.name) != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return 0, s.broken
	case s.abandoned && unheard:
		return len(p), nil // nobody is there, and cannot say so
	case s.abandoned:
		return 0, syscall.EPIPE
	}
	n := min(len(p), window-s.size)
	if n == 0 {
		return 0, nil
	}
	due := time.Now().Add(v.delay)
	if due.Before(s.last) {
		due = s.last
	}
	s.last = due
	s.pieces = append(s.pieces, piece{append([]byte(nil), p[:n]...), due})
	s.size += n
	signal(s.readable)
	return n, nil
}

// take receives what has arrived. With nothing there it says when the next piece
// is due, if one is under way.
func (s *stream) take(p []byte) (n int, due time.Time, err error) {
	rule := s.from.net.blocked(s.from.name, s.to.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return 0, due, s.broken
	case rule != nil:
		if len(s.pieces) > 0 {
			rule.Bitten.Add(1)
		}
		return 0, due, nil
	case s.from.down.Load() || s.to.down.Load():
		return 0, due, nil
	case len(s.pieces) == 0 && s.finished:
		return 0, due, io.EOF
	case len(s.pieces) == 0:
		return 0, due, nil
	}
	now := time.Now()
	for n < len(p) && len(s.pieces) > 0 && !s.pieces[0].due.After(now) {
		first := &s.pieces[0]
		k := copy(p[n:], first.data)
		n += k
		if first.data = first.data[k:]; len(first.data) == 0 {
			*first = piece{}
			s.pieces = s.pieces[1:]
		}
	}
	if s.size -= n; n > 0 {
		signal(s.writable)
		return n, due, nil
	}
	return 0, s.pieces[0].due, nil
}

func (s *stream) finish() {
	s.mu.Lock()
	s.finished = true
	s.mu.Unlock()
	s.poke()
}

func (s *stream) abandon() {
	s.mu.Lock()
	s.abandoned = true
	s.pieces, s.size = nil, 0
	s.mu.Unlock()
	s.poke()
}

func (s *stream) fail(err error) {
	s.mu.Lock()
	if s.broken == nil {
		s.broken = err
	}
	s.pieces, s.size = nil, 0
	s.mu.Unlock()
	s.poke()
}

// wait returns when there may be something new, or with why there will not be.
func wait(news <-chan struct{}, d *deadline, due time.Time, closed <-chan struct{}) error {
	until := d.get()
	if !until.IsZero() && !until.After(time.Now()) {
		return os.ErrDeadlineExceeded
	}
	if until.IsZero() || !due.IsZero() && due.Before(until) {
		until = due
	}
	if until.IsZero() {
		select {
		case <-news:
		case <-closed:
		}
		return nil
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-news:
	case <-timer.C:
	case <-closed:
	}
	return nil
}
