package testcluster

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/gate"
)

// clock is a machine's clock, which may run fast or slow, and whose wall clock may
// be set. It implements [host.Clock].
type clock struct {
	gate        *gate.Gate
	read, walls atomic.Int64 // how often each of the two was read while it was wrong

	mu     sync.Mutex
	since  time.Time     // when the rate was set
	before time.Duration // what the clock showed then
	rate   float64
	wall   time.Duration // how far the wall clock is ahead
}

var _ host.Clock = (*clock)(nil)

func newClock(gate *gate.Gate) *clock { return &clock{gate: gate, since: time.Now(), rate: 1} }

// Monotonic implements [host.Clock].
func (c *clock) Monotonic() time.Duration {
	c.gate.Pass(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rate != 1 {
		c.read.Add(1)
	}
	return c.shows()
}

func (c *clock) shows() time.Duration {
	return c.before + time.Duration(float64(time.Since(c.since))*c.rate)
}

// Wall implements [host.Clock].
func (c *clock) Wall() time.Time {
	c.gate.Pass(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wall != 0 {
		c.walls.Add(1)
	}
	return time.Now().Round(0).Add(c.wall)
}

// setRate makes the clock run at so many seconds a second from now on.
func (c *clock) setRate(rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before, c.since = c.shows(), time.Now()
	c.rate = rate
}

// jump sets the wall clock forward, or back.
func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += d
}
