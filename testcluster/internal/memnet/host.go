package memnet

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/semanode/sema/testcluster/internal/gate"
)

// Host is one machine's access to the network. Dial and Listen make it a network
// of its own for whoever runs there.
type Host struct {
	net  *Network
	name string
	gate *gate.Gate // shut while the machine is paused

	down      atomic.Bool
	mu        sync.Mutex
	listeners map[string]*listener // by port
	nextPort  int
}

// Addr is an address of the network: "machine:port".
type Addr string

// Network implements [net.Addr].
func (Addr) Network() string { return "mem" }

// String implements [net.Addr].
func (a Addr) String() string { return string(a) }

// The ports that machines give away when none is asked for.
const firstPort, lastPort = 40001, 65535

// freePort is called with mu held.
func (h *Host) freePort() int {
	if h.nextPort++; h.nextPort < firstPort || h.nextPort > lastPort {
		h.nextPort = firstPort
	}
	return h.nextPort
}

func (h *Host) freeAddr() Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Addr(net.JoinHostPort(h.name, strconv.Itoa(h.freePort())))
}

// Down is the machine without power: nothing that was under way leaves or
// arrives, and the others hear nothing, not even that the connections are gone.
func (h *Host) Down() {
	h.down.Store(true)
	h.closeListeners()
	h.net.wake()
}

// Up ends Down. The connections from before are broken: the machine knows
// nothing of them and says so to the others, as soon as the links let it.
func (h *Host) Up() {
	h.down.Store(false)
	for _, c := range h.net.connections() {
		for _, end := range []*conn{c, c.peer} {
			if end.host == h {
				end.drop()
			}
		}
	}
	h.net.wake()
}

// Dial connects to a listener, as soon as the links in both directions let it:
// until then it waits, as long as ctx lasts.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := h.dial(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: Addr(addr), Err: err}
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context, addr string) (*conn, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var held *Rule // by which it waits
	for ctx.Err() == nil {
		changed := h.net.change()
		h.gate.Pass(ctx.Done())
		target, err := h.reach(name)
		if err != nil {
			return nil, err
		}
		rule, open := h.open(target)
		if open {
			if err := h.travel(ctx, name); err != nil {
				return nil, err
			}
			if _, open = h.open(target); open {
				return h.connect(target, port)
			}
			continue
		}
		if rule != nil && rule != held {
			rule.Bitten.Add(1)
		}
		held = rule
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil, context.Cause(ctx)
}

// reach returns the machine with this name.
func (h *Host) reach(name string) (*Host, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	target := h.net.hosts[name]
	switch {
	case h.net.closed:
		return nil, net.ErrClosed
	case h.down.Load():
		return nil, syscall.ENETDOWN
	case target == nil:
		return nil, fmt.Errorf("no machine is called %q", name)
	}
	return target, nil
}

// open reports whether this machine and another hear each other now, and if not by
// which rule.
func (h *Host) open(other *Host) (rule *Rule, open bool) {
	if rule = h.net.blocked(h.name, other.name); rule == nil {
		rule = h.net.blocked(other.name, h.name)
	}
	return rule, rule == nil && !other.down.Load()
}

// travel waits as long as it takes to another machine and back.
func (h *Host) travel(ctx context.Context, name string) error {
	timer := time.NewTimer(h.net.delay(h.name, name) + h.net.delay(name, h.name))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *Host) connect(target *Host, port string) (*conn, error) {
	target.mu.Lock()
	l := target.listeners[port]
	target.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	c := newConn(h, target, l.Addr())
	h.net.mu.Lock()
	closed := h.net.closed
	if !closed {
		h.net.conns[c] = struct{}{}
	}
	h.net.mu.Unlock()
	switch {
	case closed:
		return nil, net.ErrClosed
	case !l.offer(c.peer):
		c.breakBoth(syscall.ECONNREFUSED)
		return nil, syscall.ECONNREFUSED
	}
	return c, nil
}
