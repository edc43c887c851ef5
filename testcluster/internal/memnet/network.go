// Package memnet is a network in memory that can be hurt: machines with names,
// listeners, and connections that behave as TCP's do. What is sent arrives in
// order and whole, or not at all. So a lost packet shows as a delay, the time
// until it is sent again; a cut link as silence, after which everything arrives
// when it heals; a broken connection as an error at both ends.
//
// It works inside a bubble of testing/synctest and outside: nothing waits but on
// channels and timers, and no lock is held meanwhile. It has no goroutines.
//
// Costs: a write copies what it is given, asks every rule in force, and wakes the
// reader; a rule that changes wakes the readers of all connections.
package memnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/semanode/sema/testcluster/internal/gate"
)

// Network connects machines. Safe for use by many goroutines.
type Network struct {
	latency func() time.Duration // of a link without rules

	rules   atomic.Pointer[[]*Rule] // in force; replaced, never changed
	mu      sync.Mutex
	rng     *rand.Rand
	hosts   map[string]*Host
	conns   map[*conn]struct{} // the dialling ends
	changed chan struct{}      // closed and replaced when rules or hosts change
	closed  bool
}

// Latency is a network's own, without faults: for each piece that is written one
// at random between the two.
type Latency struct{ Min, Max time.Duration }

// New returns a network without machines. Chance comes from the seed.
func New(latency Latency, seed uint64) *Network {
	n := &Network{rng: rand.New(rand.NewPCG(seed, 1)), hosts: map[string]*Host{}, conns: map[*conn]struct{}{}, changed: make(chan struct{})}
	n.latency = func() time.Duration {
		if latency.Max <= latency.Min {
			return latency.Min
		}
		return latency.Min + time.Duration(n.float()*float64(latency.Max-latency.Min))
	}
	n.rules.Store(&[]*Rule{})
	return n
}

func (n *Network) float() float64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.Float64()
}

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

// Host returns the machine with this name, a new one at the first call. What it
// does waits while the gate is shut.
func (n *Network) Host(name string, gate *gate.Gate) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil {
		h = &Host{net: n, name: name, gate: gate, listeners: map[string]*listener{}, nextPort: 40000}
		n.hosts[name] = h
	}
	return h
}

// Close breaks every connection and closes every listener.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	hosts := n.hosts
	n.mu.Unlock()
	for _, h := range hosts {
		h.closeListeners()
	}
	n.Reset(func(string, string) bool { return true })
	n.wake()
	return nil
}

// Reset breaks the connections between machines that match, in either order, and
// returns how many there were.
func (n *Network) Reset(match func(a, b string) bool) int {
	broken := 0
	for _, c := range n.connections() {
		a, b := c.host.name, c.peer.host.name
		if match(a, b) || match(b, a) {
			c.breakBoth(syscall.ECONNRESET)
			broken++
		}
	}
	return broken
}

func (n *Network) connections() []*conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		all = append(all, c)
	}
	return all
}

// wake makes everyone who waits look again.
func (n *Network) wake() {
	n.mu.Lock()
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
	for _, c := range n.connections() {
		c.in.poke()
		c.peer.in.poke()
	}
}

// change returns what is closed at the next change.
func (n *Network) change() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// Down is the machine without power: nothing that was under way leaves or
// arrives, and the others hear nothing, not even that the connections are gone.
func (h *Host) Down() {
	h.down.Store(true)
	h.closeListeners()
	h.net.wake()
}

