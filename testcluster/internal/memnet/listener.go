package memnet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// listener is a port of a machine that accepts connections.
type listener struct {
	host    *Host
	port    string
	backlog chan *conn
	once    sync.Once
	closed  chan struct{}
}

// backlog is how many connections wait to be accepted.
const backlog = 128

// Listen accepts connections to a port of this machine, "0" for any.
func (h *Host) Listen(_ context.Context, addr string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Err: err}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for port == "0" || port == "" {
		if candidate := fmt.Sprint(h.freePort()); h.listeners[candidate] == nil {
			port = candidate
		}
	}
	if h.listeners[port] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: Addr(addr), Err: syscall.EADDRINUSE}
	}
	l := &listener{host: h, port: port, backlog: make(chan *conn, backlog), closed: make(chan struct{})}
	h.listeners[port] = l
	return l, nil
}

func (h *Host) closeListeners() {
	h.mu.Lock()
	listeners := h.listeners
	h.listeners = map[string]*listener{}
	h.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close() // cannot fail
	}
}

// offer hands a new connection to whoever accepts, and reports whether there is room.
func (l *listener) offer(c *conn) bool {
	select {
	case <-l.closed:
		return false
	default:
	}
	select {
	case l.backlog <- c:
	default:
		return false
	}
	select {
	case <-l.closed: // meanwhile: one of the two finds it
		l.drain()
	default:
	}
	return true
}

// drain drops the connections that nobody accepted.
func (l *listener) drain() {
	for {
		select {
		case c := <-l.backlog:
			c.drop()
		default:
			return
		}
	}
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "mem", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Close implements [net.Listener]. Connections that nobody accepted are broken.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.host.mu.Lock()
		if l.host.listeners[l.port] == l {
			delete(l.host.listeners, l.port)
		}
		l.host.mu.Unlock()
		close(l.closed)
		l.drain()
	})
	return nil
}

// Addr implements [net.Listener].
func (l *listener) Addr() net.Addr { return Addr(net.JoinHostPort(l.host.name, l.port)) }
