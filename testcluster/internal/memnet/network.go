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
	"maps"
	"math/rand/v2"
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

// Host returns the machine with this name, a new one at the first call. What it
// does waits while the gate is shut.
func (n *Network) Host(name string, gate *gate.Gate) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil {
		h = &Host{net: n, name: name, gate: gate, listeners: map[string]*listener{}}
		n.hosts[name] = h
	}
	return h
}

// Close breaks every connection and closes every listener.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	hosts := slices.Collect(maps.Values(n.hosts))
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