// Up ends Down. The connections from before are broken: the machine knows
// nothing of them and says so to whoever sends.
func (h *Host) Up() {
	h.down.Store(false)
	h.net.Reset(func(a, b string) bool { return a == h.name })
	h.net.wake()
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

// Listen accepts connections to a port of this machine, "0" for any.
func (h *Host) Listen(_ context.Context, addr string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Err: err}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if port == "0" {
		h.nextPort++
		port = fmt.Sprint(h.nextPort)
	}
	if h.listeners[port] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: Addr(addr), Err: syscall.EADDRINUSE}
	}
	l := &listener{host: h, port: port, backlog: make(chan *conn, backlog), closed: make(chan struct{})}
	h.listeners[port] = l
	return l, nil
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
	for {
		changed := h.net.change()
		h.gate.Pass(ctx.Done())
		h.net.mu.Lock()
		target, closed := h.net.hosts[name], h.net.closed
		h.net.mu.Unlock()
		switch {
		case closed:
			return nil, net.ErrClosed
		case target == nil:
			return nil, fmt.Errorf("no machine is called %q", name)
		case h.down.Load():
			return nil, syscall.ENETDOWN
		}
		there, back := h.net.verdict(h.name, name), h.net.verdict(name, h.name)
		if !there.blocked && !back.blocked && !target.down.Load() {
			return h.connect(ctx, target, port, there.delay+back.delay)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (h *Host) connect(ctx context.Context, target *Host, port string, roundTrip time.Duration) (*conn, error) {
	timer := time.NewTimer(roundTrip)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	target.mu.Lock()
	l := target.listeners[port]
	target.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	c := newConn(h, target, l.Addr())
	h.net.mu.Lock()
	h.net.conns[c] = struct{}{}
	h.net.mu.Unlock()
	select {
	case l.backlog <- c.peer:
		return c, nil
	case <-l.closed:
	default: // the backlog is full
	}
	c.breakBoth(syscall.ECONNREFUSED)
	return nil, syscall.ECONNREFUSED
}

// backlog is how many connections wait to be accepted.
const backlog = 128

// Addr is an address of the network: "machine:port".
type Addr string

// Network implements [net.Addr].
func (Addr) Network() string { return "mem" }

// String implements [net.Addr].
func (a Addr) String() string { return string(a) }

type listener struct {
	host    *Host
	port    string
	backlog chan *conn
	once    sync.Once
	closed  chan struct{}
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
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
		for {
			select {
			case c := <-l.backlog:
				c.breakBoth(syscall.ECONNRESET)
				continue
			default:
			}
			return
		}
	})
	return nil
}

// Addr implements [net.Listener].
func (l *listener) Addr() net.Addr { return Addr(l.host.name + ":" + l.port) }

// Rule is something that happens to what is sent from one machine to another.
type Rule struct {
	// Match says which links: what from sends to to.
	Match func(from, to string) bool
	// Block lets nothing arrive until the rule is lifted.
	Block bool
	// Delay is added to each piece, and up to Jitter more.
	Delay, Jitter time.Duration
	// Loss is the probability that a piece is lost, and sent again after 200 ms,
	// 400 ms and so on, as TCP does.
	Loss float64

	// Bitten counts what it did: pieces that were held, delayed or lost.
	Bitten atomic.Int64
}

// Impose puts a rule in force and returns what lifts it, which may be called twice.
func (n *Network) Impose(r *Rule) (lift func()) {
	n.replace(func(rules []*Rule) []*Rule { return append(rules, r) })
	return sync.OnceFunc(func() {
		n.replace(func(rules []*Rule) []*Rule {
			return slices.DeleteFunc(rules, func(other *Rule) bool { return other == r })
		})
	})
}

func (n *Network) replace(edit func([]*Rule) []*Rule) {
	n.mu.Lock()
	next := edit(slices.Clone(*n.rules.Load()))
	n.rules.Store(&next)
	n.mu.Unlock()
	n.wake()
}

// verdict is what the rules say of one piece.
type verdict struct {
	blocked bool
	delay   time.Duration
}

// retransmission is how long a sender waits before it sends again what was lost.
const retransmission = 200 * time.Millisecond

func (n *Network) verdict(from, to string) verdict {
	v := verdict{delay: n.latency()}
	for _, r := range *n.rules.Load() {
		if !r.Match(from, to) {
			continue
		}
		if r.Block {
			v.blocked = true
			continue
		}
		v.delay += r.Delay
		if r.Jitter > 0 {
			v.delay += time.Duration(n.float() * float64(r.Jitter))
		}
		again, lost := retransmission, false
		for range 6 {
			if r.Loss == 0 || n.float() >= r.Loss {
				break
			}
			v.delay += again
			again, lost = 2*again, true
		}
		if lost || r.Delay > 0 || r.Jitter > 0 {
			r.Bitten.Add(1)
		}
	}
	return v
}

// blocked returns the rule by which nothing from one machine reaches another now,
// or nil.
func (n *Network) blocked(from, to string) *Rule {
	for _, r := range *n.rules.Load() {
		if r.Block && r.Match(from, to) {
			return r
		}
	}
	return nil
}
